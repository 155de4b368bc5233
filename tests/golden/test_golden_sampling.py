"""Frame numbers and preprocessing against the reference's."""

import json
from pathlib import Path

import fill
import numpy as np
import pytest

from earshot import sampling, transforms
from earshot.backbones import IMAGENET_MEAN, IMAGENET_STD

HERE = Path(__file__).parent / "tta"
CASES = json.loads((HERE / "frame_indices.json").read_text())["cases"]
PREPROCESS = json.loads((HERE / "preprocess.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["num_frames"]))
def test_frame_numbers(case):
    n = case["num_frames"]
    last = n - 1
    assert sampling.uniform(n, 16, index_base=1).tolist() == np.clip(case["tanet_eval_uniform-1"], 0, last).tolist()
    views = sampling.uniform_equidistant(n, 16, 2, index_base=1)
    assert views.ravel().tolist() == np.clip(case["tta_uniform_equidist"], 0, last).tolist()


@pytest.mark.parametrize("case", PREPROCESS["tanet_multiscale"], ids=lambda case: str(case["wh"]))
def test_crops_that_a_view_may_take(case):
    width, height = case["wh"]
    pairs = transforms.crop_sizes(width, height, 224)
    assert sorted(pairs) == sorted(map(tuple, case["pairs"]))
    offsets = transforms.crop_offsets(width, height, *min(pairs))
    assert sorted(offsets) == sorted(map(tuple, case["offsets_for_smallest"]))


def frames():
    cells = fill.generator("frames/0").integers(0, 256, (2, 30, 40, 3), dtype=np.uint8)
    return cells.repeat(8, 1).repeat(8, 2)


def check(view, expected):
    values = transforms.normalise(view, IMAGENET_MEAN, IMAGENET_STD).transpose(0, 1).reshape(6, 224, 224).double()
    level = 1 / 255 / min(IMAGENET_STD)  # the reference resizes with Pillow, which may round one level differently
    for c, y, x, value in expected["probe_c_y_x"]:
        assert float(values[c, y, x]) == pytest.approx(value, abs=1.01 * level)
    assert float(values.abs().sum()) == pytest.approx(expected["abs_sum"], rel=1e-3)
    assert float(values.sum()) == pytest.approx(expected["sum"], rel=2e-3)


def test_evaluation_view():
    check(transforms.evaluation_view(frames(), 256, 224), PREPROCESS["tanet_eval"])


def test_augmented_view():
    expected = PREPROCESS["tanet_tta_fixed_crop"]
    check(transforms.augmented_view(frames(), transforms.Crop(*expected["crop_w_h_x_y"]), 224), expected)
