"""The wider list of corruptions against frames and statistics of the reference functions; before any encoding."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from earshot.randomness import numpy_generator

HERE = Path(__file__).parent / "corruptions_wide"
ARRAYS = np.load(HERE / "arrays.npz")
STATS = json.loads((HERE / "stats.json").read_text())
SEEDS = 8
FLOOR, FACTOR = STATS["tolerances"]["random"]["floor"], STATS["tolerances"]["random"]["factor_on_sd_for"]


def corrupted(name, severity, picture, seed=0):
    module, frame = import_module(f"earshot.corruptions.{name}"), ARRAYS[f"input_{picture}"]
    value = module.SPEC.value("default", severity)
    drawn = module.draw(*frame.shape[:2], value, numpy_generator(seed)) if hasattr(module, "draw") else None
    return module.apply(frame, value, drawn)


@pytest.mark.parametrize("name", STATS["deterministic"])
def test_frames(name):
    tolerance = STATS["tolerances"]["arrays"][name]
    difference = np.abs(corrupted(name, 5, "cat").astype(int) - ARRAYS[f"{name}_s5_cat"])
    assert difference.max() <= tolerance["max_abs"]
    assert (difference > 0).mean() <= tolerance["frac_nonzero"]


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", STATS["deterministic"])
def test_statistics_of_what_is_fixed(name, severity):
    for picture, expected in STATS["deterministic"][name][str(severity)].items():
        measured = statistics(corrupted(name, severity, picture), ARRAYS[f"input_{picture}"])
        for key, wanted in expected.items():
            assert np.all(np.abs(measured[key] - np.asarray(wanted)) <= FLOOR[key]), (picture, key)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", STATS["random"])
def test_statistics_of_what_is_random(name, severity):
    for picture, expected in STATS["random"][name][str(severity)].items():
        clean = ARRAYS[f"input_{picture}"]
        rows = [statistics(corrupted(name, severity, picture, seed), clean) for seed in range(SEEDS)]
        for key, wanted in expected.items():
            average = np.mean([row[key] for row in rows], axis=0)
            slack = 4 * FACTOR.get(name, 1) * np.asarray(wanted["sd"]) / np.sqrt(SEEDS) + FLOOR[key]
            assert np.all(np.abs(average - wanted["mean"]) <= slack), (picture, key)


def statistics(frame, clean):
    residual = frame.astype(float) - clean
    return {
        "mean": frame.mean((0, 1)),
        "std": frame.std((0, 1)),
        "psnr": 10 * np.log10(255**2 / np.mean(residual**2)),
        "ssim": similarity(frame.astype(float), clean.astype(float)),
        "hist_tv": np.abs(luma_shares(frame) - luma_shares(clean)).sum() / 2,
        "resid_mean": residual.mean(),
        "resid_std": residual.std(),
        "frac0": (frame == 0).mean(),
        "frac255": (frame == 255).mean(),
    }


def similarity(a, b):
    """SSIM with a 7 x 7 uniform window and unbiased variances, 3 pixels inside the border, mean over channels."""

    def local(field):
        return uniform_filter(field, (7, 7, 1))[3:-3, 3:-3]

    mean_a, mean_b, unbiased = local(a), local(b), 49 / 48
    spread = unbiased * (local(a * a) + local(b * b) - mean_a**2 - mean_b**2)
    common = unbiased * (local(a * b) - mean_a * mean_b)
    small, smaller = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + small) * (2 * common + smaller)
    return (top / ((mean_a**2 + mean_b**2 + small) * (spread + smaller))).mean()


def luma_shares(frame):
    return np.histogram(frame @ np.array([0.299, 0.587, 0.114]), 32, (0, 256))[0] / frame[..., 0].size
