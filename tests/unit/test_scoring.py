"""Accuracy, intervals, and the way from predictions to metrics."""

import math
from pathlib import Path

import fake_results as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot import contracts, scoring
from earshot.data_facts import marked
from earshot.metrics.accuracy import hits, top_k
from earshot.metrics.calibration import calibration_error
from earshot.metrics.significance import Bootstrap, mean_interval, paired_interval, sign_flip

KEYS = ("dataset", "corruption", "severity", "backbone", "method", "seed", "metric")


def index(rows):
    return {tuple(row[key] for key in KEYS): row for row in rows}


def cell(rows, corruption, method, metric="top1", seed=-1, severity=None):
    severity = {"clean": 0, "mean": -1}.get(corruption, 5) if severity is None else severity
    return index(rows)["toy", corruption, severity, "tiny", method, seed, metric]


@st.composite
def scored_clips(draw):
    """Right or wrong (rows,) and the clip of each row, several rows a clip."""
    clips = draw(st.lists(st.integers(0, 8), min_size=1, max_size=40))
    right = draw(st.lists(st.booleans(), min_size=len(clips), max_size=len(clips)))
    return np.array(right, float) * 100, np.array(clips)


@given(st.data(), st.integers(2, 6), st.integers(1, 12), st.integers(1, 6))
def test_hits_are_those_of_a_stable_sort(data, classes, rows, k):
    """Ties go to the lowest index; small integers make ties frequent."""
    logits = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 2), min_size=classes, max_size=classes), min_size=rows, max_size=rows))
    )
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    expected = [
        label in sorted(range(classes), key=lambda c: (-row[c], c))[:k] for row, label in zip(logits, labels, strict=True)
    ]
    assert hits(logits, labels, k).tolist() == expected
    assert 0 <= top_k(logits, labels, k) <= 100


def test_constant_logits_are_worth_one_class():
    assert top_k(np.zeros((10, 5)), np.arange(10) % 5) == 20.0


def test_a_row_with_nan_is_wrong():
    assert hits([[math.nan, 1.0], [math.nan, math.nan], [0.0, 1.0]], [1, 0, 1]).tolist() == [False, False, True]


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(ValueError, match="do not fit 3 classes"):
        top_k(np.zeros((2, 3)), [0, 3])


@given(scored_clips())
@settings(max_examples=40, deadline=None)
def test_interval_holds_its_value_and_ignores_the_order_of_rows(sample):
    values, clips = sample
    found = mean_interval(values, clips, resamples=200)
    assert 0 <= found.low <= found.value <= found.high <= 100
    assert found.value == pytest.approx(values.mean())
    order = np.random.default_rng(1).permutation(len(values))
    assert mean_interval(values[order], clips[order], resamples=200) == found


@given(scored_clips(), st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_repeating_the_rows_of_a_clip_does_not_narrow_the_interval(sample, times):
    """Seeds that agree are no new clips: this is what clustering is for."""
    values, clips = sample
    once = mean_interval(values, clips, resamples=200)
    assert mean_interval(np.tile(values, times), np.tile(clips, times), resamples=200) == pytest.approx(once)


@given(scored_clips())
@settings(max_examples=25, deadline=None)
def test_a_method_gains_exactly_nothing_over_itself(sample):
    values, clips = sample
    assert paired_interval(values, values, clips, resamples=100) == (0.0, 0.0, 0.0)


def test_width_is_that_of_the_binomial():
    """1,000 clips at 50 %: half-width 1.96 * sqrt(0.25 / 1000) = 3.1 points."""
    found = mean_interval(np.tile([0.0, 100.0], 500), np.arange(1000))
    assert found.value == 50
    assert found.high - found.value == pytest.approx(3.1, abs=0.4)
    assert found.value - found.low == pytest.approx(3.1, abs=0.4)


def test_every_resample_draws_as_many_clips_as_there_are():
    weights = Bootstrap(17, resamples=50).weights
    assert (weights.sum(axis=1) == 17).all()
    assert weights.std() > 0.5
    assert not np.array_equal(weights, Bootstrap(17, seed=1, resamples=50).weights)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return fake.write_experiment(tmp_path_factory.mktemp("scoring"))


@pytest.fixture(scope="module")
def metrics(experiment):
    return scoring.score(experiment).metrics


def test_scores_keep_the_contract_and_the_right_shape(metrics):
    contracts.to_table(marked(metrics, {}), contracts.METRICS)
    conditions, methods, seeds = len(fake.DROP) + 1, len(fake.METHODS), 3
    plain = conditions * methods * (seeds * 5 + 1)
    gains_and_tests = conditions * (methods - 1) * 4
    assert len(index(metrics)) == len(metrics) == plain + gains_and_tests


def test_scores_are_what_the_rows_say(experiment, metrics):
    rows = contracts.read(experiment[1], contracts.PREDICTIONS)
    right = [r["prediction"] == r["label"] for r in rows if r["method"] == "vitta" and r["seed"] == 1 and r["available"]]
    found = cell(metrics, "gauss", "vitta", seed=1)
    assert found["value"] == pytest.approx(100 * np.mean(right))
    assert (found["n"], found["n_missing"]) == (39, 1)
    steps = [r["steps"] for r in rows if r["method"] == "audio_assisted" and r["available"]]
    assert cell(metrics, "gauss", "audio_assisted", "steps")["value"] == pytest.approx(np.mean(steps))
    heard = [r["heard"] for r in rows if r["method"] == "audio_assisted" and r["available"]]
    assert cell(metrics, "gauss", "audio_assisted", "heard")["value"] == pytest.approx(100 * np.mean(heard))
    assert cell(metrics, "gauss", "vitta", "heard")["value"] == 0


def test_the_mean_counts_each_corruption_once_and_clean_not_at_all(metrics):
    for seed in (0, 1, -1):
        parts = [cell(metrics, c, "tent", seed=seed)["value"] for c in fake.DROP if c != "clean"]
        assert cell(metrics, "mean", "tent", seed=seed)["value"] == pytest.approx(np.mean(parts))


def test_gains_are_paired_differences(metrics):
    for corruption in ("clean", "gauss", "mean"):
        gain = cell(metrics, corruption, "audio_assisted", "top1_gain_over_vitta")
        ours, theirs = (cell(metrics, corruption, m)["value"] for m in ("audio_assisted", "vitta"))
        assert gain["value"] == pytest.approx(ours - theirs)
        assert gain["low"] <= gain["value"] <= gain["high"]
        assert gain["unit"] == "points"


def test_the_order_of_files_and_rows_changes_nothing(tmp_path, metrics, experiment):
    moved = []
    for path in reversed(experiment):
        facts, rows = contracts.facts_of(path), contracts.read(path, contracts.PREDICTIONS)
        moved.append(tmp_path / f"{facts['corruption']}.parquet")
        contracts.write(rows[::-1], contracts.PREDICTIONS, moved[-1], facts)
    assert scoring.score(moved).metrics == metrics


def test_columns_come_in_the_order_of_the_field(metrics):
    assert list(dict.fromkeys(row["corruption"] for row in metrics)) == ["clean", "gauss", "motion", "rain", "h265_abr", "mean"]


def test_equal_methods_gain_exactly_zero(tmp_path):
    rows = fake.prediction_rows(["vitta"], (0, 1), 30)
    twins = rows + [{**row, "method": "twin"} for row in rows]
    found = scoring.score([fake.write_predictions(tmp_path, twins)]).metrics
    gain = cell(found, "gauss", "twin", "top1_gain_over_vitta")
    assert (gain["value"], gain["low"], gain["high"]) == (0.0, 0.0, 0.0)


def test_five_classes_have_no_top5(tmp_path):
    few = fake.write_predictions(tmp_path, fake.prediction_rows(["source"], classes=5))
    assert "top5" not in {row["metric"] for row in scoring.score([few]).metrics}


def test_a_condition_without_clips_is_nan_and_so_is_its_mean(tmp_path):
    lost = fake.prediction_rows(["source", "vitta"], missing=range(24))
    paths = [
        fake.write_predictions(tmp_path, fake.prediction_rows(["source", "vitta"], corruption="rain"), "rain"),
        fake.write_predictions(tmp_path, lost, "gauss"),
    ]
    found = scoring.score(paths).metrics
    for corruption in ("gauss", "mean"):
        row = cell(found, corruption, "vitta")
        assert math.isnan(row["value"]) and math.isnan(row["low"]) and math.isnan(row["high"])
    assert (cell(found, "gauss", "vitta")["n"], cell(found, "gauss", "vitta")["n_missing"]) == (0, 24)
    assert math.isfinite(cell(found, "rain", "vitta")["value"])
    assert math.isnan(cell(found, "gauss", "vitta", "top1_gain_over_source")["value"])


def test_nothing_but_missing_clips_is_no_error(tmp_path):
    found = scoring.score([fake.write_predictions(tmp_path, fake.prediction_rows(["source"], missing=range(24)))]).metrics
    assert found and all(row["n"] == 0 and math.isnan(row["value"]) for row in found)


def refused(tmp_path: Path, match: str, rows_of_rain=None, **facts) -> None:
    rows = fake.prediction_rows(["source", "tent"])
    paths = [
        fake.write_predictions(tmp_path, rows, "gauss"),
        fake.write_predictions(tmp_path, rows_of_rain or rows, "rain", **facts),
    ]
    with pytest.raises(ValueError, match=match):
        scoring.score(paths)


def test_mixed_protocols_are_refused(tmp_path):
    refused(tmp_path, "different protocols", protocol={**fake.PROTOCOL, "views": 3})


def test_mixed_splits_are_refused(tmp_path):
    refused(tmp_path, "different splits", split="val")


def test_two_sets_of_weights_under_one_name_are_refused(tmp_path):
    refused(tmp_path, "different weights of one backbone", weights={"origin": "imported", "sha256": "other"})


def test_the_same_videos_under_two_names_are_refused(tmp_path):
    refused(tmp_path, "the same videos", clips_digest="toy/gauss/5")


def test_a_method_that_is_missing_from_a_file_is_refused(tmp_path):
    refused(tmp_path, "no rows of method tent", fake.prediction_rows(["source"]))


def test_a_variant_with_two_settings_is_refused(tmp_path):
    runs = [["source", "source", {}, 0], ["tent", "tent", {"lr": 1.0}, 0]]
    refused(tmp_path, "method tent ran with other", runs=runs)


def test_a_clip_that_is_there_twice_is_refused(tmp_path):
    rows = fake.prediction_rows(["source", "tent"])
    refused(tmp_path, "is there twice", [*rows, rows[0]])


def test_a_bound_of_zero_is_zero():
    assert scoring._told(9.25e-16) == 0.0
    assert str(scoring._told(-1e-12)) == "0.0"
    assert scoring._told(2.592592592592595) == 2.592592593


CONTINUAL = {**fake.PROTOCOL, "name": "continual"}
MIXED = {**fake.PROTOCOL, "name": "mixed"}


def test_a_continual_stream_is_scored_condition_by_condition(tmp_path):
    """As if each of its conditions had been a file of its own."""
    methods, order = ["source", "vitta"], ["rain", "gauss", "clean"]
    stream = fake.write_predictions(tmp_path / "a", fake.stream_rows(order, methods), "continual", 5, protocol=CONTINUAL)
    files = [
        fake.write_predictions(tmp_path / "b", fake.prediction_rows(methods, corruption=c), c, protocol=CONTINUAL)
        for c in order
    ]
    assert repr(scoring.score([stream])) == repr(scoring.score(files))  # NaN equals nothing


def test_clean_clips_after_several_streams_are_told_apart(tmp_path):
    rows = fake.stream_rows(["rain", "clean"], ["source"])
    milder = [{**row, "severity": 3 if row["severity"] else 0} for row in rows]
    paths = [
        fake.write_predictions(tmp_path, rows, "continual", 5, protocol=CONTINUAL),
        fake.write_predictions(tmp_path, milder, "continual", 3, protocol=CONTINUAL),
    ]
    found = {(row["corruption"], row["severity"]) for row in scoring.score(paths).metrics}
    assert found == {("clean", 3), ("clean", 5), ("rain", 3), ("rain", 5), ("mean", -1)}


def test_a_clip_may_come_once_under_each_condition_of_a_stream(tmp_path):
    rows = fake.stream_rows(["rain", "gauss"], ["source"])
    path = fake.write_predictions(tmp_path, [*rows, rows[0]], "continual", 5, protocol=CONTINUAL)
    with pytest.raises(ValueError, match="is there twice"):
        scoring.score([path])


def test_a_mixed_stream_is_one_condition(tmp_path):
    kinds = [{row["clip_id"]: row for row in fake.prediction_rows(["source"], corruption=c)} for c in ("rain", "gauss")]
    rows = [kinds[number % 2][clip] for number, clip in enumerate(kinds[0])]
    clean = fake.write_predictions(tmp_path, fake.prediction_rows(["source"], corruption="clean"), "clean", protocol=MIXED)
    found = scoring.score([fake.write_predictions(tmp_path, rows, "mixed", 5, protocol=MIXED), clean]).metrics
    assert list(dict.fromkeys((row["corruption"], row["severity"]) for row in found)) == [
        ("clean", 0),
        ("mixed", 5),
        ("mean", -1),
    ]
    assert cell(found, "mixed", "source")["value"] == pytest.approx(
        100 * np.mean([r["prediction"] == r["label"] for r in rows])
    )


def test_rows_of_another_condition_than_their_file_are_refused(tmp_path):
    path = fake.write_predictions(tmp_path, fake.prediction_rows(["source"]), "gauss")
    rows, facts = contracts.read(path, contracts.PREDICTIONS), contracts.facts_of(path)
    rows[3]["corruption"] = "rain"
    contracts.write(rows, contracts.PREDICTIONS, path, facts)
    with pytest.raises(ValueError, match="is of rain 5, not gauss 5"):
        scoring.score([path])


REASON = "tiny has no BatchNorm layers"


def test_a_method_that_does_not_apply_has_a_reason_and_no_value(tmp_path):
    paths = [
        fake.write_predictions(
            tmp_path, fake.prediction_rows(["source", "vitta"], corruption=c), c, not_applicable={"norm": REASON}
        )
        for c in ("clean", "gauss")
    ]
    found = scoring.score(paths).metrics
    for corruption, metric in (("clean", "top1"), ("gauss", "ece"), ("mean", "top1"), ("mean", "top1_gain_over_vitta")):
        row = cell(found, corruption, "norm", metric)
        assert math.isnan(row["value"]) and (row["n"], row["n_missing"], row["note"]) == (0, 0, REASON)
    assert all(row["note"] == "" and math.isfinite(row["value"]) for row in found if row["method"] != "norm")
    without = scoring.score(
        [fake.write_predictions(tmp_path / "w", fake.prediction_rows(["source", "vitta"]), "gauss")]
    ).metrics
    assert cell(found, "gauss", "vitta") == cell(without, "gauss", "vitta")


def test_a_method_may_apply_to_one_backbone_alone(tmp_path):
    rows = fake.prediction_rows(["source"])
    both = fake.write_predictions(tmp_path, rows + fake.prediction_rows(["norm"]), backbone="tiny")
    one = fake.write_predictions(tmp_path, rows, backbone="other", not_applicable={"norm": REASON})
    values = {
        row["backbone"]: row for row in scoring.score([both, one]).metrics if (row["method"], row["metric"]) == ("norm", "top1")
    }
    assert math.isfinite(values["tiny"]["value"]) and math.isnan(values["other"]["value"])


def test_a_reference_that_does_not_apply_is_compared_with_nobody(tmp_path):
    path = fake.write_predictions(tmp_path, fake.prediction_rows(["source", "tent"]), not_applicable={"vitta": REASON})
    found = {row["metric"] for row in scoring.score([path]).metrics}
    assert "top1_gain_over_source" in found and "top1_gain_over_vitta" not in found


def test_calibration_is_that_of_the_pooled_rows(experiment, metrics):
    rows = [r for r in contracts.read(experiment[1], contracts.PREDICTIONS) if r["method"] == "tent" and r["available"]]
    found = cell(metrics, "gauss", "tent", "ece")
    expected = calibration_error([r["confidence"] for r in rows], [r["prediction"] == r["label"] for r in rows])
    assert found["value"] == pytest.approx(expected)
    assert found["low"] <= found["value"] <= found["high"]


def test_p_is_that_of_the_differences_of_clips(experiment, metrics):
    """A clip's seeds change sides together: its difference is the mean over them."""
    rows = [r for r in contracts.read(experiment[1], contracts.PREDICTIONS) if r["available"]]
    right: dict = {"source": {}, "vitta": {}}
    for row in rows:
        if row["method"] in right:
            right[row["method"]].setdefault(row["clip_id"], []).append(row["prediction"] == row["label"])
    clips = sorted({row["clip_id"] for row in contracts.read(experiment[0], contracts.PREDICTIONS)})
    differences = [np.mean(right["vitta"].get(c, 0)) - np.mean(right["source"].get(c, 0)) for c in clips]
    found = cell(metrics, "gauss", "vitta", "top1_p_against_source")
    assert found["value"] == pytest.approx(sign_flip(np.array([differences]))[0])
    assert math.isnan(found["low"]) and found["unit"] == "p" and found["n"] == 39


def test_diverged_clips_are_counted(tmp_path):
    rows = fake.prediction_rows(["source", "tent"])
    rows = [{**r, "stop": "diverged"} if r["method"] == "tent" and r["position"] < 6 else r for r in rows]
    found = scoring.score([fake.write_predictions(tmp_path, rows)]).metrics
    assert cell(found, "gauss", "tent", "diverged")["value"] == 25.0
    assert cell(found, "gauss", "source", "diverged")["value"] == 0.0


KNOWN = {"toy": scoring.Vocabulary(dict(enumerate(fake.CLASSES)), frozenset({0, 1, 2}))}


def test_groups_of_classes_are_scored_on_their_own_clips(experiment):
    found = scoring.score(experiment, KNOWN, {"machines": ["Engine", "Siren"]}).metrics
    rows = [r for r in contracts.read(experiment[1], contracts.PREDICTIONS) if r["available"] and r["method"] == "vitta"]
    for name, members in (("mapped", {0, 1, 2}), ("unmapped", {3, 4, 5, 6, 7}), ("machines", {3, 6})):
        own = [r["prediction"] == r["label"] for r in rows if r["label"] in members]
        row = cell(found, "gauss", "vitta", f"top1_on_{name}")
        assert row["value"] == pytest.approx(100 * np.mean(own))
        assert row["n"] == len({r["clip_id"] for r in rows if r["label"] in members})
        gain = cell(found, "gauss", "audio_assisted", f"top1_gain_over_vitta_on_{name}")
        ours = cell(found, "gauss", "audio_assisted", f"top1_on_{name}")
        assert gain["value"] == pytest.approx(ours["value"] - row["value"])
    assert cell(found, "gauss", "vitta", "top1_on_mapped")["n_missing"] == 0  # clip 3, of class 3, is missing
    assert cell(found, "gauss", "vitta", "top1_on_machines")["n_missing"] == 1


def test_a_group_with_an_unknown_class_is_refused(experiment):
    with pytest.raises(ValueError, match=r"class_groups\.machines: no dataset .* has the class Sirene"):
        scoring.score(experiment, KNOWN, {"machines": ["Engine", "Sirene"]})
    with pytest.raises(ValueError, match=r"class_groups\.mapped: this name means"):
        scoring.score(experiment, KNOWN, {"mapped": ["Engine"]})


@pytest.mark.parametrize("mapped", [None, frozenset(), frozenset(range(len(fake.CLASSES)))])
def test_sound_parts_the_classes_only_where_it_reaches_some_and_not_all(mapped):
    known = scoring.Vocabulary(dict(enumerate(fake.CLASSES)), mapped)
    assert scoring.groups_of(known, {"elsewhere": ["Cat"]}) == {}


def test_vocabularies_know_the_classes_that_a_sound_maps_to(tmp_path):
    sides = fake.write_sides(tmp_path)
    rows = contracts.read(sides["label_map"][0], contracts.LABEL_MAP)
    weightless = [{**row, "weight": 0.0} if row["video_class"] == 4 else row for row in rows]
    contracts.write(weightless, contracts.LABEL_MAP, tmp_path / "map.parquet", {})
    found = scoring.vocabularies(["toy"], sides["classes"], [tmp_path / "map.parquet"])["toy"]
    assert found.names[2] == "Rain" and found.mapped == frozenset({0, 1, 2, 3, 5, 6, 7})
    assert scoring.vocabularies(["toy"], sides["classes"])["toy"].mapped is None


def test_classes_are_scored_one_by_one(experiment, metrics):
    found = scoring.score(experiment, KNOWN).classes
    contracts.to_table(found, contracts.CLASS_METRICS)
    of_seeds = {(r["seed"], r["corruption"], r["method"], r["class_id"]): r for r in found}
    places = {(c, m, k): r for (seed, c, m, k), r in of_seeds.items() if seed == -1}
    assert len(places) == (len(fake.DROP) + 1) * len(fake.METHODS) * len(fake.CLASSES)
    assert len(of_seeds) == len(found) == 3 * len(places)
    by_seed = [of_seeds[seed, "gauss", "vitta", 3]["top1"] for seed in (0, 1)]
    assert places["gauss", "vitta", 3]["top1"] == pytest.approx(np.mean(by_seed))
    rows = [r for r in contracts.read(experiment[1], contracts.PREDICTIONS) if r["available"] and r["label"] == 3]
    top1 = {m: 100 * np.mean([r["prediction"] == 3 for r in rows if r["method"] == m]) for m in ("source", "vitta")}
    row = places["gauss", "vitta", 3]
    assert (row["name"], row["n"]) == ("Engine", 4)
    assert row["top1"] == pytest.approx(top1["vitta"])
    assert row["gain_over_source"] == pytest.approx(top1["vitta"] - top1["source"])
    assert math.isnan(places["gauss", "source", 3]["gain_over_source"])
    parts = [places[c, "vitta", 3]["top1"] for c in fake.DROP if c != "clean"]
    assert places["mean", "vitta", 3]["top1"] == pytest.approx(np.mean(parts))
    assert places["mean", "vitta", 3]["n"] == 4
    whole = [places["gauss", "vitta", k] for k in range(8)]
    assert sum(r["top1"] * r["n"] for r in whole) / 39 == pytest.approx(cell(metrics, "gauss", "vitta")["value"])
