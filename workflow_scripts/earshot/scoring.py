"""From predictions to metrics: accuracy, kept updates and use of sound, each with its interval over clips.

All methods and conditions of a dataset and backbone are scored on one set of resampled clips, so gains are paired. What
must not be averaged is refused: mixed protocols or splits, a method that is missing from a file, videos read twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from earshot import contracts
from earshot.metrics.accuracy import hits
from earshot.metrics.significance import Bootstrap, Floats, bounds, means

REFERENCES = ("source", "vitta")
ALL_SEEDS, SEVERAL = -1, -1
MEAN, CLEAN = "mean", "clean"
# the column order of the tables of ViTTA (Lin et al. 2023); others follow by name
_ORDER = ["gauss", "pepper", "salt", "shot", "zoom", "impulse", "defocus", "motion", "jpeg", "contrast", "rain", "h265_abr"]
_UNITS = {"top1": "%", "top5": "%", "steps": "updates", "heard": "%"}
_SCALE = {"top1": 100.0, "top5": 100.0, "steps": 1.0, "heard": 100.0}


def condition_order(corruption: str, severity: int) -> tuple[int, int, str, int]:
    """Sort key of conditions: clean, the twelve of ViTTA in their order, others by name, then the mean."""
    group = {CLEAN: 0, MEAN: 3}.get(corruption, 1 if corruption in _ORDER else 2)
    place = _ORDER.index(corruption) if corruption in _ORDER else 0
    return group, place, corruption, severity


@dataclass(frozen=True)
class Cell:
    """One predictions file without its logits."""

    path: Path
    facts: dict[str, Any]
    rows: pd.DataFrame  # method, seed, clip_id, available, steps, heard, top1, top5 (one row a run and clip)
    classes: int

    @property
    def condition(self) -> tuple[str, int]:
        """Corruption and severity."""
        return self.facts["corruption"], self.facts["severity"]

    @property
    def group(self) -> tuple[str, str]:
        """Dataset and backbone."""
        return self.facts["dataset"], self.facts["backbone"]


def read_frame(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read the columns of a predictions file that are not lists, checked against the contract."""
    schema = pq.read_schema(path)
    if schema.names != contracts.PREDICTIONS.names or schema.types != contracts.PREDICTIONS.types:
        raise contracts.ContractError(f"{path}: not a predictions table of this version; delete it and run again")
    names = list(columns or (name for name in schema.names if name != "logits"))
    return pq.read_table(path, columns=names).to_pandas()


def read_cell(path: str | Path) -> Cell:
    """Read a predictions file and rank its logits; top1 and top5 are False where a clip is unavailable."""
    rows = read_frame(path, ["method", "seed", "clip_id", "label", "available", "steps", "heard"])
    logits = _logits(path, rows["available"].to_numpy())
    found = rows["available"].to_numpy()
    labels = rows["label"].to_numpy()[found]
    for k in (1, 5):
        right = np.zeros(len(rows), dtype=bool)
        right[found] = hits(logits, labels, k)
        rows[f"top{k}"] = right
    doubled = rows.duplicated(["method", "seed", "clip_id"])
    if doubled.any():
        row = rows[doubled].iloc[0]
        raise ValueError(f"{path}: clip '{row.clip_id}' is there twice for method '{row.method}', seed {row.seed}")
    return Cell(Path(path), contracts.facts_of(path), rows, logits.shape[1])


def _logits(path: str | Path, available: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Logits of the available rows: (rows, K)."""
    column = pq.read_table(path, columns=["logits"])["logits"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty table has no chunk to combine
        return np.zeros((0, 0), np.float32)
    lengths = np.diff(column.offsets.to_numpy())
    classes = int(lengths.max(initial=0))
    if (lengths[available] != classes).any() or (lengths[~available] != 0).any():
        raise ValueError(f"{path}: logits must have one length where a clip is available and be empty where it is not")
    return column.flatten().to_numpy().reshape(int(available.sum()), classes)


def score(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Rows of METRICS for predictions files, in an order that does not depend on the order of the paths.

    Per condition, method and seed: `top1`, `top5` if there are more than five classes, `steps` and `heard`; over all seeds
    as seed -1; over all conditions but clean as corruption `mean`, severity -1, each condition counting the same. Gains
    `top1_gain_over_<reference>` in points, over all seeds, on clips that both methods scored. `n` counts distinct clips
    scored, `n_missing` distinct clips that could not be scored in at least one of the rows' files. A condition without any
    scored clip is NaN with n = 0, and so is a mean that it belongs to: a mean over fewer conditions is another quantity.
    """
    cells = sorted((read_cell(path) for path in paths), key=lambda c: (*c.group, *condition_order(*c.condition)))
    _refuse_mixtures(cells)
    _refuse_mixed_hypers(cells)
    rows: list[dict[str, Any]] = []
    for _, group in groupby(cells, key=lambda c: c.group):
        rows += _Group(list(group)).rows()
    return rows


def _refuse_mixtures(cells: Sequence[Cell]) -> None:
    """Raise ValueError if the files do not belong into one table."""
    methods = {method for cell in cells for method in cell.rows["method"].unique()}
    read: dict[tuple[str, str], Cell] = {}
    models: dict[tuple[str, str], Cell] = {}
    places: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        first = cells[0]
        for fact in ("protocol", "split"):
            if cell.facts.get(fact) != first.facts.get(fact):
                raise ValueError(
                    f"files of different {fact}s cannot share a table: {first.path} has {first.facts.get(fact)}, "
                    f"{cell.path} has {cell.facts.get(fact)}; delete the older predictions and run again"
                )
        same = models.setdefault(cell.group, cell)
        if cell.facts.get("weights") != same.facts.get("weights"):
            raise ValueError(f"{same.path} and {cell.path} were predicted with different weights of one backbone")
        missing = methods - set(cell.rows["method"].unique())
        if missing:
            raise ValueError(f"{cell.path}: no rows of method {', '.join(sorted(missing))}, which other files have")
        place = (*cell.group, *map(str, cell.condition))
        if place in places:
            raise ValueError(f"{places[place].path} and {cell.path} hold the same condition")
        places[place] = cell
        other = read.setdefault((cell.facts["dataset"], cell.facts["clips_digest"]), cell)
        if other.condition != cell.condition:
            raise ValueError(
                f"{other.path} and {cell.path} were predicted from the same videos, yet are said to be "
                f"{other.condition[0]} and {cell.condition[0]}: one of them read the other's clips"
            )


def _refuse_mixed_hypers(cells: Sequence[Cell]) -> None:
    """Raise ValueError if a variant ran with different hyper-parameters on one dataset and backbone."""
    seen: dict[tuple[str, ...], tuple[Any, Cell]] = {}
    for cell in cells:
        for variant, plugin, hyper, _ in cell.facts.get("runs", []):
            settings, other = seen.setdefault((*cell.group, variant), ((plugin, hyper), cell))
            if settings != (plugin, hyper):
                raise ValueError(f"{other.path} and {cell.path}: method {variant} ran with other hyper-parameters")


class _Group:
    """Everything of one dataset and backbone, as counts per clip: arrays (conditions, methods, seeds, clips)."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.dataset, self.backbone = cells[0].group
        self.conditions = [cell.condition for cell in cells]
        self.methods = list(dict.fromkeys(run[0] for cell in cells for run in cell.facts.get("runs", [])))
        self.methods += sorted({m for cell in cells for m in cell.rows["method"].unique()} - set(self.methods))
        self.seeds = sorted({int(s) for cell in cells for s in cell.rows["seed"].unique()})
        self.clips = sorted({clip for cell in cells for clip in cell.rows["clip_id"].unique()})
        self.metrics = [m for m in _UNITS if m != "top5" or max(cell.classes for cell in cells) > 5]
        shape = (len(cells), len(self.methods), len(self.seeds), len(self.clips))
        self.present, self.scored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.sums = {metric: np.zeros(shape) for metric in self.metrics}
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
        for metric in self.metrics:
            self.sums[metric][number][where] = np.where(found, rows[metric].to_numpy(dtype=np.float64), 0)

    def rows(self) -> list[dict[str, Any]]:
        """All rows of METRICS of this dataset and backbone."""
        rows = [row for metric in self.metrics for row in self._rows_of(metric)]
        rows += [row for reference in REFERENCES if reference in self.methods for row in self._gains(reference)]
        return sorted(rows, key=self._place)

    def _place(self, row: dict[str, Any]) -> tuple[Any, ...]:
        metric = row["metric"]
        order = self.metrics.index(metric) if metric in self.metrics else len(self.metrics)
        seed = row["seed"] if row["seed"] >= 0 else max(self.seeds) + 1
        condition = condition_order(row["corruption"], row["severity"])
        return *condition, self.methods.index(row["method"]), seed, order, metric

    def _rows_of(self, metric: str) -> Iterator[dict[str, Any]]:
        """Rows of one metric, of each seed and over all seeds."""
        chosen = [(seed, [number]) for number, seed in enumerate(self.seeds)]
        for seed, numbers in [*chosen, (ALL_SEEDS, list(range(len(self.seeds))))]:
            sums = self.sums[metric][:, :, numbers].sum(axis=2)
            scored, present = self.scored[:, :, numbers], self.present[:, :, numbers]
            values, replicates = self._statistics(sums, scored.sum(axis=2))
            clips = _Clips(np.asarray(scored.any(axis=2)), np.asarray((present & ~scored).any(axis=2)))
            facts = {"metric": metric, "unit": _UNITS[metric], "seed": seed}
            yield from self._emit(facts, values, replicates, clips, _SCALE[metric])

    def _gains(self, reference: str) -> Iterator[dict[str, Any]]:
        """Rows of the paired gains of every other method over a reference, over all seeds."""
        base = self.methods.index(reference)
        sums, counts = self.sums["top1"].sum(axis=2), self.scored.sum(axis=2)
        both = (counts > 0) & (counts[:, [base]] > 0)
        values, replicates = self._statistics(sums * both, counts * both)
        other_values, other_replicates = self._statistics(sums[:, [base]] * both, counts[:, [base]] * both)
        clips = _Clips(both, self.present.any(axis=2) & ~both)
        facts = {"metric": f"top1_gain_over_{reference}", "unit": "points", "seed": ALL_SEEDS}
        for row in self._emit(facts, values - other_values, replicates - other_replicates, clips, 100.0):
            if row["method"] != reference:
                yield row

    def _statistics(self, sums: Floats, counts: Floats) -> tuple[Floats, Floats]:
        """Means (conditions, methods) and their replicates (R, conditions, methods) from (conditions, methods, clips)."""
        shape = sums.shape[:2]
        columns = (shape[0] * shape[1], int(self.ever.sum()))
        flat, number = (part[..., self.ever].reshape(columns).astype(np.float64) for part in (sums, counts))
        return means(flat, number).reshape(shape), self.bootstrap.ratios(flat, number).reshape(-1, *shape)

    def _emit(
        self, facts: dict[str, Any], values: Floats, replicates: Floats, clips: "_Clips", scale: float
    ) -> Iterator[dict[str, Any]]:
        """Rows of every condition, and of the mean of all but clean, for statistics of (conditions, methods)."""
        yield from self._block(self.conditions, facts, values, replicates, clips, scale)
        corrupted = [number for number, (name, _) in enumerate(self.conditions) if name != CLEAN]
        if corrupted:
            mean, resampled = values[corrupted].mean(axis=0), replicates[:, corrupted].mean(axis=1)
            scored, missing = (np.array(mask[corrupted].any(axis=0))[None] for mask in clips)
            merged = _Clips(scored, missing)
            yield from self._block([(MEAN, SEVERAL)], facts, mean[None], resampled[:, None], merged, scale)

    def _block(
        self,
        conditions: Sequence[tuple[str, int]],
        facts: dict[str, Any],
        values: Floats,
        replicates: Floats,
        clips: "_Clips",
        scale: float,
    ) -> Iterator[dict[str, Any]]:
        low, high = (part.reshape(values.shape) for part in bounds(values.ravel(), replicates.reshape(-1, values.size)))
        for (c, (corruption, severity)), (m, method) in product(enumerate(conditions), enumerate(self.methods)):
            n, n_missing = int(clips.scored[c, m].sum()), int(clips.missing[c, m].sum())
            if n or n_missing:
                yield {
                    "dataset": self.dataset,
                    "corruption": corruption,
                    "severity": severity,
                    "backbone": self.backbone,
                    "method": method,
                    **facts,
                    "value": _told(values[c, m] * scale),
                    "n": n,
                    "n_missing": n_missing,
                    "low": _told(low[c, m] * scale),
                    "high": _told(high[c, m] * scale),
                }


class _Clips(NamedTuple):
    """Which clips were scored, and which could not be: masks (conditions, methods, clips)."""

    scored: NDArray[np.bool_]
    missing: NDArray[np.bool_]


def _told(value: float) -> float:
    """Without the last digits, where sums of shares leave a dust that would put a bound of 0 on one side of it."""
    return round(float(value), 9) + 0.0
