"""What a model is given: the same tensors from a lossless file and from memory, before or after the crop."""

import numpy as np
import pytest
import torch
from test_synthesis import LOSSLESS, index, make

from earshot import media, sampling, transforms
from earshot.backbones import tanet_small
from earshot.corrupting import Corrupter, Recipe
from earshot.loading import ClipLoader, FrameCache
from helpers import moving_square

SPEC = tanet_small.spec(tanet_small.Options())


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    media.write_video(root / "a.mp4", moving_square(frames=20, size=130)[:, :101], 16)
    (root / "labels.csv").write_text("path,label,split\na.mp4,x,test\n")
    return index(root)


def load(table, root, row, seed=0):
    loader = ClipLoader.of_corrupted(str(table), str(root), SPEC, FrameCache(100), "cpu")
    return loader.load(row, seed), loader.evaluation(row)


@pytest.mark.parametrize("corruption", ["gauss", "defocus", "frame_rate", "fog"])
def test_tensors_from_memory_equal_those_of_a_lossless_file(clips, tmp_path, corruption):
    rows = {}
    for name, how in (("file", {}), ("memory", {"materialise": False})):
        rows[name] = make(clips, tmp_path / name, corruption, encoding=LOSSLESS, **how)[0]
    (stored, first), (made, second) = (load(tmp_path / name / "clips.parquet", clips, row) for name, row in rows.items())
    assert torch.equal(stored.views, made.views)
    assert torch.equal(stored.evaluation, made.evaluation) and torch.equal(first, second)


def test_online_corruption_comes_after_the_crop(clips, tmp_path):
    row = make(clips, tmp_path, "gauss", materialise=False, position="online", preset="ame")[0]
    clip, evaluation = load(tmp_path / "clips.parquet", clips, row)
    assert clip.views.shape == (2, 3, SPEC.frames, SPEC.size, SPEC.size)
    number = int(sampling.evaluation("uniform", 20, SPEC.frames)[0, 3])
    frame = transforms.resize_and_crop(media.read_frames(clips / "a.mp4", [number])[number], SPEC)
    expected = Corrupter(Recipe("gauss", 5, "ame", "per_frame", 0), "a", 20, 16.0).frame(number, frame)
    tensor = torch.from_numpy(np.ascontiguousarray(expected)).permute(2, 0, 1)[:, None]
    assert torch.equal(evaluation[0, :, 3], transforms.normalise(tensor, SPEC.mean, SPEC.std)[:, 0])
