"""Results into MLflow: one flat run a method and condition, and one run that holds tables and figures.

One job logs everything, from tables that exist already, so nothing that computes ever talks to the database. Logging again is
harmless: a run is found by its key, left alone if its content is the same, and replaced if it is not.
"""

import fcntl
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

from earshot.files import fingerprint, sha256_of_file
from earshot.scoring import ALL_SEEDS
from earshot.tables import About, Row, Table, applies

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, ViewType

_KEY, _CONTENT = "earshot.key", "earshot.content"
_LONGEST = 6_000  # characters of a parameter's value that MLflow stores
_PAGE = 1_000
_PARAMS = 100  # that MLflow takes at a time


@dataclass(frozen=True)
class Logged:
    """What one run holds: its key within the database, name, content and what the content is hashed from."""

    key: str
    name: str
    params: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int]]  # name, value, step
    files: Mapping[str, str] = field(default_factory=dict)  # path -> folder within the run's artifacts
    tables: Sequence[Table] = ()
    salt: str = ""

    @property
    def content(self) -> str:
        """Hash of everything that the run shows."""
        hashes = {str(path): [folder, sha256_of_file(path)] for path, folder in self.files.items()}
        rows = [[table.title, table.caption, table.header, table.rows] for table in self.tables]
        # not a number has no JSON: metrics are hashed as text
        return fingerprint([dict(self.params), [list(map(str, m)) for m in self.metrics], hashes, rows, self.salt])


@dataclass(frozen=True)
class Source:
    """What is logged: an experiment's metrics, what was run, tables, and files by their folder within the artifacts."""

    experiment: str
    metrics: Sequence[Row]
    about: About
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def pictures(folder: str | Path) -> dict[str, str]:
    """The PNG and SVG files of a folder of figures, for `Source.files`."""
    return {str(path): "figures" for path in sorted(Path(folder).iterdir()) if path.suffix in (".png", ".svg")}


def log(uri: str, name: str, source: Source, content: str = "") -> dict[str, Any]:
    """Bring the MLflow experiment `name` in line with the results; returns how many runs were created, replaced, skipped.

    `content` is hashed into every run, so that a new value writes all runs anew.
    """
    return bring(uri, name, source.experiment, [*_cells(source, content), tables_run(source, content)])


def bring(uri: str, name: str, experiment: str, runs: Iterable[Logged]) -> dict[str, Any]:
    """Bring the runs of `experiment` within the MLflow experiment `name` in line with these; returns what `log` does."""
    with _alone(uri):
        return _bring(uri, name, experiment, runs)


def _bring(uri: str, name: str, experiment: str, runs: Iterable[Logged]) -> dict[str, Any]:
    client = MlflowClient(tracking_uri=uri)
    experiment_id = _experiment(client, uri, name)
    existing = _existing(client, experiment_id, experiment)
    counts = {"created": 0, "replaced": 0, "skipped": 0}
    for run in runs:
        digest, old = run.content, existing.get(run.key, [])
        if len(old) == 1 and old[0].data.tags.get(_CONTENT) == digest and old[0].info.status == "FINISHED":
            counts["skipped"] += 1
            continue
        _write(client, experiment_id, run, {_KEY: run.key, _CONTENT: digest, "earshot.experiment": experiment})
        for stale in old:  # only now: a job that is killed in between leaves the old run in place
            client.delete_run(stale.info.run_id)
        counts["replaced" if old else "created"] += 1
    return {**counts, "experiment_id": experiment_id, "experiment": name, "uri": uri}


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Make the folder of a SQLite file, which SQLite does not, and hold a lock beside the file.

    Of several processes that meet an empty database all but one would fail: each would try to create its tables.
    """
    path = _sqlite_file(uri)
    if not path:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sqlite_file(uri: str) -> Path | None:
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
    path = _sqlite_file(uri)
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
    run_id = client.create_run(experiment_id, run_name=run.name, tags=dict(tags)).info.run_id
    for start in range(0, len(params), _PARAMS):
        client.log_batch(run_id, params=params[start : start + _PARAMS])
    for start in range(0, len(metrics), _PAGE):
        client.log_batch(run_id, metrics[start : start + _PAGE])
    for path, folder in run.files.items():
        client.log_artifact(run_id, str(path), folder or None)
    for table in run.tables:  # as a table that the page shows, beside the files that can be downloaded
        columns = {name: [row[i] for row in table.rows] for i, name in enumerate(table.header)}
        client.log_table(run_id, columns, f"views/{table.name}.json")
    client.set_terminated(run_id)


def _cells(source: Source, content: str) -> Iterable[Logged]:
    """One run for each dataset, backbone, method and condition."""

    def place(row: Row) -> tuple[str, str, str, str, int]:
        return row["dataset"], row["backbone"], row["method"], row["corruption"], row["severity"]

    ran = [row for row in source.metrics if applies(row)]
    for where, grouped in groupby(sorted(ran, key=place), key=place):
        rows = list(grouped)
        dataset, backbone, method, corruption, severity = where
        note = source.about.methods.get(method, {})
        params = {
            "experiment": source.experiment,
            "dataset": dataset,
            "backbone": backbone,
            "method": method,
            "corruption": corruption,
            "severity": str(severity),
            "split": source.about.split,
            "split_id": rows[0]["split_id"],
            "seeds": ", ".join(map(str, source.about.seeds)),
            "plugin": str(note.get("plugin", "")),
            "predicts": str(note.get("predicts", "")),
            **{f"hyper.{key}": str(value) for key, value in note.get("hyper", {}).items()},
            **{f"protocol.{key}": str(value) for key, value in source.about.protocol.items()},
        }
        key = f"{source.experiment}/{dataset}/{backbone}/{method}/{corruption}-{severity}"
        yield Logged(key, f"{method} · {corruption} · {dataset} · {backbone}", params, list(_values(rows)), salt=content)


def _values(rows: Sequence[Row]) -> Iterable[tuple[str, float, int]]:
    """Metrics of a run: the value over all seeds with its interval, and each seed as a step of `<metric>_by_seed`."""
    for row in rows:
        name, value = row["metric"], row["value"]
        if row["seed"] != ALL_SEEDS:
            parts = [(f"{name}_by_seed", value, row["seed"])]
        else:
            parts = [(name, value, 0), (f"{name}_low", row["low"], 0), (f"{name}_high", row["high"], 0)]
            if name == "top1":
                parts += [("clips", row["n"], 0), ("clips_missing", row["n_missing"], 0)]
        yield from ((n, float(v), step) for n, v, step in parts if math.isfinite(v))


def tables_run(source: Source, content: str = "") -> Logged:
    """The run that holds tables, figures and the report."""
    params = {"experiment": source.experiment, "title": source.about.title}
    params |= {key: str(value) for key, value in source.facts.items()}
    key = f"{source.experiment}/tables"
    return Logged(key, f"tables · {source.experiment}", params, (), source.files, source.tables, content)
