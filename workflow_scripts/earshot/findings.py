"""What is wrong with a dataset beyond single files: leaks between splits, duplicates, absent sound; and what identifies it.

A leak is one file, one content or one recording in two splits. A duplicate is one content under two names in one split. Clips
cut out of one file are neither, unless they are in two splits.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

from earshot.datasets import EventRow, Index, MaskRow, name_of
from earshot.files import fingerprint

LEAK, DUPLICATE, UNAVAILABLE = "leak", "duplicate", "unavailable"
UNDECODED, NO_TRACK, SILENT, UNEXPECTED = "undecodable sound", "no track", "silent", "unexpected track"
KINDS = (LEAK, DUPLICATE, UNAVAILABLE, UNDECODED, NO_TRACK, SILENT, UNEXPECTED)

Row = Mapping[str, Any]


def find(rows: Sequence[Row], classes: Sequence[str], audible: frozenset[str] | None) -> list[dict[str, Any]]:
    """Rows of FINDINGS of a dataset's clips, leaks first.

    `audible` names the classes whose clips should have a track; None: all should.
    """
    found = [*_shared(rows), *_copies(rows)]
    for row in rows:
        found += _of_clip(row, classes[row["label"]] if row["label"] >= 0 else "", audible)
    return sorted(found, key=lambda row: (KINDS.index(row["kind"]), row["clip_id"], row["other"]))


def _finding(kind: str, row: Row, note: str, other: Row | None = None) -> dict[str, Any]:
    beside = {"other": other["clip_id"], "other_split": other["split"]} if other else {"other": "", "other_split": ""}
    return {"kind": kind, "clip_id": row["clip_id"], "split": row["split"], **beside, "note": note}


def _groups(rows: Iterable[Row], name: Callable[[Row], str]) -> Iterator[tuple[str, list[Row]]]:
    """Rows that share a name, which is not empty."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if name(row):
            found[name(row)].append(row)
    return ((key, some) for key, some in found.items() if len(some) > 1)


def _shared(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Files, contents and recordings that are in two splits; each pair of clips is told once, by the strongest reason."""
    told: set[tuple[str, str]] = set()
    names: tuple[tuple[str, Callable[[Row], str]], ...] = (
        ("one file", lambda row: str(row["video"])),
        ("equal files", lambda row: str(row["sha256"])),
        ("one recording", lambda row: str(row["group"])),
    )
    for what, name in names:
        for key, some in _groups(rows, name):
            for first, other, count in _across(some):
                pair = first["clip_id"], other["clip_id"]
                if pair not in told:
                    told.add(pair)
                    note = f"{what}: {key}" if what != "equal files" else what
                    yield _finding(LEAK, first, f"{note}, {count} clips" if count > 2 else note, other)


def _across(rows: Sequence[Row]) -> Iterator[tuple[Row, Row, int]]:
    """For each two splits that share something: the first clip in either, and how many there are in both."""
    by_split: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_split[row["split"]].append(row)
    for one, other in combinations(sorted(by_split, key=("train", "val", "test").index), 2):
        yield by_split[one][0], by_split[other][0], len(by_split[one]) + len(by_split[other])


def _copies(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for _, some in _groups(rows, lambda row: f"{row['split']} {row['sha256']}" if row["sha256"] else ""):
        first = some[0]
        for row in some[1:]:
            if row["video"] != first["video"]:
                yield _finding(DUPLICATE, row, "equal files", first)


def _of_clip(row: Row, label: str, audible: frozenset[str] | None) -> Iterator[dict[str, Any]]:
    if not row["available"]:
        yield _finding(UNAVAILABLE, row, row["problem"])
        return
    wanted = audible is None or label in audible
    if not row["audio_rate"] and wanted:
        yield _finding(NO_TRACK, row, "")
    elif row["audio_rate"] and not wanted:
        yield _finding(UNEXPECTED, row, f"class {label}")
    if row["audio_rate"] and math.isnan(row["level"]):
        yield _finding(UNDECODED, row, row["problem"])
    elif row["audio_rate"] and math.isinf(row["level"]):
        yield _finding(SILENT, row, "every sample is zero")


def summary(rows: Sequence[Row], found: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Counts of each split: clips listed and found, without a track, with a silent one, in duplicates and in leaks."""
    made = {}
    for split in ("train", "val", "test"):
        own = [row for row in rows if row["split"] == split]
        there = [row for row in own if row["available"]]
        made[split] = {
            "listed": len(own),
            "found": len(there),
            "no_track": sum(not row["audio_rate"] for row in there),
            "silent": sum(bool(row["audio_rate"]) and math.isinf(row["level"]) for row in there),
            "duplicates": sum(row["kind"] == DUPLICATE and row["split"] == split for row in found),
            "leaks": sum(row["kind"] == LEAK and split in (row["split"], row["other_split"]) for row in found),
        }
    return made


def split_hash(listed: Index, clip_ids: Sequence[str]) -> str:
    """Identity of what is asked of which clip in which split: of the lists alone, whatever of the files is there, and where.

    Clips count by their names without folders, unless two would share one.
    """
    short = [PurePosixPath(name).name for name in clip_ids]
    names = dict(zip(clip_ids, short if len(set(short)) == len(short) else clip_ids, strict=True))

    def short_of(row: EventRow | MaskRow) -> str:
        return names.get(name_of(row), name_of(row))

    pairs = zip(listed.clips, clip_ids, strict=True)
    clips = sorted([clip.split, names[name], clip.label, clip.start, clip.end] for clip, name in pairs)
    events = sorted([short_of(row), row.modality, row.label, str(row.onset), str(row.offset)] for row in listed.events)
    questions = sorted([row.question, row.split, row.answer] for row in listed.questions)
    masks = sorted([short_of(row), row.second] for row in listed.masks)
    asked = {"classes": list(listed.classes), "clips": clips, "events": events, "questions": questions, "masks": masks}
    return fingerprint(asked)
