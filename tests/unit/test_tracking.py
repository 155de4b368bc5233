"""Logging to MLflow, again and again."""

from types import SimpleNamespace

import fake_results as fake
import pytest

from earshot import data_facts, scoring, tables, tracking

GIVEN = SimpleNamespace(title="Demo", protocol=fake.PROTOCOL, split="test", seeds=[0, 1], methods=fake.METHODS)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A database that holds one experiment: its address, its source, and what the first logging said."""
    root = tmp_path_factory.mktemp("tracking")
    paths = fake.write_experiment(root, corruptions=("clean", "gauss"), methods=("source", "vitta"), clips=12)
    data = {"toy": {"split_sha256": "5" * 64}}
    metrics = data_facts.marked(scoring.score(paths).metrics, data)
    about = tables.about(GIVEN)
    picture = root / "figure.png"
    picture.write_bytes(b"not really a picture")
    source = tracking.Source("demo", metrics, about, {}, tables.build(metrics, about), {str(picture): "figures"})
    uri = f"sqlite:///{root}/deep/er/mlflow.db"
    return SimpleNamespace(root=root, uri=uri, source=source, picture=picture, said=tracking.log(uri, "earshot", source))


@pytest.fixture(scope="module")
def client(logged):
    return tracking.MlflowClient(tracking_uri=logged.uri)


def runs(client, said):
    return {run.data.tags["earshot.key"]: run for run in client.search_runs([said["experiment_id"]])}


def test_one_run_a_method_and_condition_and_one_for_tables(logged, client):
    assert {key: logged.said[key] for key in ("created", "replaced", "skipped")} == {"created": 7, "replaced": 0, "skipped": 0}
    expected = {f"demo/toy/tiny/{m}/{c}" for m in ("source", "vitta") for c in ("clean-0", "gauss-5", "mean--1")}
    assert set(runs(client, logged.said)) == expected | {"demo/tables"}


def test_a_run_holds_values_intervals_seeds_and_settings(logged, client):
    run = runs(client, logged.said)["demo/toy/tiny/vitta/gauss-5"]
    row = next(
        r
        for r in logged.source.metrics
        if (r["method"], r["corruption"], r["seed"], r["metric"]) == ("vitta", "gauss", -1, "top1")
    )
    assert run.data.metrics["top1"] == pytest.approx(row["value"])
    assert run.data.params["split_id"] == "5" * 12
    assert run.data.metrics["top1_low"] == pytest.approx(row["low"])
    assert run.data.metrics["clips_missing"] == 1
    history = client.get_metric_history(run.info.run_id, "top1_by_seed")
    assert [point.step for point in history] == [0, 1]
    assert run.data.params["protocol.views"] == "2" and run.data.params["method"] == "vitta"
    assert run.info.status == "FINISHED"


def test_the_tables_run_holds_files_and_views(logged, client):
    run_id = runs(client, logged.said)["demo/tables"].info.run_id
    assert [a.path for a in client.list_artifacts(run_id, "figures")] == ["figures/figure.png"]
    assert "views/accuracy-toy-tiny.json" in [a.path for a in client.list_artifacts(run_id, "views")]


def test_artifacts_lie_beside_the_database_and_the_experiment_is_marked(logged, client):
    experiment = client.get_experiment_by_name("earshot")
    assert experiment.artifact_location == (logged.root / "deep/er/mlflow-artifacts/earshot").as_uri()
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_logging_again_skips_and_a_change_replaces(logged, client):
    again = tracking.log(logged.uri, "earshot", logged.source)
    assert (again["created"], again["replaced"], again["skipped"]) == (0, 0, 7)
    before = runs(client, logged.said)
    logged.picture.write_bytes(b"another picture")
    changed = tracking.log(logged.uri, "earshot", logged.source)
    assert (changed["created"], changed["replaced"], changed["skipped"]) == (0, 1, 6)
    after = runs(client, logged.said)
    assert len(after) == 7
    assert after["demo/tables"].info.run_id != before["demo/tables"].info.run_id


def test_another_experiment_in_the_same_database_is_left_alone(logged, client):
    rows = [row for row in logged.source.metrics if row["corruption"] == "clean"]
    nan = [{**row, "value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0, "n_missing": 9} for row in rows]
    said = tracking.log(logged.uri, "earshot", tracking.Source("other", nan, logged.source.about))
    assert (said["created"], said["replaced"]) == (3, 0)
    found = runs(client, logged.said)
    assert len(found) == 10
    assert "top1" not in found["other/toy/tiny/vitta/clean-0"].data.metrics


def test_a_method_that_does_not_apply_has_no_run(logged, client):
    rows = [row for row in logged.source.metrics if row["corruption"] == "clean"]
    dashes = [{**row, "method": "norm", "value": float("nan"), "n": 0, "n_missing": 0, "note": "no layers"} for row in rows]
    said = tracking.log(logged.uri, "dashes", tracking.Source("dashes", rows + dashes, logged.source.about))
    assert not any("/norm/" in key for key in runs(client, said))
