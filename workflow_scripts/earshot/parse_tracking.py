"""Parsing results into MLflow: one flat run a dataset, parser and seed, and one run that holds tables and figures.

As in `tracking`, one job logs everything from tables that exist already, and logging again is harmless.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earshot import contracts, tracking
from earshot.data_facts import with_data
from earshot.parse_runs import Run, knobs, read_runs
from earshot.parse_tables import Parsing, build
from earshot.scoring import ALL_SEEDS
from earshot.tables import Row
from earshot.tracking import Logged


@dataclass(frozen=True)
class Inputs:
    """Paths: tables of scores, parses and their training, and files by their folder within the artifacts."""

    metrics: str
    by_class: str
    parses: Sequence[str]
    training: Sequence[str]
    files: Mapping[str, str]
    environment: str = ""


def log(uri: str, name: str, experiment: str, inputs: Inputs, about: Parsing, content: str = "") -> dict[str, Any]:
    """Bring the MLflow experiment `name` in line with the results; returns how many runs were created, replaced and so on.

    `content` is hashed into every run, so that a new value writes all runs anew.
    """
    about = with_data(about, inputs.metrics)
    metrics = contracts.read(inputs.metrics, contracts.PARSING_METRICS)
    by_class = contracts.read(inputs.by_class, contracts.PARSING_CLASS_METRICS)
    runs = read_runs(inputs.parses, inputs.training)
    tables = build(metrics, about, by_class, runs)
    environment = tracking.read_environment(inputs.environment)
    source = tracking.Source(experiment, metrics, about, {"reference": about.reference}, tables, inputs.files, environment)
    logged = [_logged(run, metrics, experiment, about, content) for run in runs]
    return tracking.bring(uri, name, source, [*logged, tracking.tables_run(source, overall_points(metrics, "parser"), content)])


def _logged(run: Run, metrics: Sequence[Row], experiment: str, about: Parsing, content: str) -> Logged:
    """One parser with one seed: its settings, its scores, and its training with the epoch as step."""
    whose = (run.dataset, run.parser, run.seed)
    rows = [row for row in metrics if (row["dataset"], row["parser"], row["seed"]) == whose]
    params = {
        "experiment": experiment,
        "dataset": run.dataset,
        "parser": run.parser,
        "plugin": run.plugin,
        "features": run.features,
        "leak": str(run.leak),
        "seed": str(run.seed),
        "split": about.split,
        "split_id": next((row["split_id"] for row in rows), ""),
        "epoch": str(run.epoch),
        **{f"hyper.{key}": value for key, value in knobs(run).items()},
    }
    key = f"{experiment}/{run.dataset}/{run.parser}/{run.seed}"
    title = f"{run.parser} · seed {run.seed} · {run.dataset}"
    return Logged(key, title, params, [*score_points(rows), *epoch_points(run.training)], salt=content)


def score_points(rows: Sequence[Row]) -> Iterator[tuple[str, float, int]]:
    """The scores of a seed with their intervals, and the clips behind them."""
    for row in rows:
        parts = ((row["metric"], row["value"]), (f"{row['metric']}_low", row["low"]), (f"{row['metric']}_high", row["high"]))
        yield from ((name, float(value), 0) for name, value in parts if math.isfinite(value))
    if rows:
        most = max(rows, key=lambda row: row["n"] + row["n_missing"])  # a metric may be meant for a part of the split
        yield from (("clips", float(most["n"]), 0), ("clips_missing", float(most["n_missing"]), 0))


def overall_points(metrics: Sequence[Row], variant: str) -> list[tuple[str, float, int]]:
    """Scores over all seeds as `<metric>/<dataset>/<variant>`, `variant` being the column of the parser or prompter."""
    rows = [row for row in metrics if row["seed"] == ALL_SEEDS and math.isfinite(row["value"])]
    return [(f"{row['metric']}/{row['dataset']}/{row[variant]}", float(row["value"]), 0) for row in rows]


def epoch_points(training: Sequence[Row]) -> Iterator[tuple[str, float, int]]:
    """Every value of every epoch, as `train/<metric>` or `val/<metric>`."""
    for row in training:
        if math.isfinite(row["value"]):
            yield f"{row['split']}/{row['metric']}", float(row["value"]), row["epoch"]
