"""UCF101: 13,320 clips of 101 actions in 25 groups a class, each group cut out of few recordings; three official splits.

The root holds `UCF-101/<Class>/v_<Class>_g<gg>_c<cc>.avi` and `ucfTrainTestlist/` with `classInd.txt`, `trainlist0<k>.txt`
and `testlist0<k>.txt`, as their two archives unpack. A clip's class is its folder: files of `HandstandPushups` are called
`v_HandStandPushups`. There is no official validation split: whole groups of the training list are held out.

51 classes have sound tracks, taken to be those that UCF50 had not; what each clip has is probed. Since that gives away a
part of the class, no method is told of it, and results of audible and silent classes can be told apart (`class_groups`).
Source: Soomro et al., "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", CRCV-TR-12-01, 2012.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, Field

from earshot import label_spaces
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Source
from earshot.datasets._lists import First, first_of, hashed
from earshot.datasets._prepared import text, told

SPEC = Dataset(
    "UCF101", "classification", label_spaces.read("ucf101").names,
    licence="not stated; the videos are their uploaders'", citation="Soomro et al., CRCV-TR-12-01, 2012",
    home="https://www.crcv.ucf.edu/data/UCF101.php",
    restricted="no licence is stated; the clips are videos of YouTube users and are shared for research",
    download_gb=6.9, disk_gb=14,
)  # fmt: skip
FOLDER, LISTS = "UCF-101", "ucfTrainTestlist"
_HOST = "https://www.crcv.ucf.edu"
_HINT = "unpack UCF101TrainTestSplits-RecognitionTask.zip there"
_NAME = re.compile(r"v_\w+_g(\d\d)_c\d\d\.avi")
_TRAIN, _TEST = 9_537, 3_783  # of split 1


class Options(BaseModel, extra="forbid"):
    """Which of the three splits, and what of its training list is held out."""

    split: Literal[1, 2, 3] = 1
    val_groups: int = Field(2, ge=0, description="groups of each class that are held out of the training list")
    first: First = Field(
        default_factory=dict, description="only so many clips of a split, from the top of its list; to try things out"
    )


def sources(root: Path, options: Options) -> list[Source]:
    """The videos, and the lists of all three splits."""
    by_hand = f"download it from {SPEC.home}"
    lists = "UCF101TrainTestSplits-RecognitionTask.zip"
    return [
        Source(lists, ".", (f"{_HOST}/wp-content/uploads/2019/03/{lists}",), unpack=True, by_hand=by_hand),
        Source(
            "UCF101.rar", ".", (f"{_HOST}/datasets/human-actions/ucf101/UCF101.rar",), unpack=True, size=6_900_000_000,
            unpacked=20_000_000_000, by_hand=by_hand,
        ),
    ]  # fmt: skip


def index(root: Path, options: Options) -> Index:
    """List the clips of a split; raises DatasetError for lists that cannot be used."""
    numbers = dict(_class_numbers(root / LISTS / "classInd.txt"))
    train = list(_listed(root / LISTS / f"trainlist0{options.split}.txt", numbers, "train"))
    test = list(_listed(root / LISTS / f"testlist0{options.split}.txt", numbers, "test"))
    held = _held_groups(train, options.val_groups)
    clips = [ClipRow(c.video, "val", c.label, group=c.group) if c.group in held else c for c in train] + test
    counts = {split: sum(clip.split == split for clip in clips) for split in ("train", "val", "test")}
    expected = {"train": _TRAIN - counts["val"], "val": counts["val"], "test": _TEST} if options.split == 1 else {}
    remarks = told("groups of a class with training and test clips", sorted({c.group for c in train} & {c.group for c in test}))
    audible = label_spaces.flagged("ucf101", "audible")
    return Index(tuple(numbers), first_of(clips, options.first), (), remarks, expected=expected, audible=audible)


def _class_numbers(path: Path) -> Iterator[tuple[str, str]]:
    """Class -> its number in the lists, which counts from 1."""
    names: list[str] = []
    for line, row in enumerate(text(path, _HINT).splitlines(), 1):
        cells = row.split()
        if not cells:
            continue
        if len(cells) != 2 or cells[0] != str(len(names) + 1):
            raise DatasetError(f"{path}, line {line}: '{row}' is not '{len(names) + 1} <Class>'; fetch the list again")
        names.append(cells[1])
        yield cells[1], cells[0]
    if not names:
        raise DatasetError(f"{path}: the list is empty; fetch it again")


def _listed(path: Path, numbers: dict[str, str], split: str) -> Iterator[ClipRow]:
    """The clips of a list: `<Class>/<file>`, and for training the number of the class."""
    found = False
    for line, row in enumerate(text(path, _HINT).splitlines(), 1):
        if cells := row.split():
            found = True
            yield _clip(cells, numbers, split, f"{path}, line {line}")
    if not found:
        raise DatasetError(f"{path}: the list is empty; fetch it again")


def _clip(cells: Sequence[str], numbers: dict[str, str], split: str, where: str) -> ClipRow:
    parts = PurePosixPath(cells[0]).parts
    name = _NAME.fullmatch(parts[-1])
    if len(parts) != 2 or parts[0] not in numbers or not name:
        raise DatasetError(f"{where}: '{cells[0]}' is not <Class>/v_<Class>_g<gg>_c<cc>.avi of a class in classInd.txt")
    label = parts[0]  # not of the file's name, whose capitals may differ
    if len(cells) > 2 or (len(cells) == 2 and cells[1] != numbers[label]):
        raise DatasetError(f"{where}: '{' '.join(cells[1:])}' is not {numbers[label]}, the number of {label}; correct the row")
    return ClipRow(f"{FOLDER}/{cells[0]}", split, label, group=f"{label}_g{name[1]}")


def _held_groups(clips: Sequence[ClipRow], count: int) -> set[str]:
    """So many groups of every class, chosen by a hash of their names."""
    held: set[str] = set()
    for label in {clip.label for clip in clips}:
        groups = sorted({clip.group for clip in clips if clip.label == label}, key=hashed)
        if count and len(groups) <= count:
            raise DatasetError(f"class {label} has {len(groups)} groups to train on: lower `val_groups`, which is {count}")
        held |= set(groups[:count])
    return held
