"""Figures of cross-modal prompting: files of views, how classes part, what is looked at, and the drawn figures."""

import csv
import json
from types import SimpleNamespace
from xml.etree import ElementTree

import fake_prompts as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import silhouette_score

from earshot import contracts, feature_maps, figures, prompt_figures, prompt_tables, seen_maps
from earshot.feature_maps import Segments
from earshot.prompt_runs import read_runs
from earshot.prompt_views import Views, read_views, write_views
from earshot.variant_figures import look_of

PROMPTERS = {name: fake.PROMPTERS[name] for name in ("none", "dgsct")}
CLIPS = 9


@pytest.fixture(scope="module")
def about():
    return prompt_tables.about(fake.given(PROMPTERS, seeds=[0]))


@pytest.fixture(scope="module")
def world(tmp_path_factory, about):
    """An experiment on disk with its figures drawn."""
    root = tmp_path_factory.mktemp("prompting")
    made = fake.write_experiment(root, PROMPTERS, seeds=[0], clips=CLIPS)
    sources = prompt_figures.Sources(made["prompted"], made["views"], made["training"], made["classes"])
    metrics = contracts.read(made["metrics"], contracts.PROMPT_METRICS)
    prompt_figures.draw(sources, metrics, about, root / "figures")
    index = json.loads((root / "figures" / "figures.json").read_text())
    return SimpleNamespace(root=root, made=made, sources=sources, metrics=metrics, index=index)


# --- views


def views(**arrays):
    return Views(["a", "b"], ["b"], arrays)


def test_views_are_read_as_they_were_written(tmp_path):
    rng = np.random.default_rng(1)
    given_ = views(
        visual=rng.normal(size=(2, 4, 6)),
        labels=np.array([[0, 1, 3, 3], [2, 2, 3, 0]]),
        frames=rng.integers(0, 256, (1, 4, 8, 8, 3)),
        visual_map=rng.random((1, 4, 3, 3)),
    )
    for name in ("x", "y"):
        write_views(given_, tmp_path / f"{name}.safetensors")
    found = read_views(tmp_path / "x.safetensors")
    assert (found.clips, found.shown) == (["a", "b"], ["b"])
    kinds = {"visual": np.float16, "labels": np.int16, "frames": np.uint8, "visual_map": np.float32}
    assert {name: array.dtype for name, array in found.arrays.items()} == {k: np.dtype(v) for k, v in kinds.items()}
    for name, array in found.arrays.items():
        assert (array == given_.arrays[name].astype(kinds[name])).all()
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"audio": np.zeros((3, 4, 6))}, r"'audio' has shape \(3, 4, 6\), not 3 axes, the first of 2 clips"),
        ({"mask": np.zeros((2, 4, 8, 8))}, "not 4 axes, the first of 1 shown clips"),
        ({"video": np.zeros((2, 4, 6))}, "'video' is none of visual, audio, labels"),
    ],
)
def test_views_of_another_shape_are_refused(tmp_path, arrays, message):
    with pytest.raises(contracts.ContractError, match=message):
        write_views(views(**arrays), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


# --- how classes part


def blobs(spread, background=3, size=12):
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(background + 1), size)
    return Segments(4 * np.eye(background + 1, 8)[labels] + spread * rng.normal(size=(len(labels), 8)), labels, background)


def test_tighter_classes_part_better():
    tight, loose = (feature_maps.parting("p", 0, "audio", blobs(spread)) for spread in (0.2, 1.5))
    assert tight.silhouette > 0.8 > loose.silhouette and tight.intra_inter < 0.2 < loose.intra_inter
    assert (tight.segments, tight.classes) == (36, 3)  # background has no class


def test_the_figures_are_those_of_their_definitions():
    segments = blobs(0.7).classed
    found = feature_maps.parting("p", 0, "audio", blobs(0.7))
    assert found.silhouette == pytest.approx(silhouette_score(segments.vectors, segments.labels))
    groups = [segments.vectors[segments.labels == name] for name in range(3)]
    centres = [group.mean(axis=0) for group in groups]
    within = np.concatenate([np.linalg.norm(g - c, axis=1) for g, c in zip(groups, centres, strict=True)]).mean()
    between = np.mean([np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2))])
    assert found.intra_inter == pytest.approx(within / between)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_neither_figure_minds_scale_or_origin(scale, shift):
    segments = blobs(0.7)
    moved = Segments(segments.vectors * scale + shift, segments.labels, segments.background)
    before, after = (feature_maps.parting("p", 0, "audio", one) for one in (segments, moved))
    assert after[5:] == pytest.approx(before[5:], rel=1e-6)


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [0, 0, 0, 0], [0, 1, 2, 3], [0]])
def test_what_cannot_part_has_no_figure(labels):
    vectors = np.random.default_rng(0).normal(size=(len(labels), 5))
    found = feature_maps.parting("p", 0, "audio", Segments(vectors, np.array(labels), 3))
    assert np.isnan(found.silhouette) and np.isnan(found.intra_inter)
    assert feature_maps.parting_csv([found]).splitlines()[1].endswith(",,")


def test_segments_that_are_not_finite_are_left_out_and_many_are_thinned():
    vectors = np.ones((3, 4, 2))
    vectors[1, 2, 0] = np.inf
    found = feature_maps.segments_of(Views(list("abc"), (), {"audio": vectors, "labels": np.zeros((3, 4))}), "audio", 5)
    assert len(found.vectors) == 11
    seconds = np.tile(np.arange(10.0), (900, 1))
    many = {"audio": seconds[..., None], "labels": np.zeros((900, 10))}
    thinned = feature_maps.segments_of(Views(["x"] * 900, (), many), "audio", 5)
    assert len(thinned.vectors) == 5000
    assert np.bincount(thinned.vectors[:, 0].astype(int)).min() > 400  # of all ten seconds alike
    assert feature_maps.segments_of(Views([], (), {"audio": vectors}), "audio", 5) is None


def test_few_segments_lower_the_perplexity_and_too_few_have_no_map():
    assert feature_maps.embed(blobs(0.5, size=2).vectors).shape == (8, 2)
    few, alike = blobs(0.5, background=1, size=2), Segments(np.ones((8, 3)), np.zeros(8, int), 3)
    assert not feature_maps.drawable(few) and not feature_maps.drawable(alike) and feature_maps.drawable(blobs(0.5))
    pair = {"audio": few, "visual": few}
    assert feature_maps.map_figure(pair, pair, ("a", "b"), ["x"]) is None
    assert feature_maps.map_figure({}, pair, ("a", "b"), ["x"]) is None


# --- what is looked at


def test_the_peak_is_where_the_map_is_highest():
    heat = np.full((2, 4, 8), 0.01, np.float32)
    heat[:, 3, 1] = 0.69
    assert seen_maps.peak_of(heat) == ((1 + 0.5) / 8, (3 + 0.5) / 4)
    assert seen_maps.rise(heat) == pytest.approx(0.69 / heat.mean(), rel=1e-6)
    assert seen_maps.rise(np.full((2, 3, 3), 1 / 9, np.float32)) == pytest.approx(1)
    assert seen_maps.rise(np.zeros((2, 3, 3), np.float32)) == 1


def test_overlap_is_of_annotated_pixels():
    mask, truth = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
    mask[0, :2], truth[0, 1:3] = 1, 1
    assert seen_maps.overlap(mask, truth) == pytest.approx(4 / 12)
    truth[0, 0] = 255
    assert seen_maps.overlap(mask, truth) == pytest.approx(4 / 8)
    assert np.isnan(seen_maps.overlap(np.zeros_like(mask), np.zeros_like(truth)))


def test_words_say_what_the_picture_shows(world):
    seen = {name: read_views(path) for name, path in zip(PROMPTERS, world.made["views"], strict=True)}
    frames, lanes = seen_maps.lanes_of(seen, "test_0000")
    assert frames.shape == (fake.SEGMENTS, 16, 16, 3)
    assert [lane.prompter for lane in lanes] == ["dgsct", "dgsct"]  # the reference has neither map nor mask
    told = seen_maps.in_words(lanes)
    assert "dgsct looks most at" in told and "marks 25 % of the pixels, intersection over union with the truth 60 %." in told
    assert seen_maps.in_words([]) == "frames alone."


def test_outlines_lie_on_their_pixels():
    figure, axes = figures.plt.subplots()
    mask = np.zeros((8, 8), np.uint8)
    mask[0:2, 4:8] = 1  # the upper right
    seen_maps._outline(axes, mask, 3.0, "red", "-", 1.0)
    (drawn,) = axes.collections
    corners = drawn.get_paths()[0].vertices
    assert corners[:, 0].min() > 3.4 and corners[:, 1].min() > 0.7
    seen_maps._outline(axes, np.ones((8, 8), np.uint8), 0.0, "red", "-", 1.0)
    assert len(axes.collections) == 1
    figures.plt.close(figure)


# --- drawn figures


def test_every_figure_of_the_index_is_there(world):
    names = [drawn["name"] for drawn in world.index["figures"]]
    assert names == ["scores-toy", "gains-toy", "training-toy", "classes-toy"]
    for name in names:
        ElementTree.parse(world.root / "figures" / f"{name}.svg")
        assert (world.root / "figures" / f"{name}.png").stat().st_size > 1000
    (entry,) = world.index["gallery"]
    assert [clip["clip_id"] for clip in entry["clips"]] == ["test_0000", "test_0001"]
    assert Image.open(world.root / "figures" / entry["clips"][0]["file"]).width > 600


def test_the_csv_tells_how_classes_part(world):
    rows = list(csv.DictReader((world.root / "figures" / "classes-toy.csv").open()))
    assert [(row["prompter"], row["modality"]) for row in rows] == [
        (name, side) for name in ("none", "dgsct") for side in ("audio", "visual")
    ]
    by_name = {(row["prompter"], row["modality"]): float(row["silhouette"]) for row in rows}
    assert all(by_name["dgsct", side] > by_name["none", side] for side in ("audio", "visual"))
    assert world.index["parting"]["toy"][0][:3] == ["none", 0, "audio"]


def test_the_same_numbers_give_the_same_bytes(world, about, tmp_path):
    prompt_figures.draw(world.sources, world.metrics, about, tmp_path)
    first = {path.name: path.read_bytes() for path in (world.root / "figures").iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_random_encoders_are_hollow(world, about):
    rows = [{**r, "encoders": fake.ENCODERS + contracts.UNTRAINED} if r["prompter"] == "dgsct" else r for r in world.metrics]
    look = look_of(list(PROMPTERS), "none")
    drawn = prompt_figures.score_figure(rows, about, look, "toy")
    hollow = {line.get_color() for axes in drawn.axes for line in axes.lines if line.get_markerfacecolor() == "none"}
    assert hollow == {look.colours["dgsct"]} and look.colours["none"] == figures.GREY
    figures.plt.close(drawn)


def test_training_has_a_panel_for_what_modules_tell(world, about):
    look = look_of(list(PROMPTERS), "none")
    drawn = prompt_figures.training_figure(read_runs(world.made["prompted"], world.made["training"]), about, look)
    titles = [axes.get_title("left") for axes in drawn.axes]
    assert titles[:3] == ["training loss", "validation, segment accuracy [%]", "gate"]
    figures.plt.close(drawn)
    assert prompt_figures.training_figure(read_runs(world.made["prompted"]), about, look) is None


def test_without_views_and_trainings_there_are_scores_alone(world, about, tmp_path):
    prompt_figures.draw(prompt_figures.Sources(world.made["prompted"]), world.metrics, about, tmp_path)
    index = json.loads((tmp_path / "figures.json").read_text())
    assert [drawn["name"] for drawn in index["figures"]] == ["scores-toy", "gains-toy"]
    assert index["gallery"] == [] and index["parting"] == {"toy": []}
