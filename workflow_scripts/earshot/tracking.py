"""Results into MLflow: an experiment a benchmark, one flat run a dataset, backbone, method, condition and seed, one of tables.

One job logs everything, from tables that exist already, so nothing that computes ever talks to the database. Logging again is
harmless: a run is found by its key, left alone if its content is the same, replaced if it is not, and deleted (MLflow keeps
what is deleted, and can restore it) if the results no longer have it.
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pandas as pd
import yaml

from earshot import contracts
from earshot.files import fingerprint, sha256_of_file
from earshot.predictions import read_frame
from earshot.scoring import ALL_SEEDS, MEAN
from earshot.tables import About, Row, Table, applies

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, ViewType

_KEY, _CONTENT = "earshot.key", "earshot.content"
_LONGEST = 6_000  # characters of a parameter's value that MLflow stores
_PAGE = 1_000
_PLACE = ("dataset", "backbone", "method", "corruption", "severity", "seed")
_CLASS_COLUMNS = ("class_id", "name", "top1", "gain_over_source", "n")
_PARAMS = 100  # that MLflow takes at a time


@dataclass(frozen=True)
class Logged:
    """What one run holds: its key within the database, name, content and what the content is hashed from."""

    key: str
    name: str
    params: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int]]  # name, value, step
    files: Mapping[str, str] = field(default_factory=dict)  # path -> folder within the run's artifacts
    texts: Mapping[str, str] = field(default_factory=dict)  # name within the run's artifacts -> content
    tables: Sequence[Table] = ()
    note: str = ""  # Markdown, shown above everything
    salt: str = ""

    @property
    def content(self) -> str:
        """Hash of everything that the run shows."""
        hashes = {str(path): [folder, sha256_of_file(path)] for path, folder in self.files.items()}
        rows = [[table.title, table.caption, table.header, table.rows] for table in self.tables]
        # not a number has no JSON: metrics are hashed as text
        metrics = [list(map(str, m)) for m in self.metrics]
        return fingerprint([dict(self.params), metrics, hashes, dict(self.texts), rows, self.note, self.salt])


@dataclass(frozen=True)
class Source:
    """What is logged: an experiment's metrics, what was run, tables, and files by their folder within the artifacts.

    `environment` is what `environment.describe` said, `by_class` is what `read_classes` reads.
    """

    experiment: str
    metrics: Sequence[Row]
    about: About
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    by_class: pd.DataFrame | None = None


def read_environment(path: str | Path) -> dict[str, Any]:
    """What `environment.describe` said of a benchmark; empty without a file."""
    return dict(json.loads(Path(path).read_text(encoding="utf-8"))) if path else {}


def read_classes(path: str | Path) -> pd.DataFrame:
    """CLASS_METRICS, which may have millions of rows."""
    return read_frame(path, contracts.CLASS_METRICS.names, contracts.CLASS_METRICS)


def pictures(folder: str | Path) -> dict[str, str]:
    """The PNG and SVG files of a folder of figures, for `Source.files`."""
    return {str(path): "figures" for path in sorted(Path(folder).iterdir()) if path.suffix in (".png", ".svg")}


def log(uri: str, name: str, source: Source, content: str = "") -> dict[str, Any]:
    """Bring the MLflow experiment `name` in line with the results; returns how many runs were created, replaced and so on.

    `content` is hashed into every run, so that a new value writes all runs anew.
    """
    return bring(uri, name, source, [*_runs(source, content), tables_run(source, _overall(source.metrics), content)])


def bring(uri: str, name: str, source: Source, runs: Iterable[Logged]) -> dict[str, Any]:
    """Bring the runs of a benchmark within the MLflow experiment `name` in line with these; returns what `log` does."""
    with _alone(uri):
        return _bring(uri, name, source, runs)


def _bring(uri: str, name: str, source: Source, runs: Iterable[Logged]) -> dict[str, Any]:
    client, experiment = MlflowClient(tracking_uri=uri), source.experiment
    experiment_id = _experiment(client, uri, name)
    existing = _existing(client, experiment_id, experiment)
    told = {"earshot.experiment": experiment, **_origin(source.environment)}
    counts = {"created": 0, "replaced": 0, "skipped": 0, "removed": 0}
    for run in runs:
        digest, old = run.content, existing.pop(run.key, [])
        if len(old) == 1 and old[0].data.tags.get(_CONTENT) == digest and old[0].info.status == "FINISHED":
            counts["skipped"] += 1
            continue
        _write(client, experiment_id, run, {_KEY: run.key, _CONTENT: digest, **told})
        for stale in old:  # only now: a job that is killed in between leaves the old run in place
            client.delete_run(stale.info.run_id)
        counts["replaced" if old else "created"] += 1
    for stale in (run for runs_of_key in existing.values() for run in runs_of_key):
        client.delete_run(stale.info.run_id)
        counts["removed"] += 1
    return {**counts, "experiment_id": experiment_id, "experiment": name, "uri": uri}


def _origin(environment: Mapping[str, Any]) -> dict[str, str]:
    """Tags that the interface shows as a run's source and version: the revision by which its predictions were made."""
    revision = str(environment.get("revision", ""))
    commit = revision.removesuffix("+edits")
    tags = {"mlflow.source.name": "earshot", "mlflow.source.type": "PROJECT", "earshot.revision": revision}
    return {**tags, "mlflow.source.git.commit": commit} if commit not in ("", "unknown") else tags


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Make the folder of a SQLite file, which SQLite does not, and its tables, and hold a lock beside the file.

    Of several processes that meet an empty database all but one would fail: each would try to create its tables. Tables that
    were half made when a process was killed could never be completed, so the file appears under its name when it is whole.
    """
    path = sqlite_file(uri)
    if not path:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _create(path)
        yield


def _create(path: Path) -> None:
    """A database of MLflow's tables and nothing else."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
    unfinished.rename(path)


def sqlite_file(uri: str) -> Path | None:
    """The file of a `sqlite:///relative` or `sqlite:////absolute` address; None for others."""
    parsed = urlparse(uri)
    return Path(parsed.path[1:]) if parsed.scheme == "sqlite" and parsed.path[1:] else None


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment of that name, made if need be, with its artifacts beside the database."""
    found = client.get_experiment_by_name(name)
    if found and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if found:
        return str(found.experiment_id)
    path = sqlite_file(uri)
    place = (path.resolve().parent / f"{path.stem}-artifacts" / name).as_uri() if path else None
    tags = {"mlflow.experimentKind": "custom_model_development"}
    return str(client.create_experiment(name, artifact_location=place, tags=tags))


def _existing(client: MlflowClient, experiment_id: str, experiment: str) -> dict[str, list[Run]]:
    """All runs that an earlier logging of this experiment left, by key."""
    found: dict[str, list[Run]] = {}
    token = None
    while True:
        wanted = f"tags.`earshot.experiment` = '{experiment}'"
        page = client.search_runs([experiment_id], wanted, ViewType.ACTIVE_ONLY, _PAGE, page_token=token)
        for run in page:
            found.setdefault(run.data.tags.get(_KEY, ""), []).append(run)
        token = page.token
        if not token:
            return found


def _write(client: MlflowClient, experiment_id: str, run: Logged, tags: Mapping[str, str]) -> None:
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in run.metrics]
    params = [Param(key, value[:_LONGEST]) for key, value in run.params.items()]
    note = {"mlflow.note.content": run.note} if run.note else {}
    run_id = client.create_run(experiment_id, run_name=run.name, tags={**tags, **note}).info.run_id
    for start in range(0, len(params), _PARAMS):
        client.log_batch(run_id, params=params[start : start + _PARAMS])
    for start in range(0, len(metrics), _PAGE):
        client.log_batch(run_id, metrics[start : start + _PAGE])
    for place, text in run.texts.items():
        client.log_text(run_id, text, place)
    for path, folder in run.files.items():
        client.log_artifact(run_id, str(path), folder or None)
    for table in run.tables:  # as a table that the page shows, beside the files that can be downloaded
        columns = {name: [row[i] for row in table.rows] for i, name in enumerate(table.header)}
        client.log_table(run_id, columns, f"views/{table.name}.json")
    client.set_terminated(run_id)


def _runs(source: Source, content: str) -> Iterator[Logged]:
    """One run for each dataset, backbone, method, condition and seed: means over these are for the tables."""

    def place(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in _PLACE)

    classes = {} if source.by_class is None else source.by_class.groupby(list(_PLACE), sort=False).indices
    ran = [row for row in source.metrics if applies(row) and row["seed"] != ALL_SEEDS and row["corruption"] != MEAN]
    for where, grouped in groupby(sorted(ran, key=place), key=place):
        rows = list(grouped)
        dataset, backbone, method, corruption, severity, seed = where
        note = source.about.methods.get(method, {})
        params = {
            "experiment": source.experiment,
            "dataset": dataset,
            "backbone": backbone,
            "method": method,
            "corruption": corruption,
            "severity": str(severity),
            "seed": str(seed),
            "split": source.about.split,
            "split_id": rows[0]["split_id"],
            "plugin": str(note.get("plugin", "")),
            "predicts": str(note.get("predicts", "")),
            **{f"hyper.{key}": str(value) for key, value in note.get("hyper", {}).items()},
            **{f"protocol.{key}": str(value) for key, value in source.about.protocol.items()},
        }
        condition = f"{corruption}-{severity}"
        key = f"{source.experiment}/{dataset}/{backbone}/{method}/{condition}/{seed}"
        title = f"{method} · {condition} · seed {seed} · {dataset} · {backbone}"
        texts = {"classes.csv": _class_table(source.by_class, classes[where])} if where in classes else {}
        yield Logged(key, title, params, list(_values(rows)), texts=texts, salt=content)


def _values(rows: Sequence[Row]) -> Iterator[tuple[str, float, int]]:
    """Metrics of a run, each with its interval, and how many clips they are of."""
    for row in rows:
        name = row["metric"]
        parts = [(name, row["value"]), (f"{name}_low", row["low"]), (f"{name}_high", row["high"])]
        if name == "top1":
            parts += [("clips", row["n"]), ("clips_missing", row["n_missing"])]
        yield from ((n, float(v), 0) for n, v in parts if math.isfinite(v))


def _class_table(classes: Any, rows: Any) -> str:
    """Accuracy by class as CSV, which the interface shows as a table."""
    return str(classes.iloc[rows].to_csv(columns=list(_CLASS_COLUMNS), index=False, lineterminator="\n"))


def _overall(metrics: Sequence[Row]) -> list[tuple[str, float, int]]:
    """Accuracy over all seeds, and gains over the mean corruption, as `<metric>/<dataset>/<backbone>/<method>/<where>`."""
    points = []
    for row in metrics:
        shown = row["metric"] == "top1" or (row["metric"].startswith("top1_gain_over_") and row["corruption"] == MEAN)
        if row["seed"] == ALL_SEEDS and shown and math.isfinite(row["value"]):
            where = row["corruption"] if row["corruption"] == MEAN else f"{row['corruption']}-{row['severity']}"
            name = "/".join((row["metric"], row["dataset"], row["backbone"], row["method"], where))
            points.append((name, float(row["value"]), 0))
    return points


def tables_run(source: Source, points: Sequence[tuple[str, float, int]] = (), content: str = "") -> Logged:
    """The run that holds tables, figures, the report, the config, and what it all ran on."""
    params = {"experiment": source.experiment, "title": source.about.title}
    params |= {key: str(value) for key, value in source.facts.items()}
    texts = {}
    if source.environment:
        told = {key: value for key, value in source.environment.items() if key != "config"}
        texts["environment.yaml"] = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
        texts["config.yaml"] = yaml.safe_dump(source.environment["config"], sort_keys=False, allow_unicode=True)
    note = "\n\n".join([f"# {source.about.title}", *(f"**{t.title}** {t.caption}" for t in source.tables[:1])])
    key, title = f"{source.experiment}/tables", f"tables · {source.experiment}"
    return Logged(key, title, params, points, source.files, texts, source.tables, note, content)
