"""Prompting through the whole workflow: segments, encoders trained on clips, modules, heads, tables, figures and a report."""

import json
import re
import shutil

import pytest
from checkout import Checkout
from mlflow import MlflowClient

from earshot import contracts


@pytest.fixture(scope="module")
def prompted(finished, tmp_path_factory):
    """A copy of the finished run in which prompters were trained as well."""
    copy = Checkout.__new__(Checkout)
    copy.folder = tmp_path_factory.mktemp("prompting") / "copy"
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    copy.run("demo_ave", cores=2)
    return copy


def results(checkout, *parts):
    return checkout.folder.joinpath("results", *parts)


def test_prompters_are_trained_scored_and_shown(prompted):
    rows = contracts.read(results(prompted, "metrics", "demo_ave.parquet"), contracts.PROMPT_METRICS)
    own = [row for row in rows if row["metric"] == "segment_accuracy"]
    assert {(row["prompter"], row["seed"]) for row in own} == {(name, seed) for name in ("none", "dgsct") for seed in (0, -1)}
    assert all(0 <= row["value"] <= 100 and (row["n"], row["n_missing"]) == (4, 0) for row in own)
    assert "demo\\_tiny" in results(prompted, "tables", "demo_ave", "scores.md").read_text()
    page = results(prompted, "reports", "demo_ave.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="https' not in page
    for name in ("none", "dgsct"):
        told = contracts.facts_of(results(prompted, "prompted", "demo_ave", "demo_ave", name, "0.parquet"))
        assert 0 < told["trainable"] < told["total"] and told["encoders"] == "demo_tiny"
    figures = results(prompted, "figures", "demo_ave")
    index = json.loads((figures / "figures.json").read_text())
    assert index["figures"] and list(figures.glob("*.png"))
    client = MlflowClient(f"sqlite:///{results(prompted, 'mlflow.db')}")
    experiment = client.get_experiment_by_name("earshot-demo_ave")
    runs = client.search_runs([experiment.experiment_id], "params.experiment = 'demo_ave' and params.prompter = 'dgsct'")
    assert len(runs) == 1


def test_a_second_run_has_nothing_to_do_and_an_edit_trains_only_what_it_reaches(prompted):
    assert "Nothing to be done" in prompted.run("demo_ave")
    place = "workflow_scripts/earshot/prompters/dgsct.py"
    prompted.edit(place, '"avvp": {"mixup": True}', '"avvp": {"mixup": False}')
    text = prompted.run("--dry-run", "demo_ave")
    assert set(re.findall(r"output: data/weights/prompters/demo_ave/demo_ave/([a-z_]+)/", text)) == {"dgsct"}
    prompted.edit(place, '"avvp": {"mixup": False}', '"avvp": {"mixup": True}')


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo_avs", "demo_avqa"])
def test_masks_and_questions_go_through_as_well(prompted, name):
    prompted.run(name, cores=2)
    rows = contracts.read(results(prompted, "metrics", f"{name}.parquet"), contracts.PROMPT_METRICS)
    main = {"demo_avs": "M_J", "demo_avqa": "accuracy_Avg"}[name]
    ours = {"demo_avs": "dgsct", "demo_avqa": "dgsct_narrow"}[name]
    assert {row["prompter"] for row in rows if row["metric"] == main} == {"none", ours}
    assert results(prompted, "reports", f"{name}.html").exists()
