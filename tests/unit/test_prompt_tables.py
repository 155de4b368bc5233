"""Tables of cross-modal prompting, and the runs behind them."""

import csv
import io
import math
from dataclasses import replace
from types import SimpleNamespace

import fake_prompts as fake
import pytest

from earshot import contracts, plugins, prompt_tables, published_numbers, tables
from earshot.prompt_runs import read_runs

ORDER = list(fake.PROMPTERS)
RANDOM = fake.ENCODERS + contracts.UNTRAINED


@pytest.fixture(scope="module")
def about():
    return prompt_tables.about(fake.given())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An experiment on disk: its paths, scores and runs."""
    made = fake.write_experiment(tmp_path_factory.mktemp("prompts"))
    metrics = contracts.read(made["metrics"], contracts.PROMPT_METRICS)
    return SimpleNamespace(made=made, metrics=metrics, runs=read_runs(made["prompted"], made["training"], made["costs"]))


def row(prompter, value, metric="segment_accuracy", **changes):
    base = {"dataset": "toy", "task": "ave", "prompter": prompter, "encoders": fake.ENCODERS, "seed": -1, "metric": metric}
    return base | {"value": value, "unit": "%", "n": 9, "n_missing": 1, "low": value, "high": value, "note": ""} | changes


def column(table, head):
    place = table.header.index(head)
    return {line[0]: line[place] for line in table.rows}


# --- runs


def test_runs_tell_settings_training_and_costs(world):
    (run,) = (run for run in world.runs if (run.prompter, run.seed) == ("dgsct", 1))
    assert (run.epoch, run.trainable, run.total, run.train_clips, run.trunk_mode) == (6, 2_000_000, 8_000_000, 40, "eval")
    assert run.knob("train.accumulation") == "correct" and run.knob("accumulation") == "correct" and run.knob("rain.keep") == ""
    assert list(run.values("val", "segment_accuracy")) == [1, 2, 3, 4, 5, 6] and run.cost["memory"] == 901.0
    (bare,) = read_runs(world.made["prompted"][:1])
    assert bare.cost is None and not bare.training


def test_a_training_or_costs_without_predictions_are_refused(world):
    with pytest.raises(contracts.ContractError, match=r"toy/dgsct/1.*this table of costs"):
        read_runs(world.made["prompted"][:1], (), world.made["costs"][-1:])
    with pytest.raises(contracts.ContractError, match=r"toy/dgsct/1.*this training"):
        read_runs(world.made["prompted"][:1], world.made["training"][-1:])


def test_predictions_that_tell_too_little_are_refused(tmp_path):
    contracts.write([], contracts.PROMPTED, tmp_path / "x.parquet", {"dataset": "toy", "seed": 0})
    with pytest.raises(contracts.ContractError, match="does not tell its task, prompter, plugin, encoders, hyper, epoch"):
        read_runs([str(tmp_path / "x.parquet")])


# --- scores and costs


def test_the_main_table_has_scores_and_what_they_cost(world, about):
    table = prompt_tables.score_table(world.metrics, world.runs, about, "toy")
    assert [line[0] for line in table.rows] == ORDER
    assert table.header == ("prompter", "encoders", "segment accuracy", "trained [M]", "share [%]", "peak memory [MB]")
    found = prompt_tables.overall(world.metrics, "segment_accuracy", "toy")
    assert column(table, "segment accuracy") == {name: tables.interval(found[name]) for name in ORDER}
    assert [line[3:] for line in table.rows[:2]] == [("0.50", "6.2", "901"), ("2.00", "25.0", "901")]
    assert "Videos scored: 23 of 24, split test; seeds 0, 1." in table.caption
    assert table.strong == {(ORDER.index("dgsct"), 2)} and len(table.second) == 1


def test_the_caption_tells_how_prompters_were_trained(world, about):
    caption = prompt_tables.score_table(world.metrics, world.runs, about, "toy").caption
    assert "the epoch is the best one on the validation split; frozen encoders stay in evaluation mode" in caption
    mixed = [replace(run, trunk_mode="reference") if run.prompter == "dgsct" else run for run in world.runs]
    caption = prompt_tables.score_table(world.metrics, mixed, about, "toy").caption
    assert "frozen encoders are in training mode, as published (dgsct)" in caption
    assert "evaluation mode (none, lavish_htsat, dgsct_two_tokens)" in caption


def test_random_encoders_are_marked_and_never_best(about):
    rows = [row("none", 10.0), row("lavish_htsat", 30.0), row("dgsct", 90.0, encoders=RANDOM)]
    table = prompt_tables.score_table(rows, [], about, "toy")
    assert table.strong == {(1, 2)} and table.rows[2][0] == f"dgsct {prompt_tables.MARK}"
    assert "these numbers show nothing" in table.caption
    assert "show nothing" not in prompt_tables.score_table(rows[:2], [], about, "toy").caption
    assert prompt_tables.champion(rows, about, "toy") == "lavish_htsat"


def test_a_prompter_without_a_score_is_a_dash_with_its_reason(about):
    nan = math.nan
    rows = [row("none", nan, low=nan, high=nan, n=0, n_missing=10, note="no clip could be scored"), row("dgsct", 2.0)]
    table = prompt_tables.score_table(rows, [], about, "toy")
    assert column(table, "segment accuracy")["none"] == tables.DASH and table.rows[0][3:] == (tables.DASH,) * 3
    assert "— none: no clip could be scored." in table.caption and "9 of 10 (dgsct)" in table.caption


def test_metrics_of_a_part_tell_how_many_items_they_are_meant_for():
    about = prompt_tables.about(fake.given(task=fake.ANSWERING))
    sizes = {"accuracy_AQ": 4, "accuracy_VQ": 6, "accuracy_Avg": 10}
    rows = [row("dgsct", 50.0, metric, n=n, n_missing=0) for metric, n in sizes.items()]
    table = prompt_tables.score_table(rows, [], about, "toy")
    assert table.header[2:5] == ("AQ", "VQ", "Avg") and "Questions scored: 10 of 10" in table.caption
    assert "meant for single columns: AQ 4, VQ 6." in table.caption


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("f_score_seg_TypeAV", "seg Type@AV"),
        ("M_J", "M_J"),
        ("accuracy_Avg", "Avg"),
        ("segment_accuracy", "segment accuracy"),
        ("accuracy_any", "accuracy any"),
    ],
)
def test_metrics_have_the_names_of_the_field(metric, name):
    assert prompt_tables.heading(metric) == name


def test_gains_leave_out_the_reference_and_what_shows_nothing_is_not_tested(about):
    gain, p = (f"segment_accuracy_{kind}_none" for kind in ("gain_over", "p_against"))
    rows = [row("lavish_htsat", 3.0, gain), row("dgsct", 3.0, gain, encoders=RANDOM)]
    rows += [row("lavish_htsat", 0.001, p), row("dgsct", 0.001, p, encoders=RANDOM)]
    cells = column(prompt_tables.gain_table(rows, about, "toy"), "segment accuracy")
    assert {name.split()[0]: tables.DAGGER in text for name, text in cells.items()} == {"lavish_htsat": True, "dgsct": False}
    assert "There is one seed" in prompt_tables.gain_table(rows, replace(about, seeds=[0]), "toy").caption
    assert prompt_tables.gain_table([row("none", 1.0)], about, "toy") is None


def test_the_ablation_shows_settings_that_differ_within_a_plugin(world, about):
    table = prompt_tables.ablation_table(world.metrics, world.runs, about, "toy")
    assert column(table, "modules.tokens") == {"none": "", "dgsct_two_tokens": "2", "dgsct": "32"}
    once = [run for run in world.runs if run.prompter != "dgsct_two_tokens"]
    assert prompt_tables.ablation_table(world.metrics, once, about, "toy") is None


def test_seeds_have_a_table_where_there_are_several(world, about):
    table = prompt_tables.seed_table(world.metrics, about, "toy")
    found = [r["value"] for r in world.metrics if r["prompter"] == "dgsct" and r["seed"] >= 0]
    assert column(table, "segment accuracy")["dgsct"] == f"{sum(found) / 2:.1f} ± {abs(found[0] - found[1]) / math.sqrt(2):.1f}"
    assert prompt_tables.seed_table([r for r in world.metrics if r["seed"] < 1], about, "toy") is None


def test_what_training_took(world, about):
    table = prompt_tables.training_table(world.runs, about, "toy")
    cells = dict(zip(table.header, next(line for line in table.rows if line[0] == "dgsct"), strict=True))
    assert cells["epochs"] == "6" and cells["epoch kept"] == "5, 6" and cells["s an epoch"] == "3.00"
    assert cells["trained [M]"] == "2.00" and cells["estimated memory [MB]"] == "850"
    assert cells["estimated GMAC a clip"] == tables.DASH
    assert prompt_tables.training_table(read_runs(world.made["prompted"]), about, "toy") is None


# --- published numbers


def test_published_numbers_stand_beside_those_of_the_same_name(world, about):
    table = prompt_tables.published_table(world.metrics, world.runs, about, "toy")
    names = [line[0] for line in table.rows]
    assert names[:6] == ["lavish_htsat, ours", "LAVisH*", "difference", "dgsct, ours", "DG-SCT", "difference"]
    ours = prompt_tables.overall(world.metrics, "segment_accuracy", "toy")["dgsct"]["value"]
    assert table.rows[5][2] == tables.number(ours - 82.2, sign=True)
    kinds = {line[0]: line[-2] for line in table.rows}
    assert (kinds["LAVisH (reported)"], kinds["LAVisH (rerun)"]) == ("reported", "retested")
    assert next(line for line in table.rows if line[0] == "UWAV")[-1] == "UWAV (CVPR 2025), weakly supervised"
    assert "best one on the test split" in table.caption and "drops the gradients" in table.caption


def test_other_sets_other_splits_and_random_encoders_have_no_numbers_beside_them(world, about):
    assert prompt_tables.published_table(world.metrics, [], replace(about, plugins={"toy": "synthetic"}), "toy") is None
    assert prompt_tables.published_table(world.metrics, [], replace(about, split="val"), "toy") is None
    rows = [{**r, "encoders": RANDOM} for r in world.metrics]
    table = prompt_tables.published_table(rows, world.runs, about, "toy")
    assert not [line for line in table.rows if "ours" in line[0]]


def test_changed_modules_are_not_the_published_method(world, about):
    assert about.methods["dgsct_two_tokens"]["published"] == "DG-SCT"
    assert [prompt_tables.published_name(about, name) for name in ORDER] == ["", "LAVisH*", "", "DG-SCT"]
    table = prompt_tables.published_table(world.metrics, world.runs, about, "toy")
    assert "dgsct_two_tokens, ours" not in [line[0] for line in table.rows]


def test_few_and_no_shots_stand_beside_their_own_numbers(world, about):
    def shots(run, count, trained_on="toy"):
        return replace(run, trained_on=trained_on, hyper={"task": {"shots": count}, "modules": {}})

    run = next(run for run in world.runs if run.prompter == "dgsct")
    assert [shots(run, *given).shots for given in ((16,), (4,), (0,), (0, "other"))] == ["16-shot", "4-shot", "", "zero-shot"]
    row = prompt_tables._Printed("DG-SCT", "ave", "", "reported", "p", "16-shot", {})
    assert row.is_of("DG-SCT", shots(run, 16)) and not row.is_of("DG-SCT", shots(run, 4))
    assert not row.is_of("DG-SCT", shots(run, 0, "other")) and not row.is_of("LAVisH", shots(run, 16))
    assert row._replace(protocol="zero-shot").is_of("DG-SCT", shots(run, 0, "other"))
    assert row._replace(protocol="").is_of("DG-SCT", run)
    note = {
        "plugin": "dgsct_clip",
        "published": "DG-SCT",
        "hyper": {"modules": {"channel_weight": 0.3, "spatial_weight": 0.01}},
    }
    zero = replace(about, methods={"mine": note})
    names = [prompt_tables.published_name(zero, "mine", one) for one in (shots(run, 16), shots(run, 0, "other"))]
    assert names == ["", "DG-SCT"]


def test_a_file_for_several_tasks_is_read_for_one():
    def printed(task, published, metrics):
        traits = {**fake.TASK, "plugin": task, "published": published, "metrics": metrics, "select_by": metrics[0]}
        return prompt_tables.printed_rows(prompt_tables.about(fake.given(task=traits)))

    s4, ms3 = (printed(task, "avs", ("M_J", "M_F")) for task in ("avs_s4", "avs_ms3"))
    assert {row.method: dict(row.values) for row in s4}["DG-SCT"] == {"M_J": 80.9, "M_F": 89.2}
    assert {row.method: dict(row.values) for row in ms3}["DG-SCT"] == {"M_J": 53.5, "M_F": 64.2}
    few = printed("few_shot_ave_class", "few_zero_shot", ("accuracy",))
    assert [(row.values["accuracy"], row.protocol) for row in few] == [
        (84.2, "16-shot"),
        (76.6, "zero-shot"),
    ]
    with pytest.raises(contracts.ContractError, match="names published numbers 'none_such', which are none of ave, avqa"):
        printed("ave", "none_such", ("M_J",))


@pytest.mark.parametrize("task", plugins.available("tasks"))
def test_every_task_names_published_numbers_of_its_metrics(task):
    traits = plugins.describe("tasks", task)
    if traits.get("published"):
        rows = prompt_tables.printed_rows(prompt_tables.about(fake.given(task=traits)))
        assert len({row.dataset for row in rows}) == 1
        assert "DG-SCT" in {row.method for row in rows}


def test_the_published_tables_are_those_of_the_paper():
    """Digits of the specification, section 12."""
    rows = {
        (row["dataset"], row["method"], row["metric"]): row["value"]
        for row in published_numbers.load()
        if row["paper"] == "DG-SCT" and "-shot" not in row["note"]
    }
    methods = ("CMBS", "LAVisH (reported)", "LAVisH (rerun)", "LAVisH*", "DG-SCT")
    assert [rows["ave", method, "segment_accuracy"] for method in methods] == [79.3, 81.1, 79.7, 78.6, 82.2]
    kinds = [f"accuracy_{kind}" for kind in ("AQ", "VQ", "AVQ", "Avg")]
    assert [rows["music_avqa", "DG-SCT", kind] for kind in kinds] == [77.4, 81.9, 70.7, 74.8]
    assert [rows["music_avqa", "LAVisH*", kind] for kind in kinds] == [75.4, 79.6, 70.1, 73.6]
    kinds = [f"f_score_{level}_{kind}" for level in ("seg", "evt") for kind in ("A", "V", "AV", "TypeAV", "EventAV")]
    assert [rows["llp", "DG-SCT", kind] for kind in kinds] == [59.0, 59.4, 52.8, 57.1, 57.0, 49.2, 56.1, 46.1, 50.5, 49.1]


# --- files


def test_files_hold_every_table(world, about, tmp_path):
    outs = [str(tmp_path / name) for name in ("t.md", "t.csv", "tidy.csv", "t.tex", "t.html")]
    made = world.made
    prompt_tables.write(made["metrics"], made["prompted"], made["training"], made["costs"], about, *outs)
    text = (tmp_path / "t.md").read_text()
    assert text.startswith("# Prompting demo") and text.count("## ") == 6
    tidy = list(csv.DictReader(io.StringIO((tmp_path / "tidy.csv").read_text())))
    assert len(tidy) == len(world.metrics) and tidy[0]["prompter"] == "none"
    assert (tmp_path / "t.html").read_text().count("<table") == 6
    latex = (tmp_path / "t.tex").read_text()
    assert latex.count(r"\begin{tabular}") == 6 and r"\textbf{" in latex and "⚠" not in latex
