"""Predictions files as tables and figures read them: one cell a condition, and a refusal of what must not share a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from earshot import contracts
from earshot.config import CLEAN, CONTINUAL, MIXED
from earshot.metrics.accuracy import hits

_READ = ["method", "seed", "clip_id", "corruption", "severity", "label", "available", "confidence", "steps", "stop", "heard"]


@dataclass(frozen=True)
class Cell:
    """One condition of a predictions file, without its logits; `condition` is corruption and severity."""

    path: Path
    facts: dict[str, Any]
    condition: tuple[str, int]
    rows: pd.DataFrame  # `_READ` with top1, top5 and diverged: one row a run and clip
    classes: int

    @property
    def file(self) -> tuple[str, int]:
        """What the file is named after: its condition or, where it holds several, the stream."""
        return self.facts["corruption"], self.facts["severity"]

    @property
    def group(self) -> tuple[str, str]:
        """Dataset and backbone."""
        return self.facts["dataset"], self.facts["backbone"]

    @property
    def not_applicable(self) -> dict[str, str]:
        """Variants that have nothing to adapt in the backbone, and why."""
        return self.facts.get("not_applicable") or {}

    @property
    def methods(self) -> set[str]:
        """Variants that have rows."""
        return set(self.rows["method"].unique())


def read_frame(path: str | Path, columns: Sequence[str], schema: pa.Schema = contracts.PREDICTIONS) -> pd.DataFrame:
    """Read some columns of a table, which is checked against its contract."""
    found = pq.read_schema(path)
    if found.names != schema.names or found.types != schema.types:
        raise contracts.ContractError(f"{path}: not a table of this version; delete it and run again")
    return pq.read_table(path, columns=list(columns)).to_pandas()


def read_cells(path: str | Path) -> list[Cell]:
    """Read a predictions file and rank its logits; top1 and top5 are False where a clip is unavailable.

    A continual stream gives a cell for each of its conditions. In a mixed one each clip has a corruption of its own: it is
    one condition.
    """
    rows, facts = read_frame(path, _READ), contracts.facts_of(path)
    found = rows["available"].to_numpy()
    logits, labels = _logits(path, found), rows["label"].to_numpy()[found]
    for k in (1, 5):
        right = np.zeros(len(rows), dtype=bool)
        right[found] = hits(logits, labels, k)
        rows[f"top{k}"] = right
    rows["diverged"] = rows["stop"] == contracts.DIVERGED
    stream = facts["corruption"] if facts["corruption"] == facts.get("protocol", {}).get("name") else ""
    _refuse_doubled(path, rows, several=stream == CONTINUAL)
    if stream == CONTINUAL:
        parts = rows.groupby(["corruption", "severity"], sort=False)
        return [Cell(Path(path), facts, (str(c), int(s)), part, logits.shape[1]) for (c, s), part in parts]
    cell = Cell(Path(path), facts, (facts["corruption"], facts["severity"]), rows, logits.shape[1])
    if stream != MIXED:
        _refuse_strays(cell)
    return [cell]


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


def _refuse_doubled(path: str | Path, rows: pd.DataFrame, several: bool) -> None:
    """Raise ValueError if a run met a clip twice, under one condition where the file holds several."""
    doubled = rows.duplicated(["method", "seed", "clip_id", *(["corruption", "severity"] if several else [])])
    if doubled.any():
        row = rows[doubled].iloc[0]
        raise ValueError(f"{path}: clip '{row.clip_id}' is there twice for method '{row.method}', seed {row.seed}")


def _refuse_strays(cell: Cell) -> None:
    """Raise ValueError if rows are of another condition than their file."""
    corruption, severity = cell.condition
    strays = cell.rows[(cell.rows["corruption"] != corruption) | (cell.rows["severity"] != severity)]
    if len(strays):
        row = strays.iloc[0]
        raise ValueError(
            f"{cell.path}: clip '{row.clip_id}' is of {row.corruption} {row.severity}, not {corruption} {severity}"
        )


def tell_apart(cells: Sequence[Cell]) -> list[Cell]:
    """Cells in which clean clips that came after several continual streams bear the severity of their stream."""
    after: dict[tuple[str, str], set[int]] = {}
    for cell in cells:
        if cell.file[0] == CONTINUAL and cell.condition[0] == CLEAN:
            after.setdefault(cell.group, set()).add(cell.file[1])
    return [
        replace(cell, condition=(CLEAN, cell.file[1]))
        if cell.file[0] == CONTINUAL and cell.condition[0] == CLEAN and len(after[cell.group]) > 1
        else cell
        for cell in cells
    ]


def refuse_mixtures(cells: Sequence[Cell]) -> None:
    """Raise ValueError if the cells do not belong into one table."""
    methods = {method for cell in cells for method in cell.methods}
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
        missing = methods - cell.methods - set(cell.not_applicable)
        if missing:
            raise ValueError(f"{cell.path}: no rows of method {', '.join(sorted(missing))}, which other files have")
        place = (*cell.group, *map(str, cell.condition))
        if place in places:
            raise ValueError(f"{places[place].path} and {cell.path} hold the same condition")
        places[place] = cell
        other = read.setdefault((cell.facts["dataset"], cell.facts["clips_digest"]), cell)
        if other.file != cell.file:
            raise ValueError(
                f"{other.path} and {cell.path} were predicted from the same videos, yet are said to be "
                f"{other.file[0]} and {cell.file[0]}: one of them read the other's clips"
            )
    _refuse_mixed_hypers(cells)


def _refuse_mixed_hypers(cells: Sequence[Cell]) -> None:
    """Raise ValueError if a variant ran with different hyper-parameters on one dataset and backbone."""
    seen: dict[tuple[str, ...], tuple[Any, Cell]] = {}
    for cell in cells:
        for variant, plugin, hyper, _ in cell.facts.get("runs", []):
            settings, other = seen.setdefault((*cell.group, variant), ((plugin, hyper), cell))
            if settings != (plugin, hyper):
                raise ValueError(f"{other.path} and {cell.path}: method {variant} ran with other hyper-parameters")
