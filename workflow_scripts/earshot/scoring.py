"""From predictions to metrics: accuracy, calibration, kept updates and use of sound, each with its interval over clips.

All methods and conditions of a dataset and backbone are scored on one set of resampled clips, so gains are paired. What
must not be averaged is refused: mixed protocols or splits, a method that is missing from a file, videos read twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earshot import contracts, predictions
from earshot.config import CLEAN, MIXED
from earshot.metrics.calibration import BINS, bin_of
from earshot.metrics.significance import Bootstrap, Floats, bounds, means, sign_flip
from earshot.predictions import Cell

REFERENCES = ("source", "vitta")
ALL_SEEDS, SEVERAL = -1, -1
MEAN = "mean"
MAPPED, UNMAPPED = "mapped", "unmapped"
NOTHING_SCORED = "no clip could be scored"
# the column order of the tables of ViTTA (Lin et al. 2023); others follow by name
_ORDER = ["gauss", "pepper", "salt", "shot", "zoom", "impulse", "defocus", "motion", "jpeg", "contrast", "rain", "h265_abr"]
_UNITS = {"top1": "%", "top5": "%", "steps": "updates", "heard": "%", "diverged": "%"}
_NONE: Mapping[str, Any] = MappingProxyType({})

Bools = NDArray[np.bool_]


def condition_order(corruption: str, severity: int) -> tuple[int, int, str, int]:
    """Sort key of conditions: clean, the twelve of ViTTA in their order, others by name, mixed ones, then the mean."""
    group = {CLEAN: 0, MIXED: 3, MEAN: 4}.get(corruption, 1 if corruption in _ORDER else 2)
    place = _ORDER.index(corruption) if corruption in _ORDER else 0
    return group, place, corruption, severity


class Vocabulary(NamedTuple):
    """The classes of a dataset: names by class_id, and those that a sound maps to; `mapped` is None where nobody listens."""

    names: Mapping[int, str]
    mapped: frozenset[int] | None = None


class Scores(NamedTuple):
    """Rows of METRICS and of CLASS_METRICS."""

    metrics: list[dict[str, Any]]
    classes: list[dict[str, Any]]


def vocabularies(
    datasets: Sequence[str], classes: Sequence[str | Path], label_maps: Sequence[str | Path] = ()
) -> dict[str, Vocabulary]:
    """Read the classes of datasets and, if an experiment listens, which of them an audio class maps to."""
    found = {}
    for number, (dataset, path) in enumerate(zip(datasets, classes, strict=True)):
        names = {row["class_id"]: row["name"] for row in contracts.read(path, contracts.CLASSES)}
        mapped = None
        if label_maps:
            rows = contracts.read(label_maps[number], contracts.LABEL_MAP)
            mapped = frozenset(row["video_class"] for row in rows if row["video_class"] >= 0 and row["weight"] > 0)
        found[dataset] = Vocabulary(names, mapped)
    return found


def groups_of(vocabulary: Vocabulary, class_groups: Mapping[str, Sequence[str]]) -> dict[str, frozenset[int]]:
    """Groups of class ids: with and without a sound, if there are both, then named ones, less what the dataset lacks."""
    mapped = vocabulary.mapped or frozenset()
    groups = {MAPPED: mapped, UNMAPPED: frozenset(vocabulary.names) - mapped}
    groups = groups if all(groups.values()) else {}
    for name, wanted in class_groups.items():
        groups[name] = frozenset(number for number, known in vocabulary.names.items() if known in wanted)
    return {name: members for name, members in groups.items() if members}


def _refuse_unknown(class_groups: Mapping[str, Sequence[str]], known: Iterable[Vocabulary]) -> None:
    """Raise ValueError for a group of classes that no dataset has, or that bears a name of ours."""
    names = {name for vocabulary in known for name in vocabulary.names.values()}
    for group, wanted in class_groups.items():
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ValueError(f"class_groups.{group}: no dataset of the experiment has the class {', '.join(unknown)}")
        if group in (MAPPED, UNMAPPED):
            raise ValueError(f"class_groups.{group}: this name means the classes that a sound does or does not map to")


def score(
    paths: Iterable[str | Path],
    known: Mapping[str, Vocabulary] = _NONE,
    class_groups: Mapping[str, Sequence[str]] = _NONE,
) -> Scores:
    """Rows of METRICS and CLASS_METRICS for predictions files, in an order that does not depend on that of the paths.

    Per condition, method and seed: `top1`, `top5` if there are more than five classes, `steps`, `heard` and `diverged`; over
    all seeds as seed -1; over all conditions but clean as corruption `mean`, severity -1, each condition counting the same.
    Over all seeds alone: the calibration error `ece`, `top1_on_<group>` of classes, gains `top1_gain_over_<reference>` in
    points, on clips that both methods scored, and of these the p `top1_p_against_<reference>` of a paired sign-flip test,
    not corrected for their number.
    `n` counts distinct clips scored, `n_missing` distinct clips that could not be scored in at least one of the rows'
    files. A condition without any scored clip is NaN with n = 0, and so is a mean that it belongs to: a mean over fewer
    conditions is another quantity. A method that does not apply to a backbone is NaN with neither, and a note that says why.
    """
    read = predictions.tell_apart([cell for path in paths for cell in predictions.read_cells(path)])
    cells = sorted(read, key=lambda c: (*c.group, *condition_order(*c.condition)))
    predictions.refuse_mixtures(cells)
    _refuse_unknown(class_groups, known.values())
    made = Scores([], [])
    for (dataset, _), members in groupby(cells, key=lambda c: c.group):
        vocabulary = known.get(dataset, Vocabulary({}))
        group = _Group(list(members), vocabulary, groups_of(vocabulary, class_groups))
        made.metrics.extend(group.rows())
        made.classes.extend(group.class_rows())
    return made


class _Clips(NamedTuple):
    """Which clips were scored, and which could not be: masks (conditions, methods, clips)."""

    scored: Bools
    missing: Bools


class _Group:
    """Everything of one dataset and backbone, as counts per clip: arrays (conditions, methods, seeds, clips)."""

    def __init__(self, cells: Sequence[Cell], vocabulary: Vocabulary, groups: Mapping[str, frozenset[int]]) -> None:
        self.dataset, self.backbone = cells[0].group
        self.names, self.groups = vocabulary.names, groups
        self.conditions = [cell.condition for cell in cells]
        self.corrupted = [number for number, (name, _) in enumerate(self.conditions) if name != CLEAN]
        listed = [run[0] for cell in cells for run in cell.facts.get("runs", [])]
        listed += sorted(method for cell in cells for method in {*cell.methods, *cell.not_applicable})
        self.methods = list(dict.fromkeys(listed))
        self.reasons = [[cell.not_applicable.get(method, "") for method in self.methods] for cell in cells]
        self.seeds = sorted({int(s) for cell in cells for s in cell.rows["seed"].unique()})
        self.clips = sorted({clip for cell in cells for clip in cell.rows["clip_id"].unique()})
        self.metrics = [m for m in _UNITS if m != "top5" or max(cell.classes for cell in cells) > 5]
        shape = (len(cells), len(self.methods), len(self.seeds), len(self.clips))
        self.present, self.scored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.sums = {metric: np.zeros(shape) for metric in (*self.metrics, "confidence")}
        self.labels = np.zeros(len(self.clips), dtype=np.int64)
        for number, cell in enumerate(cells):
            self._fill(number, cell.rows)
        self.ever = self.scored.any(axis=(0, 1, 2))  # clips that nobody could score carry no information
        self.bootstrap = Bootstrap(int(self.ever.sum()))

    def _fill(self, number: int, rows: pd.DataFrame) -> None:
        where = tuple(
            pd.Index(names).get_indexer(rows[column])
            for names, column in ((self.methods, "method"), (self.seeds, "seed"), (self.clips, "clip_id"))
        )
        found = rows["available"].to_numpy()
        self.present[number][where] = True
        self.scored[number][where] = found
        self.labels[where[-1]] = rows["label"]
        for metric, sums in self.sums.items():
            sums[number][where] = np.where(found, rows[metric].to_numpy(dtype=np.float64), 0)

    def rows(self) -> list[dict[str, Any]]:
        """All rows of METRICS of this dataset and backbone."""
        rows = [row for metric in self.metrics for row in self._rows_of(metric)]
        rows += self._calibration()
        ran = [reference for reference in REFERENCES if self.present[:, self._is(reference)].any()]
        for reference in ran:
            rows += self._gains(reference)
            rows += self._tests(reference)
        for name, members in self.groups.items():
            within = np.isin(self.labels, list(members))
            rows += self._means("top1", ALL_SEEDS, within, f"top1_on_{name}")
            rows += self._gains("vitta", within, f"_on_{name}") if "vitta" in ran else []
        return sorted(rows, key=self._place)

    def _is(self, method: str) -> Bools:
        return np.array([name == method for name in self.methods], dtype=bool)

    def _place(self, row: dict[str, Any]) -> tuple[Any, ...]:
        metric = row["metric"]
        order = self.metrics.index(metric) if metric in self.metrics else len(self.metrics)
        seed = row["seed"] if row["seed"] >= 0 else max(self.seeds, default=0) + 1
        condition = condition_order(row["corruption"], row["severity"])
        return *condition, self.methods.index(row["method"]), seed, order, metric

    def _rows_of(self, metric: str) -> Iterator[dict[str, Any]]:
        """Rows of one metric, of each seed and over all seeds."""
        for seed in (*self.seeds, ALL_SEEDS):
            yield from self._means(metric, seed)

    def _means(self, metric: str, seed: int, within: Bools | bool = True, name: str = "") -> Iterator[dict[str, Any]]:
        """Rows of the means of a metric over clips, those of a mask (clips,) if one is given."""
        chosen = self._chosen(seed)
        scored, present = (mask[:, :, chosen] & within for mask in (self.scored, self.present))
        sums = self.sums[metric][:, :, chosen].sum(axis=2) * within
        values, replicates = self._statistics(sums, scored.sum(axis=2))
        clips = _Clips(np.asarray(scored.any(axis=2)), np.asarray((present & ~scored).any(axis=2)))
        unit = _UNITS[metric]
        facts = {"metric": name or metric, "unit": unit, "seed": seed}
        yield from self._emit(facts, values, replicates, clips, 100.0 if unit == "%" else 1.0)

    def _paired(self, reference: str, within: Bools | bool = True, seed: int = ALL_SEEDS) -> tuple[Floats, Floats, int, _Clips]:
        """Sums and counts (conditions, methods, clips) of top-1, the place of the reference, and the clips that both scored."""
        base, chosen = self.methods.index(reference), self._chosen(seed)
        sums, counts = self.sums["top1"][:, :, chosen].sum(axis=2), self.scored[:, :, chosen].sum(axis=2)
        both = (counts > 0) & (counts[:, [base]] > 0) & within
        return sums, counts, base, _Clips(both, self.present[:, :, chosen].any(axis=2) & within & ~both)

    def _chosen(self, seed: int) -> slice | list[int]:
        return slice(None) if seed == ALL_SEEDS else [self.seeds.index(seed)]

    def _gains(self, reference: str, within: Bools | bool = True, where: str = "") -> Iterator[dict[str, Any]]:
        """Rows of the paired gains of every other method over a reference, over all seeds."""
        sums, counts, base, clips = self._paired(reference, within)
        both = clips.scored
        values, replicates = self._statistics(sums * both, counts * both)
        other_values, other_replicates = self._statistics(sums[:, [base]] * both, counts[:, [base]] * both)
        facts = {"metric": f"top1_gain_over_{reference}{where}", "unit": "points", "seed": ALL_SEEDS}
        for row in self._emit(facts, values - other_values, replicates - other_replicates, clips, 100.0):
            if row["method"] != reference:
                yield row

    def _tests(self, reference: str) -> Iterator[dict[str, Any]]:
        """Rows of the p of every other method against a reference: all rows of a clip change sides together."""
        sums, counts, base, clips = self._paired(reference)
        rates = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        n = clips.scored.sum(axis=2, keepdims=True)
        differences = np.where(clips.scored, rates - rates[:, [base]], 0)
        shares = np.divide(differences, n, out=np.full_like(differences, np.nan), where=n > 0)
        if self.corrupted:
            shares = np.concatenate([shares, shares[self.corrupted].sum(axis=0, keepdims=True)])
        p = sign_flip(shares.reshape(shares[..., 0].size, len(self.clips))).reshape(shares.shape[:2])
        nothing = np.full((1, *p.shape[:1], len(self.methods)), np.nan)
        facts = {"metric": f"top1_p_against_{reference}", "unit": "p", "seed": ALL_SEEDS}
        told = list(self._block(self.conditions, facts, p, nothing, clips, 1.0))
        if self.corrupted:
            told += self._block([(MEAN, SEVERAL)], facts, p[-1:], nothing[:, -1:], self._merged(clips), 1.0)
        yield from ({**row, "low": np.nan, "high": np.nan} for row in told if row["method"] != reference)

    def _calibration(self) -> Iterator[dict[str, Any]]:
        """Rows of the expected calibration error, over all seeds.

        A resample's error is no less than it should be on average, since chance pulls every bin from its line, so the
        interval leans upwards.
        """
        counts, bins = self.scored.sum(axis=2), bin_of(self.sums["confidence"])
        gap = self.sums["top1"] - self.sums["confidence"]
        totals, replicates = np.zeros(counts.shape[:2]), np.zeros((len(self.bootstrap.weights), *counts.shape[:2]))
        for number in range(BINS):
            part = np.where(bins == number, gap, 0).sum(axis=2)
            if part.any():
                totals += np.abs(part.sum(axis=2))
                replicates += np.abs(self._over_clips(part, self.bootstrap.sums))
        with np.errstate(invalid="ignore", divide="ignore"):
            values = totals / counts.sum(axis=2)
            replicates /= self._over_clips(counts, self.bootstrap.sums)
        clips = _Clips(counts > 0, np.asarray((self.present & ~self.scored).any(axis=2)))
        yield from self._emit({"metric": "ece", "unit": "%", "seed": ALL_SEEDS}, values, replicates, clips, 100.0)

    def class_rows(self) -> Iterator[dict[str, Any]]:
        """All rows of CLASS_METRICS of this dataset and backbone: classes with a scored clip, of each seed and over all."""
        for seed in (*self.seeds, ALL_SEEDS):
            yield from self._class_rows(seed)

    def _class_rows(self, seed: int) -> Iterator[dict[str, Any]]:
        classes = np.unique(self.labels[self.ever])
        member = (self.labels == classes[:, None]).T.astype(np.float64)  # (clips, classes)
        chosen = self._chosen(seed)
        sums, counts = self.sums["top1"][:, :, chosen].sum(axis=2), self.scored[:, :, chosen].sum(axis=2)
        tables = [_shares(sums, counts, member), np.full((*counts.shape[:2], len(classes)), np.nan)]
        if "source" in self.methods:
            base, both = self.methods.index("source"), self._paired("source", seed=seed)[3].scored
            own, other = (
                _shares(sums * both, counts * both, member),
                _shares(sums[:, [base]] * both, counts[:, [base]] * both, member),
            )
            tables[1] = np.where(self._is("source")[:, None], np.nan, own - other)
        scored, conditions = counts > 0, list(self.conditions)
        n = scored @ member
        if self.corrupted:
            conditions.append((MEAN, SEVERAL))
            tables = [np.concatenate([table, table[self.corrupted].mean(axis=0)[None]]) for table in tables]
            n = np.concatenate([n, (scored[self.corrupted].any(axis=0) @ member)[None]])
        for c, m, k in np.argwhere(n > 0).tolist():
            number = int(classes[k])
            yield {
                **self._whose(conditions[c], self.methods[m]),
                "seed": seed,
                "class_id": number,
                "name": self.names.get(number, str(number)),
                "top1": _told(tables[0][c, m, k] * 100),
                "gain_over_source": _told(tables[1][c, m, k] * 100),
                "n": int(n[c, m, k]),
            }

    def _over_clips(self, table: NDArray[Any], resampled: Any) -> Floats:
        """A statistic of clips (M, N) -> (R, M), of a table (conditions, methods, clips): (R, conditions, methods)."""
        conditions, methods = table.shape[:2]
        flat = table[..., self.ever].reshape(conditions * methods, int(self.ever.sum())).astype(np.float64)
        drawn: Floats = resampled(flat).reshape(-1, conditions, methods)
        return drawn

    def _statistics(self, sums: Floats, counts: NDArray[Any]) -> tuple[Floats, Floats]:
        """Means (conditions, methods) and their replicates (R, conditions, methods) from (conditions, methods, clips)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = self._over_clips(sums, self.bootstrap.sums) / self._over_clips(counts, self.bootstrap.sums)
        return means(sums, counts.astype(np.float64)), drawn

    def _merged(self, clips: _Clips) -> _Clips:
        """Clips of the mean: scored, or missing, under any condition but clean."""
        scored, missing = (np.array(mask[self.corrupted].any(axis=0))[None] for mask in clips)
        return _Clips(scored, missing)

    def _emit(
        self, facts: dict[str, Any], values: Floats, replicates: Floats, clips: _Clips, scale: float
    ) -> Iterator[dict[str, Any]]:
        """Rows of every condition, and of the mean of all but clean, for statistics of (conditions, methods)."""
        yield from self._block(self.conditions, facts, values, replicates, clips, scale)
        if self.corrupted:
            mean, resampled = values[self.corrupted].mean(axis=0), replicates[:, self.corrupted].mean(axis=1)
            yield from self._block([(MEAN, SEVERAL)], facts, mean[None], resampled[:, None], self._merged(clips), scale)

    def _block(
        self,
        conditions: Sequence[tuple[str, int]],
        facts: dict[str, Any],
        values: Floats,
        replicates: Floats,
        clips: _Clips,
        scale: float,
    ) -> Iterator[dict[str, Any]]:
        low, high = (part.reshape(values.shape) for part in bounds(values.ravel(), replicates.reshape(-1, values.size)))
        for (c, condition), (m, method) in product(enumerate(conditions), enumerate(self.methods)):
            n, n_missing = int(clips.scored[c, m].sum()), int(clips.missing[c, m].sum())
            reason = self._reason(condition, m) if facts["seed"] == ALL_SEEDS else ""
            if n or n_missing or reason:
                lacking = NOTHING_SCORED if np.isnan(values[c, m]) else ""
                yield {
                    **self._whose(condition, method),
                    **facts,
                    "value": _told(values[c, m] * scale),
                    "n": n,
                    "n_missing": n_missing,
                    "low": _told(low[c, m] * scale),
                    "high": _told(high[c, m] * scale),
                    "note": reason or lacking,
                }

    def _reason(self, condition: tuple[str, int], method: int) -> str:
        """Why a method does not apply under a condition or, for the mean, under any of those that it is taken over."""
        places = self.corrupted if condition[0] == MEAN else [self.conditions.index(condition)]
        return next((self.reasons[place][method] for place in places if self.reasons[place][method]), "")

    def _whose(self, condition: tuple[str, int], method: str) -> dict[str, Any]:
        corruption, severity = condition
        place = {"dataset": self.dataset, "corruption": corruption, "severity": severity}
        return {**place, "backbone": self.backbone, "method": method}


def _shares(sums: Floats, counts: NDArray[Any], member: Floats) -> Floats:
    """Means (conditions, methods, classes) of (conditions, methods, clips), clips belonging to classes (clips, classes)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Floats = (sums @ member) / (counts @ member)
    return shares


def _told(value: float) -> float:
    """Without the last digits, where sums of shares leave a dust that would put a bound of 0 on one side of it."""
    return round(float(value), 9) + 0.0
