"""Clips and questions as prompted encoders get them: frames and sound by segment, and the labels that a task asks for.

Arrays of frames, sound and masks stay memory-mapped; a batch copies only its own rows. A clip that lacks one of them is left
out and named. An item is a clip or, for answering, a question about one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earshot import contracts, feature_store, questions, shots
from earshot.metrics import parsing_f_score
from earshot.randomness import numpy_generator
from earshot.tasks import Batch

_SCALE = 32_768.0  # of waves kept as 16-bit numbers


@dataclass(frozen=True)
class Sources:
    """Paths: the tables of a dataset, and arrays by name: frames, waves, and masks or motion where a task asks for them."""

    clips: str
    classes: str
    events: str
    questions: str
    arrays: Mapping[str, str]


@dataclass(frozen=True)
class Items:
    """The usable items of a split: names, clips, rows of the arrays, and labels (N, ...) by name.

    `missing` says why items were left out; `words` is the size of the vocabulary of questions, 0 without any.
    """

    names: Sequence[str]
    clip_ids: Sequence[str]
    stores: Mapping[str, feature_store.Features]
    rows: Mapping[str, NDArray[np.int64]]
    labels: Mapping[str, NDArray[Any]]
    missing: Mapping[str, str] = field(default_factory=dict)
    words: int = 0
    negatives: bool = False
    classes: int = 0

    def __len__(self) -> int:
        """The number of usable items."""
        return len(self.names)

    @property
    def says_nothing(self) -> bool:
        """Whether the labels by second, if the task has any, hold no event at all: a model that is silent would be right."""
        dense, segments = self.labels.get("dense"), self.labels.get("segments")
        return (dense is not None and not dense.any()) or (segments is not None and bool((segments == self.classes).all()))

    def batch(self, picks: NDArray[np.int64], *key: object) -> Batch:
        """The items at these places, with frames of other clips for tasks that learn from them, if a `key` decides which."""
        frames = torch.from_numpy(self._take("frames", picks))
        waves = torch.from_numpy(self._take("waves", picks)).float() / _SCALE
        labels = {name: torch.from_numpy(values[picks]) for name, values in self.labels.items()}
        labels |= {name: torch.from_numpy(self._take(name, picks)) for name in ("masks", "motion") if name in self.stores}
        if self.negatives and key:
            labels["negatives"] = self._negatives(picks, *key)
        return Batch(frames, waves, labels)

    def truth(self) -> dict[str, NDArray[Any]]:
        """All labels of all items, in their order."""
        everything = np.arange(len(self))
        held = {name: self._take(name, everything) for name in ("masks",) if name in self.stores}
        return {**self.labels, **held}

    def few(self, count: int) -> "Items":
        """The first `count` items of each class; those of no class, or of several, are passed over."""
        picks = shots.first_of_each(self._own_classes(), count)
        rows = {name: places[picks] for name, places in self.rows.items()}
        labels = {name: values[picks] for name, values in self.labels.items()}
        names, clips = ([every[place] for place in picks] for every in (self.names, self.clip_ids))
        return replace(self, names=names, clip_ids=clips, rows=rows, labels=labels)

    def _own_classes(self) -> NDArray[np.int64]:
        """The class (N,) of each item, `shots.NONE` for those that have none."""
        if "label" in self.labels:
            return self.labels["label"]
        if "weak" in self.labels:
            return shots.single_classes(self.labels["weak"])
        first = self.labels["segments"].min(axis=1)  # background is above all classes
        return np.where(first == self.classes, shots.NONE, first)

    def _take(self, name: str, picks: NDArray[np.int64]) -> NDArray[Any]:
        return self.stores[name].array[self.rows[name][picks]]

    def _negatives(self, picks: NDArray[np.int64], *key: object) -> Tensor:
        """For each segment a frame (B, T, H, W, 3) of another clip at any time; the clip itself is never drawn."""
        rows, array = self.rows["frames"], self.stores["frames"].array
        clips = np.unique(rows)
        drawn = np.empty((len(picks), *array.shape[1:]), array.dtype)
        for place, pick in enumerate(picks):
            others = clips[clips != rows[pick]]
            if not len(others):
                raise ValueError("frames of other clips are asked for, and there is one clip only")
            generator = numpy_generator("negatives", self.names[pick], *key)
            times = generator.integers(array.shape[1], size=array.shape[1])
            drawn[place] = array[generator.choice(others, array.shape[1]), times]
        return torch.from_numpy(drawn)


def load(sources: Sources, split: str, task: Mapping[str, Any]) -> Items:
    """The items of a split that a task (`plugins.describe`) can use; raises ValueError where there is none."""
    asked = questions.of_split(sources.questions, split) if "question" in task["truth"] else None
    clips = {row["clip_id"]: row for row in contracts.read(sources.clips, contracts.CLIPS) if asked or row["split"] == split}
    names, owners = (asked.ids, asked.clip_ids) if asked else (list(clips), list(clips))
    if not names:
        raise ValueError(f"{sources.clips}: no {'question' if asked else 'clip'} is in the split '{split}'")
    stores = {name: feature_store.read(path) for name, path in sources.arrays.items() if path}
    problems = _problems(list(dict.fromkeys(owners)), stores)
    kept = [place for place, owner in enumerate(owners) if owner not in problems]
    if not kept:
        first = next(iter(problems.items()))
        raise ValueError(f"{sources.clips}: none of {len(names)} of '{split}' can be used; e.g. {first[0]}: {first[1]}")
    usable = [owners[place] for place in kept]
    labels = _labels(sources, task["truth"], [clips[clip] for clip in usable])
    if asked:
        labels |= {name: values[kept] for name, values in asked.labels.items()}
    return Items(
        [names[place] for place in kept], usable, stores, {n: s.rows_of(usable) for n, s in stores.items()}, labels,
        {names[place]: problems[owner] for place, owner in enumerate(owners) if owner in problems},
        asked.words if asked else 0, "negatives" in task["truth"], len(contracts.read(sources.classes, contracts.CLASSES)),
    )  # fmt: skip


def listed(sources: Sources, split: str, task: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and clip of every item of a split, also of those that cannot be used."""
    if "question" in task["truth"]:
        asked = questions.of_split(sources.questions, split)
        return list(zip(asked.ids, asked.clip_ids, strict=True))
    rows = contracts.read(sources.clips, contracts.CLIPS)
    return [(row["clip_id"], row["clip_id"]) for row in rows if row["split"] == split]


def _problems(clips: Sequence[str], stores: Mapping[str, feature_store.Features]) -> dict[str, str]:
    """Why clips cannot be used, by name; those that can are left out."""
    found: dict[str, str] = {}
    for name, store in stores.items():
        for clip, row in zip(clips, store.rows_of(clips), strict=True):
            if not store.available[row]:
                found[clip] = "; ".join(filter(None, (found.get(clip), f"{name}: {store.problems[row]}")))
    return found


def load_truth(paths: Mapping[str, str], wanted: Sequence[str], items: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The labels `wanted`, as `tasks.LABELS` names them, of these items, usable or not, in their order.

    `paths` are the tables clips, classes, events and questions, and the array masks where the task has any.
    """
    clips = {row["clip_id"]: row for row in contracts.read(paths["clips"], contracts.CLIPS)}
    if "question" in wanted:
        asked = questions.of_split(paths["questions"])
        places = {name: place for place, name in enumerate(asked.ids)}
        order = [places[item] for item in items]
        return {name: values[order] for name, values in asked.labels.items()}
    sources = Sources(paths["clips"], paths["classes"], paths["events"], "", {})
    found = _labels(sources, wanted, [clips[item] for item in items])
    if "masks" in wanted:
        store = feature_store.read(paths["masks"])
        found["masks"] = store.array[store.rows_of(items)]
    return found


# --- labels -----------------------------------------------------------------------------------------------------------


def _labels(sources: Sources, wanted: Sequence[str], clips: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    made: dict[str, NDArray[Any]] = {}
    if {"segments", "dense", "weak"} & set(wanted):
        dense, weak = _events(sources, clips)
        made |= {"segments": segment_classes(dense), "dense": dense, "weak": weak}
    if "label" in wanted:
        made["label"] = _classes(clips)
    return {name: values for name, values in made.items() if name in wanted}


def _events(sources: Sources, clips: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """What is heard and seen in each second, (N, 2, C, T), and somewhere in the clip, (N, C).

    In a set without events, whose clips have one class each, it is heard and seen in all of the clip. Where weak labels are
    given, they alone tell what is somewhere in the clip: dense events may name more.
    """
    classes = len(contracts.read(sources.classes, contracts.CLASSES))
    rows = contracts.read(sources.events, contracts.EVENTS)
    if not rows:
        rows = _whole_clips(clips)
    places = {row["clip_id"]: place for place, row in enumerate(clips)}
    events: list[list[tuple[int, float, float, str]]] = [[] for _ in clips]
    weak = np.zeros((len(clips), classes), np.float32)
    weakly = {row["clip_id"] for row in rows if row["modality"] == "weak"}
    for row in rows:
        place = places.get(row["clip_id"])
        if place is not None:
            if row["modality"] == "weak" or row["clip_id"] not in weakly:
                weak[place, row["class_id"]] = 1
            events[place].append((row["class_id"], row["onset"], row["offset"], row["modality"]))
    return parsing_f_score.targets(classes, events), weak


def _whole_clips(clips: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of EVENTS by which the class of each clip is heard and seen in all of it."""
    times = {"onset": 0.0, "offset": float(parsing_f_score.SEGMENTS)}
    owned = zip(clips, _classes(clips).tolist(), strict=True)
    return [{"clip_id": row["clip_id"], "class_id": k, "modality": m, **times} for row, k in owned for m in ("audio", "visual")]


def segment_classes(dense: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The class (N, T) of each segment that is heard and seen, of events (N, 2, C, T); C where there is none.

    The first, where there are several (AVE has one a clip).
    """
    both = dense[:, 0] & dense[:, 1]  # (N, C, T)
    return np.where(both.any(axis=1), both.argmax(axis=1), both.shape[1]).astype(np.int64)


def _classes(clips: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    labels = np.array([row["label"] for row in clips], np.int64)
    if (labels < 0).any():
        clip = clips[int((labels < 0).argmax())]["clip_id"]
        raise ValueError(f"clip '{clip}' has no class of its own, and the task needs one for every clip")
    return labels
