"""Video parsing as one would first write it, to compare with: the same mathematics without rearranging anything.

Input stages as in published code: CLAP's map is resized to 2 x 1,024 positions, every one goes through the linear layer, and
only then are they averaged down to ten seconds; ResNet's 80 frames go through theirs one by one. The evaluation takes one
video at a time and loops over classes and events, as the official one does.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

KINDS = ("a", "v", "av", "event")


def audio_stage(layer: nn.Linear, tokens: Tensor) -> Tensor:
    """CLAP tokens (B, 64, 768) to features (B, 10, D) through a bicubic map of 2 x 1,024."""
    maps = tokens.transpose(1, 2).reshape(len(tokens), -1, 2, 32)
    large = nn.functional.interpolate(maps, size=(2, 1024), mode="bicubic", align_corners=False)
    projected = layer(large.permute(0, 2, 3, 1)).mean(1)  # (B, 1024, D)
    return nn.functional.adaptive_avg_pool1d(projected.transpose(1, 2), 10).transpose(1, 2)


def frame_stage(layer: nn.Linear, frames: Tensor) -> Tensor:
    """ResNet's frames (B, 80, 2048) to features (B, 10, D)."""
    projected = layer(frames)
    return projected.reshape(len(frames), 10, 8, -1).mean(2)


def events_of(row: np.ndarray) -> list[tuple[int, int]]:
    """Half-open runs of ones in a row (10,)."""
    found, start = [], None
    for t, on in enumerate([*row, 0]):
        if on and start is None:
            start = t
        elif not on and start is not None:
            found.append((start, t))
            start = None
    return found


def _matches(first: tuple[int, int], second: tuple[int, int]) -> bool:
    shared = max(0, min(first[1], second[1]) - max(first[0], second[0]))
    return 2 * shared >= (first[1] - first[0]) + (second[1] - second[0]) - shared


def _segment_counts(said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts by class of rows (C, 10)."""
    return (said * true).sum(1), (said * (1 - true)).sum(1), ((1 - said) * true).sum(1)


def _event_counts(said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tp, fp, fn = np.zeros((3, len(said)))
    for c in range(len(said)):
        found, wanted = events_of(said[c]), events_of(true[c])
        for event in found:
            hit = any(_matches(event, other) for other in wanted)
            tp[c] += hit
            fp[c] += not hit
        fn[c] = sum(not any(_matches(event, other) for event in found) for other in wanted)
    return tp, fp, fn


def _mean_f(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> float:
    total, active = 0.0, 0
    for c in range(len(tp)):
        if tp[c] + fp[c] or tp[c] + fn[c]:
            total += 2 * tp[c] / (2 * tp[c] + (fn[c] + fp[c]))
            active += 1
    return total / active if active else 1.0


def video_scores(video: np.ndarray, segments: np.ndarray, true: np.ndarray) -> list[float]:
    """Scores of one video, segments then events, each a, v, av, event: video (C,), segments (10, 2, C), true (2, C, 10)."""
    gate = (video >= 0.5)[:, None]
    heard, seen = ((segments[:, m] >= 0.5).T * gate.astype(float) for m in (0, 1))
    truth = true.astype(float)
    pairs = {"a": (heard, truth[0]), "v": (seen, truth[1]), "av": (heard * seen, truth[0] * truth[1])}
    scores = []
    for count in (_segment_counts, _event_counts):
        counts = {kind: count(*pair) for kind, pair in pairs.items()}
        counts["event"] = tuple(x + y for x, y in zip(counts["a"], counts["v"], strict=True))
        scores += [_mean_f(*counts[kind]) for kind in KINDS]
    return scores


def targets(name: str, heard: Sequence[tuple], seen: Sequence[tuple], n_classes: int) -> np.ndarray:
    """Truth (2, C, 10) of a video, looked up in the rows (name, class, onset, offset) of both tables."""
    true = np.zeros((2, n_classes, 10))
    for m, rows in enumerate((heard, seen)):
        for other, c, onset, offset in rows:
            if other == name:
                true[m, c, onset:offset] = 1
    return true


def summary(scores: Sequence[Sequence[float]]) -> list[float]:
    """The ten scores from those of each video: a, v, av, type, event of segments, then of events."""
    means = [100 * float(np.mean(np.array([row[k] for row in scores]))) for k in range(8)]
    found = []
    for a, v, av, event in (means[:4], means[4:]):
        found += [a, v, av, (av + a + v) / 3, event]
    return found
