"""Tables of audio-visual video parsing."""

import csv
import io
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import fake_parses as fake
import pytest

from earshot import contracts, parse_tables, tables
from earshot.metrics.parsing_f_score import METRICS
from earshot.parse_runs import Run, drifts, learnt, read_runs

ORDER = list(fake.PARSERS)


@pytest.fixture(scope="module")
def about():
    return parse_tables.about(fake.given())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An experiment on disk: its paths, and the rows of its tables."""
    made = fake.write_experiment(tmp_path_factory.mktemp("parses"))
    metrics = contracts.read(made["metrics"], contracts.PARSING_METRICS)
    by_class = contracts.read(made["by_class"], contracts.PARSING_CLASS_METRICS)
    return SimpleNamespace(made=made, metrics=metrics, by_class=by_class, runs=read_runs(made["parses"], made["training"]))


def row(parser, value, metric=parse_tables.MAIN, **changes):
    base = {"dataset": "toy", "parser": parser, "features": "f", "leak": False, "seed": -1, "metric": metric, "value": value}
    return base | {"unit": "%", "n": 9, "n_missing": 1, "low": value, "high": value, "note": ""} | changes


def column(table, head):
    place = table.header.index(head)
    return {line[0]: line[place] for line in table.rows}


def test_the_main_table_has_the_ten_scores_of_every_parser(world, about):
    table = parse_tables.score_table(world.metrics, about, "toy")
    heads = ("A", "V", "AV", "Type@AV", "Event@AV")
    assert table.header == ("parser", "features", *(f"{level} {kind}" for level in ("seg", "evt") for kind in heads))
    assert [line[0] for line in table.rows] == [*ORDER[:-1], f"link_oracle {parse_tables.LEAK}"]
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", text) for line in table.rows for text in line[2:])
    assert column(table, "features")["han"] == "vggish + resnet152 + r2plus1d"


def test_cells_are_those_of_the_metrics(world, about):
    table = parse_tables.score_table(world.metrics, about, "toy")
    for metric, place in zip(METRICS, range(2, 12), strict=True):
        found = parse_tables.overall(world.metrics, metric, "toy")
        assert [line[place] for line in table.rows] == [tables.interval(found[name]) for name in ORDER]


def test_a_leak_is_marked_explained_and_never_best(about):
    rows = [row("han", 10.0), row("valor_plus_plus", 20.0), row("link", 30.0), row("link_oracle", 90.0, leak=True)]
    table = parse_tables.score_table(rows, about, "toy")
    place = table.header.index("seg Type@AV")
    assert table.strong == {(2, place)} and table.second == {(1, place)}
    assert table.rows[3][0].endswith(parse_tables.LEAK) and parse_tables.LEAK in table.caption
    honest = parse_tables.score_table(rows[:3], about, "toy")
    assert parse_tables.LEAK not in honest.caption


def test_ties_share_their_place_and_a_pair_has_no_second(about):
    rows = [row("han", 20.0), row("valor_plus_plus", 30.0), row("link", 30.0)]
    table = parse_tables.score_table(rows, about, "toy")
    place = table.header.index("seg Type@AV")
    assert table.strong == {(1, place), (2, place)} and table.second == {(0, place)}
    pair = parse_tables.score_table([row("han", 20.0), row("valor_plus_plus", 30.0)], about, "toy")
    assert pair.strong == {(1, place)} and pair.second == frozenset()


def test_missing_videos_are_counted_by_parser_where_they_differ(about, world):
    assert "23 of 24, split test; seeds 0, 1" in parse_tables.score_table(world.metrics, about, "toy").caption
    rows = [row("han", 1.0), row("link", 2.0, n=7, n_missing=3)]
    assert "9 of 10 (han); 7 of 10 (link)" in parse_tables.score_table(rows, about, "toy").caption


def test_a_parser_without_a_score_is_a_dash_with_its_reason(about):
    nan = math.nan
    rows = [row("han", nan, low=nan, high=nan, n=0, n_missing=10, note="no clip could be scored"), row("link", 2.0)]
    table = parse_tables.score_table(rows, about, "toy")
    assert column(table, "seg Type@AV")["han"] == tables.DASH
    assert "— han: no clip could be scored." in table.caption and table.strong == frozenset()


def test_gains_leave_out_the_reference_and_mark_what_holds(world, about):
    table = parse_tables.gain_table(world.metrics, about, "toy")
    assert [line[0].split()[0] for line in table.rows] == [name for name in ORDER if name != fake.REFERENCE]
    assert "corrected by Holm's method" in table.caption


def gains_with(p_values, **leak):
    reference = fake.REFERENCE
    gains = [row(name, 3.0, f"{parse_tables.MAIN}_gain_over_{reference}", leak=name in leak) for name in p_values]
    return gains + [
        row(name, p, f"{parse_tables.MAIN}_p_against_{reference}", leak=name in leak) for name, p in p_values.items()
    ]


def test_daggers_are_corrected_for_the_parsers_of_a_column(about):
    cells = column(parse_tables.gain_table(gains_with({"han": 0.03, "link": 0.001}), about, "toy"), "seg Type@AV")
    assert {name: tables.DAGGER in text for name, text in cells.items()} == {"han": True, "link": True}
    cells = column(parse_tables.gain_table(gains_with({"han": 0.03, "link": 0.04}), about, "toy"), "seg Type@AV")
    assert not any(tables.DAGGER in text for text in cells.values())


def test_a_leak_is_not_tested(about):
    table = parse_tables.gain_table(gains_with({"han": 0.03, "link_oracle": 0.0001}, link_oracle=True), about, "toy")
    assert {name: tables.DAGGER in text for name, text in column(table, "seg Type@AV").items()} == {
        "han": True,
        f"link_oracle {parse_tables.LEAK}": False,
    }


def test_one_seed_is_a_warning(about):
    rows = gains_with({"link": 0.001})
    assert "There is one seed" not in parse_tables.gain_table(rows, about, "toy").caption
    assert "There is one seed" in parse_tables.gain_table(rows, replace(about, seeds=[3]), "toy").caption


def test_the_ablation_shows_only_what_differs(world, about):
    table = parse_tables.ablation_table(world.metrics, world.runs, about, "toy")
    assert table.header[:3] == ("parser", "plsim.enabled", "plsim.eval_source")
    assert column(table, "plsim.enabled") == {
        fake.REFERENCE: "",
        "link_without_plsim": "off",
        "link": "on",
        f"link_oracle {parse_tables.LEAK}": "on",
    }
    assert "han" not in [line[0] for line in table.rows]
    assert column(table, "gain, seg Type@AV")[fake.REFERENCE] == tables.DASH


def test_there_is_no_ablation_of_plugins_run_once(world, about):
    once = [run for run in world.runs if run.parser in ("han", fake.REFERENCE, "link")]
    assert parse_tables.ablation_table(world.metrics, once, about, "toy") is None


def test_parsers_that_differ_in_features_alone_are_an_ablation_too(world, about):
    runs = [
        replace(run, features="vggish") if run.parser == "han" else run for run in world.runs if run.parser != "link_oracle"
    ]
    same = [replace(run, plugin="valor", hyper={}) for run in runs if run.parser in ("han", fake.REFERENCE)]
    table = parse_tables.ablation_table(world.metrics, same, about, "toy")
    assert table.header[1] == "features" and column(table, "features") == {"han": "vggish", fake.REFERENCE: fake.FEATURES}


def test_seeds_have_a_table_where_there_are_several(world, about):
    table = parse_tables.seed_table(world.metrics, about, "toy")
    found = [r["value"] for r in world.metrics if (r["parser"], r["metric"]) == ("link", METRICS[0]) and r["seed"] >= 0]
    spread = abs(found[0] - found[1]) / math.sqrt(2)
    assert column(table, "seg A")["link"] == f"{sum(found) / 2:.1f} ± {spread:.1f}"
    assert parse_tables.seed_table([r for r in world.metrics if r["seed"] < 1], about, "toy") is None


def test_classes_are_listed_with_their_truth(world, about):
    table = parse_tables.class_table(world.metrics, world.by_class, about, "toy", "segment")
    assert table.header[:4] == ("class", "n A", f"A, {fake.REFERENCE}", "A, link")
    assert {line[0] for line in table.rows} == set(fake.CLASSES)
    true = fake.truth_of(24)[:, 0].sum(axis=(0, 2))
    assert {line[0]: int(line[1]) for line in table.rows} == dict(zip(fake.CLASSES, true.tolist(), strict=True))


def test_of_many_classes_the_extremes_are_listed(about):
    base = {"dataset": "toy", "parser": "link", "level": "event", "n": 3}
    rows = [
        {**base, "class_id": i, "name": f"c{i:02d}", "kind": kind, "f_score": float(i) if i else math.nan}
        for i in range(40)
        for kind in ("A", "V", "AV")
    ]
    table = parse_tables.class_table([row("link", 1.0)], rows, about, "toy", "event")
    assert [line[0] for line in table.rows] == [f"c{i:02d}" for i in (39, 38, 37, 36, 35, 4, 3, 2, 1, 0)]
    assert table.rows[-1][2] == tables.DASH and "5 best and 5 worst of 40" in table.caption


def test_what_training_ended_with(world, about):
    table = parse_tables.learnt_table(world.runs, about, "toy")
    assert table.header[4:] == ("mu", "lambda", "alpha beta audio", "alpha beta visual")
    cells = {head: column(table, head) for head in table.header[1:]}
    assert cells["epochs"]["link"] == "12" and cells["epoch kept"]["link"] == "9, 10"
    assert cells["mu"]["han"] == tables.DASH
    first, last = (sum(run.values("train", "mu")[epoch] for run in world.runs if run.parser == "link") / 2 for epoch in (1, 12))
    assert cells["mu"]["link"].startswith(f"{first:.2f} to {last:.2f} ± ")
    assert "descent moves it towards 1" in table.caption


def fixed(run):
    return replace(run, hyper={**run.hyper, "sloss": {"enabled": True, "mu": {"mode": "fixed", "init": 0.5}}})


def test_mu_is_said_to_drift_only_where_it_is_free(world, about):
    assert [drift.parser for drift in drifts(world.runs, about, "toy")] == ["link_without_plsim", "link", "link_oracle"]
    still = [fixed(run) if run.plugin == "link" else run for run in world.runs]
    assert drifts(still, about, "toy") == []
    assert "towards 1" not in parse_tables.learnt_table(still, about, "toy").caption


def test_parsers_without_training_have_no_such_table(world, about):
    bare = read_runs(world.made["parses"])
    assert parse_tables.learnt_table(bare, about, "toy") is None and learnt(bare) == []


def test_training_without_parses_is_refused(world, tmp_path):
    path = tmp_path / "toy" / "other" / "0.parquet"
    contracts.write([], contracts.TRAINING, path, {})
    with pytest.raises(contracts.ContractError, match="toy/other/0"):
        read_runs(world.made["parses"], [str(path)])


def test_parses_that_do_not_say_whose_they_are_are_refused(tmp_path):
    path = tmp_path / "toy" / "link" / "0.parquet"
    contracts.write([], contracts.PARSES, path, {"dataset": "toy", "seed": 0})
    with pytest.raises(contracts.ContractError, match="lack parser, plugin, features, leak"):
        read_runs([str(path)])


@pytest.mark.parametrize(
    ("parsers", "expected"),
    [
        (("han", "valor_plus_plus", "link", "link_oracle"), "link"),
        (("han", "link", "valor_plus_plus", "link_without_plsim"), "link"),
        (("han", "valor_plus_plus", "link_without_plsim"), "link_without_plsim"),
        (("valor_plus_plus", "han"), "han"),
        (("valor_plus_plus",), ""),
        (("valor_plus_plus", "link_oracle"), ""),
    ],
)
def test_the_headline_is_about_link_or_the_last_honest_parser(about, parsers, expected):
    rows = [row(name, 50.0, leak=name == "link_oracle") for name in parsers]
    own = replace(about, methods={name: {} for name in parsers})
    assert parse_tables.champion(rows, own, "toy") == expected


def test_parsers_bear_the_published_names_of_their_plugins():
    off = {"plsim": {"enabled": False}}
    notes = {
        "han_classic": {"published": "HAN", "hyper": {}}, "valor_plus": {"published": "VALOR+", "hyper": {}},
        "link_predicted": {"published": "LINK", "hyper": {"plsim": {"eval_source": "predicted"}}},
        "tsam_sloss": {"published": "LINK", "hyper": off}, "mine": {"hyper": {}},
    }  # fmt: skip
    about = parse_tables.Parsing("", {}, "test", [0], notes)
    called = {
        (n, t) for n in (*notes, "unknown") for t in ("HAN", "VALOR+", "VALOR", "LINK") if parse_tables.is_called(n, about, t)
    }
    assert called == {("han_classic", "HAN"), ("valor_plus", "VALOR+"), ("link_predicted", "LINK")}


def published(about, dataset="llp"):
    rows = [
        row(name, 70.0, metric, dataset=dataset, leak=name == "link_oracle")
        for name in ("han", "link", "link_oracle")
        for metric in METRICS
    ]
    return parse_tables.published_table(rows, about, dataset)


def test_published_numbers_stand_beside_ours(about):
    table = published(about)
    lines = [line for line in table.rows if line[0] in ("link, ours", "LINK")]
    assert [line[2] for line in lines] == ["70.0 [70.0, 70.0]", "69.7"]
    after = table.rows[table.rows.index(lines[1]) + 1]
    assert after[0] == "difference" and after[2] == "+0.3"
    assert lines[1][5] == tables.DASH and after[5] == tables.DASH  # its Type@AV was not found anywhere
    assert not any("oracle" in line[0] for line in table.rows)


def test_papers_that_print_the_same_share_a_row_and_pseudo_labels_are_no_parser(about):
    rows = published(about).rows
    assert [line[0] for line in rows].count("HAN") == 1
    (valor,) = (line for line in rows if line[0] == "VALOR")
    assert valor[2] == "61.8" and "UWAV" in valor[-1] and "MUG" in valor[-1]


def test_other_splits_and_datasets_are_not_compared(about):
    assert published(replace(about, split="val")) is None
    assert published(about, dataset="toy") is None


def test_all_formats_are_written(world, about, tmp_path):
    made, out = world.made, [str(tmp_path / name) for name in ("t.md", "t.csv", "tidy.csv", "t.tex", "t.html")]
    parse_tables.write(made["metrics"], made["by_class"], made["parses"], made["training"], about, *out)
    text, wide, tidy, latex = ((tmp_path / name).read_text() for name in ("t.md", "t.csv", "tidy.csv", "t.tex"))
    page = (tmp_path / "t.html").read_text()
    assert page.count("<table") == text.count("\n## ") and 'class="best"' in page and "<u>" in page
    names = ("F-scores", "Gain over", "What each setting", "Spread over seeds", "Classes, by segment", "What training ended")
    assert all(f"## {name}" in text and name in wide for name in names)
    assert re.search(r"\*\*\d+\.\d \[", text) and re.search(r" \*\d+\.\d \[", text)
    assert r"\underline{" in latex and "⚠" not in latex and "±" not in latex
    rows = list(csv.DictReader(io.StringIO(tidy)))
    assert len(rows) == len(world.metrics) and list(rows[0]) == contracts.PARSING_METRICS.names


def test_tables_are_the_same_each_time(world, about):
    first, again = (parse_tables.build(world.metrics, about, world.by_class, world.runs) for _ in range(2))
    assert first == again and len({table.name for table in first}) == len(first)


def test_an_experiment_without_scores_has_no_tables(about):
    assert parse_tables.build([], about) == []


def test_a_run_tells_its_values_by_epoch():
    rows = [
        {"epoch": epoch, "split": split, "metric": "loss", "value": value, "unit": ""}
        for epoch, split, value in ((1, "train", 3.0), (2, "train", math.nan), (2, "val", 5.0))
    ]
    run = Run("toy", "link", "link", "f", 0, False, 2, {}, rows)
    assert run.values("train", "loss") == {1: 3.0}


def test_parsers_that_found_nothing_are_named(world, about):
    silent = ("han", "f_score_seg_EventAV")
    rows = [{**row, "value": 0.0} if (row["parser"], row["metric"]) == silent else row for row in world.metrics]
    dataset = rows[0]["dataset"]
    assert "han found no event in any video" in parse_tables.score_table(rows, about, dataset).caption
    assert "found no event" not in parse_tables.score_table(world.metrics, about, dataset).caption
