"""Intervals and paired differences by a seeded percentile bootstrap over clips.

Rows of one clip (its seeds, its corruptions) are not independent, so a clip is drawn with all its rows: the clustered
bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). One set of resamples serves
all methods and conditions, which makes every difference between two of them a paired one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A statistic and its interval."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Resamples of N clips, as how often each clip was drawn: (R, N).

    The draw depends on the seed and on N alone, so equal tables get equal intervals.
    """

    def __init__(self, clips: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        generator = np.random.Generator(np.random.SFC64([seed, clips]))
        self.weights = np.zeros((resamples, clips))
        if clips:
            for row in self.weights:
                row[:] = np.bincount(generator.integers(clips, size=clips), minlength=clips)

    def ratios(self, sums: Floats, counts: Floats) -> Floats:
        """Resampled means: sums (M, N) and counts (M, N) over the rows of each clip give (R, M).

        NaN where a resample holds no row. Sums of whole numbers stay exact, so equal columns give equal results.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.weights @ sums.T) / (self.weights @ counts.T)


def means(sums: Floats, counts: Floats) -> Floats:
    """Means over all rows: sums (M, N) and counts (M, N) give (M,); NaN where there is no row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums.sum(axis=-1) / counts.sum(axis=-1)


def bounds(values: Floats, replicates: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Percentile bounds (M,) of replicates (R, M), widened where needed so that they hold the values (M,)."""
    low, high = np.full_like(values, np.nan), np.full_like(values, np.nan)
    cut = [50 * (1 - level), 50 * (1 + level)]
    holes = np.isnan(replicates).any(axis=0)
    if not holes.all():
        low[~holes], high[~holes] = np.percentile(replicates[:, ~holes], cut, axis=0)
    partly = holes & ~np.isnan(replicates).all(axis=0)
    if partly.any():
        low[partly], high[partly] = np.nanpercentile(replicates[:, partly], cut, axis=0)
    return np.fmin(low, values), np.fmax(high, values)


def per_clip(values: ArrayLike, clips: ArrayLike) -> tuple[Floats, Floats]:
    """Sums and numbers of rows of each distinct clip, in sorted order of clips: (N,) and (N,)."""
    _, number = np.unique(np.asarray(clips), return_inverse=True)
    sums: Floats = np.bincount(number, weights=np.asarray(values, np.float64)).astype(np.float64)
    return sums, np.bincount(number).astype(np.float64)


def mean_interval(values: ArrayLike, clips: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of values (rows,) and its 95 % interval, rows of equal `clips` (rows,) drawn together."""
    sums, counts = (part[None] for part in per_clip(values, clips))
    value = means(sums, counts)
    low, high = bounds(value, Bootstrap(sums.shape[1], seed, resamples).ratios(sums, counts))
    return Interval(float(value[0]), float(low[0]), float(high[0]))


def paired_interval(
    first: ArrayLike, second: ArrayLike, clips: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Mean of `first - second` (rows,), measured on the same rows, and its 95 % interval over clips."""
    return mean_interval(np.asarray(first, np.float64) - np.asarray(second, np.float64), clips, seed, resamples)
