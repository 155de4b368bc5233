"""Intervals by a seeded percentile bootstrap over clips, and tests of paired differences by flipping their signs.

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
FLIPS = 10_000
_AT_ONCE = 500  # flips: bounds the memory


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
            return self.sums(sums) / self.sums(counts)

    def sums(self, sums: Floats) -> Floats:
        """Resampled sums: sums (M, N) over the rows of each clip give (R, M)."""
        return self.weights @ sums.T


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


def sign_flip(differences: Floats, seed: int = 0, flips: int = FLIPS) -> Floats:
    """Two-sided p (M,) of the null hypothesis that paired differences (M, N) of clips are as likely negative as positive.

    A clip's differences in all M columns change sign together, so its rows need not be independent; p is (1 + flips at
    least as extreme) / (1 + flips), which is never zero (Phipson and Smyth, 2010). NaN where a difference is NaN.
    """
    count, clips = differences.shape
    observed = np.abs(differences.sum(axis=1))
    slack = 1e-10 * np.abs(differences).sum(axis=1)  # equal sums in another order differ in their last bits
    generator = np.random.Generator(np.random.SFC64([seed, clips, flips]))
    extreme = np.zeros(count)
    for start in range(0, flips, _AT_ONCE):
        signs = 2.0 * generator.integers(0, 2, (min(_AT_ONCE, flips - start), clips), dtype=np.int8) - 1
        extreme += (np.abs(signs @ differences.T) >= observed - slack).sum(axis=0)
    return np.where(np.isnan(observed), np.nan, (1 + extreme) / (1 + flips))


def holm(values: ArrayLike) -> Floats:
    """Adjusted p (M,) of tests made together: below a level with at most that chance of any false alarm (Holm, 1979)."""
    p = np.asarray(values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted
