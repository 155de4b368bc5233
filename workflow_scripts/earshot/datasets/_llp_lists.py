"""The lists of LLP and of sets in its format: which videos there are, and what is heard and seen in them.

Tab-separated files with a header and without quoting. `AVVP_train.csv`, `AVVP_val_pd.csv` or `AVVP_val.csv`, and
`AVVP_test_pd.csv` or `AVVP_test.csv`: `filename, event_labels` (comma-separated: somewhere in the clip, heard or seen).
`AVVP_eval_audio.csv` and `AVVP_eval_visual.csv`: `filename, onset, offset, event_labels` (one class; seconds of the clip,
half-open), of the clips of any list. Source: Tian et al., "Unified Multisensory Perception: Weakly-Supervised Audio-Visual
Video Parsing", ECCV 2020, and its public repository.

What makes a list another list than it is taken for is an error: columns, cells, classes, times beyond the clip. Rows that are
merely odd, as the published lists have some, become remarks that count and name them.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from earshot.datasets import ClipRow, DatasetError, EventRow, Index

SECONDS = 10  # of a clip
SPLITS = {
    "train": ("AVVP_train.csv",),
    "val": ("AVVP_val_pd.csv", "AVVP_val.csv"),
    "test": ("AVVP_test_pd.csv", "AVVP_test.csv"),
}
AUDIO, VISUAL = "AVVP_eval_audio.csv", "AVVP_eval_visual.csv"
_WEAK = ("filename", "event_labels")
_DENSE = ("filename", "onset", "offset", "event_labels")


Remarks = dict[str, list[str]]  # what is odd, and the rows that are


class _Video(NamedTuple):
    where: str
    split: str
    labels: tuple[str, ...]


class _Event(NamedTuple):
    name: str
    label: str
    onset: float
    offset: float
    line: int
    text: str  # the row as it is written

    @property
    def same(self) -> tuple[str, str, float, float]:
        """What equal rows share."""
        return self[:4]


def read(root: Path, videos: str, suffix: str, classes: Sequence[str], audio: str = AUDIO) -> Index:
    """The clips of the lists in `root` and their events, dense and weak; `classes` in order, or none: the sorted labels.

    `audio` names the list of what is heard. Raises DatasetError for lists that cannot be used as they are.
    """
    remarks: Remarks = {}
    listed = _videos(root, remarks)
    path = {name: f"{videos}/{name}{suffix}" for name in listed}
    events = []
    for name, video in listed.items():
        _refuse_strangers(video.labels, classes, video.where)
        events += [EventRow(path[name], "weak", label, math.nan, math.nan) for label in video.labels]
    for file, modality in ((audio, "audio"), (VISUAL, "visual")):
        for event in _events(root / file, listed, remarks):
            _refuse_strangers([event.label], classes, _where(root / file, event.line))
            events.append(EventRow(path[event.name], modality, event.label, event.onset, event.offset))
    clips = tuple(ClipRow(path[name], video.split, "") for name, video in listed.items())
    told = tuple(f"{kind}: {len(rows)} ({'; '.join(rows)})" for kind, rows in remarks.items())
    return Index(tuple(classes) or tuple(sorted({event.label for event in events})), clips, tuple(events), told)


def _refuse_strangers(labels: Sequence[str], classes: Sequence[str], where: str) -> None:
    for label in labels:
        if classes and label not in classes:
            raise DatasetError(f"{where}: '{label}' is none of the classes {', '.join(classes)}; correct it, or their list")


def _note(remarks: Remarks, path: Path, kind: str, rows: Iterable[str]) -> None:
    told = list(rows)
    if told:
        remarks[f"{path.name}, {kind}"] = told


# --- which videos there are -------------------------------------------------------------------------------------------


def _videos(root: Path, remarks: Remarks) -> dict[str, _Video]:
    """Videos by name, in the order of the lists."""
    found: dict[str, _Video] = {}
    for split, names in SPLITS.items():
        files = [name for name in names if (root / name).exists()]
        if len(files) > 1:
            raise DatasetError(f"{root}: both {' and '.join(files)} list the {split} split; keep one of them")
        for path in (root / name for name in files):
            _read_weak(path, split, found, remarks)
    if not found:
        raise DatasetError(f"{root}: none of {', '.join(name for names in SPLITS.values() for name in names)} lists a video")
    return found


def _read_weak(path: Path, split: str, found: dict[str, _Video], remarks: Remarks) -> None:
    """Add the videos of a list to those that were found."""
    doubled = []
    for line, row in _rows(path, _WEAK):
        where, name = _where(path, line), row["filename"]
        labels = [label.strip() for label in row["event_labels"].split(",")]
        _refuse_video(where, name, labels, found)
        doubled += [name] if len(set(labels)) < len(labels) else []
        found[name] = _Video(where, split, tuple(dict.fromkeys(labels)))
    _note(remarks, path, "rows that name a class twice", doubled)


def _refuse_video(where: str, name: str, labels: Sequence[str], found: Mapping[str, _Video]) -> None:
    place = PurePosixPath(name)
    if not name or place.is_absolute() or ".." in place.parts:
        raise DatasetError(f"{where}: '{name}' cannot be a file below the folder of the videos; correct or remove the row")
    if not all(labels):
        raise DatasetError(f"{where}: a label of {name} is empty; give it classes with commas between, or remove the row")
    if name in found:
        raise DatasetError(f"{where}: {name} is there already, in {found[name].where}; remove one of the rows")


# --- what is heard and seen in them -----------------------------------------------------------------------------------


def _events(path: Path, listed: Mapping[str, _Video], remarks: Remarks) -> list[_Event]:
    """The rows of a dense list that can be used; what is odd about them, and those that cannot, become remarks."""
    if not path.exists():
        _note(remarks, path, "nothing is known of when its events are", ["the list is not there"])
    rows = [_event(line, row) for line, row in _rows(path, _DENSE)]
    faults = [_fault(path, event, listed) for event in rows]
    used = [event for event, fault in zip(rows, faults, strict=True) if not fault]
    if rows and not used:
        raise DatasetError(f"{path}: none of the {len(rows)} rows can be used; line {rows[0].line} {faults[0]}: {rows[0].text}")
    for kind in sorted(set(faults) - {""}):
        told = (event.text for event, fault in zip(rows, faults, strict=True) if fault == kind)
        _note(remarks, path, f"rows not used, each of which {kind}", told)
    strange = (event.text for event in used if event.label not in listed[event.name].labels)
    _note(remarks, path, "rows that repeat another", _doubles(used))
    _note(remarks, path, "rows that overlap another of their class", _overlaps(used))
    _note(remarks, path, "rows of a class that the weak label of their video lacks", strange)
    return used


def _event(line: int, row: Mapping[str, str]) -> _Event:
    name, onset, offset, label = (row[column] for column in _DENSE)
    return _Event(name, label, _seconds(onset), _seconds(offset), line, f"{name} {label} {onset}-{offset}")


def _seconds(text: str) -> float:
    """A time, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _fault(path: Path, event: _Event, listed: Mapping[str, _Video]) -> str:
    """Why a row cannot be used; empty: it can. Raises DatasetError for times of something else than the clip."""
    times = (event.onset, event.offset)
    if not all(map(math.isfinite, times)):
        return "has a time that is no number"
    if event.offset <= event.onset:
        return "lasts no time"
    if event.name not in listed:
        return "names a video that no list has"
    if not all(0 <= time <= SECONDS for time in times):
        raise DatasetError(
            f"{_where(path, event.line)}: {event.text} is not within a clip of {SECONDS} s; give seconds from the clip's start"
        )
    return ""


def _doubles(events: Sequence[_Event]) -> Iterator[str]:
    seen = set()
    for event in events:
        if event.same in seen:
            yield event.text
        seen.add(event.same)


def _overlaps(events: Sequence[_Event]) -> Iterator[str]:
    """Distinct rows that begin before another of their video and class, of no later onset, has ended."""
    ends: dict[tuple[str, str], float] = {}
    for event in sorted({event.same: event for event in events}.values(), key=lambda e: (e.onset, e.offset)):
        end = ends.get((event.name, event.label), 0.0)
        if event.onset < end:
            yield event.text
        ends[event.name, event.label] = max(end, event.offset)


# --- the files --------------------------------------------------------------------------------------------------------


def _where(path: Path, line: int) -> str:
    return f"{path}, line {line}"


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells by column of each row; nothing if the file is absent."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = next(reader, [])
            if not set(columns) <= set(header):
                raise DatasetError(f"{path}: expected the tab-separated columns {', '.join(columns)}; the header is {header}")
            for cells in filter(None, reader):
                if len(cells) != len(header):
                    where = _where(path, reader.line_num)
                    raise DatasetError(f"{where}: {len(cells)} cells between tabs, not {len(header)}: {cells}; correct the row")
                yield reader.line_num, dict(zip(header, cells, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path}: no list of tab-separated UTF-8 text ({error}); save it as such") from error
