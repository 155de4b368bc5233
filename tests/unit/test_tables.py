"""Tables and their three formats."""

import csv
import io
import re
from types import SimpleNamespace

import fake_results as fake
import pytest

from earshot import scoring, tables

GIVEN = SimpleNamespace(title="Demo", protocol=fake.PROTOCOL, split="test", seeds=[0, 1], methods=fake.METHODS)


@pytest.fixture(scope="module")
def about():
    return tables.about(GIVEN)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return scoring.score(fake.write_experiment(tmp_path_factory.mktemp("tables")))


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
    assert "n = 40 (clean), none missing; n = 39 (gauss, motion, rain, h265_abr, mean), 1 missing" in caption
    assert "online" in caption and "2 views" in caption and "shuffled order" in caption and "seeds 0, 1" in caption
    assert "tent: the answer is taken before" in caption and "vitta, audio_assisted: the answer is taken after" in caption


def test_the_best_of_a_column_is_emphasised(about):
    rows = [row(10.0, method="source"), row(30.0, method="tent"), row(30.0, method="vitta")]
    assert tables.accuracy_table(rows, about, "ucf101", "tanet").strong == {(1, 1), (2, 1)}


def test_what_does_not_apply_is_a_dash(about):
    rows = [row(10.0), row(float("nan"), corruption="rain"), row(5.0, method="tent")]
    table = tables.accuracy_table(rows, about, "ucf101", "tanet")
    assert table.rows == (("source", "10.0 [10.0, 10.0]", "—"), ("tent", "5.0 [5.0, 5.0]", "—"))


def test_severities_are_told_apart_only_where_there_are_several(about):
    one = tables.accuracy_table([row(1.0)], about, "ucf101", "tanet")
    two = tables.accuracy_table([row(1.0), row(2.0, severity=3)], about, "ucf101", "tanet")
    assert one.header == ("method", "gauss") and two.header == ("method", "gauss 3", "gauss 5")


def test_gain_tables_are_there_for_each_reference(metrics, about):
    names = [table.name for table in tables.build(metrics, about)]
    assert names == ["accuracy-toy-tiny", "gain-over-source-toy-tiny", "gain-over-vitta-toy-tiny"]


def test_published_numbers_stand_beside_ours(about):
    table = tables.published_table([row(20.0), row(90.0, method="tent")], about, "ucf101", "tanet")
    assert [r[:5] for r in table.rows] == [("source", "gauss", "20.0 [20.0, 20.0]", "17.5", "+2.5")]


def test_a_published_mean_is_compared_only_over_its_own_corruptions(about):
    eleven = ["gauss", "pepper", "salt", "shot", "zoom", "impulse", "motion", "jpeg", "contrast", "rain", "h265_abr"]
    rows = [row(50.0, corruption=c) for c in eleven] + [row(0.0, corruption="defocus")]
    last = tables.published_table(rows, about, "ucf101", "tanet").rows[-1]
    assert last[:5] == ("source", "mean of 11", "50.0", "51.98", "−2.0")
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
