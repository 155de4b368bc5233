"""VGGSound: ten-second clips of 309 classes, each seen and heard, named by YouTube id and second.

The root holds `vggsound.csv`, without a header: id, first second, label, `train` or `test`; labels that hold commas are
quoted, and READ's copy writes `_` for these commas. There is no official archive of the videos, of which about a fifth was
gone in 2021: they are fetched one by one, and what is gone is a row with its reason. Source: Chen et al., "VGGSound: A
Large-scale Audio-Visual Dataset", ICASSP 2020.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from earshot import label_spaces
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Source
from earshot.datasets._lists import First, distinct, first_of, held_out
from earshot.datasets._prepared import checked, text, told
from earshot.datasets._read_lists import entries

SPEC = Dataset(
    "VGGSound", "classification", label_spaces.read("vggsound").names,
    licence="CC BY 4.0 of the list; the videos are their uploaders'", citation="Chen et al., ICASSP 2020",
    home="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
    restricted="videos of YouTube users; only the list has a licence",
)  # fmt: skip
_HINT = "the list is on the dataset's page and in the public repository hche11/VGGSound"
_LIST = "vggsound.csv"
_SECONDS = 10
_READ_TEST = {"test": 14_046}


class Options(BaseModel, extra="forbid"):
    """Where the videos are and how they are called, and how much of the list is used."""

    csv: str = Field(_LIST, description="the list, relative to the root")
    videos: str = Field("videos", description="folder of the videos, relative to the root")
    pattern: Literal["{id}_{start:06d}", "{id}_{start}", "{id}"] = Field("{id}_{start:06d}", description="names of the videos")
    suffix: str = Field(".mp4", pattern=r"^\.\w+$")
    test_json: str = Field("", description="READ's test list, relative to the root, in place of all test clips")
    fetch: bool = Field(True, description="fetch the videos one by one; false: they are there, or dropped")
    val_share: float = Field(
        0.05, ge=0, lt=1, description="share of the training videos that is held out, by a hash of their ids"
    )
    first: First = Field(
        default_factory=dict, description="only so many clips of a split, from the top of the list; to try things out"
    )


class _Row(NamedTuple):
    video: str
    start: int
    label: str
    split: str


def sources(root: Path, options: Options) -> list[Source]:
    """The list and, once it is there, the clips that are used."""
    origins = (f"{SPEC.home}{_LIST}", f"https://raw.githubusercontent.com/hche11/VGGSound/master/data/{_LIST}")
    listed = Source(_LIST, options.csv, origins, by_hand=_HINT)
    if not options.fetch or not (root / options.csv).exists():
        return [listed]
    rows = {_path(row, options): row for row in _rows(root / options.csv)}
    used = [rows[clip.video] for clip in index(root, options).clips]
    return [listed, *(_cut(row, options) for row in used)]


def index(root: Path, options: Options) -> Index:
    """List the clips; raises DatasetError for a list that cannot be used."""
    rows = list(_rows(root / options.csv))
    others: tuple[str, ...] = ()
    if not rows:
        raise DatasetError(f"{root / options.csv}: the list is empty; fetch it again")
    if options.test_json:
        rows, others = _tested_by_read(rows, root / options.test_json)
    kept, remarks = distinct(
        ClipRow(_path(row, options), row.split, row.label, clip=f"{row.video}_{row.start:06d}", group=row.video) for row in rows
    )
    clips = held_out(kept, options.val_share)
    expected = _READ_TEST if options.test_json else {}
    return Index(SPEC.classes or (), first_of(clips, options.first), remarks=(*remarks, *others), expected=expected)


def _tested_by_read(rows: Sequence[_Row], path: Path) -> tuple[list[_Row], tuple[str, ...]]:
    """Training rows, and the test rows that READ's list has; and a remark of those of its clips that the list lacks."""
    asked = {entry.video: entry.name for entry in entries(path, SPEC.classes or ())}
    kept = [row._replace(split="test") if row.video in asked else row for row in rows]
    absent = [name for video, name in asked.items() if video not in {row.video for row in rows}]
    used = [row for row in kept if row.split == "train" or row.video in asked]
    return used, told("clips of READ's list that are not in the list of VGGSound, and not used", absent)


def _rows(path: Path) -> Iterator[_Row]:
    find = label_spaces.Finder(SPEC.classes or ())
    reader = csv.reader(text(path, _HINT).splitlines())
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if not cells:
            continue
        if len(cells) != 4 or not cells[1].strip().isdecimal() or cells[3].strip() not in ("train", "test"):
            raise DatasetError(f"{where}: {cells} is not <id>,<first second>,<label>,train or test; correct the row")
        label = find(cells[2].strip())
        if label is None:
            raise DatasetError(f"{where}: '{cells[2]}' is none of the 309 classes; correct the row")
        yield _Row(checked(cells[0].strip(), where), int(cells[1]), label, cells[3].strip())


def _path(row: _Row, options: Options) -> str:
    return f"{options.videos}/{options.pattern.format(id=row.video, start=row.start)}{options.suffix}"


def _cut(row: _Row, options: Options) -> Source:
    path, end = _path(row, options), row.start + _SECONDS
    by_hand = f"cut seconds {row.start} to {end} out of the video {row.video}"
    return Source(path, path, (f"youtube://{row.video}?start={row.start}&end={end}",), by_hand=by_hand, needed=False)
