"""AVE: 4,143 clips of ten seconds with one event each of 28 classes, seen and heard from one second to another.

The root holds `Annotations.txt` and the lists `trainSet.txt`, `valSet.txt` and `testSet.txt`, with lines of
`Category&VideoID&Quality&StartTime&EndTime` in whole seconds, half-open, with a header or without; it may hold
`categories.txt`, the classes in order. The published `*_order.h5` say the same as the three lists and are not read. Clips are
in the order of the lists, by which few-shot rows are chosen. What is outside of the event is background.

Some videos have several rows, and eight are in both train and test: each row is a clip, the second of a video being called
`<video>+2`. Source: Tian et al., "Audio-Visual Event Localization in Unconstrained Videos", ECCV 2018.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from earshot import label_spaces
from earshot.datasets import ClipRow, Dataset, DatasetError, EventRow, Index, Parts, Source
from earshot.datasets._prepared import Prepared, checked, stem, text, told, told_apart

SPEC = Dataset(
    "AVE", "localisation", label_spaces.read("ave").names,
    licence="of the lists: not stated; of the videos: their owners'", citation="Tian et al., ECCV 2018",
    home="https://github.com/YapengTian/AVE-ECCV18",
    restricted="no licence is stated; the clips are videos of YouTube users and are shared for research",
)  # fmt: skip
SECONDS = 10
_ARCHIVE = "drive://1FjKwe79e0u96vdjIVwfRQ1V6SoDHe7kK"
_EXPECTED = {"train": 3_339, "val": 402, "test": 402}
_LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
_COLUMNS = ("Category", "VideoID", "Quality", "StartTime", "EndTime")
_HINT = "the lists are in the AVE_Dataset archive of the public repository YapengTian/AVE-ECCV18; `*_order.h5` are not read"


class Options(Prepared):
    """Where the videos or what was prepared of them is."""

    videos: str = Field("AVE", description="folder of the videos, relative to the root")
    suffix: str = Field(".mp4", pattern=r"^\.\w+$")
    archive_folder: str = Field("AVE_Dataset", description="folder in the published archive that holds the lists; as recalled")


class _Row(NamedTuple):
    label: str
    video: str
    quality: str
    onset: int
    offset: int

    def __str__(self) -> str:
        return f"{self.video} {self.label} {self.onset}-{self.offset}"


def sources(root: Path, options: Options) -> list[Source]:
    """The archive of lists and videos."""
    by_hand = f"it is linked at {SPEC.home}"
    return [Source("AVE_Dataset.zip", ".", (_ARCHIVE,), unpack=True, below=options.archive_folder, by_hand=by_hand)]


def index(root: Path, options: Options) -> Index:
    """List the clips and their events; raises DatasetError for lists that cannot be used or do not fit together."""
    classes = _classes(root)
    annotated = list(_rows(root / "Annotations.txt", classes))
    lists = {split: list(_rows(root / name, classes)) for split, name in _LISTS.items()}
    for split, rows in lists.items():
        if not rows:
            raise DatasetError(f"{root / _LISTS[split]}: the list is empty; fetch it again")
    pairs = [(split, row) for split, rows in lists.items() for row in rows]
    _refuse_strangers(root, annotated, [row for _, row in pairs])
    names = told_apart(row.video for _, row in pairs)
    clips = [
        ClipRow(
            f"{options.videos}/{row.video}{options.suffix}", split, row.label, clip=f"{options.videos}/{name}", group=row.video
        )
        for (split, row), name in zip(pairs, names, strict=True)
    ]
    events = [
        EventRow(clip.video, side, row.label, row.onset, row.offset, clip.clip)
        for clip, (_, row) in zip(clips, pairs, strict=True)
        if row.onset < row.offset
        for side in ("audio", "visual")
    ]
    return Index(tuple(classes), tuple(clips), tuple(events), tuple(_remarks(annotated, lists)), expected=_EXPECTED)


def parts(root: Path, row: Mapping[str, Any], options: Options) -> Parts:
    """The prepared files of a clip, if the options name their folders."""
    return options.parts(root, stem(row["video"]))


def _classes(root: Path) -> list[str]:
    path = root / "categories.txt"
    if not path.exists():
        return list(SPEC.classes or ())
    found = [line.strip() for line in text(path, _HINT).splitlines() if line.strip()]
    if not found or len(set(found)) < len(found):
        raise DatasetError(f"{path}: {len(found)} classes, of which {len(set(found))} differ; fetch it again, or remove it")
    return found


def _rows(path: Path, classes: Sequence[str]) -> Iterator[_Row]:
    """The rows of a list; raises DatasetError that names the line of one that cannot be used."""
    for number, line in enumerate(text(path, _HINT).splitlines(), 1):
        cells = [cell.strip() for cell in line.split("&")]
        if not line.strip() or (number == 1 and tuple(cells) == _COLUMNS):
            continue
        yield _row(cells, f"{path}, line {number}", classes)


def _row(cells: Sequence[str], where: str, classes: Sequence[str]) -> _Row:
    if len(cells) != len(_COLUMNS):
        raise DatasetError(f"{where}: {len(cells)} cells, not {'&'.join(_COLUMNS)}: {'&'.join(cells)}; correct the row")
    label, video, quality, onset, offset = cells
    if label not in classes:
        raise DatasetError(f"{where}: '{label}' is none of the classes {', '.join(classes)}; correct it, or their list")
    if not (onset.isdecimal() and offset.isdecimal() and int(onset) <= int(offset) <= SECONDS):
        raise DatasetError(f"{where}: an event from '{onset}' to '{offset}' is not within {SECONDS} whole seconds; correct it")
    return _Row(label, checked(video, where), quality, int(onset), int(offset))


def _refuse_strangers(root: Path, annotated: Sequence[_Row], listed: Sequence[_Row]) -> None:
    """Raise DatasetError for a row of a list that the annotations lack: lists of different versions."""
    if strange := Counter(listed) - Counter(annotated):
        first = next(iter(strange))
        raise DatasetError(
            f"{root}: {strange.total()} rows of {', '.join(_LISTS.values())} are not in Annotations.txt, the first is {first}; "
            "fetch all of them from one place"
        )


def _remarks(annotated: Sequence[_Row], lists: Mapping[str, Sequence[_Row]]) -> Iterator[str]:
    every = [row for rows in lists.values() for row in rows]
    yield from told(
        "rows that last no time, all of which is background", (str(row) for row in every if row.onset == row.offset)
    )
    unused = Counter(annotated) - Counter(every)
    yield from told("rows of Annotations.txt that are in no list, and not used", (str(row) for row in unused.elements()))
    counts = Counter(row.video for row in every)
    yield from told("videos with several rows, each a clip", (video for video, number in counts.items() if number > 1))
    videos = {split: list(dict.fromkeys(row.video for row in rows)) for split, rows in lists.items()}
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        yield from told(f"videos that are in both {one} and {other}", (v for v in videos[one] if v in set(videos[other])))
