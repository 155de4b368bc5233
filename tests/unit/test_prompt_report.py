"""The report of a prompting experiment."""

import re
from dataclasses import replace
from types import SimpleNamespace

import fake_prompts as fake
import pytest
from browser import check_page

from earshot import contracts, prompt_figures, prompt_report, prompt_tables
from earshot.prompt_runs import read_runs
from earshot.report import Card

HOSTILE = "<script>alert('x')</script>"
METRIC = "segment_accuracy"
RANDOM = fake.ENCODERS + contracts.UNTRAINED


def page_of(root, made, about, views=()):
    metrics = contracts.read(made["metrics"], contracts.PROMPT_METRICS)
    sources = prompt_figures.Sources(made["prompted"], views, classes=made["classes"])
    prompt_figures.draw(sources, metrics, about, root / "figures")
    named = {kind: made[kind] for kind in ("metrics", "prompted", "training", "costs", "clips", "classes", "environment")}
    paths = prompt_report.Paths(figures=str(root / "figures"), files={HOSTILE: "results/"}, **named)
    return paths, prompt_report.render(prompt_report.collect(paths, about, "demo"))


@pytest.fixture(scope="module")
def about():
    return prompt_tables.about(fake.given(title=f"Demo {HOSTILE}"))


@pytest.fixture(scope="module")
def world(tmp_path_factory, about):
    """An experiment on disk, its page, and views of its last run alone."""
    root = tmp_path_factory.mktemp("prompting")
    made = fake.write_experiment(root)
    paths, page = page_of(root, made, about, made["views"][-1:])
    metrics = contracts.read(made["metrics"], contracts.PROMPT_METRICS)
    runs = read_runs(made["prompted"], made["training"], made["costs"])
    return SimpleNamespace(made=made, paths=paths, page=page, metrics=metrics, runs=runs)


def test_the_page_asks_nothing_of_anybody(world):
    page = world.page
    assert page.count("<script") == 2 and "<script src" not in page and "@import" not in page  # rows, and what sorts them
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', world.page)
    assert not re.findall(r"url\((?!data:)", world.page)


def test_the_page_works_in_a_browser(world, chromium, tmp_path):
    (tmp_path / "page.html").write_text(world.page, encoding="utf-8")
    check_page(chromium, tmp_path / "page.html")


def test_the_page_escapes_what_it_is_given(world):
    assert world.page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 3  # title, heading, file


def test_the_page_is_whole_and_the_same_each_time(world, about):
    assert prompt_report.render(prompt_report.collect(world.paths, about, "demo")) == world.page
    assert f"<h1>{prompt_report.headline(world.metrics, about, 'toy').text}</h1>" in world.page
    assert world.page.count('<figure class="seen">') == 2
    for text in (
        "Audio-visual event localisation.",
        "How well classes part: toy",
        "What is trained",
        "2.00 of 8.00 million parameters (25.0 %)",
        "What training took",
        "Beside published numbers",
        "audio: missing: no track in (1)",
        "23 of 24",
        "missing (1)",
        "plug-in dgsct",
        "modules.tokens = 2",
        f"encoders: {fake.ENCODERS}",
    ):
        assert text in world.page, text
    assert "show nothing" not in world.page and "shows nothing" not in world.page


def rows_of(low, high, encoders=fake.ENCODERS):
    base = {"dataset": "toy", "task": "ave", "encoders": encoders, "seed": -1, "unit": "%", "n": 9, "n_missing": 0, "note": ""}
    scores = [
        {**base, "prompter": name, "metric": METRIC, "value": 50.0, "low": 40.0, "high": 60.0} for name in ("none", "dgsct")
    ]
    gain = {"metric": f"{METRIC}_gain_over_none", "value": (low + high) / 2, "low": low, "high": high}
    return [*scores, {**base, "prompter": "dgsct", **gain}]


@pytest.mark.parametrize(
    ("low", "high", "text", "tone"),
    [
        (1.0, 3.0, "dgsct scores 2.0 points better than none.", "good"),
        (-3.0, -1.0, "dgsct scores 2.0 points worse than none.", "bad"),
        (-1.0, 3.0, "dgsct makes no reliable difference to none.", "even"),
        (0.0, 3.0, "dgsct makes no reliable difference to none.", "even"),
    ],
)
def test_the_headline_follows_the_interval(about, low, high, text, tone):
    found = prompt_report.headline(rows_of(low, high), about, "toy")
    assert (found.text, found.tone) == (text, tone)
    assert "on the same 9 videos, mean of 2 seeds. none reaches 50.0 % and dgsct reaches 50.0 %." in found.detail
    alone = prompt_report.headline(rows_of(low, high), replace(about, seeds=[0]), "toy")
    assert "with one seed, so that nothing is known of another training run" in alone.detail


def test_random_encoders_have_no_headline_no_cards_and_a_warning(about):
    rows = rows_of(1.0, 3.0, RANDOM)
    found = prompt_report.headline(rows, about, "toy")
    assert (found.text, found.tone) == ("These numbers show nothing.", "even") and RANDOM in found.detail
    assert prompt_report.cards(rows, [], about, "toy") == []
    assert "none, dgsct have random weights" in prompt_report.warning(rows) and not prompt_report.warning(rows_of(1, 3))


def test_a_page_of_random_encoders_says_so(about, tmp_path):
    prompters = {name: replace(fake.PROMPTERS[name], encoders=RANDOM) for name in ("none", "dgsct")}
    _, page = page_of(tmp_path, fake.write_experiment(tmp_path, prompters, seeds=[0], clips=6), about)
    assert "<h1>These numbers show nothing.</h1>" in page and "shows nothing of the methods" in page
    assert page.count(prompt_tables.MARK) >= 4 and "scores" in page and "points better" not in page


def test_a_mixture_is_judged_by_what_is_proven(about):
    rows = [{**row, "encoders": RANDOM} if row["prompter"] == "dgsct" else row for row in rows_of(5.0, 7.0)]
    assert prompt_report.headline(rows, about, "toy").text == "none reaches 50.0 % segment accuracy."
    rows = [{**row, "encoders": RANDOM} if row["prompter"] == "none" else row for row in rows_of(5.0, 7.0)]
    assert prompt_report.headline(rows, about, "toy").text == "dgsct reaches 50.0 % segment accuracy."
    assert [card.label for card in prompt_report.cards(rows, [], about, "toy")] == [
        "dgsct: segment accuracy", "of 9 videos scored"
    ]  # fmt: skip


def test_nothing_scored_is_said(about):
    nan = float("nan")
    rows = [{**row, "value": nan, "low": nan, "high": nan, "n": 0, "n_missing": 9} for row in rows_of(1.0, 3.0)]
    assert prompt_report.headline(rows, about, "toy").text == "No video could be scored."
    asked = prompt_tables.about(fake.given(task={**fake.ANSWERING, "select_by": METRIC}))
    assert prompt_report.headline(rows, asked, "toy").text == "No question could be scored."


def test_cards_tell_scores_and_what_is_trained(world, about):
    found = prompt_report.cards(world.metrics, world.runs, about, "toy")
    assert [card.label for card in found] == [
        "dgsct: segment accuracy", "none: segment accuracy", "of 24 videos scored", "dgsct: parameters trained"
    ]  # fmt: skip
    assert found[-1] == Card("2.00 M", "dgsct: parameters trained", "25.0 % of all")


def test_a_prompter_without_modules_has_no_finding(world, about):
    (found,) = prompt_report.findings(world.runs, about)
    assert "201.2 of 427.7 million" in found.text and found.text.count("dgsct") == 2
    assert prompt_report.findings([run for run in world.runs if run.plugin == "none"], about) == []


def test_parting_is_told_by_prompter_with_dashes_for_what_has_no_figure(about):
    rows = [["dgsct", 0, "audio", 9, 3, None, 0.25], ["none", 0, "audio", 9, 3, 0.5, None]]
    (grid,) = prompt_report.parting_grids({"toy": rows, "empty": []}, about)
    assert grid.rows == [("none", "0", "audio", "9", "3", "0.500", "—"), ("dgsct", "0", "audio", "9", "3", "—", "0.250")]
