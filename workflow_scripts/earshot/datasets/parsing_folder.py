"""Audio-visual video parsing sets in the file format of LLP: a folder of 10 s videos with weak labels and dense events.

Tab-separated files with a header: `AVVP_train.csv`, `AVVP_val_pd.csv` (optional) and `AVVP_test.csv` or `AVVP_test_pd.csv`
with `filename, event_labels` (comma-separated); `AVVP_eval_audio.csv` and `AVVP_eval_visual.csv` with `filename, onset,
offset, event_labels` in whole seconds, half-open. Source of the format: Tian et al., "Unified Multisensory Perception:
Weakly-Supervised Audio-Visual Video Parsing", ECCV 2020. Rows that match no clip or last no time are counted, not used.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field

from earshot.datasets import ClipRow, Dataset, DatasetError, EventRow, Index

SPEC = Dataset("A folder of parsing videos", "parsing", None, licence="the user's", citation="format of LLP, ECCV 2020")
_LISTS = {"AVVP_train.csv": "train", "AVVP_val_pd.csv": "val", "AVVP_test_pd.csv": "test", "AVVP_test.csv": "test"}


class Options(BaseModel, extra="forbid"):
    """Where the videos are below the root, and their suffix."""

    videos: str = Field("videos", description="folder of the videos, relative to the root")
    suffix: str = ".mp4"
    classes: list[str] = Field(default_factory=list, description="class names in order; empty: the sorted labels")


def index(root: Path, options: Options) -> Index:
    """List the videos and their events; raises DatasetError for a list that cannot be used."""
    weak = {name: (split, labels) for file, split in _LISTS.items() for name, labels in _weak(root / file)}
    if not weak:
        raise DatasetError(f"{root}: none of {', '.join(_LISTS)} lists a video")
    video = {name: f"{options.videos}/{name}{options.suffix}" for name in weak}
    clips = tuple(ClipRow(video[name], split, "") for name, (split, _) in weak.items())
    events, remarks = [], []
    for modality in ("audio", "visual"):
        for name, onset, offset, label in _dense(root / f"AVVP_eval_{modality}.csv"):
            if name not in weak or offset <= onset:
                remarks.append(f"AVVP_eval_{modality}.csv: {name} {onset}-{offset} {label} is not used")
            else:
                events.append(EventRow(video[name], modality, label, onset, offset))
    labels = {label for _, found in weak.values() for label in found} | {event.label for event in events}
    return Index(tuple(options.classes) or tuple(sorted(labels)), clips, tuple(events), tuple(remarks))


def _weak(path: Path) -> list[tuple[str, list[str]]]:
    return [(row["filename"], row["event_labels"].split(",")) for row in _rows(path, {"filename", "event_labels"})]


def _dense(path: Path) -> Iterator[tuple[str, float, float, str]]:
    for row in _rows(path, {"filename", "onset", "offset", "event_labels"}):
        yield row["filename"], float(row["onset"]), float(row["offset"]), row["event_labels"]


def _rows(path: Path, columns: set[str]) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter="\t")
        if not columns <= set(reader.fieldnames or ()):
            raise DatasetError(f"{path}: expected the tab-separated columns {', '.join(sorted(columns))}")
        return list(reader)
