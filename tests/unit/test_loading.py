"""What a model is given: the same tensors from a lossless file and from memory, before or after the crop."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from test_synthesis import LOSSLESS, index, make

from earshot import contracts, media, sampling, transforms
from earshot.backbones import r2plus1d_18, tanet_small, video_swin
from earshot.corrupting import Corrupter, Recipe
from earshot.errors import MediaError
from earshot.frames import Frames
from earshot.loading import ClipLoader, FrameCache, Sampling, prefetched
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


class Counted(Frames):
    """Frames that note what was asked of the decoder."""

    def __init__(self, root):
        super().__init__(root)
        self.asked = []

    def read(self, row, indices):
        self.asked.append(sorted(indices))
        return super().read(row, indices)


@pytest.fixture(scope="module")
def row(clips):
    return contracts.read(clips / "clips.parquet", contracts.CLIPS)[0]


def test_each_frame_is_decoded_once_for_all_views(clips, row):
    source = Counted(clips)
    ClipLoader(SPEC, source, FrameCache(0), "cpu").load(row, 0)
    wanted = {*sampling.evaluation("uniform", 20, 8).ravel(), *sampling.views("uniform_equidist", 20, 8, 2, None).ravel()}
    assert source.asked == [sorted(wanted)]


SWIN = video_swin.spec(video_swin.tiny())


@pytest.mark.parametrize("spec", [SPEC, SWIN, r2plus1d_18.spec(r2plus1d_18.Options())], ids=lambda spec: spec.title)
def test_several_clips_and_crops_are_evaluated(clips, row, spec):
    style = "dense_interval" if spec.sampling == "segments" else "uniform"

    def evaluated(**how):
        loader = ClipLoader(spec, Frames(clips), FrameCache(0), "cpu", Sampling(**how))
        alone = loader.evaluation(row)
        assert torch.equal(loader.load(row, 0).evaluation, alone)
        return alone

    many = evaluated(clips=2, crops=3, evaluation=style)
    assert many.shape == (6, 3, spec.frames, spec.size, spec.size)
    centres = evaluated(clips=2, evaluation=style)
    assert torch.equal(many[1::3], centres)
    assert not torch.equal(many[0], many[2])
    assert evaluated().shape[0] == 1


def test_crops_of_a_wide_frame_are_its_two_ends_and_its_centre():
    base = torch.arange(40).repeat(2, 3, 10, 1).to(torch.uint8)  # every pixel holds its column
    spec = replace(SPEC, size=10)
    columns = [crop[0, 0, 0].tolist() for crop in transforms.evaluation_crops(base, spec, crops=3)]
    assert [(column[0], column[-1]) for column in columns] == [(0, 9), (15, 24), (30, 39)]
    rows = [crop[0, 0, :, 0].tolist() for crop in transforms.evaluation_crops(base.transpose(2, 3), spec, crops=3)]
    assert rows == columns


def test_one_resized_crop_serves_all_views_and_multi_scale_draws_one_each():
    generators = [np.random.default_rng(seed) for seed in (0, 1, 2)]
    assert len(set(transforms.view_crops(320, 240, SWIN, generators))) == 1
    assert len(set(transforms.view_crops(320, 240, SPEC, generators))) > 1


def test_resized_crops_keep_to_their_ranges_and_to_the_frame():
    rng = np.random.default_rng(0)
    for width, height in [(320, 240), (64, 64), (100, 20)]:
        for _ in range(200):
            crop = transforms.resized_crop(width, height, rng)
            assert crop.x >= 0 and crop.x + crop.width <= width
            assert crop.y >= 0 and crop.y + crop.height <= height
            assert 0.07 < crop.width * crop.height / (width * height) <= 1
            assert 0.7 < crop.width / crop.height < 1.43
    assert transforms.resized_crop(1000, 10, np.random.default_rng(0)) == (10, 10, 495, 0)  # no such crop fits: the centre


def test_results_come_in_the_order_asked_for_and_errors_with_them():
    def load(number):
        if number == 3:
            raise MediaError("broken")
        return torch.tensor(number)

    for threads in (1, 4):
        found = list(prefetched((partial(load, number) for number in range(9)), threads))
        assert [str(item) if isinstance(item, MediaError) else int(item) for item in found] == [
            0,
            1,
            2,
            "broken",
            4,
            5,
            6,
            7,
            8,
        ]


def test_video_swin_s_frames_are_rounded_as_mmcv_rounds_them():
    """320x240 at a short side of 224: 298.67 px wide, and 37.5 px left of the centre."""
    full = video_swin.spec(video_swin.Options())
    frames = np.zeros((1, 240, 320, 3), np.uint8)
    assert transforms.resized(frames, full).shape[2:] == (224, 299)
    assert transforms.resized(frames, replace(full, rounding="torchvision")).shape[2:] == (224, 298)
    base = torch.arange(299).clamp(max=255).repeat(1, 3, 224, 1).to(torch.uint8)
    assert transforms.evaluation_crops(base, full)[0][0, 0, 0, 0] == 37
    assert transforms.evaluation_crops(base, replace(full, rounding="torchvision"))[0][0, 0, 0, 0] == 38


def test_several_clips_of_one_whole_video_are_refused():
    with pytest.raises(ValueError, match="take `dense_interval`"):
        sampling.evaluation("segments", 20, 8, clips=2)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_what_is_held_changes_neither_frames_nor_errors(clips, row, tmp_path, lost):
    """A file whose last frames do not decode: two are made up for by the last one that does, however much is held."""

    class Cut(Frames):
        def read(self, row, indices):
            return super().read(row, [number for number in indices if number < 20 - lost])

    asked = [0, 7, 19]
    outcomes = []
    for cache, ahead in ((FrameCache(0), False), (FrameCache(100), False), (FrameCache(100), True), (FrameCache(0), True)):
        for _ in range(2):
            try:
                outcomes.append(cache.frames(Cut(clips), row, asked, ahead).tobytes())
            except MediaError as error:
                outcomes.append(str(error))
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], str) == (lost == 3)
