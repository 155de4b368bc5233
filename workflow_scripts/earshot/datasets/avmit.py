"""AVMIT: three-second clips of Moments in Time whose action is both seen and heard, of 16 classes, 60 test clips each.

The root holds `test_set.csv` and the videos, either in the folders of Moments in Time, `training/` and `validation/`
(`layout: moments`), or renamed by AVMIT's class (`layout: curated`, the column new_filename). Training clips are those of a
list of the same columns (`train_list`) or else of `video_ratings.csv`: of the 16 classes, rated 3 by at least two raters,
which holds for every clip of the authors' training set, and in no test list; some are held out. A class may merge several
labels of Moments in Time. Nearly all test videos are in its training folder, so a backbone that was trained on Moments in
Time has seen them; that is counted and told. Source: Joannou et al., "Audiovisual Moments in Time", 2023 (arXiv 2308.09685);
labels CC0 1.0.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from earshot import label_spaces
from earshot.datasets import ClipRow, Dataset, DatasetError, Index, Source
from earshot.datasets._lists import First, distinct, first_of, held_out, table
from earshot.datasets._prepared import text, told

SPEC = Dataset(
    "AVMIT", "classification", label_spaces.read("avmit").names,
    licence="labels: CC0 1.0; videos: by the form of Moments in Time", citation="Joannou et al., 2023 (arXiv 2308.09685)",
    home="https://github.com/mjoannou/audiovisual-moments-in-time",
    restricted="the videos are of Moments in Time, which asks for a form and allows research alone",
)  # fmt: skip
_TEST, _RATINGS = "test_set.csv", "video_ratings.csv"
_HINT = f"the lists are at {SPEC.home}"
_VIDEOS = (
    "ask for Moments in Time by the form at http://moments.csail.mit.edu, and lay its folders training and validation there"
)
_FOLDERS = ("training", "validation")
_RATED = ("filename", "AVMIT_label", "MIT_label", "video_location")
_PLACED = (*_RATED, "new_filename")
_TRAINED = ("filename", "label", "actual_label", "video_location")
_RATERS = 2
_EXPECTED = {"train": 6_560, "val": 736, "test": 960}


class Options(BaseModel, extra="forbid"):
    """How the videos are laid out, and what is trained on."""

    layout: Literal["moments", "curated"] = "moments"
    train_list: str = Field("", description="the authors' CSV of training clips, relative to the root; empty: the ratings")
    val_list: str = Field("", description="the authors' CSV of validation clips; empty: `val_share` is held out")
    val_share: float = Field(
        0.1, ge=0, lt=1, description="share of the training clips that is held out, by a hash of their names"
    )
    archives: list[str] = Field(
        default_factory=list, description="archives of the videos, to be dropped by hand, whose contents belong below the root"
    )
    first: First = Field(
        default_factory=dict, description="only so many clips of a split, from the top of its list; to try things out"
    )


class _Row(NamedTuple):
    name: str  # in Moments in Time: <label>/<file>
    label: str
    moment: str
    folder: str
    renamed: str = ""


def sources(root: Path, options: Options) -> list[Source]:
    """The lists, and the archives of the videos that the options name; all by hand, since the videos need a form."""
    lists = [_TEST, *filter(None, (options.train_list, options.val_list))]
    named = [Source(name, name, by_hand=_HINT) for name in lists]
    if not options.train_list:
        named.append(Source(_RATINGS, _RATINGS, by_hand=_HINT, needed=False))
    return named + [Source(name, ".", unpack=True, by_hand=_VIDEOS) for name in options.archives]


def index(root: Path, options: Options) -> Index:
    """List the clips; raises DatasetError for lists that cannot be used."""
    test = list(_placed(root / _TEST))
    if not test:
        raise DatasetError(f"{root / _TEST}: the list is empty; fetch it again")
    taken = {PurePosixPath(row.name).name for row in test}
    val = list(_placed(root / options.val_list)) if options.val_list else []
    train = list(_training(root, options))
    rest = [(row, split) for some, split in ((val, "val"), (train, "train")) for row in some]
    dropped = [row for row, _ in rest if PurePosixPath(row.name).name in taken]
    clips = [_clip(row, split, options) for row, split in rest if row not in dropped]
    kept, again = distinct([*clips, *(_clip(row, "test", options) for row in test)])
    remarks = (*again, *_remarks(test, dropped, bool(train)))
    kept = kept if options.val_list else held_out(kept, options.val_share)
    expected = _EXPECTED if options.train_list and options.val_list else {"test": _EXPECTED["test"]}
    return Index(SPEC.classes or (), first_of(kept, options.first), remarks=remarks, expected=expected)


def _training(root: Path, options: Options) -> Iterator[_Row]:
    if options.train_list:
        return _placed(root / options.train_list)
    return _rated(root / _RATINGS) if (root / _RATINGS).exists() else iter(())


def _clip(row: _Row, split: str, options: Options) -> ClipRow:
    path = row.renamed if options.layout == "curated" and row.renamed else f"{row.folder}/{row.name}"
    name = PurePosixPath(row.name).stem
    recording = re.sub(r"_\d+$", "", name).removeprefix("yt-")  # several clips of one may be in different splits
    return ClipRow(path, split, row.label, clip=f"{row.label}/{name}", group=recording)


def _placed(path: Path) -> Iterator[_Row]:
    """The rows of a list: of the test clips or, with columns of other names, of the authors' training and validation clips."""
    header = [cell.strip() for cell in text(path, _HINT).partition("\n")[0].split(",")]
    columns = _PLACED if "AVMIT_label" in header else _TRAINED
    for where, row in table(path, columns, _HINT):
        yield _row(row, where, columns)


def _rated(path: Path) -> Iterator[_Row]:
    """The rows of the ratings that are of one of the 16 classes, by enough raters."""
    for where, row in table(path, (*_RATED, "r3"), _HINT):
        if not row["r3"].isdecimal():
            raise DatasetError(f"{where}: '{row['r3']}' raters is no number; correct the row")
        if row["AVMIT_label"] in (SPEC.classes or ()) and int(row["r3"]) >= _RATERS:
            yield _row(row, where, _RATED)


def _row(row: dict[str, str], where: str, columns: Sequence[str]) -> _Row:
    name, label, moment, folder = (row[column] for column in columns[:4])
    folder, renamed = folder.removeprefix("MIT_"), row.get("new_filename", "")
    if label not in (SPEC.classes or ()):
        raise DatasetError(f"{where}: '{label}' is none of the classes {', '.join(SPEC.classes or ())}; correct the row")
    for path in (name, renamed or "a/b"):
        parts = PurePosixPath(path).parts
        if len(parts) != 2 or ".." in parts or parts[0] == "/":
            raise DatasetError(f"{where}: '{path}' is not <label>/<file>; correct the row")
    if folder not in _FOLDERS:
        raise DatasetError(f"{where}: the video is in '{folder}', not in {' or '.join(_FOLDERS)}; correct the row")
    return _Row(name, label, moment, folder, renamed)


def _remarks(test: Sequence[_Row], dropped: Sequence[_Row], trains: bool) -> Iterator[str]:
    seen = sum(row.folder == "training" for row in test)
    yield f"test videos in the training folder of Moments in Time, which its backbones have seen: {seen} of {len(test)}"
    merged = Counter((row.label, row.moment) for row in test if row.label != row.moment)
    yield from told("labels of Moments in Time that are merged", (f"{a} <- {b}, {n}" for (a, b), n in sorted(merged.items())))
    yield from told("rows of the training list that are test videos, and not used", (row.name for row in dropped))
    if not trains:
        yield f"{_RATINGS} is not there: there are no training clips"
