"""What readers of lists share: rows of CSV files, clips that are held out by a hash of their recording, and the first few."""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from earshot.datasets import ClipRow, DatasetError
from earshot.datasets._prepared import text, told

First = dict[Literal["train", "val", "test"], Annotated[int, Field(ge=1)]]  # at most so many clips of a split


def table(path: Path, columns: Sequence[str], hint: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV file with a header: where each is, and its cells; raises DatasetError for another header or a short row."""
    reader = csv.DictReader(text(path, hint).splitlines())
    if absent := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise DatasetError(f"{path}: column {', '.join(absent)} is missing; the header is {reader.fieldnames}; {hint}")
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if any(row[name] is None for name in columns):
            raise DatasetError(f"{where}: fewer cells than the header has: {list(row.values())}; correct the row")
        yield where, {name: str(row[name]).strip() for name in columns}


def hashed(name: str) -> float:
    """A number in [0, 1) that depends only on the text."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def held_out(clips: Iterable[ClipRow], share: float) -> list[ClipRow]:
    """About a share of the training recordings become validation, whole and chosen by a hash of their names."""
    named = ((clip, clip.group or clip.clip or clip.video) for clip in clips)
    return [replace(c, split="val") if c.split == "train" and hashed(name) < share else c for c, name in named]


def held(published: Mapping[str, int], clips: Iterable[ClipRow]) -> dict[str, int]:
    """Published counts of splits, less what was held out of the training clips."""
    count = sum(clip.split == "val" for clip in clips)
    return {**published, "train": published["train"] - count, "val": count} if "train" in published else dict(published)


def without_clips(classes: Iterable[str], clips: Iterable[ClipRow]) -> tuple[str, ...]:
    """A remark that names the classes of which no clip is listed."""
    found = {clip.label for clip in clips}
    return told("classes of which no clip is listed", (name for name in classes if name not in found))


def first_of(clips: Sequence[ClipRow], first: Mapping[Any, int]) -> tuple[ClipRow, ...]:
    """At most so many clips of each split, from the top of the list."""
    kept, counts = [], dict.fromkeys(("train", "val", "test"), 0)
    for clip in clips:
        counts[clip.split] += 1
        if counts[clip.split] <= first.get(clip.split, len(clips)):
            kept.append(clip)
    return tuple(kept)


def distinct(clips: Iterable[ClipRow]) -> tuple[list[ClipRow], tuple[str, ...]]:
    """Without rows that name a clip again, and the remark that names them."""
    kept: dict[str, ClipRow] = {}
    again = []
    for clip in clips:
        if kept.setdefault(clip.clip or clip.video, clip) is not clip:
            again.append(f"{clip.clip or clip.video} as {clip.split} {clip.label}")
    return list(kept.values()), told("rows that name a clip again, and are not used", again)


def files_by_name(root: Path, suffixes: Sequence[str]) -> dict[str, list[str]]:
    """Paths below a folder, by the names of files, sorted; links are followed, hidden folders left out."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for folder, inside, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        inside[:] = sorted(name for name in inside if not name.startswith(".") and real not in seen)
        seen.add(real)
        place = Path(folder).relative_to(root)
        for name in names:
            if name.lower().endswith(tuple(suffixes)):
                found.setdefault(name, []).append((place / name).as_posix())
    return {name: sorted(paths) for name, paths in found.items()}
