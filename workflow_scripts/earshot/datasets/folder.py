"""Any folder of videos: labels from a CSV of `path,label,split`, or from class sub-folders.

With a CSV (option `labels`), paths are relative to the CSV's folder, columns beyond the three are ignored, and `split` is
train, val or test. Without one, the folder must hold `<split>/<class>/<video>` or `<class>/<video>`; in the latter case clips
are split by a hash of their path, in the proportions of the options. `val_share` cuts a validation split out of training
clips where the CSV has none. Times in seconds. Source and licence are the user's.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, Field

from earshot.datasets import ClipRow, Dataset, DatasetError, Index

SPEC = Dataset("A folder of videos", "classification", None, licence="the user's", citation="")
SPLITS = ("train", "val", "test")
SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")


class Options(BaseModel, extra="forbid"):
    """What the config may say about a folder."""

    labels: str = Field("", description="CSV with the columns path, label, split; relative to the root; empty: sub-folders")
    classes: list[str] = Field(default_factory=list, description="class names in order; empty: the sorted labels")
    val_share: float = Field(0.0, ge=0, lt=1, description="share of the training clips that becomes the validation split")
    test_share: float = Field(0.25, ge=0, lt=1, description="share of test clips, where the folders name no split")


def index(root: Path, options: Options) -> Index:
    """List the clips; raises DatasetError for a list that cannot be used."""
    rows = read_labels_csv(root / options.labels) if options.labels else _from_folders(root, options)
    if not rows:
        raise DatasetError(f"{root}: no videos found; expected files ending in {', '.join(SUFFIXES)}")
    classes = tuple(options.classes) or tuple(sorted({row.label for row in rows}))
    check_labels(rows, classes, options.labels or str(root))
    return Index(classes, tuple(hold_out(rows, options.val_share)))


def read_labels_csv(path: Path) -> list[ClipRow]:
    """Read a CSV of `path,label,split`; raises DatasetError that names the line of a wrong row."""
    if not path.exists():
        raise DatasetError(f"no label file at {path}: give `labels` a CSV with the columns path, label, split")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = {"path", "label", "split"} - set(reader.fieldnames or ())
        if absent:
            raise DatasetError(f"{path}: column {', '.join(sorted(absent))} is missing; the header is {reader.fieldnames}")
        return [_row(path, number, row) for number, row in enumerate(reader, start=2)]


def _row(path: Path, number: int, row: dict[str, str]) -> ClipRow:
    if not row["path"] or not row["label"]:
        raise DatasetError(f"{path}, line {number}: path and label must not be empty: {row}")
    if row["split"] not in SPLITS:
        raise DatasetError(f"{path}, line {number}: split '{row['split']}' is none of {', '.join(SPLITS)}")
    video = PurePosixPath(row["path"])
    if video.is_absolute() or ".." in video.parts:
        raise DatasetError(f"{path}, line {number}: '{video}' must be a path below {path.parent}")
    return ClipRow(str(video), row["split"], row["label"])


def check_labels(rows: Sequence[ClipRow], classes: Sequence[str], where: str) -> None:
    """Raise DatasetError if a row's label is not a class, or a class is listed twice."""
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DatasetError(f"{where}: classes listed more than once: {', '.join(twice)}")
    for row in rows:
        if row.label not in classes:
            raise DatasetError(
                f"{where}: label '{row.label}' of {row.video} is not in the class list ({', '.join(classes)}); "
                "correct the label or add the class to `options.classes`"
            )


def hold_out(rows: Sequence[ClipRow], share: float) -> list[ClipRow]:
    """Turn a share of each class's training clips into validation clips, if there are none; chosen by a hash of the path."""
    if not share or any(row.split == "val" for row in rows):
        return list(rows)
    chosen: set[str] = set()
    for label in sorted({row.label for row in rows}):
        group = sorted((r.video for r in rows if r.split == "train" and r.label == label), key=_hash)
        chosen.update(group[: round(share * len(group))])
    return [replace(r, split="val") if r.video in chosen else r for r in rows]


def _from_folders(root: Path, options: Options) -> list[ClipRow]:
    rows = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        parts = path.relative_to(root).parts
        if len(parts) == 3 and parts[0] in SPLITS:
            rows.append(ClipRow(path.relative_to(root).as_posix(), parts[0], parts[1]))
        elif len(parts) == 2:
            video = path.relative_to(root).as_posix()
            rows.append(ClipRow(video, "test" if _hash(video) < options.test_share else "train", parts[0]))
        else:
            raise DatasetError(f"{path}: expected <class>/<video> or <split>/<class>/<video> below {root}")
    return rows


def _hash(text: str) -> float:
    """A number in [0, 1) that depends only on the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
