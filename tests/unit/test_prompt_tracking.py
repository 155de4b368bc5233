"""Logging prompting experiments to MLflow."""

from types import SimpleNamespace

import fake_prompts as fake
import pytest

from earshot import contracts, prompt_tables, prompt_tracking, tracking

PROMPTERS = {name: fake.PROMPTERS[name] for name in ("none", "dgsct_two_tokens")}
ABOUT = prompt_tables.about(fake.given(PROMPTERS))


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A database that holds one experiment: its address, its inputs, and what the first logging said."""
    root = tmp_path_factory.mktemp("tracking")
    made = fake.write_experiment(root, PROMPTERS, clips=8)
    page = root / "page.html"
    page.write_text("a page")
    kinds = ("metrics", "prompted", "training", "costs")
    inputs = prompt_tracking.Inputs(*(made[kind] for kind in kinds), {str(page): "report"})
    uri = f"sqlite:///{root}/mlflow.db"
    said = prompt_tracking.log(uri, "earshot", "demo", inputs, ABOUT)
    client = tracking.MlflowClient(tracking_uri=uri)
    return SimpleNamespace(uri=uri, inputs=inputs, page=page, said=said, client=client)


def runs(logged):
    found = logged.client.search_runs([logged.said["experiment_id"]])
    return {run.data.tags["earshot.key"]: run for run in found}


def test_one_run_a_dataset_task_prompter_and_seed_and_one_for_tables(logged):
    assert {key: logged.said[key] for key in ("created", "replaced", "skipped")} == {"created": 5, "replaced": 0, "skipped": 0}
    expected = {f"demo/toy/ave/{name}/{seed}" for name in PROMPTERS for seed in (0, 1)}
    assert set(runs(logged)) == expected | {"demo/tables"}


def test_a_run_holds_settings_scores_costs_and_epochs(logged):
    run = runs(logged)["demo/toy/ave/dgsct_two_tokens/1"]
    expected = {"prompter": "dgsct_two_tokens", "plugin": "dgsct", "task": "ave", "encoders": fake.ENCODERS, "seed": "1"}
    expected |= {"hyper.modules.tokens": "2", "hyper.task.train.keep": "best", "trunk_mode": "eval", "train_clips": "40"}
    assert expected.items() <= run.data.params.items()
    rows = contracts.read(logged.inputs.metrics, contracts.PROMPT_METRICS)
    (own,) = (row for row in rows if (row["prompter"], row["seed"]) == ("dgsct_two_tokens", 1))
    assert run.data.metrics["segment_accuracy"] == pytest.approx(own["value"])
    assert (run.data.metrics["clips"], run.data.metrics["clips_missing"]) == (7, 1)
    assert run.data.metrics["cost/trainable"] == 2_000_000 and run.data.metrics["cost/memory"] == 901
    history = logged.client.get_metric_history(run.info.run_id, "train/gate")
    told = [row["value"] for row in fake.training_rows(fake.PROMPTERS["dgsct"], 1) if row["metric"] == "gate"]
    assert [(point.step, point.value) for point in history] == list(enumerate(told, start=1))


def test_the_tables_run_holds_files_and_views(logged):
    run_id = runs(logged)["demo/tables"].info.run_id
    assert [a.path for a in logged.client.list_artifacts(run_id, "report")] == ["report/page.html"]
    views = {a.path for a in logged.client.list_artifacts(run_id, "views")}
    assert {"views/scores-toy.json", "views/gains-toy.json", "views/training-toy.json"} <= views


def test_logging_again_skips_and_a_change_replaces(logged):
    again = prompt_tracking.log(logged.uri, "earshot", "demo", logged.inputs, ABOUT)
    assert (again["created"], again["replaced"], again["skipped"]) == (0, 0, 5)
    logged.page.write_text("another page")
    changed = prompt_tracking.log(logged.uri, "earshot", "demo", logged.inputs, ABOUT)
    assert (changed["created"], changed["replaced"], changed["skipped"]) == (0, 1, 4)
