"""Figures, timelines and the report of audio-visual video parsing."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import fake_parses as fake
import numpy as np
import pytest
from browser import check_page
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from earshot import contracts, figures, media, parse_figures, parse_report, parse_tables, parse_timelines
from earshot.metrics.parsing_f_score import decisions
from earshot.parse_runs import read_runs
from earshot.report import Headline

HOSTILE = "<script>alert('x')</script>"
SHOWN = ["han", fake.REFERENCE, "link"]


@pytest.fixture(scope="module")
def about():
    return parse_tables.about(fake.given(title=f"Demo {HOSTILE}"))


@pytest.fixture(scope="module")
def world(tmp_path_factory, about):
    """An experiment on disk with its figures drawn; the videos of clips 0 and 1 exist."""
    root = tmp_path_factory.mktemp("parsing")
    made = fake.write_experiment(root)
    fake.write_videos(root / "media", [0, 1])
    kinds = ("parses", "events", "clips", "classes")
    sources = parse_timelines.Sources(*(made[kind] for kind in kinds), roots={"toy": str(root / "media")})
    metrics = contracts.read(made["metrics"], contracts.PARSING_METRICS)
    parse_figures.draw(sources, metrics, about, made["training"], root / "figures")
    named = {kind: made[kind] for kind in ("metrics", "by_class", "parses", "training", "clips", "classes", "environment")}
    paths = parse_report.Paths(figures=str(root / "figures"), files={HOSTILE: "results/"}, **named)
    runs = read_runs(made["parses"], made["training"])
    return SimpleNamespace(root=root, made=made, sources=sources, metrics=metrics, paths=paths, runs=runs)


@pytest.fixture(scope="module")
def index(world):
    return json.loads((world.root / "figures" / "figures.json").read_text())


@pytest.fixture(scope="module")
def page(world, about):
    return parse_report.render(parse_report.collect(world.paths, about, "demo"))


# --- figures


def test_every_figure_of_the_index_is_there(world, index):
    assert [drawn["name"] for drawn in index["figures"]] == ["scores-toy", "gains-toy", "training-toy"]
    for drawn in index["figures"]:
        ElementTree.parse(world.root / "figures" / f"{drawn['name']}.svg")
        assert (world.root / "figures" / f"{drawn['name']}.png").stat().st_size > 1000
        assert drawn["caption"] and drawn["alt"] and drawn["section"] in ("results", "training")


def test_the_same_numbers_give_the_same_bytes(world, about, tmp_path):
    parse_figures.draw(world.sources, world.metrics, about, world.made["training"], tmp_path)
    first = {path.name: path.read_bytes() for path in (world.root / "figures").iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_the_reference_is_grey_and_no_two_parsers_look_alike(world, about):
    look = parse_figures.look_of(world.metrics, about)
    assert look.colours[fake.REFERENCE] == figures.GREY
    assert len(set(look.colours.values())) == len(set(look.markers.values())) == len(fake.PARSERS)


def test_a_leak_is_hollow(world, about):
    look = parse_figures.look_of(world.metrics, about)
    with figures.matplotlib.rc_context(figures.STYLE):
        drawn = parse_figures.score_figure(world.metrics, about, look, "toy")
    hollow = {line.get_color() for axes in drawn.axes for line in axes.lines if line.get_markerfacecolor() == "none"}
    assert hollow == {look.colours["link_oracle"]}
    figures.plt.close(drawn)


def test_training_has_a_panel_for_what_modules_learn(world, about):
    look = parse_figures.look_of(world.metrics, about)
    drawn = parse_figures.training_figure(world.runs, about, look, "toy")
    titles = [axes.get_title("left") for axes in drawn.axes]
    assert titles[:4] == ["training loss [nats]", "validation, seg Type@AV [%]", "mu", "lambda"]
    assert titles[4].startswith("alpha beta")
    (line,) = (line for line in drawn.axes[2].lines if line.get_color() == look.colours["link"])
    runs = [run.values("train", "mu") for run in world.runs if run.parser == "link"]
    assert list(line.get_ydata()) == pytest.approx([(runs[0][e] + runs[1][e]) / 2 for e in range(1, 13)])
    figures.plt.close(drawn)


def test_parsers_without_modules_have_fewer_panels(world, about):
    look = parse_figures.look_of(world.metrics, about)
    plain = [run for run in world.runs if run.plugin != "link"]
    drawn = parse_figures.training_figure(plain, about, look, "toy")
    assert len(drawn.axes) == 2
    figures.plt.close(drawn)
    assert parse_figures.training_figure(read_runs(world.made["parses"]), about, look, "toy") is None


def test_timelines_compare_the_first_the_reference_and_that_of_the_headline(world, about):
    assert parse_figures.compared(world.metrics, about, "toy") == SHOWN


# --- timelines


def test_videos_are_the_first_ones_and_those_that_differ_most(world):
    found = parse_timelines.timelines(world.sources, "toy", SHOWN, "test")
    # 2 has no file, and of 5 there are no features
    assert [line.clip["clip_id"] for line in found[:3]] == ["test_0000", "test_0001", "test_0003"]
    differ = {
        clip: int((said[fake.REFERENCE] != said["link"]).sum())
        for clip in range(24)
        if clip not in (0, 1, 2, 3, 5)
        for said in [{name: decided(name, clip) for name in (fake.REFERENCE, "link")}]
    }
    most = sorted(differ, key=lambda clip: (-differ[clip], clip))[:3]
    assert [line.clip["clip_id"] for line in found[3:]] == [fake.clip_id(clip) for clip in most]
    assert found[3].why == f"{fake.REFERENCE} and link differ in {differ[most[0]]} answers"


def decided(parser, clip):
    return decisions(*fake.scores_of(fake.truth_of(24), fake.PARSERS[parser].skill, 0))[clip]


def test_a_timeline_holds_truth_and_the_first_seed(world):
    first = parse_timelines.timelines(world.sources, "toy", SHOWN, "test")[0]
    assert (first.truth == fake.truth_of(24)[0]).all()
    assert list(first.said) == SHOWN
    assert all((first.said[name] == decided(name, 0)).all() for name in SHOWN)


def test_without_any_file_videos_are_still_chosen(world):
    rows = [fake.clip_row(clip, available=False) for clip in range(5)]
    parsed = {"link": parse_timelines.read_parsed(world.made["parses"][-3], len(fake.CLASSES))}
    assert [row["clip_id"] for row, _ in parse_timelines.choose(rows, parsed)] == [fake.clip_id(i) for i in range(3)]


def test_equal_parsers_add_no_videos(world):
    rows = [fake.clip_row(clip) for clip in range(5)]
    same = parse_timelines.read_parsed(world.made["parses"][0], len(fake.CLASSES))
    assert len(parse_timelines.choose(rows, {"a": same, "b": same})) == 3


def test_scores_of_other_classes_are_refused(world):
    with pytest.raises(contracts.ContractError, match="not of 7 classes"):
        parse_timelines.read_parsed(world.made["parses"][0], 7)


def test_parses_of_nothing_have_no_timeline(tmp_path):
    rows = fake.parse_rows(*fake.scores_of(fake.truth_of(2), 0.9, 0), gone=(0, 1))
    contracts.write(rows, contracts.PARSES, tmp_path / "p.parquet", {})
    assert parse_timelines.read_parsed(str(tmp_path / "p.parquet"), len(fake.CLASSES)).places == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=10, max_size=10))
def test_spans_tell_all_seconds_and_no_others(seconds):
    present = np.array(seconds)
    found = parse_timelines.spans(present)
    assert [s for on, off in found for s in range(on, off)] == np.flatnonzero(present).tolist()
    assert all(off < on for (_, off), (on, _) in pairwise(found))


def timeline_of(truth, **said):
    return parse_timelines.Timeline(fake.clip_row(0), "why", fake.CLASSES, truth, said)


def test_words_say_what_the_picture_shows():
    truth = np.zeros((2, len(fake.CLASSES), 10), bool)
    said = truth.copy()
    truth[0, 3, 2:5] = True
    said[0, 3, [2, 4]] = True
    said[1, 6, 9] = True
    told = parse_timelines.in_words(timeline_of(truth, link=said))
    assert told == (
        "Frying (food) heard: truth 2 to 5 s, link 2 to 3 s and 4 to 5 s; Telephone bell ringing seen: link 9 to 10 s."
    )
    empty = np.zeros_like(truth)
    assert "nothing is heard or seen" in parse_timelines.in_words(timeline_of(empty, link=empty))


def test_true_classes_come_first_and_the_rest_is_counted():
    truth = np.zeros((2, len(fake.CLASSES), 10), bool)
    truth[0, 7, 0] = True
    everything = np.ones_like(truth)
    line = timeline_of(truth, link=everything)
    assert parse_timelines.classes_of(line) == ([7, 0, 1, 2, 3, 4], 2)
    assert "2 more said to be there" in parse_timelines.in_words(line)
    assert parse_timelines.lanes_of(timeline_of(truth, link=truth), [7]) == [(7, 0), (7, 1)]
    said = np.zeros_like(truth)
    said[1, 2, 3] = True
    assert parse_timelines.lanes_of(timeline_of(truth, link=said), [7, 2]) == [(7, 0), (7, 1), (2, 1)]


def test_timelines_are_pictures_with_words(world, index):
    (entry,) = index["gallery"]
    assert entry["dataset"] == "toy" and entry["parsers"] == SHOWN and len(entry["clips"]) == 6
    for clip in entry["clips"]:
        picture = Image.open(world.root / "figures" / clip["file"])
        assert picture.width == 1280 and "truth" in clip["alt"] and clip["why"]


def test_footage_is_a_picture_a_second_and_the_sound(world):
    found = parse_timelines.footage_of(fake.clip_row(0), world.root / "media")
    assert list(found.pictures) == list(range(10)) and abs(len(found.wave) - 80_000) < 2_000
    assert not found.no_pictures and not found.no_wave
    colours = [np.asarray(picture)[60, 60:120].reshape(-1, 3).max(0)[1] for picture in found.pictures.values()]
    assert colours == sorted(colours) and colours[0] < colours[-1]  # the square brightens from second to second


def test_what_is_gone_leaves_a_note(world, tmp_path):
    gone = parse_timelines.footage_of(fake.clip_row(9), world.root / "media")
    assert gone.no_pictures == "no pictures and no sound: missing: no such file" and not gone.pictures
    row = fake.clip_row(0, video="silent.mp4")
    media.write_video(tmp_path / "silent.mp4", np.zeros((24, 48, 64, 3), np.uint8), 8.0)
    mute = parse_timelines.footage_of(row, tmp_path)
    assert list(mute.pictures) == [0, 1, 2] and mute.no_wave == "no sound track"
    look = figures.Look({}, {})
    for root, clip in ((world.root / "media", fake.clip_row(9)), (tmp_path, row)):
        line = replace(timeline_of(fake.truth_of(1)[0], link=fake.truth_of(1)[0]), clip=clip)
        drawn = parse_timelines.figure_of(line, root, look)
        texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
        assert (gone.no_pictures if clip["clip_id"] == "test_0009" else mute.no_wave) in texts
        figures.plt.close(drawn)


def test_bars_and_boxes_are_where_they_belong(world):
    truth = np.zeros((2, len(fake.CLASSES), 10), bool)
    said = truth.copy()
    truth[0, 0, 2:5], said[0, 0, 3:7] = True, True
    drawn = parse_timelines.figure_of(timeline_of(truth, link=said), Path("absent"), figures.Look({}, {}))
    tracks = drawn.axes[2]
    boxes = [(p.get_x(), p.get_width()) for p in tracks.patches if p.get_hatch()]
    bars = [(p.get_x(), p.get_width()) for p in tracks.patches if not p.get_hatch() and p.get_zorder() == 3]
    assert boxes == [(2, 3)] and bars == [pytest.approx((3.04, 3.92))]
    markers = [x for line in tracks.lines for x in line.get_xdata()]
    assert markers == [3.5, 4.5, 5.5, 6.5]
    figures.plt.close(drawn)


# --- the page


def test_the_page_asks_nothing_of_anybody(page):
    assert page.count("<script") == 2 and "<script src" not in page and "@import" not in page  # rows, and what sorts them
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert not re.findall(r"url\((?!data:)", page)


def test_the_page_works_in_a_browser(page, chromium, tmp_path):
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    check_page(chromium, tmp_path / "page.html")


def test_the_page_escapes_what_it_is_given(page):
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 3  # title, heading, file


def test_the_page_is_whole(world, about, page):
    assert f"<h1>{parse_report.headline(world.metrics, about, 'toy').text}</h1>" in page
    assert page.count('<figure class="timeline">') == 6 and page.count('alt="') >= 9
    for text in (
        "What PLSIM is shown",
        "Where mu goes",
        "<code>plsim.eval_source: gated_oracle</code>",
        "What training ended with",
        "Spread over seeds",
        "audio: missing: no file (1)",
        "23 of 24",
        "Data problems",
        "missing (1)",
        "torch",
        "plug-in link",
        "⚠ leak",
    ):
        assert text in page, text


def test_the_page_is_the_same_each_time(world, about, page):
    assert parse_report.render(parse_report.collect(world.paths, about, "demo")) == page


def gains(low, high, seeds=-1):
    base = {"dataset": "toy", "features": "f", "leak": False, "seed": seeds, "unit": "%", "n": 9, "n_missing": 0, "note": ""}
    scores = [
        {**base, "parser": name, "metric": parse_tables.MAIN, "value": 50.0, "low": 40.0, "high": 60.0}
        for name in (fake.REFERENCE, "link")
    ]
    metric = f"{parse_tables.MAIN}_gain_over_{fake.REFERENCE}"
    return [*scores, {**base, "parser": "link", "metric": metric, "value": (low + high) / 2, "low": low, "high": high}]


@pytest.mark.parametrize(
    ("low", "high", "text", "tone"),
    [
        (1.0, 3.0, "link parses 2.0 points better than valor_plus_plus.", "good"),
        (-3.0, -1.0, "link parses 2.0 points worse than valor_plus_plus.", "bad"),
        (-1.0, 3.0, "link makes no reliable difference to valor_plus_plus.", "even"),
        (0.0, 3.0, "link makes no reliable difference to valor_plus_plus.", "even"),
    ],
)
def test_the_headline_follows_the_interval(about, low, high, text, tone):
    found = parse_report.headline(gains(low, high), about, "toy")
    assert (found.text, found.tone) == (text, tone)
    assert "on the same 9 videos, mean of 2 seeds." in found.detail


def test_one_seed_is_said_to_be_one(about):
    found = parse_report.headline(gains(1.0, 3.0), replace(about, seeds=[0]), "toy")
    assert "with one seed, so that nothing is known of another training run" in found.detail


def test_a_leak_is_no_headline(about, world):
    found = parse_report.headline(world.metrics, about, "toy")
    assert found.text.startswith("link ") and "link_oracle, which was shown labels of these videos, would reach" in found.detail
    only = [{**row, "parser": "link_oracle", "leak": True} if row["parser"] == "link" else row for row in gains(5.0, 7.0)]
    assert parse_report.headline(only, about, "toy").text == f"{fake.REFERENCE} reaches 50.0 % Type@AV."


def test_nothing_scored_is_said(about):
    nan = float("nan")
    rows = [{**row, "value": nan, "low": nan, "high": nan, "n": 0, "n_missing": 9} for row in gains(1.0, 3.0)]
    assert parse_report.headline(rows, about, "toy").text == "No video could be scored."
    assert parse_report.cards(rows, [], about, "toy") == [parse_report.Card("0", "of 9 videos scored", "split test")]
    assert parse_report.verdict([]).text == "Nothing was scored."


@pytest.mark.parametrize(
    ("tones", "text", "tone"),
    [
        ("good good even", "Better on 2, worse on 0 of 3 datasets.", "good"),
        ("good bad", "Better on 1, worse on 1 of 2 datasets.", "even"),
        ("bad even", "Better on 0, worse on 1 of 2 datasets.", "bad"),
        ("even even", "Better on 0, worse on 0 of 2 datasets.", "even"),
        ("good", "x", "good"),
    ],
)
def test_several_datasets_share_one_verdict(tones, text, tone):
    found = parse_report.verdict([Headline("x", "", t, "") for t in tones.split()])
    assert (found.text, found.tone) == (text, tone)


def test_findings_appear_where_such_parsers_are(world, about):
    every = parse_report.findings(world.metrics, world.runs, about, "toy")
    assert [found.title for found in every] == ["What PLSIM is shown", "Where mu goes"]
    assert "link_oracle reaches" in every[0].text and "a leak and no progress" in every[0].text
    honest = [run for run in world.runs if run.parser != "link_oracle"]
    (words, _) = parse_report.findings(world.metrics, honest, about, "toy")
    assert "Here nobody was shown them: link was given ungated." in words.text
    plain = [run for run in world.runs if run.plugin != "link"]
    assert parse_report.findings(world.metrics, plain, about, "toy") == []


def test_parsers_without_scores_do_not_break_the_page(about, tmp_path):
    made = fake.write_experiment(tmp_path, clips=6, seeds=[0], gone=range(6))
    metrics = contracts.read(made["metrics"], contracts.PARSING_METRICS)
    alone = replace(about, seeds=[0])
    parse_figures.draw(parse_timelines.Sources(made["parses"]), metrics, alone, [], tmp_path / "figures")
    paths = parse_report.Paths(made["metrics"], made["by_class"], str(tmp_path / "figures"), made["parses"])
    text = parse_report.render(parse_report.collect(paths, alone, "demo"))
    assert "No video could be scored." in text and "0 of 6" in text and "Second by second" not in text


def test_missing_videos_are_grouped_by_reason():
    problems = [f"audio: missing: no file '{i}.npy'" for i in range(3)] + [f"visual: odd {i}" for i in range(5)]
    assert parse_report.reasons(problems) == (
        "audio: missing: no file (3), visual: odd 0 (1), visual: odd 1 (1), visual: odd 2 (1), other reasons (2)"
    )
    assert parse_report.reasons([]) == "—"
