"""Clips of a parsing set as a parser gets them: features of their seconds, weak labels, truth and pseudo-labels.

Features stay memory-mapped; a batch copies only its own rows. A clip that lacks one of the features, or the pseudo-labels
that a parser needs, is left out and named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earshot import contracts, feature_store, pseudo_labels
from earshot.metrics import parsing_f_score
from earshot.parsers import AUDIO, SEGMENTS, VISUAL, Batch

STREAMS = ("audio", "visual", "motion")


@dataclass(frozen=True)
class Sources:
    """Paths: the tables of a dataset, the arrays of features by stream, and that of pseudo-labels, empty if there is none."""

    clips: str
    classes: str
    events: str
    features: Mapping[str, str]
    labels: str = ""


class Chosen(NamedTuple):
    """Some rows of an array."""

    array: NDArray[Any]
    rows: NDArray[np.int64]

    def take(self, picks: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of the chosen rows at these places."""
        return self.array[self.rows[picks]]


@dataclass(frozen=True)
class Split:
    """The usable clips of a split: features by stream, weak labels (N, C), truth (N, 2, C, T), and pseudo-labels if any.

    `dense` says whether the truth of any clip is known; `missing` why clips were left out, by name.
    """

    clip_ids: Sequence[str]
    streams: Mapping[str, Chosen]
    weak: NDArray[np.float32]
    truth: NDArray[np.bool_]
    labels: Chosen | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of usable clips."""
        return len(self.clip_ids)

    @property
    def dense(self) -> bool:
        """Whether anything is known of when events are."""
        return bool(self.truth.any())

    def batch(self, picks: NDArray[np.int64], shown: Tensor | None = None) -> Batch:
        """The clips at these places, with the pseudo-labels (B, T, 2, C) that a parser may look at."""
        parts = {name: torch.from_numpy(stream.take(picks)) for name, stream in self.streams.items()}
        learnt = self.gated(picks)
        weak = torch.from_numpy(self.weak[picks])
        return Batch(
            parts["audio"], parts["visual"], parts.get("motion"), weak, learnt[:, :, AUDIO], learnt[:, :, VISUAL], shown
        )

    def gated(self, picks: NDArray[np.int64]) -> Tensor:
        """Pseudo-labels (B, T, 2, C) masked by the weak labels; zeros where there are none."""
        if self.labels is None:
            return torch.zeros(len(picks), SEGMENTS, 2, self.weak.shape[1])
        found = pseudo_labels.gated(self.labels.take(picks), self.weak[picks])
        return torch.from_numpy(found).float().transpose(1, 2)

    def ungated(self, picks: NDArray[np.int64]) -> Tensor:
        """Pseudo-labels (B, T, 2, C) by thresholds alone; raises ValueError where there are none."""
        if self.labels is None:
            raise ValueError("this parser looks at pseudo-labels and the experiment names none in `pseudo_labels`")
        return torch.from_numpy(pseudo_labels.ungated(self.labels.take(picks))).float().transpose(1, 2)


def load(sources: Sources, split: str, labelled: bool = True) -> Split:
    """The clips of a split, in the order of the dataset's table; without pseudo-labels, if they do not count.

    Raises ValueError where there is no clip, or none that can be used.
    """
    listed = [row["clip_id"] for row in contracts.read(sources.clips, contracts.CLIPS) if row["split"] == split]
    if not listed:
        raise ValueError(f"{sources.clips}: no clip is in the split '{split}'")
    stores = {name: feature_store.read(path) for name, path in sources.features.items() if path}
    if sources.labels and labelled:
        stores["labels"] = feature_store.read(sources.labels)
    missing = _missing(listed, stores)
    usable = [clip for clip in listed if clip not in missing]
    if not usable:
        first = next(iter(missing.items()))
        raise ValueError(f"{sources.clips}: none of {len(listed)} clips of '{split}' can be used; e.g. {first[0]}: {first[1]}")
    chosen = {name: Chosen(store.array, store.rows_of(usable)) for name, store in stores.items()}
    weak, truth = _labels(sources, usable)
    if split == "train" and not weak.any():
        raise ValueError(f"{sources.events}: no training clip has a weak label: this is no parsing set")
    return Split(usable, {n: c for n, c in chosen.items() if n != "labels"}, weak, truth, chosen.get("labels"), missing)


def _missing(listed: Sequence[str], stores: Mapping[str, feature_store.Features]) -> dict[str, str]:
    """Why clips cannot be used, by name; those that can are left out."""
    found: dict[str, str] = {}
    for name, store in stores.items():
        for clip, row in zip(listed, store.rows_of(listed), strict=True):
            if not store.available[row]:
                found[clip] = "; ".join(filter(None, (found.get(clip), f"{name}: {store.problems[row]}")))
    return found


def _labels(sources: Sources, usable: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Weak labels (N, C) and truth (N, 2, C, T) of clips."""
    n_classes = len(contracts.read(sources.classes, contracts.CLASSES))
    places = {clip: number for number, clip in enumerate(usable)}
    events: list[list[tuple[int, float, float, str]]] = [[] for _ in usable]
    weak = np.zeros((len(usable), n_classes), np.float32)
    for row in contracts.read(sources.events, contracts.EVENTS):
        place = places.get(row["clip_id"])
        if place is None:
            continue
        if row["modality"] == "weak":
            weak[place, row["class_id"]] = 1
        else:
            events[place].append((row["class_id"], row["onset"], row["offset"], row["modality"]))
    return weak, parsing_f_score.targets(n_classes, events)
