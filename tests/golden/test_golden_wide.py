"""The wider list of corruptions against frames and statistics of the reference functions; before any encoding."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from frame_statistics import statistics

from earshot.randomness import numpy_generator

HERE = Path(__file__).parent / "corruptions"
ARRAYS = np.load(HERE / "arrays.npz")
STATS = json.loads((HERE / "stats.json").read_text())
SEEDS = 8
FIXED, RANDOM = ("brightness", "saturate", "pixelate", "gaussian_blur"), ("speckle", "fog", "snow", "elastic", "glass")
PICTURES = ("cat", "astro")
FLOOR, FACTOR = STATS["tolerances"]["random"]["floor"], STATS["tolerances"]["random"]["factor_on_sd_for"]


def corrupted(name, severity, picture, seed=0):
    module, frame = import_module(f"earshot.corruptions.{name}"), ARRAYS[f"input_{picture}"]
    value = module.SPEC.value("default", severity)
    drawn = module.draw(*frame.shape[:2], value, numpy_generator(seed)) if hasattr(module, "draw") else None
    return module.apply(frame, value, drawn)


def known(kind, name, severity):
    """Pictures with their statistics; of `glass` the set has one."""
    stored = STATS[kind][name][str(severity)]
    return [(picture, stored[picture]) for picture in PICTURES if picture in stored]


@pytest.mark.parametrize("name", FIXED)
def test_frames(name):
    tolerance = STATS["tolerances"]["arrays"][name]
    difference = np.abs(corrupted(name, 5, "cat").astype(int) - ARRAYS[f"{name}_s5_cat"])
    assert difference.max() <= tolerance["max_abs"]
    assert (difference > 0).mean() <= tolerance["frac_nonzero"]


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", FIXED)
def test_statistics_of_what_is_fixed(name, severity):
    for picture, expected in known("deterministic", name, severity):
        measured = statistics(corrupted(name, severity, picture), ARRAYS[f"input_{picture}"])
        for key, wanted in expected.items():
            assert np.all(np.abs(measured[key] - np.asarray(wanted)) <= FLOOR[key]), (picture, key)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", RANDOM)
def test_statistics_of_what_is_random(name, severity):
    for picture, expected in known("random", name, severity):
        clean = ARRAYS[f"input_{picture}"]
        rows = [statistics(corrupted(name, severity, picture, seed), clean) for seed in range(SEEDS)]
        for key, wanted in expected.items():
            average = np.mean([row[key] for row in rows], axis=0)
            slack = 4 * FACTOR.get(name, 1) * np.asarray(wanted["sd"]) / np.sqrt(SEEDS) + FLOOR[key]
            assert np.all(np.abs(average - wanted["mean"]) <= slack), (picture, key)
