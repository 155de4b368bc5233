"""Figures and the report."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import fake_results as fake
import pytest
from browser import check_page
from matplotlib.colors import same_color

from earshot import contracts, data_facts, figures, report, scoring, tables

HOSTILE = "<script>alert('x')</script>"
GIVEN = SimpleNamespace(title=f"Demo {HOSTILE}", protocol=fake.PROTOCOL, split="test", seeds=[0, 1], methods=fake.METHODS)


@pytest.fixture(scope="module")
def about():
    return tables.about(GIVEN)


@pytest.fixture(scope="module")
def world(tmp_path_factory, about):
    """A whole experiment on disk, with its figures drawn."""
    root = tmp_path_factory.mktemp("world")
    predictions = [str(path) for path in fake.write_experiment(root, clips=24)]
    clips = fake.write_clips(root, 24, corruptions=[c for c in fake.DROP if c != "clean"])
    fake.write_videos(root, clips, clips=range(8))
    sides = fake.write_sides(root, 24)
    scores = scoring.score(predictions, scoring.vocabularies(["toy"], sides["classes"]), {"pets": ["Dog"]})
    metrics = data_facts.marked(scores.metrics, {})
    contracts.write(metrics, contracts.METRICS, root / "metrics.parquet", {})
    contracts.write(scores.classes, contracts.CLASS_METRICS, root / "classes.parquet", {})
    shared = {"predictions": predictions, "clips": [str(clips[0])], "corrupted": [str(path) for path in clips[1:]]}
    shared |= {key: sides[key] for key in ("classes", "audio", "label_map", "training", "timings")}
    sources = figures.Sources(
        **shared, by_class=str(root / "classes.parquet"), roots={"toy": str(root / "data" / "toy" / "media")}
    )
    figures.draw(sources, metrics, about, root / "figures")
    others = {key: sides[key] for key in ("audio_scores", "tuning")}
    paths = report.Paths(
        str(root / "metrics.parquet"),
        str(root / "figures"),
        str(root / "classes.parquet"),
        **shared,
        **others,
        environment=sides["environment"][0],
        files={HOSTILE: "results/tables/"},
    )
    return SimpleNamespace(root=root, paths=paths, sources=sources, metrics=metrics)


@pytest.fixture(scope="module")
def page(world, about):
    return report.render(report.collect(world.paths, about, "demo"))


def test_every_figure_of_the_index_is_there(world):
    index = json.loads((world.root / "figures" / "figures.json").read_text())
    kinds = {drawn["name"].split("-toy")[0] for drawn in index["figures"]}
    assert kinds == {"accuracy", "gains", "cost", "sound", "steps", "stream", "training", "label-map", "gallery", "class-gains"}
    for drawn in index["figures"]:
        assert (world.root / "figures" / f"{drawn['name']}.png").stat().st_size > 1000
        if drawn["section"] != "gallery":
            ElementTree.parse(world.root / "figures" / f"{drawn['name']}.svg")
        assert drawn["caption"] and drawn["alt"]


def test_the_same_numbers_give_the_same_bytes(world, about, tmp_path):
    with figures.matplotlib.rc_context(figures.STYLE):
        drawn = figures.gain_figure(world.metrics, about, figures.Look.of(world.metrics, about), "toy", "tiny")
        figures.save(drawn, tmp_path, "again")
    for suffix in (".svg", ".png"):
        first = world.root / "figures" / f"gains-toy-tiny{suffix}"
        assert (tmp_path / f"again{suffix}").read_bytes() == first.read_bytes()


def test_listening_methods_are_warm_and_others_cool(world, about):
    look = figures.Look.of(world.metrics, about)
    assert look.colours["audio_assisted"] in figures._WARM
    assert {look.colours[m] for m in ("tent", "vitta")} <= set(figures._COOL)
    assert len(set(look.colours.values())) == len(look.colours)
    assert len(set(look.markers.values())) == len(look.markers)


def test_gallery_shows_every_condition_of_clips_of_different_classes(world):
    (entry,) = json.loads((world.root / "figures" / "figures.json").read_text())["gallery"]
    assert len({clip["title"] for clip in entry["clips"]}) == len(entry["clips"]) == 5
    for clip in entry["clips"]:
        assert [p["corruption"] for p in clip["pictures"]] == ["clean", "gauss", "motion", "rain", "h265_abr"]
        assert clip["clip_id"] != fake.clip_ids(4)[3]  # not available everywhere
        assert set(clip["pictures"][0]["answers"]) == {m["variant"] for m in fake.METHODS}


def test_answers_in_the_gallery_are_those_of_the_predictions(world):
    (entry,) = json.loads((world.root / "figures" / "figures.json").read_text())["gallery"]
    rows = contracts.read(world.sources.predictions[1], contracts.PREDICTIONS)
    clip = entry["clips"][0]
    expected = {r["method"]: r["prediction"] == r["label"] for r in rows if r["clip_id"] == clip["clip_id"] and r["seed"] == 0}
    assert clip["pictures"][1]["answers"] == expected


def test_videos_that_are_gone_cost_a_picture_and_no_report(world, about, tmp_path):
    sources = replace(world.sources, roots={"toy": str(tmp_path)})
    (entry,) = figures.draw_gallery(sources, about, tmp_path)
    assert [p["corruption"] for p in entry["clips"][0]["pictures"]] == ["gauss", "motion", "rain", "h265_abr"]


def test_sound_is_split_by_what_it_said(world, about):
    rows = figures.read_streams(world.sources, "toy", "tiny")
    split = figures.sound_groups(rows, figures.heard_clips(world.sources.audio, "toy"), about)
    assert (split["audible track"] ^ split["no audible track"]).all()
    said = ("sound: right class", "sound: other class", "sound: not used")
    assert (sum(split[name].astype(int) for name in said) == 1).all()
    own = rows["method"] == "audio_assisted"
    assert (split[said[0]][own] == (rows["audio_class"] == rows["label"])[own]).all()


def test_a_table_belongs_to_the_dataset_nearest_in_its_path(tmp_path):
    path = tmp_path / "toy" / "ucf101-c" / "rain" / "5" / "clips.parquet"
    contracts.write([], contracts.CORRUPTED_CLIPS, path, {})
    assert figures.dataset_of(path, ["toy", "ucf101"]) == "ucf101"
    assert figures.dataset_of(path, ["other"]) == ""


def test_the_page_asks_nothing_of_anybody(page):
    assert page.count("<script") == 2 and "<script src" not in page and "@import" not in page  # rows, and what sorts them
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert not re.findall(r"url\((?!data:)", page)


def test_the_page_works_in_a_browser(page, chromium, tmp_path):
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    check_page(chromium, tmp_path / "page.html")


def test_the_page_escapes_what_it_is_given(page):
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 3  # title, heading, file


def test_the_page_tells_what_matters(world, about, page):
    assert f"<h1>{report.headline(world.metrics, about, 'toy', 'tiny').text}</h1>" in page
    for text in (
        "Data problems",
        "truncated (1)",
        "alpha_max = 0.5",
        "What the tagger hears",
        "torch",
        "listens",
        "What each method costs",
        "Classes that gain and lose most",
        "Groups of classes",
        "Calibration",
    ):
        assert text in page


def test_the_page_is_the_same_each_time(world, about, page):
    assert report.render(report.collect(world.paths, about, "demo")) == page


def test_a_bare_experiment_has_a_page_too(world, about, tmp_path):
    metrics = scoring.score(world.sources.predictions).metrics
    figures.draw(figures.Sources(world.sources.predictions[:1]), metrics[:0], about, tmp_path)
    page = report.render(report.collect(report.Paths(world.paths.metrics, str(tmp_path)), about, "demo"))
    assert "Results" in page and "What the classifier is given" not in page


def gain(low, high):
    place = {
        "dataset": "d",
        "backbone": "b",
        "severity": -1,
        "corruption": "mean",
        "seed": -1,
        "unit": "%",
        "n": 9,
        "n_missing": 0,
        "note": "",
    }
    value = (low + high) / 2
    top1 = [
        {**place, "metric": "top1", "method": m, "value": 50.0, "low": 40.0, "high": 60.0}
        for m in ("source", "vitta", "audio_assisted")
    ]
    used = [
        {**place, "metric": m, "method": "audio_assisted", "value": 2.0, "low": 2.0, "high": 2.0} for m in ("heard", "steps")
    ]
    paired = {**place, "metric": "top1_gain_over_vitta", "method": "audio_assisted", "value": value, "low": low, "high": high}
    one = {**top1[0], "corruption": "gauss", "severity": 5}
    return [*top1, *used, paired, one]


@pytest.mark.parametrize(
    ("low", "high", "text", "tone"),
    [
        (1.0, 3.0, "Sound recovers 2.0 points over ViTTA under 1 corruption.", "good"),
        (-3.0, -1.0, "Sound costs 2.0 points against ViTTA under 1 corruption.", "bad"),
        (-1.0, 3.0, "Sound makes no reliable difference to ViTTA under 1 corruption.", "even"),
        (0.0, 3.0, "Sound makes no reliable difference to ViTTA under 1 corruption.", "even"),
    ],
)
def test_the_headline_follows_the_interval(about, low, high, text, tone):
    found = report.headline(gain(low, high), about, "d", "b")
    assert (found.text, found.tone) == (text, tone)


def test_the_headline_names_the_same_method_without_sound(about):
    deaf = {**about.methods["audio_assisted"], "hyper": {"lambda_pl": 0}}
    wider = replace(about, methods={**about.methods, "deaf": deaf})
    rows = gain(1.0, 3.0)
    twin = {**rows[0], "method": "deaf", "value": 51.5}
    assert "Without sound, as deaf, it reaches 51.5 %." in report.headline([*rows, twin], wider, "d", "b").detail


def test_the_headline_claims_nothing_without_a_listener(about):
    rows = [row for row in gain(1.0, 3.0) if row["metric"] != "heard"]
    found = report.headline(rows, about, "d", "b")
    assert found.tone == "even" and "No method listened" in found.detail


@pytest.mark.parametrize(
    ("tones", "text", "tone"),
    [
        ("good good even", "Sound recovers accuracy in 2 of 3 cases.", "good"),
        ("good bad", "Sound recovers accuracy in 1 of 2 cases and costs accuracy in 1.", "even"),
        ("bad even", "Sound costs accuracy in 1 of 2 cases.", "bad"),
        ("even even", "Sound makes no reliable difference.", "even"),
        ("good", "x", "good"),
    ],
)
def test_several_cases_share_one_verdict(tones, text, tone):
    found = report.verdict([report.Headline("x", "", t, "") for t in tones.split()])
    assert (found.text, found.tone) == (text, tone)


def test_tuning_on_the_reported_split_is_denounced(world, about):
    (path,) = world.paths.tuning
    assert "not the clips of the results" in report.tuning_grids([path], about)[0].note
    assert "THE SAME SPLIT" in report.tuning_grids([path], replace(about, split="val"))[0].note


def test_data_problems_are_counted(world, about):
    grid = report.problems_grid(world.paths, about, ["toy"])
    assert grid.rows[0] == ("toy", "clean", "24", "24", "—", "—", "4", "0")
    assert grid.rows[1] == ("toy", "gauss 5", "24", "23", "truncated (1)", "—", "4", "—")


def test_random_weights_are_no_result(about):
    name = "b-random-weights"
    rows = [{**row, "backbone": name} for row in gain(1.0, 3.0)]
    found = report.headline(rows, about, "d", name)
    assert (found.text, found.tone) == (tables.NO_RESULT, "even")
    made = [table for table in tables.build(rows, about) if table.name.startswith("accuracy")]
    assert made and all(table.caption.startswith(tables.NO_RESULT) for table in made)


def test_where_weights_come_from_is_told(tmp_path):
    rows = fake.prediction_rows(["source"])
    checkpoint = {"origin": "torchvision R2Plus1D_18_Weights.KINETICS400_V1", "sha256": "91a641e6" * 8, "classes": "k400"}
    known = {"origin": "trained", "fit": "head", "label_space": "8-abc", "sha256": "0123456789abcdef", "checkpoint": checkpoint}
    (grid,) = report.weights_grids([fake.write_predictions(tmp_path, rows, weights=known)])
    assert grid.rows == [
        ("toy", "tiny", "a linear head trained here", checkpoint["origin"], "91a641e691a6", "8-abc", "0123456789ab")
    ]


def test_costs_are_medians_and_the_highest_memory(world, about):
    (grid,) = report.cost_grids(world.paths.timings, world.metrics, about)
    steps = tables.find(world.metrics, "steps", "toy", "tiny", "vitta", "mean")["value"]
    assert [line[2] for line in grid.rows] == [m["variant"] for m in fake.METHODS]
    assert grid.rows[2] == ("toy", "tiny", "vitta", "0.004", "0.038", f"{steps:.2f}", "902", "24")


def test_steps_show_methods_that_choose_them_and_no_more_than_a_handful(world, about):
    rows = figures.read_streams(world.sources, "toy", "tiny")
    cyclic = rows[rows["method"] == "audio_assisted"]
    many = figures.pd.concat([rows, *(cyclic.assign(method=f"variant_{i}") for i in range(9))])
    many.loc[many["method"] == "tent", "stop"] = "diverged"
    titles = [axes.get_title("left") for axes in figures.steps_figure(many, about).axes]
    assert [title.split(" ")[0] for title in titles] == ["audio_assisted", *(f"variant_{i}" for i in range(5))]


def severities(*values, corruption="gauss", method="vitta"):
    place = {"dataset": "toy", "backbone": "tiny", "method": method, "corruption": corruption}
    return [{**place, "severity": s, "value": v, "low": v - 1, "high": v + 1} for s, v in enumerate(values, 1)]


def test_severities_are_drawn_where_a_corruption_has_several(about):
    clean = [{**severities(80.0)[0], "corruption": "clean", "severity": 0}]
    rows = [*clean, *severities(70.0, 60.0, 40.0), *severities(50.0, corruption="rain")]
    look = figures.Look({"vitta": "#0072b2"}, {"vitta": "o"})
    drawn = figures.severity_figure(rows, about, look)
    (panel,) = drawn.axes
    assert panel.get_title("left") == "gauss"
    line = panel.lines[0].get_xydata().tolist()
    assert line == [[0, 80.0], [1, 70.0], [2, 60.0], [3, 40.0]]
    assert figures.severity_figure([*clean, *severities(50.0)], about, look) is None


def test_classes_are_drawn_by_gain_and_only_the_ends_of_many():
    def gains(count):
        rows = [tables.ClassGain(f"c{n}", 3, 50.0, 50.0 + 30 - n) for n in range(count)]
        return tables.ClassGains("audio_assisted", "vitta", "mean", tuple(rows))

    look = figures.Look({"audio_assisted": "#d55e00", "vitta": "#0072b2"}, {})
    (axes,) = figures.class_gain_figure(gains(3), look).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c0 (3)", "c1 (3)", "c2 (3)"]
    assert [bar.get_width() for bar in axes.patches] == [30, 29, 28]
    (axes,) = figures.class_gain_figure(gains(60), look).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (len(names), names[19], names[20], names[-1]) == (40, "c19 (3)", "c40 (3)", "c59 (3)")
    assert same_color(axes.patches[-1].get_facecolor(), look.colours["vitta"])
    assert figures.class_gain_figure(None, look) is None


def test_a_stream_is_drawn_from_the_conditions_of_its_rows(about, tmp_path):
    protocol = {**fake.PROTOCOL, "name": "continual"}
    rows = fake.stream_rows(["rain", "gauss", "clean"], ["source", "vitta"])
    path = fake.write_predictions(tmp_path, rows, "continual", 5, protocol=protocol)
    found = figures.read_streams(figures.Sources([str(path)]), "toy", "tiny")
    assert set(found["corruption"]) == {"rain", "gauss", "clean"} and found["position"].max() == 71
    answers = figures._answers(figures.Sources([str(path)]), "toy", about)
    assert {place[1:] for place in answers} == {("rain", 5), ("gauss", 5), ("clean", 0)}


@pytest.mark.parametrize("stream", ["online", "mixed"])
def test_methods_that_do_not_apply_break_no_figure_and_no_page(about, tmp_path, stream):
    protocol = {**fake.PROTOCOL, "name": stream}
    why = {"norm": "tiny has no BatchNorm layers"}
    corruption = "mixed" if stream == "mixed" else "gauss"
    rows = fake.prediction_rows([m["variant"] for m in fake.METHODS])
    path = str(fake.write_predictions(tmp_path, rows, corruption, 5, protocol=protocol, not_applicable=why))
    wider = replace(about, protocol=protocol, methods={"norm": about.methods["tent"], **about.methods})
    scores = scoring.score([path])
    contracts.write(data_facts.marked(scores.metrics, {}), contracts.METRICS, tmp_path / "metrics.parquet", {})
    figures.draw(figures.Sources([path]), scores.metrics, wider, tmp_path / "figures")
    data = report.collect(report.Paths(str(tmp_path / "metrics.parquet"), str(tmp_path / "figures")), wider, "demo")
    page = report.render(data)
    assert "— norm: tiny has no BatchNorm layers." in page
    assert ("under mixed corruptions" if stream == "mixed" else "under 1 corruption") in data.verdict.text


def test_divergence_has_a_card_only_where_it_happened(about):
    rows = gain(1.0, 3.0)
    one = {**rows[0], "method": "audio_assisted", "metric": "diverged"}
    for value, shown in ((0.0, False), (4.0, True)):
        made = report.cards([*rows, {**one, "value": value}], about, "d", "b")
        assert any("diverged" in card.label for card in made) == shown


def test_under_two_passes_methods_are_said_to_wait_for_the_list(world, about):
    told = report._methods(world.metrics, replace(about, protocol={"name": "two_pass"}), {})
    assert {m["name"]: m["predicts"] for m in told}["tent"] == "after the whole list"
    assert {m["name"]: m["predicts"] for m in told}["vitta"] == "after its update"
