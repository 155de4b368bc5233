"""The twelve corruptions against frames and statistics of the reference functions, and in closed form; before any encoding."""

import json
from pathlib import Path

import numpy as np
import pytest
from frame_statistics import statistics
from scipy.special import ndtr, pdtr

from earshot import plugins
from earshot.corruptions import ALIASES, UCF101C, defocus, motion
from earshot.randomness import numpy_generator

HERE = Path(__file__).parent / "corruptions"
with np.load(HERE / "arrays.npz") as stored:
    ARRAYS = dict(stored)
STATS = json.loads((HERE / "stats.json").read_text())
PICTURES, SEVERITIES, SEEDS = ("cat", "astro", "synth"), range(1, 6), 8
RANDOM = {  # name in stats.json: plug-in and preset
    "gauss": ("gauss", "ucf101c"),
    "shot": ("shot", "imagenet_c"),
    "shot_mild": ("shot", "ucf101c"),
    "impulse": ("impulse", "ucf101c"),
    "salt": ("salt", "ucf101c"),
    "pepper": ("pepper", "ucf101c"),
    "salt_pct10": ("salt", "ame"),
    "pepper_pct10": ("pepper", "ame"),
    "motion": ("motion", "ucf101c"),
    "rain": ("rain", "ucf101c"),
}
MILDER = (0.5, 0.4, 0.3, 0.2, 0.1)  # contrast of Mini Kinetics-C
CLIPS = {"mini_kinetics": (3, 5, 7, 9, 11), "mini_ssv2": (1, 2, 3, 4, 6)}  # motion along time


def corrupt(name, frame, value, drawn=None, seed=None):
    """One frame; what is random is `drawn` or follows from a seed."""
    module = plugins.load("corruptions", name)
    if seed is not None and hasattr(module, "draw"):
        drawn = module.draw(*frame.shape[:2], value, numpy_generator(name, seed))
    return module.apply(frame, value, drawn)


def value_of(name, severity, preset="ucf101c"):
    return plugins.load("corruptions", name).SPEC.value(preset, severity)


def check_frames(name, ours, reference):
    tolerance = STATS["tolerances"]["arrays"][name]
    border = tolerance.get("exclude_border_px", 0)
    inside = (slice(border, -border or None),) * 2
    difference = np.abs(ours.astype(int) - reference)[inside]
    assert difference.max() <= tolerance["max_abs"]
    assert (difference > 0).mean() <= tolerance["frac_nonzero"]


EXACT = [(n, s, "cat") for n in ("contrast", "jpeg", "defocus", "zoom") for s in SEVERITIES]
EXACT += [(n, 5, "synth") for n in ("contrast", "defocus", "zoom")]


@pytest.mark.parametrize(("name", "severity", "picture"), EXACT)
def test_frames(name, severity, picture):
    ours = corrupt(name, ARRAYS[f"input_{picture}"], value_of(name, severity))
    check_frames(name, ours, ARRAYS[f"{name}_s{severity}_{picture}"])


def test_contrast_of_mini_kinetics():
    ours = corrupt("contrast", ARRAYS["input_cat"], MILDER[4])
    check_frames("contrast", ours, ARRAYS["contrast_mini_kinetics_s5_cat"])


@pytest.mark.parametrize("key", [key for key in ARRAYS if key.startswith("motion_s")])
def test_motion_at_an_angle(key):
    _, severity, angle, picture = key.split("_")
    value = value_of("motion", int(severity[1:]))
    check_frames("motion", corrupt("motion", ARRAYS[f"input_{picture}"], value, float(angle[len("angle") :])), ARRAYS[key])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_rain_with_given_drops(severity):
    drops = ARRAYS[f"rain_s{severity}_drops"].astype(np.int64)
    ours = corrupt("rain", ARRAYS["input_cat"], value_of("rain", severity), drops)
    check_frames("rain", ours, ARRAYS[f"rain_s{severity}_cat"])


@pytest.mark.parametrize("severity", (1, 5))
@pytest.mark.parametrize("table", CLIPS)
def test_motion_along_time(table, severity):
    """The reference drops `reach` frames at each end; between them ours has the same."""
    reach, reference = CLIPS[table][severity - 1], ARRAYS[f"motion_clip_{table}_s{severity}"]
    clip = [np.roll(ARRAYS["clip_in"][0], (k, 2 * k), (0, 1)) for k in range(30)]
    ours = [motion.combine([clip[i] for i in motion.sources(k, 30, 25, reach)], reach) for k in range(30)]
    kept = ours[reach : 30 - reach]
    assert len(kept) == STATS["motion_clip_frames"][f"{table}_s{severity}"]
    for frame, expected in zip((kept[0], kept[len(kept) // 2], kept[-1]), reference, strict=True):
        check_frames("motion_clip", frame, expected)
    assert motion.sources(0, 1, 25, reach) == [0] * 2 * reach
    assert motion.sources(0, 30, 25, (10, 3)) is None


def test_presets_along_time():
    assert [value_of("motion", s, "ame") for s in SEVERITIES] == list(CLIPS["mini_kinetics"])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_kernels(severity):
    disc = defocus.kernel(*value_of("defocus", severity))
    np.testing.assert_allclose(disc, ARRAYS[f"defocus_kernel_s{severity}"], atol=1e-7)
    line = motion.weights(*value_of("motion", severity))
    np.testing.assert_allclose(line, ARRAYS[f"motion_kernel_s{severity}"], atol=1e-12)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", RANDOM)
def test_statistics_over_seeds(name, severity):
    plugin, preset = RANDOM[name]
    value, rule = value_of(plugin, severity, preset), STATS["tolerances"]["random"]
    for picture in PICTURES:
        clean, expected = ARRAYS[f"input_{picture}"], STATS["random"][name][str(severity)][picture]
        measured = [statistics(corrupt(plugin, clean, value, seed=seed), clean) for seed in range(SEEDS)]
        assert measured[0].keys() == expected.keys()
        for stat, law in expected.items():
            average = np.mean([row[stat] for row in measured], axis=0)
            slack = 4 * np.asarray(law["sd"]) / np.sqrt(SEEDS) + rule["floor"][stat]
            assert np.all(np.abs(average - law["mean"]) <= slack), (picture, stat, average, law)


@pytest.mark.parametrize("name", ["contrast", "contrast_mini_kinetics", "jpeg", "defocus", "zoom"])
def test_statistics_without_chance(name):
    plugin = name.partition("_")[0]
    for severity in SEVERITIES:
        value = MILDER[severity - 1] if "mini" in name else value_of(plugin, severity)
        for picture in PICTURES:
            clean = ARRAYS[f"input_{picture}"]
            measured = statistics(corrupt(plugin, clean, value), clean)
            for stat, expected in STATS["deterministic"][name][str(severity)][picture].items():
                slack = STATS["tolerances"]["random"]["floor"][stat]
                assert np.all(np.abs(np.subtract(measured[stat], expected)) <= slack), (severity, picture, stat)


GREY = np.full((240, 320, 3), 128, np.uint8)


def near(share, law, count):
    """Within four standard deviations of a share of `count` draws."""
    return abs(share - law) <= 4 * np.sqrt(law * (1 - law) / count)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("name", "levels"), [("salt", {255: 1}), ("pepper", {0: 1}), ("impulse", {0: 0.5, 255: 0.5})])
def test_share_replaced_on_grey(name, levels, severity):
    value = value_of(name, severity)
    ours = corrupt(name, GREY, value, seed=severity)
    for level, part in levels.items():
        assert near((ours == level).mean(), part * value, ours.size)
        assert all(near((ours[..., c] == level).mean(), part * value, ours[..., c].size) for c in range(3))
    assert set(np.unique(ours)) == {128, *levels}


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gauss_on_grey(severity):
    """Mean and deviation of the clipped and floored normal law."""
    value = value_of("gauss", severity)
    ours = corrupt("gauss", GREY, value, seed=severity).astype(float)
    levels = np.arange(256)
    below = np.concatenate([ndtr((levels[1:] - 128) / (255 * value)), [1]])  # P(level or less)
    law = np.diff(below, prepend=0)
    mean = levels @ law
    deviation = np.sqrt((levels - mean) ** 2 @ law)
    assert ours.mean() == pytest.approx(mean, abs=4 * deviation / np.sqrt(ours.size) + 0.002)
    assert ours.std() == pytest.approx(deviation, rel=0.01)


def test_shot_on_grey():
    """The Poisson law at its coarsest, the tail in 255."""
    ours, rate = corrupt("shot", GREY, 3, seed=0), 3 * 128 / 255
    shares = [*np.diff(pdtr(np.arange(3), rate), prepend=0), 1 - pdtr(2, rate)]
    for level, share in zip((0, 85, 170, 255), shares, strict=True):
        # quantiles come in 4096 steps
        assert abs((ours == level).mean() - share) <= 4 * np.sqrt(share * (1 - share) / ours.size) + 1 / 4096
    assert set(np.unique(ours)) == {0, 85, 170, 255}


@pytest.mark.parametrize("name", ["gauss", "shot", "impulse", "salt", "pepper"])
def test_noise_is_fresh_in_every_frame(name):
    first, second = (corrupt(name, GREY, value_of(name, 5), seed=seed).astype(float).ravel() for seed in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    red, green = (corrupt(name, GREY, value_of(name, 5), seed=0)[..., c].astype(float).ravel() for c in (0, 1))
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.02


@pytest.mark.parametrize("name", ["zoom", "defocus", "motion", "jpeg"])
def test_blur_keeps_one_colour(name):
    """To one level: the kernels of defocus sum to 1.013 at most, and zoom loses a level as the reference does."""
    for severity in SEVERITIES:
        ours = corrupt(name, GREY, value_of(name, severity), seed=severity)
        assert len(np.unique(ours)) == 1
        assert abs(int(ours[0, 0, 0]) - 128) <= (1.013 - 1) * 128 + 1


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 5), (9, 7), (35, 33)])
@pytest.mark.parametrize("name", sorted({"clean", *UCF101C} - {"h265_abr"}))
def test_small_and_odd_frames(name, size):
    """Any size, any preset; the input may be read-only and stays as it is; equal draws give equal frames."""
    clean = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    clean.flags.writeable = False
    for preset in ("imagenet_c", "ucf101c", "ame"):
        value = value_of(name, 5, preset)
        ours = corrupt(name, clean, value, seed=3)
        assert ours.shape == clean.shape
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, corrupt(name, clean.copy(), value, seed=3))


def test_names():
    assert set(ALIASES.values()) < set(UCF101C) <= set(plugins.available("corruptions"))


@pytest.mark.parametrize("name", sorted(set(UCF101C) - {"h265_abr"}))
def test_severities_grow(name):
    clean = ARRAYS["input_cat"]
    psnr = [statistics(corrupt(name, clean, value_of(name, s), seed=0), clean)["psnr"] for s in SEVERITIES]
    assert psnr == sorted(psnr, reverse=True)
