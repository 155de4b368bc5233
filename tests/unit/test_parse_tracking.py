"""Logging parsing experiments to MLflow."""

from types import SimpleNamespace

import fake_parses as fake
import pytest

from earshot import contracts, parse_tables, parse_tracking, tracking

ABOUT = parse_tables.about(fake.given())


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A database that holds one experiment: its address, its inputs, and what the first logging said."""
    root = tmp_path_factory.mktemp("tracking")
    made = fake.write_experiment(root, clips=12)
    page = root / "page.html"
    page.write_text("a page")
    kinds = ("metrics", "by_class", "parses", "training")
    inputs = parse_tracking.Inputs(*(made[kind] for kind in kinds), {str(page): "report"})
    uri = f"sqlite:///{root}/mlflow.db"
    said = parse_tracking.log(uri, "earshot", "demo", inputs, ABOUT)
    return SimpleNamespace(root=root, uri=uri, inputs=inputs, page=page, said=said)


@pytest.fixture(scope="module")
def client(logged):
    return tracking.MlflowClient(tracking_uri=logged.uri)


def runs(client, said):
    return {run.data.tags["earshot.key"]: run for run in client.search_runs([said["experiment_id"]])}


def test_one_run_a_parser_and_seed_and_one_for_tables(logged, client):
    assert {key: logged.said[key] for key in ("created", "replaced", "skipped")} == {"created": 11, "replaced": 0, "skipped": 0}
    assert set(runs(client, logged.said)) == {f"demo/toy/{name}/{seed}" for name in fake.PARSERS for seed in (0, 1)} | {
        "demo/tables"
    }


def test_a_run_holds_settings_and_the_ten_scores_of_its_seed(logged, client):
    run = runs(client, logged.said)["demo/toy/link/1"]
    expected = {
        "parser": "link",
        "plugin": "link",
        "features": fake.FEATURES,
        "leak": "False",
        "seed": "1",
        "epoch": "10",
        "hyper.sloss.mu.mode": "learnable",
        "hyper.plsim.eval_source": "ungated",
    }
    assert expected.items() <= run.data.params.items()
    rows = contracts.read(logged.inputs.metrics, contracts.PARSING_METRICS)
    own = {row["metric"]: row for row in rows if (row["parser"], row["seed"]) == ("link", 1)}
    assert len(own) == 10
    for metric, row in own.items():
        assert run.data.metrics[metric] == pytest.approx(row["value"])
        assert run.data.metrics[f"{metric}_low"] == pytest.approx(row["low"])
    assert (run.data.metrics["clips"], run.data.metrics["clips_missing"]) == (11, 1)
    assert runs(client, logged.said)["demo/toy/link_oracle/0"].data.params["leak"] == "True"


@pytest.mark.parametrize("metric", ["train/loss", "train/mu", "train/alpha_beta_visual", "val/f_score_seg_TypeAV"])
def test_every_epoch_is_a_step(logged, client, metric):
    run = runs(client, logged.said)["demo/toy/link/0"]
    history = client.get_metric_history(run.info.run_id, metric)
    assert [point.step for point in history] == list(range(1, 13))
    split, _, name = metric.partition("/")
    rows = fake.training_rows(fake.PARSERS["link"], 0)
    told = [row["value"] for row in rows if (row["split"], row["metric"]) == (split, name)]
    assert [point.value for point in history] == pytest.approx(told)


def test_the_tables_run_holds_files_and_views(logged, client):
    run_id = runs(client, logged.said)["demo/tables"].info.run_id
    assert [a.path for a in client.list_artifacts(run_id, "report")] == ["report/page.html"]
    views = {a.path for a in client.list_artifacts(run_id, "views")}
    assert {"views/scores-toy.json", "views/gains-toy.json", "views/learnt-toy.json"} <= views


def test_logging_again_skips_and_a_change_replaces(logged, client):
    again = parse_tracking.log(logged.uri, "earshot", "demo", logged.inputs, ABOUT)
    assert (again["created"], again["replaced"], again["skipped"]) == (0, 0, 11)
    logged.page.write_text("another page")
    changed = parse_tracking.log(logged.uri, "earshot", "demo", logged.inputs, ABOUT)
    assert (changed["created"], changed["replaced"], changed["skipped"]) == (0, 1, 10)
    assert len(runs(client, logged.said)) == 11


def test_long_trainings_and_many_settings_are_logged_whole(logged, client, tmp_path):
    many = {f"knob_{i}": i for i in range(120)}
    parsers = {fake.REFERENCE: fake.Parser("valor_plus_plus", 0.9, many)}
    made = fake.write_experiment(tmp_path, parsers, seeds=[0], clips=4, gone=[])
    long = fake.training_rows(fake.PARSERS["link"], 0, epochs=200)
    contracts.write(long, contracts.TRAINING, made["training"][0], {})
    inputs = parse_tracking.Inputs(*(made[kind] for kind in ("metrics", "by_class", "parses", "training")), {})
    said = parse_tracking.log(logged.uri, "long", "long", inputs, parse_tables.about(fake.given(parsers, seeds=[0])))
    run = runs(client, said)[f"long/toy/{fake.REFERENCE}/0"]
    assert run.data.params["hyper.knob_119"] == "119" and run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "train/mu")) == 200
