"""Frame numbers and preprocessing against the reference's."""

import json
from pathlib import Path

import fill
import numpy as np
import pytest

from earshot import sampling, transforms
from earshot.backbones import IMAGENET_MEAN, IMAGENET_STD, tanet

HERE = Path(__file__).parent / "tta"
RNG = np.random.default_rng(0)  # these styles draw nothing
CASES = json.loads((HERE / "frame_indices.json").read_text())["cases"]
PREPROCESS = json.loads((HERE / "preprocess.json").read_text())


STYLES = {
    "tanet_eval_uniform-1": lambda n: sampling.evaluation("uniform", n, 16, 1, index_base=1),
    "tanet_eval_uniform-2": lambda n: sampling.evaluation("uniform", n, 16, 2, index_base=1),
    "tanet_eval_dense-1": lambda n: sampling.evaluation("dense", n, 16, 1, index_base=1),
    "tanet_eval_dense-2": lambda n: sampling.evaluation("dense", n, 16, 2, index_base=1),
    "tta_uniform": lambda n: sampling.views("uniform", n, 16, 1, RNG, index_base=1),
    "tta_dense": lambda n: sampling.views("dense", n, 16, 1, RNG, index_base=1),
    "tta_uniform_equidist": lambda n: sampling.views("uniform_equidist", n, 16, 2, RNG, index_base=1),
    "tta_dense_equidist": lambda n: sampling.views("dense_equidist", n, 16, 2, RNG, index_base=1),
    "swin_eval_uniform": lambda n: sampling.evaluation("segments", n, 16, 1, index_base=1),
    "swin_eval_dense_interval2": lambda n: sampling.evaluation("dense_interval", n, 16, 1, index_base=1),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["num_frames"]))
def test_frame_numbers(case):
    n = case["num_frames"]
    assert set(STYLES) == set(case) - {"num_frames"}
    for name, sampled in STYLES.items():
        assert sampled(n).ravel().tolist() == np.clip(case[name], 0, n - 1).tolist(), name


def test_drawn_styles_stay_in_the_video_and_differ_from_view_to_view():
    for style in ("uniform_rand", "dense_rand", "random"):
        drawn = sampling.views(style, 300, 16, 4, np.random.default_rng(0))
        assert drawn.shape == (4, 16) and drawn.min() >= 0 and drawn.max() < 300
        assert len({tuple(view) for view in drawn.tolist()}) == 4
        assert sampling.views(style, 3, 16, 2, np.random.default_rng(0)).max() < 3


def test_an_empty_video_is_refused():
    with pytest.raises(ValueError, match="0 frames"):
        sampling.evaluation("segments", 0, 16)


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


SPEC = tanet.spec(tanet.Options())


def check(view, expected):
    values = transforms.normalise(view, IMAGENET_MEAN, IMAGENET_STD).transpose(0, 1).reshape(6, 224, 224).double()
    level = 1 / 255 / min(IMAGENET_STD)  # the reference resizes with Pillow, which may round one level differently
    for c, y, x, value in expected["probe_c_y_x"]:
        assert float(values[c, y, x]) == pytest.approx(value, abs=1.01 * level)
    assert float(values.abs().sum()) == pytest.approx(expected["abs_sum"], rel=1e-3)
    assert float(values.sum()) == pytest.approx(expected["sum"], rel=2e-3)


def test_evaluation_view():
    check(transforms.evaluation_crops(transforms.resized(frames(), SPEC), SPEC)[0], PREPROCESS["tanet_eval"])


def test_augmented_view():
    expected = PREPROCESS["tanet_tta_fixed_crop"]
    check(transforms.cut(transforms.view_base(frames(), SPEC), transforms.Crop(*expected["crop_w_h_x_y"]), SPEC), expected)
