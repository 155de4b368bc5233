"""Tables and their three formats."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import fake_results as fake
import pytest

from earshot import contracts, scoring, tables

GIVEN = SimpleNamespace(title="Demo", protocol=fake.PROTOCOL, split="test", seeds=[0, 1], methods=fake.METHODS)


@pytest.fixture(scope="module")
def about():
    return tables.about(GIVEN)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return scoring.score(fake.write_experiment(tmp_path_factory.mktemp("tables"))).metrics


def row(value, dataset="ucf101", corruption="gauss", severity=5, method="source", backbone="tanet", metric="top1", n=100):
    place = {"dataset": dataset, "corruption": corruption, "severity": severity, "backbone": backbone, "method": method}
    return {
        **place,
        "seed": -1,
        "metric": metric,
        "value": value,
        "unit": "%",
        "n": n,
        "n_missing": 0,
        "low": value,
        "high": value,
        "note": "",
    }


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [(3.14, False, "3.1"), (-3.14, False, "−3.1"), (2.0, True, "+2.0"), (-0.04, True, "0.0"), (float("nan"), False, "—")],
)
def test_numbers(value, sign, text):
    assert tables.number(value, sign=sign) == text


def test_cells_hold_value_and_interval(metrics, about):
    table = tables.accuracy_table(metrics, about, "toy", "tiny")
    assert table.header == ("method", "clean", "gauss", "motion", "rain", "h265_abr", "mean")
    assert [r[0] for r in table.rows] == [m["variant"] for m in fake.METHODS]
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", text) for r in table.rows for text in r[1:])


def test_captions_tell_protocol_counts_and_moments(metrics, about):
    caption = tables.accuracy_table(metrics, about, "toy", "tiny").caption
    assert "Clips scored: 40 of 40 (clean); 39 of 40 (gauss, motion, rain, h265_abr, mean)." in caption
    assert "online" in caption and "2 views" in caption and "shuffled order" in caption and "seeds 0, 1" in caption
    assert "tent: the answer is taken before" in caption and "vitta, audio_assisted: the answer is taken after" in caption


def test_the_mean_counts_the_clips_of_all_its_corruptions(about):
    """Twelve clips: one is missing under the first corruption, two others under the second."""
    lost = {"gauss": (11, 1), "rain": (10, 2), "mean": (12, 3)}
    rows = [
        {**row(50.0, corruption=c, severity=-1 if c == "mean" else 5), "n": n, "n_missing": m} for c, (n, m) in lost.items()
    ]
    caption = tables.accuracy_table(rows, about, "ucf101", "tanet").caption
    assert "Clips scored: 11 of 12 (gauss); 10 of 12 (rain); 9 of 12 (mean)." in caption


def test_random_weights_are_never_best(about):
    rows = [{**row(v, method=m), "backbone": f"tiny{contracts.RANDOM_WEIGHTS}"} for v, m in ((1.0, "source"), (2.0, "tent"))]
    assert not [table.strong for table in tables.build(rows, about) if table.strong]


def test_the_best_of_a_column_is_emphasised(about):
    rows = [row(10.0, method="source"), row(30.0, method="tent"), row(30.0, method="vitta")]
    assert tables.accuracy_table(rows, about, "ucf101", "tanet").strong == {(1, 1), (2, 1)}


def test_the_second_best_is_emphasised_less_and_low_is_best_where_errors_are_counted(about):
    rows = [row(value, method=m) for m, value in (("source", 10.0), ("tent", 30.0), ("vitta", 20.0))]
    table = tables.accuracy_table(rows, about, "ucf101", "tanet")
    assert (table.strong, table.second) == ({(1, 1)}, {(2, 1)})
    errors = tables.calibration_table([{**r, "metric": "ece"} for r in rows], about, "ucf101", "tanet")
    assert (errors.strong, errors.second) == ({(0, 1)}, {(2, 1)})
    assert not tables.accuracy_table(rows[:1], about, "ucf101", "tanet").strong


def test_what_does_not_apply_is_a_dash(about):
    rows = [row(10.0), row(float("nan"), corruption="rain"), row(5.0, method="tent")]
    table = tables.accuracy_table(rows, about, "ucf101", "tanet")
    assert table.rows == (("source", "10.0 [10.0, 10.0]", "—"), ("tent", "5.0 [5.0, 5.0]", "—"))


def test_severities_are_told_apart_only_where_there_are_several(about):
    one = tables.accuracy_table([row(1.0)], about, "ucf101", "tanet")
    two = tables.accuracy_table([row(1.0), row(2.0, severity=3)], about, "ucf101", "tanet")
    assert one.header == ("method", "gauss") and two.header == ("method", "gauss 3", "gauss 5")


def not_applicable(method="norm", metric="top1", why="tiny has no BatchNorm layers."):
    return {**row(float("nan"), method=method, metric=metric, n=0), "note": why}


def test_a_method_that_does_not_apply_has_dashes_and_a_reason(about):
    table = tables.accuracy_table([row(10.0), not_applicable(), row(30.0, method="tent")], about, "ucf101", "tanet")
    assert table.rows == (("source", "10.0 [10.0, 10.0]"), ("tent", "30.0 [30.0, 30.0]"), ("norm", "—"))
    assert table.strong == {(1, 1)}
    assert table.caption.endswith(" — norm: tiny has no BatchNorm layers.")
    assert "Clips scored: 100 of 100 in every column." in table.caption


def test_gains_are_marked_after_correction_for_the_methods_of_a_column(about):
    """0.02, 0.03 and 0.5 are 0.06, 0.06 and 0.5 after Holm's correction; 0.01 alone stays."""
    gains, tests = "top1_gain_over_source", "top1_p_against_source"
    p = {
        ("a", "gauss"): 0.02,
        ("b", "gauss"): 0.03,
        ("c", "gauss"): 0.5,
        ("a", "rain"): 0.01,
        ("b", "rain"): 0.5,
        ("c", "rain"): 0.5,
    }
    rows = [row(1.0, method=m, corruption=c, metric=gains) for m, c in p]
    rows += [row(value, method=m, corruption=c, metric=tests) for (m, c), value in p.items()]
    table = tables.gain_table(rows, about, "ucf101", "tanet", "source")
    marked = [(line[0], place) for line in table.rows for place in (1, 2) if "†" in line[place]]
    assert marked == [("a", 2)]
    assert table.rows[0][2] == "+1.0† [+1.0, +1.0]"
    for words in ("sign-flip test", "Holm's method for the methods of a column", "not corrected for the number of comparisons"):
        assert words in table.caption
    assert r"+1.0\dag{} [+1.0, +1.0]" in tables.latex([table])


def test_the_best_calibrated_is_emphasised(about):
    rows = [row(9.0, metric="ece"), row(3.0, metric="ece", method="tent")]
    assert tables.calibration_table(rows, about, "ucf101", "tanet").strong == {(1, 1)}


def test_divergence_is_told_only_where_it_happened(about):
    calm = [row(0.0, metric="diverged"), row(0.0, metric="diverged", method="tent")]
    assert tables.diverged_table(calm, about, "ucf101", "tanet") is None
    table = tables.diverged_table([calm[0], row(4.0, metric="diverged", method="tent")], about, "ucf101", "tanet")
    assert [line[0] for line in table.rows] == ["tent"]


def test_groups_of_classes_stand_side_by_side(about):
    rows = [
        row(value, method=method, metric=metric, corruption="mean", severity=-1, n=n)
        for method in ("vitta", "audio_assisted")
        for metric, value, n in (("top1_on_mapped", 50.0, 70), ("top1_on_unmapped", 40.0, 30), ("top1_on_pets", 45.0, 9))
    ]
    rows += [row(2.0, method="audio_assisted", metric="top1_gain_over_vitta_on_mapped", corruption="mean", severity=-1)]
    sound, own = tables.group_tables(rows, about, "ucf101", "tanet")
    assert sound.header == ("method", "mapped", "mapped: gain over vitta", "unmapped")
    assert sound.rows[0][2] == "—" and sound.rows[1][2] == "+2.0 [+2.0, +2.0]"
    assert "Clips: mapped 70, unmapped 30." in sound.caption and "averaged over the corruptions" in sound.caption
    assert own.header == ("method", "pets") and "sound" not in own.caption
    assert tables.group_tables([], about, "ucf101", "tanet") == [None, None]


def classes_of(count, **top1):
    """Rows of CLASS_METRICS of the mean: accuracies by method, one a class."""
    place = {
        "dataset": "ucf101",
        "backbone": "tanet",
        "corruption": "mean",
        "severity": -1,
        "seed": -1,
        "n": 3,
        "gain_over_source": 0.0,
    }
    return [
        {**place, "method": m, "class_id": k, "name": f"class {k:02d}", "top1": float(values[k])}
        for m, values in top1.items()
        for k in range(count)
    ]


def test_classes_of_the_largest_gain_and_loss_are_listed(about):
    use = [row(50.0, method="audio_assisted", metric=m, corruption="mean", severity=-1) for m in ("heard", "steps")]
    accuracy = row(50.0, method="audio_assisted")
    rows = classes_of(12, source=[0] * 12, vitta=[50] * 12, audio_assisted=[50 + 4 * (6 - k) for k in range(12)])
    table = tables.class_table([accuracy, *use], rows, about, "ucf101", "tanet")
    assert table.header == ("class", "clips", "vitta", "audio_assisted", "gain")
    assert [line[0] for line in table.rows] == [f"class {k:02d}" for k in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)]
    assert table.rows[0] == ("class 00", "3", "50.0", "74.0", "+24.0")
    without = [r for r in rows if r["method"] != "vitta"]
    assert tables.class_table([accuracy, *use], without, about, "ucf101", "tanet").header[2] == "source"
    assert tables.class_table([accuracy], rows, about, "ucf101", "tanet") is None


@pytest.mark.parametrize(
    ("protocol", "words", "never"),
    [
        ({"name": "online"}, "within a corruption", "batches"),
        ({"name": "episodic"}, "reset before every clip", "batches"),
        ({"name": "continual", "batch": 4}, "from corruption to corruption, clean clips coming last", "whole list"),
        ({"name": "continual", "batch": 4}, "batches of 4 clips for source, tent", "batch 4"),
        ({"name": "mixed", "batch": None}, "every clip comes under a corruption drawn for it", "None"),
        (
            {"name": "two_pass"},
            "tent first adapt to the whole list and then predict all of it; the others predict as they go",
            "?",
        ),
        ({"name": "two_pass"}, "batches of 12 clips for source, tent", "None"),
    ],
)
def test_every_protocol_is_put_into_words(about, protocol, words, never):
    line = tables.protocol_line(replace(about, protocol={"views": 2, "order": "listed", **protocol}))
    assert words in line and never not in line


def test_a_method_that_waits_for_the_whole_list_is_not_said_to_answer_before_its_update(about):
    table = tables.accuracy_table(
        [row(1.0, method="tent"), row(1.0, method="vitta")], replace(about, protocol={"name": "two_pass"}), "ucf101", "tanet"
    )
    assert "tent: the answer" not in table.caption and "vitta: the answer is taken after" in table.caption


def test_gain_tables_are_there_for_each_reference(metrics, about):
    names = [table.name for table in tables.build(metrics, about)]
    assert names == [f"{kind}-toy-tiny" for kind in ("accuracy", "gain-over-source", "gain-over-vitta", "calibration")]


def test_published_numbers_stand_beside_ours(about):
    table = tables.published_table([row(20.0), row(90.0, method="tent")], about, "ucf101", "tanet")
    assert [r[:6] for r in table.rows] == [("source", "gauss", "20.0 [20.0, 20.0]", "100 of 100", "17.5", "+2.5")]


def test_protocols_behind_published_numbers_are_spelt_out(about):
    rows = [row(20.0), row(90.0, method="tent"), row(60.0, corruption="clean", severity=0)]
    table = tables.protocols_table(rows, about, "ucf101", "tanet")
    assert table.header == ("fact", "ours", "AME")
    told = {fact: (ours, theirs) for fact, ours, theirs in table.rows}
    assert told["clips"] == ("split test, 100 of 100", "the test list of split 1")
    assert told["corruptions"] == ("1: gauss", "11: all of UCF101-C but defocus")
    assert told["severity"] == ("5", "5") and told["views"] == ("2", "not told")
    assert "what is learnt is kept" in told["stream"][0]
    assert tables.protocols_table([row(20.0, severity=3)], about, "ucf101", "tanet") is None
    assert table in tables.build(rows, about)


def test_a_published_mean_is_compared_only_over_its_own_corruptions(about):
    eleven = ["gauss", "pepper", "salt", "shot", "zoom", "impulse", "motion", "jpeg", "contrast", "rain", "h265_abr"]
    rows = [row(50.0, corruption=c) for c in eleven] + [row(0.0, corruption="defocus")]
    last = tables.published_table(rows, about, "ucf101", "tanet").rows[-1]
    assert last[:6] == ("source", "mean of 11", "50.0", "100 of 100", "51.98", "−2.0")
    fewer = tables.published_table(rows[1:], about, "ucf101", "tanet")
    assert all("mean" not in r[1] for r in fewer.rows)


def test_other_severities_and_datasets_have_no_published_number(about):
    assert tables.published_table([row(20.0, severity=3)], about, "ucf101", "tanet") is None
    assert tables.published_table([row(20.0, dataset="toy")], about, "toy", "tanet") is None


def test_markdown_has_one_line_a_method_and_escapes_names(about):
    text = tables.markdown([tables.accuracy_table([row(1.0, method="a|b_c")], about, "ucf101", "tanet")], "x")
    assert r"| a\|b\_c | 1.0 [1.0, 1.0] |" in text
    assert text.startswith("# x\n\n## Accuracy: ucf101, tanet\n\n| method | gauss |\n|---|--:|\n")


def test_latex_escapes_what_would_be_a_command(about):
    text = tables.latex([tables.accuracy_table([row(1.0, method=r"a_b\input{x}%&")], about, "ucf101", "tanet")])
    assert r"a\_b\textbackslash{}input\{x\}\%\& & 1.0 [1.0, 1.0] \\" in text
    assert r"\toprule" in text and r"\bottomrule" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_latex_is_what_latex_takes(metrics, about, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("needs pdflatex, which is not installed")
    made = [
        *tables.build(metrics, about),
        tables.accuracy_table([row(1.0, method=r"a_b\input{x}%&~^")], about, "ucf101", "tanet"),
    ]
    (tmp_path / "tables.tex").write_text(tables.latex(made), encoding="utf-8")
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
    text = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{tables}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout


def test_wide_csv_can_be_read_back(metrics, about):
    made = tables.build(metrics, about)
    blocks = tables.wide_csv(made).split("\n\n")
    assert len(blocks) == len(made)
    first = list(csv.reader(io.StringIO(blocks[0])))
    assert first[1] == list(made[0].header) and [tuple(line) for line in first[2:]] == list(made[0].rows)


def test_tidy_csv_holds_every_metric(metrics):
    rows = list(csv.DictReader(io.StringIO(tables.tidy_csv(metrics))))
    assert len(rows) == len(metrics)
    assert float(rows[0]["value"]) == metrics[0]["value"]
