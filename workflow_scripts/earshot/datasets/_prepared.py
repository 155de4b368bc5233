"""Options of datasets that are shared as videos, or as a folder of images and an array of samples for each video."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, Field

from earshot import prepared
from earshot.datasets import DatasetError, Parts


class Prepared(BaseModel, extra="forbid"):
    """Where frames and sound are, if not in the videos."""

    frames: str = Field("", description="folder of `<video>/%08d.jpg`, relative to the root; empty: frames are in the videos")
    sound: str = Field("", description="folder of `<video>.npy` or `.wav`, relative to the root; empty: it is in the videos")
    sound_suffix: str = Field(".npy", pattern=r"^\.(npy|wav)$", description="of the files of sound")
    sound_rate: int = Field(32_000, ge=1, description="Hz: of samples in `.npy` files, which do not tell it")

    seconds: float = Field(10.0, gt=0, description="that the prepared files of a video are of")

    def parts(self, root: Path, name: str) -> Parts:
        """The files of a video of that name."""
        return Parts(
            frames=prepared.numbered(root / self.frames / name) if self.frames else None,
            sound=root / self.sound / f"{name}{self.sound_suffix}" if self.sound else None,
            seconds=self.seconds,
            rate=self.sound_rate,
        )


def checked(name: str, where: str) -> str:
    """A video's name from a list; raises DatasetError unless it is the name of a file in one folder."""
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise DatasetError(f"{where}: '{name}' cannot be the name of a video; correct or remove the row")
    return name


def told_apart(names: Iterable[str]) -> list[str]:
    """Names of which none is there twice: the second `x` becomes `x+2`, the third `x+3`."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}+{seen[name]}")
    return found


def stem(video: str) -> str:
    """The name of a video without its folder and suffix."""
    return PurePosixPath(video).stem


def text(path: Path, hint: str) -> str:
    """A list as text; raises DatasetError with `hint` if it is absent, and for what is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path} is not there; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: no list of UTF-8 text ({error}); fetch it again") from error


def told(kind: str, rows: Iterable[str]) -> tuple[str, ...]:
    """A remark that counts and names rows, or none."""
    named = list(rows)
    return (f"{kind}: {len(named)} ({'; '.join(named)})",) if named else ()
