"""A grid of hyper-parameters tried on one cell of held-out clips: every candidate runs once."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

from earshot import contracts
from earshot.adaptation import NotApplicable
from earshot.streaming import Cell, CellInputs, hyper_of
from earshot.tuning import trial


def candidates(grid: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """All combinations of a grid's values, in the order in which they are written."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def try_all(inputs: CellInputs, methods: Mapping[str, Any], grid: Mapping[str, Any], seed: int, out: str) -> None:
    """Try every candidate of every method in `grid` on one cell; write the table of trials."""
    cell = Cell(inputs)
    trials: list[dict[str, Any]] = []
    for variant, values in grid.items():
        plugin, given = methods[variant]
        for candidate in candidates(values):
            hyper = hyper_of(plugin, inputs.backbone["plugin"], {**given, **candidate}, f"tune.grid.{variant}")
            try:
                rows = [row for row in cell.run(variant, plugin, hyper, seed)[0] if row["available"]]
            except NotApplicable as error:
                print(f"{variant} is not tried: {error}")
                break
            right = sum(row["prediction"] == row["label"] for row in rows)
            trials.append(trial(variant, json.dumps(candidate, sort_keys=True), right, len(rows)))
    facts = {"split": inputs.split, "corruptions": [inputs.corruption], "dataset": inputs.dataset, "seed": seed}
    contracts.write(trials, contracts.TUNING, out, {**facts, "weights": cell.weights_facts()})
