"""Contrast against exact frames, Gaussian noise against statistics over seeds; before any encoding."""

import json
from pathlib import Path

import numpy as np
import pytest

from earshot.corruptions import contrast, gauss
from earshot.randomness import numpy_generator

HERE = Path(__file__).parent / "corruptions"
ARRAYS = np.load(HERE / "arrays.npz")
STATS = json.loads((HERE / "stats.json").read_text())


@pytest.mark.parametrize("name", [key for key in ARRAYS.files if key.startswith("contrast")])
def test_contrast_frames(name):
    severity, picture = int(name[len("contrast_s")]), name.rpartition("_")[2]
    value = contrast.SPEC.severities["ucf101c"][severity - 1]
    ours = contrast.apply(ARRAYS[f"input_{picture}"][None], value, numpy_generator(0))[0]
    difference = np.abs(ours.astype(int) - ARRAYS[name])
    assert difference.max() <= STATS["contrast"]["max_abs"]
    assert (difference > 0).mean() <= STATS["contrast"]["frac_nonzero"]


@pytest.mark.parametrize("severity", range(1, 6))
def test_gauss_statistics(severity):
    clean = ARRAYS["input_cat"]
    value = gauss.SPEC.severities["ucf101c"][severity - 1]
    seeds = 12
    measured = [_statistics(gauss.apply(clean[None], value, numpy_generator(seed))[0], clean) for seed in range(seeds)]
    for name, expected in STATS["gauss"][str(severity)]["cat"].items():
        if name not in measured[0]:
            continue
        average = np.mean([row[name] for row in measured], axis=0)
        slack = 4 * np.asarray(expected["sd"]) / np.sqrt(seeds) + STATS["floor"][name]
        assert np.all(np.abs(average - expected["mean"]) <= slack), name


def _statistics(frame, clean):
    residual = frame.astype(float) - clean
    return {
        "mean": frame.mean((0, 1)),
        "std": frame.std((0, 1)),
        "psnr": 10 * np.log10(255**2 / np.mean(residual**2)),
        "resid_mean": residual.mean(),
        "resid_std": residual.std(),
        "frac0": (frame == 0).mean(),
        "frac255": (frame == 255).mean(),
    }


def test_gauss_truncates_exactly_on_flat_grey():
    """Mean and deviation of the clipped and floored normal law, in closed form by quadrature."""
    value = 0.18
    grey = np.full((1, 200, 200, 3), 128, np.uint8)
    ours = gauss.apply(grey, value, numpy_generator("grey")).astype(float)
    z = np.random.default_rng(0).standard_normal(2_000_000)
    law = np.floor(np.clip(128 / 255 + value * z, 0, 1) * 255)
    assert ours.mean() == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(ours.size) + 0.05)
    assert ours.std() == pytest.approx(law.std(), rel=0.01)
