"""F-scores of audio-visual video parsing, bit for bit those of the official evaluation of LLP (Tian et al., ECCV 2020).

A score is the mean over videos of the mean over classes of F, at the level of segments (one second) and of events (maximal
runs of segments; two match at an intersection over union of a half or more). The kinds are audio (A), visual (V), what is
both in one second (AV), their mean (TypeAV), and audio and visual counts taken together (EventAV). A video without truth and
without prediction of a kind counts as 1. The last bits depend on the order of sums, which is that of the official code.

Axes: N videos, modality 0 audio and 1 visual, C classes, T = 10 segments of one second.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Table = NDArray[np.int8]

SEGMENTS = 10
THRESHOLD = 0.5  # inclusive
MODALITIES = ("audio", "visual")
LEVELS = {"seg": "segment", "evt": "event"}
KINDS = ("A", "V", "AV")  # of counts; EventAV adds those of A and V
METRICS = tuple(f"f_score_{level}_{kind}" for level in LEVELS for kind in ("A", "V", "AV", "TypeAV", "EventAV"))
_MASKS = 1 << SEGMENTS


class Counts(NamedTuple):
    """True positives, false positives and false negatives, each (N, 3, C), or (3, C) if summed; kinds in order of `KINDS`."""

    tp: Floats
    fp: Floats
    fn: Floats

    def summed(self) -> "Counts":
        """Over videos: (3, C)."""
        return Counts(*(part.sum(axis=0) for part in self))


def targets(n_classes: int, rows: Sequence[Sequence[tuple[int, float, float, str]]]) -> Bools:
    """What is true in each second (N, 2, C, T), from the events (class_id, onset, offset, modality) of each of N videos.

    Times in seconds, cut to whole ones and half-open; events that overlap are a union, and one that ends before it has begun
    sets nothing. Weak labels have no times and set nothing. Raises ValueError for another modality, a class out of range, or
    a time that is negative or not finite.
    """
    truth = np.zeros((len(rows), len(MODALITIES), n_classes, SEGMENTS), dtype=np.bool_)
    events = [(video, *event) for video, group in enumerate(rows) for event in group if event[3] != "weak"]
    if not events:
        return truth
    videos, classes, onsets, offsets, names = (np.array(part) for part in zip(*events, strict=True))
    wrong = ~np.isin(names, MODALITIES) | (classes < 0) | (classes >= n_classes)
    wrong |= ~(np.isfinite(onsets) & np.isfinite(offsets) & (onsets >= 0) & (offsets >= 0))
    if wrong.any():
        video, *fault = events[int(wrong.argmax())]
        raise ValueError(f"video {video}: {tuple(fault)} is no event of {n_classes} classes, heard or seen at some time")
    seconds = np.arange(SEGMENTS)
    inside = (seconds >= onsets.astype(int)[:, None]) & (seconds < offsets.astype(int)[:, None])
    event, second = np.nonzero(inside)
    truth[videos[event], (names[event] == "visual").astype(int), classes[event], second] = True
    return truth


def decisions(video: ArrayLike, segments: ArrayLike) -> Bools:
    """What is said to be in each second (N, 2, C, T), from scores of whole videos (N, C) and of segments (N, T, 2, C).

    Both must reach 0.5, each compared in its own float type. Raises ValueError for shapes that do not fit and for NaN.
    """
    whole, parts = np.asarray(video), np.asarray(segments)
    if whole.ndim != 2 or parts.shape != (len(whole), SEGMENTS, len(MODALITIES), whole.shape[1]):
        raise ValueError(f"scores of videos {whole.shape} and of segments {parts.shape} are not (N, C) and (N, 10, 2, C)")
    lost = np.isnan(whole).any(axis=1) | np.isnan(parts).any(axis=(1, 2, 3))
    if lost.any():
        raise ValueError(f"scores of {lost.sum()} of {len(whole)} videos are NaN; the first is number {lost.argmax()}")
    said = (parts >= THRESHOLD) & (whole >= THRESHOLD)[:, None, None, :]
    return np.ascontiguousarray(said.transpose(0, 2, 3, 1))


@cache
def event_tables() -> tuple[Table, Table, Table]:
    """True positives, false positives and false negatives of events for every pair of masks, int8 (1024, 1024).

    Row: the mask of a prediction, column: that of the truth; bit t, of value 2**t, is segment t. Runs of one mask are apart, so
    at an overlap of a half or more a run matches one of the other mask at most, and no matching has to be chosen.
    """
    starts, ends = np.triu_indices(SEGMENTS + 1, 1)
    runs = (1 << ends) - (1 << starts)
    around = ((runs << 1) | runs | (runs >> 1)) & (_MASKS - 1)
    masks = np.arange(_MASKS)
    holds = ((masks[:, None] & around) == runs).astype(np.float32)  # (1024, 55): the run is in the mask, and is maximal
    shared = np.bitwise_count(runs[:, None] & runs).astype(int)
    either = np.bitwise_count(runs[:, None] | runs).astype(int)
    matched = (holds @ (2 * shared >= either).astype(np.float32) > 0).astype(np.float32)  # (1024, 55): a run of the mask fits
    hits = holds @ matched.T
    number = holds.sum(axis=1)
    return hits.astype(np.int8), (number[:, None] - hits).astype(np.int8), (number - hits.T).astype(np.int8)


def counts(decided: Bools, truth: Bools) -> dict[str, Counts]:
    """Counts (N, 3, C) of each level, `seg` and `evt`, of what was said and what is true, both (N, 2, C, T).

    Raises ValueError if the two differ in shape or are no such arrays.
    """
    if decided.shape != truth.shape or decided.shape[1::2] != (len(MODALITIES), SEGMENTS):
        raise ValueError(f"decisions {decided.shape} and truth {truth.shape} are not both (N, 2, C, 10)")
    said, true = _masks(decided), _masks(truth)
    segments = (np.bitwise_count(part).astype(np.float64) for part in (said & true, said & ~true, ~said & true))
    events = (table[said, true].astype(np.float64) for table in event_tables())
    return {"seg": Counts(*segments), "evt": Counts(*events)}


def _masks(present: Bools) -> NDArray[np.uint16]:
    """Segments (N, 2, C, T) as bits of whole numbers (N, 3, C); the third kind is what is both audible and visible."""
    low, high = np.moveaxis(np.packbits(present, axis=-1, bitorder="little"), -1, 0).astype(np.uint16)
    both = low | high << 8
    return np.concatenate([both, both[:, :1] & both[:, 1:]], axis=1)


def per_video(decided: Bools, truth: Bools) -> dict[str, Floats]:
    """Scores in [0, 1] of each video (N,), by metric; all but TypeAV, which is a mean of scores over videos."""
    scores = {}
    for level, part in counts(decided, truth).items():
        kinds = [Counts(*(table[:, number] for table in part)) for number in range(len(KINDS))]
        together = Counts(*(table[:, 0] + table[:, 1] for table in part))
        for kind, of_kind in zip((*KINDS, "EventAV"), (*kinds, together), strict=True):
            scores[f"f_score_{level}_{kind}"] = _video_scores(of_kind)
    return scores


def _video_scores(of_kind: Counts) -> Floats:
    """Mean F (N,) of the active classes of each video, from counts (N, C); 1 where no class is active."""
    f = f_scores(of_kind)
    active = (~np.isnan(f)).sum(axis=1)
    total = np.zeros(len(f))
    for column in np.nan_to_num(f, nan=0.0).T:  # one class after the other: a reduction adds in another order
        total += column
    return np.divide(total, active, out=np.ones_like(total), where=active > 0)


def f_scores(of_kind: Counts) -> Floats:
    """F in [0, 1] from counts of any one shape; NaN where there is neither truth nor prediction."""
    below = 2 * of_kind.tp + (of_kind.fn + of_kind.fp)
    return np.divide(2 * of_kind.tp, below, out=np.full_like(below, np.nan), where=below > 0)


def summary(videos: Mapping[str, Floats]) -> dict[str, float]:
    """The ten scores in percent, in the order of `METRICS`, from those of each video; ValueError if there is no video."""
    scores = {}
    for metric, values in videos.items():
        if not len(values):
            raise ValueError("there is no video to score: the split is empty, or nothing of it could be parsed")
        # one metric at a time: along an axis of a table NumPy adds in another order
        scores[metric] = float(100 * np.mean(np.ascontiguousarray(values)))
    for level in LEVELS:
        a, v, av = (scores[f"f_score_{level}_{kind}"] for kind in KINDS)
        scores[f"f_score_{level}_TypeAV"] = (av + a + v) / 3
    return {metric: scores[metric] for metric in METRICS}
