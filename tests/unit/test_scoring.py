"""Accuracy, intervals, and the way from predictions to metrics."""

import math
from pathlib import Path

import fake_results as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot import contracts, scoring
from earshot.metrics.accuracy import hits, top_k
from earshot.metrics.significance import Bootstrap, mean_interval, paired_interval

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
    return scoring.score(experiment)


def test_scores_keep_the_contract_and_the_right_shape(metrics):
    contracts.to_table(metrics, contracts.METRICS)
    conditions, methods, seeds = len(fake.DROP) + 1, len(fake.METHODS), 3
    plain = conditions * methods * seeds * 4
    gains = conditions * (methods - 1) * 2
    assert len(index(metrics)) == len(metrics) == plain + gains


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
    assert scoring.score(moved) == metrics


def test_columns_come_in_the_order_of_the_field(metrics):
    assert list(dict.fromkeys(row["corruption"] for row in metrics)) == ["clean", "gauss", "motion", "rain", "h265_abr", "mean"]


def test_equal_methods_gain_exactly_zero(tmp_path):
    rows = fake.prediction_rows(["vitta"], (0, 1), 30)
    twins = rows + [{**row, "method": "twin"} for row in rows]
    found = scoring.score([fake.write_predictions(tmp_path, twins)])
    gain = cell(found, "gauss", "twin", "top1_gain_over_vitta")
    assert (gain["value"], gain["low"], gain["high"]) == (0.0, 0.0, 0.0)


def test_five_classes_have_no_top5(tmp_path):
    few = fake.write_predictions(tmp_path, fake.prediction_rows(["source"], classes=5))
    assert "top5" not in {row["metric"] for row in scoring.score([few])}


def test_a_condition_without_clips_is_nan_and_so_is_its_mean(tmp_path):
    lost = fake.prediction_rows(["source", "vitta"], missing=range(24))
    paths = [
        fake.write_predictions(tmp_path, fake.prediction_rows(["source", "vitta"], corruption="rain"), "rain"),
        fake.write_predictions(tmp_path, lost, "gauss"),
    ]
    found = scoring.score(paths)
    for corruption in ("gauss", "mean"):
        row = cell(found, corruption, "vitta")
        assert math.isnan(row["value"]) and math.isnan(row["low"]) and math.isnan(row["high"])
    assert (cell(found, "gauss", "vitta")["n"], cell(found, "gauss", "vitta")["n_missing"]) == (0, 24)
    assert math.isfinite(cell(found, "rain", "vitta")["value"])
    assert math.isnan(cell(found, "gauss", "vitta", "top1_gain_over_source")["value"])


def test_nothing_but_missing_clips_is_no_error(tmp_path):
    found = scoring.score([fake.write_predictions(tmp_path, fake.prediction_rows(["source"], missing=range(24)))])
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
