"""Logging to MLflow, again and again."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fake_results as fake
import pandas as pd
import pytest
import yaml

from earshot import data_facts, scoring, tables, tracking

GIVEN = SimpleNamespace(title="Demo", protocol=fake.PROTOCOL, split="test", seeds=[0, 1], methods=fake.METHODS)
ENVIRONMENT = {"earshot": "0", "revision": "ab12+edits", "libraries": {"torch": "2"}, "config": {"seed": 0, "title": "Ähm"}}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A database that holds one experiment: its address, its source, and what the first logging said."""
    root = tmp_path_factory.mktemp("tracking")
    paths = fake.write_experiment(root, corruptions=("clean", "gauss"), methods=("source", "vitta"), clips=12)
    data = {"toy": {"split_sha256": "5" * 64}}
    scores = scoring.score(paths)
    metrics = data_facts.marked(scores.metrics, data)
    about = tables.about(GIVEN)
    picture = root / "figure.png"
    picture.write_bytes(b"not really a picture")
    made = tables.build(metrics, about, scores.classes)
    source = tracking.Source(
        "demo", metrics, about, {}, made, {str(picture): "figures"}, ENVIRONMENT, pd.DataFrame(scores.classes)
    )
    uri = f"sqlite:///{root}/deep/er/mlflow.db"
    return SimpleNamespace(
        root=root, uri=uri, source=source, classes=scores.classes, picture=picture, said=tracking.log(uri, "earshot", source)
    )


@pytest.fixture(scope="module")
def client(logged):
    return tracking.MlflowClient(tracking_uri=logged.uri)


def runs(client, said):
    return {run.data.tags["earshot.key"]: run for run in client.search_runs([said["experiment_id"]])}


def counts(said):
    return tuple(said[key] for key in ("created", "replaced", "skipped", "removed"))


def test_one_run_a_method_condition_and_seed_and_one_for_tables(logged, client):
    assert counts(logged.said) == (9, 0, 0, 0)
    cells = {f"{m}/{c}/{seed}" for m in ("source", "vitta") for c in ("clean-0", "gauss-5") for seed in (0, 1)}
    found = runs(client, logged.said)
    assert set(found) == {f"demo/toy/tiny/{cell}" for cell in cells} | {"demo/tables"}
    assert not any("mlflow.parentRunId" in run.data.tags for run in found.values())


def test_a_run_holds_values_intervals_settings_and_where_it_comes_from(logged, client):
    run = runs(client, logged.said)["demo/toy/tiny/vitta/gauss-5/1"]
    wanted = ("vitta", "gauss", 1, "top1")
    row = next(r for r in logged.source.metrics if (r["method"], r["corruption"], r["seed"], r["metric"]) == wanted)
    assert run.data.metrics["top1"] == pytest.approx(row["value"])
    assert run.data.metrics["top1_low"] == pytest.approx(row["low"])
    assert (run.data.metrics["clips"], run.data.metrics["clips_missing"]) == (row["n"], row["n_missing"])
    expected = {"seed": "1", "severity": "5", "split_id": "5" * 12, "protocol.views": "2", "method": "vitta"}
    assert expected.items() <= run.data.params.items()
    assert run.data.tags["mlflow.source.git.commit"] == "ab12" and run.data.tags["earshot.revision"] == "ab12+edits"
    assert run.info.status == "FINISHED"


def test_a_run_holds_the_classes_of_its_seed(logged, client, tmp_path):
    run = runs(client, logged.said)["demo/toy/tiny/vitta/gauss-5/1"]
    path = client.download_artifacts(run.info.run_id, "classes.csv", str(tmp_path))
    told = {row["name"]: row for row in csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines())}
    wanted = ("vitta", "gauss", 1)
    rows = [r for r in logged.classes if (r["method"], r["corruption"], r["seed"]) == wanted]
    assert {name: float(row["top1"]) for name, row in told.items()} == pytest.approx({r["name"]: r["top1"] for r in rows})
    assert len(rows) == len(told) > 1


def test_the_tables_run_holds_what_is_over_all_seeds(logged, client):
    run = runs(client, logged.said)["demo/tables"]
    found = {(r["method"], r["corruption"]): r for r in logged.source.metrics if r["seed"] == -1 and r["metric"] == "top1"}
    assert run.data.metrics["top1/toy/tiny/vitta/mean"] == pytest.approx(found["vitta", "mean"]["value"])
    assert run.data.metrics["top1/toy/tiny/source/gauss-5"] == pytest.approx(found["source", "gauss"]["value"])
    assert "top1_gain_over_source/toy/tiny/vitta/mean" in run.data.metrics
    assert run.data.tags["mlflow.note.content"].startswith("# Demo")


def test_the_tables_run_holds_config_and_environment(logged, client, tmp_path):
    run_id = runs(client, logged.said)["demo/tables"].info.run_id
    read = {
        name: yaml.safe_load(Path(client.download_artifacts(run_id, name, str(tmp_path))).read_text(encoding="utf-8"))
        for name in ("config.yaml", "environment.yaml")
    }
    assert read["config.yaml"] == ENVIRONMENT["config"]
    assert read["environment.yaml"] == {key: value for key, value in ENVIRONMENT.items() if key != "config"}


def test_the_tables_run_holds_files_and_views(logged, client):
    run_id = runs(client, logged.said)["demo/tables"].info.run_id
    assert [a.path for a in client.list_artifacts(run_id, "figures")] == ["figures/figure.png"]
    assert "views/accuracy-toy-tiny.json" in [a.path for a in client.list_artifacts(run_id, "views")]


def test_artifacts_lie_beside_the_database_and_the_experiment_is_marked(logged, client):
    experiment = client.get_experiment_by_name("earshot")
    assert experiment.artifact_location == (logged.root / "deep/er/mlflow-artifacts/earshot").as_uri()
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_logging_again_skips_and_a_change_replaces(logged, client):
    assert counts(tracking.log(logged.uri, "earshot", logged.source)) == (0, 0, 9, 0)
    before = runs(client, logged.said)
    logged.picture.write_bytes(b"another picture")
    assert counts(tracking.log(logged.uri, "earshot", logged.source)) == (0, 1, 8, 0)
    after = runs(client, logged.said)
    assert len(after) == 9
    assert after["demo/tables"].info.run_id != before["demo/tables"].info.run_id


def test_another_revision_alone_replaces_nothing_but_the_environment(logged, client):
    moved = replace(logged.source, environment={**ENVIRONMENT, "revision": "cd34"})
    assert counts(tracking.log(logged.uri, "earshot", moved)) == (0, 1, 8, 0)
    found = runs(client, logged.said)
    assert found["demo/tables"].data.tags["earshot.revision"] == "cd34"
    assert found["demo/toy/tiny/vitta/gauss-5/1"].data.tags["earshot.revision"] == "ab12+edits"


def test_runs_that_the_results_no_longer_have_are_removed_and_others_left_alone(logged, client):
    rows = [row for row in logged.source.metrics if row["corruption"] == "clean"]
    nan = [{**row, "value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0, "n_missing": 9} for row in rows]
    other = tracking.Source("other", nan, logged.source.about)
    assert counts(tracking.log(logged.uri, "earshot", other)) == (5, 0, 0, 0)
    found = runs(client, logged.said)
    assert len(found) == 14
    assert "top1" not in found["other/toy/tiny/vitta/clean-0/0"].data.metrics
    fewer = [row for row in nan if row["method"] == "vitta"]
    assert counts(tracking.log(logged.uri, "earshot", replace(other, metrics=fewer))) == (0, 0, 3, 2)
    assert len(runs(client, logged.said)) == 12


def test_a_method_that_does_not_apply_has_no_run(logged, client):
    rows = [row for row in logged.source.metrics if row["corruption"] == "clean"]
    dashes = [{**row, "method": "norm", "value": float("nan"), "n": 0, "n_missing": 0, "note": "no layers"} for row in rows]
    said = tracking.log(logged.uri, "dashes", tracking.Source("dashes", rows + dashes, logged.source.about))
    assert not any("/norm/" in key for key in runs(client, said))


def test_a_database_whose_making_was_killed_is_made_anew(logged, tmp_path):
    place = tmp_path / "mlflow.db"
    (tmp_path / "mlflow.db.unfinished").write_bytes(b"half a database")
    assert counts(tracking.log(f"sqlite:///{place}", "earshot", logged.source)) == (9, 0, 0, 0)
    assert sorted(path.name for path in tmp_path.glob("mlflow.db*")) == ["mlflow.db", "mlflow.db.lock"]
