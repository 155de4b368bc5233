"""Top-k accuracy in percent from logits and labels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bools = NDArray[np.bool_]


def hits(logits: ArrayLike, labels: ArrayLike, k: int = 1) -> Bools:
    """Whether the label is among the k largest logits: logits (N, K), labels (N,) give (N,) bool.

    Equal logits are ranked by class, the lowest index first, so that a constant output is worth one class and no more. A
    row that holds NaN is wrong: a diverged model has predicted nothing.
    """
    scores, wanted = np.asarray(logits), np.asarray(labels, dtype=np.int64)
    if not len(wanted):
        return np.zeros(0, dtype=np.bool_)
    if wanted.min() < 0 or wanted.max() >= scores.shape[1]:
        raise ValueError(f"labels {wanted.min()} to {wanted.max()} do not fit {scores.shape[1]} classes")
    own = np.take_along_axis(scores, wanted[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < wanted[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return (rank < k) & ~np.isnan(scores).any(axis=1)


def top_k(logits: ArrayLike, labels: ArrayLike, k: int = 1) -> float:
    """Share in percent of rows whose label is among the k largest logits; NaN if there are no rows."""
    found = hits(logits, labels, k)
    return float(found.mean() * 100) if len(found) else float("nan")
