"""Prompting results into MLflow: one flat run a dataset, task, prompter and seed, and one that holds tables and figures.

As in `tracking`, one job logs everything from tables that exist already, and logging again is harmless.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earshot import contracts, tracking
from earshot.data_facts import with_data
from earshot.parse_tracking import epoch_points, overall_points, score_points
from earshot.prompt_runs import Run, read_runs
from earshot.prompt_tables import Prompting, build
from earshot.tables import Row
from earshot.tracking import Logged


@dataclass(frozen=True)
class Inputs:
    """Paths: the table of scores, predictions with trainings and costs, and files by their folder within the artifacts."""

    metrics: str
    prompted: Sequence[str]
    training: Sequence[str]
    costs: Sequence[str]
    files: Mapping[str, str]
    environment: str = ""


def log(uri: str, name: str, experiment: str, inputs: Inputs, about: Prompting, content: str = "") -> dict[str, Any]:
    """Bring the MLflow experiment `name` in line with the results; returns how many runs were created, replaced and so on.

    `content` is hashed into every run, so that a new value writes all runs anew.
    """
    about = with_data(about, inputs.metrics)
    metrics = contracts.read(inputs.metrics, contracts.PROMPT_METRICS)
    runs = read_runs(inputs.prompted, inputs.training, inputs.costs)
    facts = {"reference": about.reference, "task": about.task["plugin"]}
    environment = tracking.read_environment(inputs.environment)
    source = tracking.Source(experiment, metrics, about, facts, build(metrics, about, runs), inputs.files, environment)
    logged = [_logged(run, metrics, experiment, about, content) for run in runs]
    return tracking.bring(
        uri, name, source, [*logged, tracking.tables_run(source, overall_points(metrics, "prompter"), content)]
    )


def _logged(run: Run, metrics: Sequence[Row], experiment: str, about: Prompting, content: str) -> Logged:
    """One prompter with one seed: its settings, its scores, its costs, and its training with the epoch as step."""
    whose = (run.dataset, run.prompter, run.seed)
    rows = [row for row in metrics if (row["dataset"], row["prompter"], row["seed"]) == whose]
    params = {
        "experiment": experiment,
        "dataset": run.dataset,
        "task": run.task,
        "prompter": run.prompter,
        "plugin": run.plugin,
        "encoders": run.encoders,
        "trunk_mode": run.trunk_mode,
        "train_clips": str(run.train_clips),
        "seed": str(run.seed),
        "split": about.split,
        "split_id": next((row["split_id"] for row in rows), ""),
        "epoch": str(run.epoch),
        **{f"hyper.{key}": value for key, value in run.knobs().items()},
    }
    key = f"{experiment}/{run.dataset}/{run.task}/{run.prompter}/{run.seed}"
    title = f"{run.prompter} · seed {run.seed} · {run.task} · {run.dataset}"
    points = [*score_points(rows), *_cost_points(run), *epoch_points(run.training)]
    return Logged(key, title, params, points, salt=content)


def _cost_points(run: Run) -> Iterator[tuple[str, float, int]]:
    """Parameters, and what training cost."""
    yield from (("cost/trainable", float(run.trainable), 0), ("cost/total", float(run.total), 0))
    told = {name: run.cost[name] for name in ("epoch_seconds", "memory")} if run.cost else {}
    yield from ((f"cost/{name}", float(value), 0) for name, value in told.items() if value == value)
