"""What subsets of Kinetics-400 share: its annotations, the names of its files, where they are, and how they are fetched.

Annotations are `annotations/<split>.csv` with `label,youtube_id,time_start,time_end,split,is_cc`, times in whole seconds; a
file is called `<youtube id>_<start>_<end>.mp4`, both in six digits, and may lie anywhere below the root: copies differ in
whether they have class folders, and in how these are spelt. Source: Kay et al., "The Kinetics Human Action Video Dataset",
2017, and the public copy of the CVD Foundation.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from earshot.datasets import ClipRow, DatasetError, Index, Source
from earshot.datasets._lists import First, files_by_name, table
from earshot.datasets._prepared import checked, text
from earshot.label_spaces import Finder

Part = Literal["train", "val", "test"]
HOME = "https://github.com/cvdfoundation/kinetics-dataset"
RESTRICTED = "videos of YouTube users; only the annotations have a licence (CC BY 4.0, as recalled)"
_STORE = "https://s3.amazonaws.com/kinetics/400"
_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_HINT = f"the annotations are at {_STORE}/annotations"
_REPLACED = "replacement_for_corrupted_k400.tgz"
SUFFIX = ".mp4"
PARTS: tuple[Part, ...] = ("train", "val", "test")


class Fetching(BaseModel, extra="forbid"):
    """How the needed files are fetched, and which parts of Kinetics-400 play which split."""

    fetch: Literal["cvdf", "youtube", "none"] = Field(
        "cvdf", description="cvdf: every archive of a part is fetched and only the needed files kept; youtube: clip by clip"
    )
    train: tuple[Part, ...] = Field(("train",), min_length=1, description="parts of Kinetics-400 that are trained on")
    test: tuple[Part, ...] = Field(("val",), min_length=1, description="parts of Kinetics-400 that are tested on")
    val_share: float = Field(
        0.1, ge=0, lt=1, description="share of the training videos that is held out, by a hash of their ids"
    )
    first: First = Field(
        default_factory=dict, description="only so many clips of a split, from the top of its list; to try things out"
    )

    @property
    def splits(self) -> list[tuple[Part, str]]:
        """Parts of Kinetics-400, and the splits that they play."""
        return [*((part, "train") for part in self.train), *((part, "test") for part in self.test)]


class Annotated(NamedTuple):
    """A row of the annotations of a part."""

    label: str
    video: str
    start: int
    end: int
    part: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.video}_{self.start:06d}_{self.end:06d}{SUFFIX}"

    @property
    def clip(self) -> str:
        """The name of its clip."""
        return f"{self.part}/{PurePosixPath(self.name).stem}"


def annotated(root: Path, part: str, classes: Sequence[str]) -> Iterator[Annotated]:
    """The annotated clips of some classes, by their names in `classes`; raises DatasetError for a row that cannot be used."""
    path, find, empty = root / "annotations" / f"{part}.csv", Finder(classes), True
    for where, row in table(path, _COLUMNS, _HINT):
        empty = False
        if label := find(row["label"]):
            times = row["time_start"], row["time_end"]
            if not all(time.isdecimal() for time in times) or int(times[0]) >= int(times[1]):
                raise DatasetError(f"{where}: a clip from '{times[0]}' to '{times[1]}' is none of whole seconds; correct it")
            yield Annotated(label, checked(row["youtube_id"], where), int(times[0]), int(times[1]), part)
    if empty:
        raise DatasetError(f"{path}: the list is empty; fetch it again")


def parts_of(root: Path) -> dict[str, str]:
    """The part of every video in the annotations that are there."""
    paths = {part: root / "annotations" / f"{part}.csv" for part in PARTS}
    there = {part: path for part, path in paths.items() if path.exists()}
    return {row["youtube_id"]: part for part, path in there.items() for _, row in table(path, _COLUMNS, _HINT)}


class Files:
    """Where the videos below a root are, by name."""

    def __init__(self, root: Path) -> None:
        self._found = files_by_name(root, (SUFFIX,))

    def place(self, name: str, part: str) -> str:
        """Path of a file: a replacement before others, then one of its part; else where it is put when it is fetched."""
        paths = self._found.get(name, [])
        for wanted in ("replacement", part):
            for path in paths:
                if any(wanted in folder for folder in PurePosixPath(path).parts[:-1]):
                    return path
        return paths[0] if paths else f"{part}/{name}"

    def beginning(self, name: str, part: str) -> str:
        """Path of the file of that name or else, if there is but one, of that whose name goes on with `_<start>_<end>`."""
        if f"{name}{SUFFIX}" not in self._found:
            longer = [other for other in self._found if other.startswith(f"{name}_")]
            if len(longer) == 1:
                return self.place(longer[0], part)
        return self.place(f"{name}{SUFFIX}", part)


def clip(row: Annotated, split: str, files: Files) -> ClipRow:
    """A clip, named by its part and id, wherever its file is."""
    path = files.place(row.name, row.part)
    return ClipRow(path, split, row.label, clip=row.clip, group=row.video)


def lists(options: Fetching, every: bool = False) -> list[Source]:
    """The annotations of the parts that are used, or of every one, and, for their archives, the lists of these."""
    parts = dict.fromkeys(PARTS if every else (part for part, _ in options.splits))
    found = [
        Source(f"annotations/{p}.csv", f"annotations/{p}.csv", (f"{_STORE}/annotations/{p}.csv",), by_hand=_HINT) for p in parts
    ]
    if options.fetch == "cvdf":
        for part in parts:
            name = f"k400_{part}_path.txt"
            found.append(Source(name, name, (f"{_STORE}/{part}/{name}",), by_hand=f"see {HOME}"))
    return found


def videos(root: Path, options: Fetching, rows: Iterable[Annotated], used: Index) -> list[Source]:
    """What brings the files of those rows whose clips are used, once the lists are there."""
    names_used = {clip.clip for clip in used.clips}
    wanted = list({row.clip: row for row in rows if row.clip in names_used}.values())
    if options.fetch == "youtube":
        return [_cut(row) for row in wanted]
    if options.fetch == "none":
        return []
    names = {part: frozenset(row.name for row in wanted if row.part == part) for part in PARTS}
    found = [source for part, some in names.items() if some for source in _archives(root, part, some)]
    everything = frozenset(name for some in names.values() for name in some)
    address = (f"{_STORE}/{_REPLACED}",)
    return [*found, Source(_REPLACED, "replacement", address, unpack=True, members=everything, by_hand=f"see {HOME}")]


def _archives(root: Path, part: str, names: frozenset[str]) -> Iterator[Source]:
    path = root / f"k400_{part}_path.txt"
    for number, line in enumerate(text(path, f"see {HOME}").split(), 1):
        address = urlsplit(line)
        name = PurePosixPath(address.path).name
        if address.scheme not in ("http", "https") or not name.endswith((".tar.gz", ".tgz", ".tar")):
            raise DatasetError(f"{path}, entry {number}: '{line}' is not the address of an archive; fetch the list again")
        yield Source(f"{part}/{name}", part, (line,), unpack=True, members=names, by_hand=f"download {line}")


def _cut(row: Annotated) -> Source:
    """One clip, cut out of its video."""
    address = f"youtube://{row.video}?start={row.start}&end={row.end}"
    by_hand = f"cut seconds {row.start} to {row.end} out of the video {row.video}"
    return Source(f"{row.part}/{row.name}", f"{row.part}/{row.name}", (address,), by_hand=by_hand, needed=False)
