"""Calibration, and tests of paired differences."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earshot.metrics.calibration import bin_of, calibration_error
from earshot.metrics.significance import holm, sign_flip


def test_calibration_error_by_hand():
    """Two bins of two: mean confidence 0.15 with one of two right, and 0.85 with both right; so (0.35 + 0.15) / 2."""
    assert calibration_error([0.1, 0.2, 0.8, 0.9], [True, False, True, True], bins=2) == pytest.approx(25.0)


def test_errors_of_one_bin_cancel_and_of_two_do_not():
    """Sure and wrong beside unsure and right is badly calibrated, unless one bin holds both."""
    assert calibration_error([0.9, 0.1], [False, True], bins=1) == pytest.approx(0.0)
    assert calibration_error([0.9, 0.1], [False, True], bins=2) == pytest.approx(90.0)


def test_an_upper_edge_belongs_to_its_bin():
    assert bin_of([0.0, 1 / 5, 0.2000001, 1.0], 5).tolist() == [0, 0, 1, 4]


def test_nothing_has_no_calibration():
    assert np.isnan(calibration_error([], []))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.data())
def test_calibration_error_is_a_percentage_no_less_than_the_total_gap(confidence, data):
    right = data.draw(st.lists(st.booleans(), min_size=len(confidence), max_size=len(confidence)))
    error, gap = calibration_error(confidence, right), 100 * abs(np.mean(confidence) - np.mean(right))
    assert gap - 1e-9 <= error <= 100 + 1e-9


def enumerated(differences):
    """Exact two-sided p: the share of all sign patterns that are at least as extreme."""
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean(np.array(sums) >= abs(sum(differences)) - 1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_p_is_that_of_all_sign_patterns(differences):
    """10,000 flips are within five standard errors of the exact share; ties count as extreme, and thirds have many."""
    thirds = np.array(differences) / 3
    exact, found = enumerated(thirds), sign_flip(thirds[None])[0]
    assert found == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 10_000) + 1.1e-4)


def test_p_has_no_side_and_no_scale():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, (3, 40))
    assert sign_flip(-7 * differences).tolist() == sign_flip(differences).tolist()


def test_p_is_uniform_where_nothing_differs():
    """Of 600 true null hypotheses 5 % and 50 % fall below 0.05 and 0.5, within four standard errors."""
    p = sign_flip(np.random.default_rng(1).normal(size=(600, 50)), flips=2_000)
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 600))
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 600))


def test_p_is_small_where_all_differ_never_zero_and_nan_where_nothing_was_measured():
    found = sign_flip(np.stack([np.ones(30), np.zeros(30), np.full(30, np.nan)]))
    assert found[0] == 1 / 10_001 and found[1] == 1.0 and np.isnan(found[2])


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.04 times 3, 2, 1, and never below a smaller one."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert len(holm([])) == 0
