"""From the scores of items to rows: means in percent with their intervals, over seeds as well, and paired gains with their p.

An item is a clip, or a question about one. Items of a clip are not independent, so a clip is drawn with all its items, and all
that are compared are judged on one set of resampled clips, which makes their differences paired.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.metrics.significance import Bootstrap, bounds, means, sign_flip

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

ALL_SEEDS = -1
NOTHING_SCORED = "no clip could be scored"
NOT_ASKED = "it applies to nothing in the split"


@dataclass(frozen=True)
class Variant:
    """All seeds of a parser or a prompter.

    `columns` are the same in all its rows. `values` (S, M, N) are scores of items in [0, 1] by seed and metric, NaN where an
    item could not be scored or a metric does not apply to it; `summaries` (S, M) in percent are what each seed comes to.
    """

    columns: Mapping[str, Any]
    seeds: Sequence[int]
    values: Floats
    summaries: Floats

    def item_means(self) -> Floats:
        """Means over the seeds that scored an item (M, N); NaN where none did."""
        scored = ~np.isnan(self.values)
        sums = _zeroed(self.values).sum(axis=0)
        return np.divide(sums, scored.sum(axis=0), out=np.full_like(sums, np.nan), where=scored.any(axis=0))


class Comparison:
    """Variants by name, on the same N items.

    `applies` (M, N) says which metric is meant for which item (none: each for all), and `clips` (N,) numbers the clip of every
    item (none: one a clip).
    """

    def __init__(
        self,
        metrics: Sequence[str],
        variants: Mapping[str, Variant],
        applies: Bools | None = None,
        clips: NDArray[np.intp] | None = None,
    ) -> None:
        self.metrics, self.variants = metrics, variants
        ever = [~np.isnan(variant.values).all(axis=(0, 1)) for variant in variants.values()]
        self._ever: Bools = np.any(ever, axis=0)  # items that nobody could score carry no information
        self._applies = np.ones((len(metrics), len(self._ever)), np.bool_) if applies is None else applies
        numbers = np.arange(len(self._ever)) if clips is None else clips
        found, self._clip = np.unique(numbers[self._ever], return_inverse=True)
        self._clips = len(found)
        self._bootstrap = Bootstrap(self._clips)

    def rows(self, reference: str = "") -> Iterator[dict[str, Any]]:
        """Rows variant by variant: the metrics of each seed, then over all seeds, and then the gains over a reference."""
        for name, variant in self.variants.items():
            yield from self._score_rows(variant)
            if reference and name != reference:
                yield from self._gain_rows(variant, reference)

    def _score_rows(self, variant: Variant) -> Iterator[dict[str, Any]]:
        resampled = np.stack([100 * self._resampled(values) for values in variant.values])  # (S, R, M)
        scored = ~np.isnan(variant.values)  # (S, M, N)
        missing: Bools = self._applies & ~scored
        empty = ~np.logical_or.reduce(scored, axis=2)  # (S, M)
        for place, seed in enumerate(variant.seeds):
            notes = ["" if not lost else self._why_empty(metric) for metric, lost in enumerate(empty[place])]
            counts = (scored[place], missing[place])
            for row in self._told(variant.summaries[place], resampled[place], notes, counts):
                yield {**variant.columns, "seed": seed, "unit": "%", **row}
        counts = (np.logical_or.reduce(scored), np.logical_or.reduce(missing))
        notes = [self._why_mean_empty(variant, metric, lost) for metric, lost in enumerate(empty.T)]
        for row in self._told(variant.summaries.mean(axis=0), resampled.mean(axis=0), notes, counts):
            yield {**variant.columns, "seed": ALL_SEEDS, "unit": "%", **row}

    def _why_empty(self, metric: int) -> str:
        return NOTHING_SCORED if self._applies[metric].any() else NOT_ASKED

    def _why_mean_empty(self, variant: Variant, metric: int, empty: Bools) -> str:
        seeds = [str(seed) for seed, lost in zip(variant.seeds, empty, strict=True) if lost]
        why = self._why_empty(metric)
        return "" if not seeds else why if why == NOT_ASKED else f"{why} with seed {', '.join(seeds)}"

    def _gain_rows(self, variant: Variant, reference: str) -> Iterator[dict[str, Any]]:
        """Gains over the reference, and their p, of the means over seeds of items that both could score."""
        differences = variant.item_means() - self.variants[reference].item_means()
        both: Bools = ~np.isnan(differences)
        compared = np.logical_or.reduce(both, axis=1)
        p = np.where(compared, self._p(differences), np.nan)
        notes = ["" if found else self._why_empty(metric) for metric, found in enumerate(compared)]
        counts = (both, self._applies & ~both)
        values, resampled = 100 * _means(differences), 100 * self._resampled(differences)
        for place, row in enumerate(self._told(values, resampled, notes, counts)):
            metric = row["metric"]
            cut = {name: round(row[name], 9) + 0.0 for name in ("value", "low", "high")}  # sums leave a dust about 0
            whose = {**variant.columns, "seed": ALL_SEEDS}
            yield {**whose, **row, **cut, "metric": f"{metric}_gain_over_{reference}", "unit": "points"}
            nothing = {"value": float(p[place]), "low": np.nan, "high": np.nan}
            yield {**whose, **row, **nothing, "metric": f"{metric}_p_against_{reference}", "unit": "p"}

    def _p(self, differences: Floats) -> Floats:
        """p (M,) of differences (M, N), whose signs change clip by clip."""
        here = ~np.isnan(differences[:, self._ever]).all(axis=0)
        sums = self._by_clip(_zeroed(differences))[:, np.unique(self._clip[here])]
        return sign_flip(sums)

    def _resampled(self, values: Floats) -> Floats:
        """Resampled means (R, M) of values (M, N), of which NaN are left out."""
        counts = (~np.isnan(values)).astype(np.float64)
        return self._bootstrap.ratios(self._by_clip(_zeroed(values)), self._by_clip(counts))

    def _by_clip(self, values: Floats) -> Floats:
        """Sums over the items of each clip that anybody could score: (M, N) to (M, clips)."""
        sums = np.zeros((len(values), self._clips))
        np.add.at(sums.T, self._clip, values[:, self._ever].T)
        return sums

    def _told(
        self, values: Floats, resampled: Floats, notes: Sequence[str], counts: tuple[Bools, Bools]
    ) -> Iterator[dict[str, Any]]:
        """Values (M,) by metric with the bounds of their replicates (R, M), and counts of items by masks (M, N)."""
        low, high = bounds(values, resampled)
        n, missing = (mask.sum(axis=1) for mask in counts)
        for place, metric in enumerate(self.metrics):
            numbers = {"value": float(values[place]), "low": float(low[place]), "high": float(high[place])}
            told = {"n": int(n[place]), "n_missing": int(missing[place]), "note": notes[place]}
            yield {"metric": metric, **numbers, **told}


def percent(values: Floats) -> Floats:
    """Means in percent over the items of values (..., N) that are not NaN; NaN where all are."""
    return 100 * _means(values)


def _means(values: Floats) -> Floats:
    return means(_zeroed(values), (~np.isnan(values)).astype(np.float64))


def _zeroed(values: Floats) -> Floats:
    return np.where(np.isnan(values), 0, values)
