"""Choice of hyper-parameters on held-out clips: every candidate of a grid runs once; the most accurate one is taken.

The held-out clips are of another split than the one that is reported; on a tie the first candidate wins.
"""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

from earshot import contracts, plugins
from earshot.config import overrides
from earshot.files import write_json
from earshot.streaming import Cell, CellInputs


def candidates(grid: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """All combinations of a grid's values, in the order in which they are written."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def tune(inputs: CellInputs, methods: Mapping[str, Any], grid: Mapping[str, Any], seed: int, out: str, table_out: str) -> None:
    """Try every candidate of every method in `grid`; write the chosen values and the table of all trials."""
    cell = Cell(inputs)
    chosen: dict[str, Any] = {}
    trials: list[dict[str, Any]] = []
    for variant, values in grid.items():
        plugin, given = methods[variant]
        results = []
        for candidate in candidates(values):
            hyper = overrides(plugins.load("methods", plugin).Hyper, {**given, **candidate}, f"tune.grid.{variant}")
            rows = [row for row in cell.run(variant, plugin, hyper, seed)[0] if row["available"]]
            right = sum(row["prediction"] == row["label"] for row in rows)
            results.append((candidate, 100 * right / len(rows) if rows else 0.0, len(rows)))
        best = max(range(len(results)), key=lambda i: results[i][1])  # the first of equals
        chosen[variant] = results[best][0]
        trials += [
            {"method": variant, "hyper": json.dumps(c, sort_keys=True), "accuracy": a, "n": n, "chosen": i == best}
            for i, (c, a, n) in enumerate(results)
        ]
    facts = {"split": inputs.split, "corruption": inputs.corruption, "dataset": inputs.dataset, "seed": seed}
    write_json(out, chosen)
    contracts.write(trials, contracts.TUNING, table_out, facts)
