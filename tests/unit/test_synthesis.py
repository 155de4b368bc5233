"""Corrupted videos: the same bytes however they are made, the sound untouched, failures as rows."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earshot import contracts, indexing, media, plugins, synthesis
from earshot.corrupting import Corrupter, Recipe
from earshot.errors import SetupError
from earshot.frames import frames_of
from helpers import moving_square, tone

CORRUPTIONS = plugins.available("corruptions")
PICTURES = [name for name in CORRUPTIONS if not name.startswith("sound_")]
SOUNDS = [name for name in CORRUPTIONS if name.startswith("sound_")]
ENCODING = {"codec": "h264", "crf": 18, "preset": "veryfast", "pix_fmt": "yuv420p"}
LOSSLESS = {**ENCODING, "codec": "lossless"}
FEW = ("gauss", "motion", "rain", "h265_abr", "bit_error", "frame_rate", "sound_gauss")  # one of each way of working


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four clips of one second, indexed."""
    root = tmp_path_factory.mktemp("clean")
    for i in range(4):
        media.write_video(root / f"{i}.mp4", moving_square(size=64, seed=i), 16, None if i == 3 else tone())
    lines = [f"{i}.mp4,a,{'test' if i else 'train'}" for i in range(4)]
    (root / "labels.csv").write_text("path,label,split\n" + "\n".join(lines) + "\n")
    return index(root)


def index(root):
    out = {name: str(root / f"{name}.parquet") for name in ("clips", "classes", "events")}
    indexing.index_dataset("test", "folder", str(root), {"labels": "labels.csv"}, 1, **out)
    return root


def task_of(root, out, corruption, severity=5, seed=0, code="c", preset="ucf101c", temporal="per_frame", **more):
    given = {"encoding": ENCODING, "materialise": True, "position": "offline", "allow_hdr": False, "beds": "", **more}
    recipe = Recipe(corruption, severity, preset, temporal, seed)
    return synthesis.Task(recipe=recipe, code=code, root=str(root), out=str(out), **given)


def make(root, out, corruption, workers=1, splits=("test",), **more):
    task = task_of(root, out, corruption, **more)
    synthesis.synthesize(str(root / "clips.parquet"), splits, task, workers, str(out / "clips.parquet"))
    return contracts.read(out / "clips.parquet", contracts.CORRUPTED_CLIPS)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def packets(path, kind):
    """The bytes of every packet of the first stream of a kind."""
    import av

    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(getattr(container.streams, kind)[0]) if packet.size]


@pytest.mark.parametrize("corruption", FEW)
def test_one_and_two_workers_give_the_same_bytes(clips, tmp_path, corruption):
    one, two = tmp_path / "one", tmp_path / "two"
    rows = make(clips, one, corruption, workers=1, splits=("train", "test"))
    make(clips, two, corruption, workers=2, splits=("train", "test"))
    assert contents(one) == contents(two)
    assert [row["clip_id"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["available"] for row in rows] == [True, True, True, corruption != "sound_gauss"]  # the last one is silent


@pytest.mark.parametrize("corruption", PICTURES)
def test_frames_times_size_and_sound_are_kept(clips, tmp_path, corruption):
    severity = 0 if corruption == "clean" else 5
    rows = make(clips, tmp_path, corruption, severity=severity)
    assert all(row["available"] for row in rows), rows[0]["problem"]
    assert all(row["psnr"] > (30 if corruption == "clean" else 3) for row in rows)
    for name in ("1", "3"):
        before, after = media.probe(clips / f"{name}.mp4"), media.probe(tmp_path / f"{name}.mp4")
        for field in ("frames", "fps", "width", "height", "audio_rate"):
            assert getattr(before, field) == getattr(after, field), field
        assert times(clips / f"{name}.mp4") == times(tmp_path / f"{name}.mp4")
    assert packets(clips / "1.mp4", "audio") == packets(tmp_path / "1.mp4", "audio")


def times(path):
    import av

    with av.open(str(path)) as container:
        return [round(float(frame.pts * frame.time_base), 4) for frame in container.decode(video=0)]


@pytest.mark.parametrize("corruption", SOUNDS)
def test_corrupted_sound_leaves_the_picture_untouched(clips, tmp_path, corruption):
    rows = make(clips, tmp_path, corruption)
    assert packets(clips / "1.mp4", "video") == packets(tmp_path / "1.mp4", "video")
    before, after = media.read_sound(clips / "1.mp4")[0], media.read_sound(tmp_path / "1.mp4")[0]
    assert before.shape == after.shape
    assert not np.allclose(before, after, atol=1e-3)
    assert [row["available"] for row in rows] == [True, True, False]
    assert rows[2]["problem"] == f"{corruption}: no audio stream"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """A pan over a photograph, with noise as of a camera: 50 frames of 240 x 192 at 25 a second."""
    root = tmp_path_factory.mktemp("photograph")
    picture = np.load(Path(__file__).parents[1] / "golden" / "corruptions" / "arrays.npz")["input_astro"]
    large, rng = picture.repeat(2, 0).repeat(2, 1), np.random.default_rng(0)
    pan = np.stack([large[t // 2 : t // 2 + 192, t : t + 240] for t in range(50)]).astype(float)
    media.write_video(root / "pan.mp4", np.clip(pan + rng.normal(0, 6, pan.shape), 0, 255).astype(np.uint8), 25)
    (root / "labels.csv").write_text("path,label,split\npan.mp4,a,test\n")
    return index(root)


@pytest.mark.parametrize(("corruption", "preset"), [
    ("gauss", "ucf101c"), ("defocus", "ucf101c"), ("jpeg", "ucf101c"), ("motion", "ame"), ("frame_rate", "mini_kinetics_c"),
    ("frame_rate", "ucf101c"),
    ("h264_crf", "ucf101c"), ("h265_crf", "ucf101c"), ("h264_abr", "ucf101c"), ("h265_abr", "ucf101c"),
])  # fmt: skip
def test_quality_falls_with_every_severity(photograph, tmp_path, corruption, preset):
    """What works on single frames is held to this by the plug-in tests; here is what needs a stream of them."""
    made = [make(photograph, tmp_path / str(s), corruption, severity=s, preset=preset)[0] for s in range(1, 6)]
    levels = [row["psnr"] for row in made if math.isfinite(row["psnr"])]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == len(levels) >= 3  # a rate above the video's own changes nothing


def test_bit_errors_do_more_harm_where_there_are_more(photograph, tmp_path):
    levels = [
        np.mean([make(photograph, tmp_path / f"{s}{seed}", "bit_error", severity=s, seed=seed)[0]["psnr"] for seed in range(3)])
        for s in (3, 5)
    ]
    assert levels[0] > levels[1]


def test_another_seed_gives_other_noise_and_another_clip_too(clips, tmp_path):
    a, b = make(clips, tmp_path / "a", "gauss", seed=0), make(clips, tmp_path / "b", "gauss", seed=1)
    assert a[0]["sha256"] != b[0]["sha256"]
    noise = [media.read_frames(tmp_path / "a" / f"{i}.mp4", [0])[0].astype(int) for i in (1, 2)]
    assert not np.array_equal(noise[0], noise[1])


def test_shards_make_the_same_set(clips, tmp_path):
    whole = make(clips, tmp_path / "whole", "gauss", splits=("train", "test"))
    task, parts = task_of(clips, tmp_path / "shards", "gauss"), []
    for number in range(2):
        parts.append(str(tmp_path / "shards" / f"clips-{number}.parquet"))
        synthesis.synthesize(str(clips / "clips.parquet"), ["train", "test"], task, 1, parts[-1], (number, 2))
    assert [len(contracts.read(part, contracts.CORRUPTED_CLIPS)) for part in parts] == [2, 2]
    synthesis.gather(parts, str(clips / "clips.parquet"), str(tmp_path / "gathered.parquet"))
    assert repr(contracts.read(tmp_path / "gathered.parquet", contracts.CORRUPTED_CLIPS)) == repr(whole)


def test_a_whole_clip_is_not_made_again_and_a_damaged_one_is(clips, tmp_path, monkeypatch):
    make(clips, tmp_path, "gauss")
    before = contents(tmp_path)
    made = []
    original = synthesis._make
    monkeypatch.setattr(synthesis, "_make", lambda row, *rest: made.append(row["clip_id"]) or original(row, *rest))
    make(clips, tmp_path, "gauss")
    assert made == []
    (tmp_path / "2.mp4").write_bytes(b"cut off")
    (tmp_path / "3.json").unlink()
    make(clips, tmp_path, "gauss")
    assert made == ["2", "3"]
    assert contents(tmp_path) == before
    make(clips, tmp_path, "gauss", code="edited")
    assert made == ["2", "3", "1", "2", "3"]


def test_a_clip_that_breaks_costs_only_itself(clips, tmp_path):
    root = tmp_path / "clean"
    shutil.copytree(clips, root)
    index(root)
    (root / "2.mp4").write_bytes(b"broken after it was indexed")
    rows = make(root, tmp_path / "out", "gauss")
    assert [row["available"] for row in rows] == [True, False, True]
    assert rows[1]["problem"].startswith("gauss: undecodable")
    assert math.isnan(rows[1]["psnr"])
    assert not (tmp_path / "out" / "2.mp4").exists()


def test_an_error_of_the_code_in_every_clip_is_not_taken_for_bad_clips(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "_options", lambda encoding: {"vcodec": "libx264", "pix_fmt": None, "threads": 1 / 0})
    with pytest.raises(RuntimeError, match="none of 3 clips could be corrupted; 1: gauss: unexpected ZeroDivisionError"):
        make(clips, tmp_path, "gauss")


def test_unavailable_clips_stay_unavailable(zoo, tmp_path):
    root = tmp_path / "clean"
    shutil.copytree(zoo, root)
    index(root)
    rows = make(root, tmp_path / "out", "contrast", splits=("train", "test"))
    clean = contracts.read(root / "clips.parquet", contracts.CLIPS)
    assert [row["available"] for row in rows] == [row["available"] for row in clean]
    assert [row["problem"] for row in rows] == [row["problem"] for row in clean]


@pytest.mark.parametrize(("corruption", "encoding"), [("h265_abr", ENCODING), ("gauss", ENCODING), ("gauss", LOSSLESS)])
def test_the_manifest_names_what_was_done(clips, tmp_path, corruption, encoding):
    make(clips, tmp_path, corruption, encoding=encoding)
    manifest = json.loads((tmp_path / "1.json").read_text())
    codec = {"h265_abr": "libx265", "gauss": "libx264" if encoding is ENCODING else "libx264rgb"}[corruption]
    assert manifest["encoder"]["vcodec"] == codec
    assert manifest["value"] == {"h265_abr": 32, "gauss": 0.38}[corruption]
    assert (manifest["clip_id"], manifest["preset"], manifest["temporal"]) == ("1", "ucf101c", "per_frame")
    assert manifest["frames_in"] == manifest["frames"] == 16
    assert manifest["sound_copied"] == "aac"
    assert ("frames_xxh3_128" in manifest) == (corruption == "gauss")


@pytest.mark.parametrize("temporal", ["per_frame", "per_clip"])
@pytest.mark.parametrize("corruption", ["gauss", "rain", "motion", "frame_rate", "contrast"])
def test_in_memory_frames_equal_those_of_a_lossless_file(clips, tmp_path, corruption, temporal):
    how = {"encoding": LOSSLESS, "temporal": temporal}
    written = make(clips, tmp_path / "written", corruption, **how)
    in_memory = make(clips, tmp_path / "memory", corruption, materialise=False, **how)
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["clips.parquet"]
    tables = [tmp_path / name / "clips.parquet" for name in ("written", "memory")]
    for before, after in zip(written, in_memory, strict=True):
        stored = frames_of(tables[0], clips).read(before, [0, 5, 6, 15])
        made = frames_of(tables[1], clips).read(after, [15, 6, 0, 5])  # in any order
        assert sorted(stored) == sorted(made) == [0, 5, 6, 15]
        assert all(np.array_equal(stored[i], made[i]) for i in stored)


@pytest.mark.parametrize("corruption", ["h264_abr", "bit_error", "sound_wind"])
def test_what_is_not_done_frame_by_frame_is_written_all_the_same(clips, tmp_path, corruption):
    rows = make(clips, tmp_path, corruption, materialise=False)
    assert contracts.facts_of(tmp_path / "clips.parquet")["materialised"]
    assert (tmp_path / rows[0]["video"]).is_file()


def test_a_window_in_time_needs_no_more_than_its_neighbours():
    frames = list(np.random.default_rng(0).integers(0, 256, (30, 12, 16, 3), dtype=np.uint8))
    corrupter = Corrupter(Recipe("motion", 1, "ame", "per_frame", 0), "clip", 30, 25.0)
    streamed = list(corrupter.stream(iter(frames)))
    assert len(streamed) == 30
    asked = []
    picked = corrupter.pick([12, 29], lambda numbers: asked.extend(numbers) or {i: frames[i] for i in numbers})
    assert asked == [*range(9, 15), *range(26, 30)]
    assert np.array_equal(picked[12], streamed[12][1]) and np.array_equal(picked[29], streamed[29][1])
    expected = np.stack(frames[9:15]).astype(int).sum(0) // 6
    assert np.array_equal(picked[12], expected)
    assert np.array_equal(streamed[12][0], frames[12])


def test_rain_stays_where_it_is_along_a_clip_if_it_is_asked_to():
    grey = np.full((120, 160, 3), 90, np.uint8)
    for temporal, lowest, highest in (("per_clip", 0.999, 1.001), ("per_frame", -0.5, 0.5)):
        corrupter = Corrupter(Recipe("rain", 1, "ucf101c", temporal, 0), "clip", 2, 25.0)
        drops = [corrupter.frame(i, grey).astype(float).mean(-1).ravel() for i in range(2)]
        assert lowest < np.corrcoef(*drops)[0, 1] < highest


def test_noise_of_two_frames_does_not_correlate():
    grey = np.full((120, 160, 3), 128, np.uint8)
    for name in ("gauss", "salt", "pepper", "impulse", "shot", "speckle"):
        corrupter = Corrupter(Recipe(name, 5, "ucf101c", "per_clip", 0), "clip", 2, 25.0)
        noise = [corrupter.frame(i, grey).astype(float).ravel() for i in range(2)]
        assert abs(np.corrcoef(*noise)[0, 1]) < 0.02, name


def test_online_frames_are_corrupted_after_the_crop(clips, tmp_path):
    rows = make(clips, tmp_path, "gauss", materialise=False, position="online")
    small = frames_of(tmp_path / "clips.parquet", clips, lambda frame: np.ascontiguousarray(frame[::2, ::2]))
    found = small.read(rows[0], [3])[3]
    clean = np.ascontiguousarray(media.read_frames(clips / "1.mp4", [3])[3][::2, ::2])
    assert np.array_equal(found, Corrupter(Recipe("gauss", 5, "ucf101c", "per_frame", 0), "1", 16, 16.0).frame(3, clean))


def test_replacing_a_recipe_changes_the_key(clips, tmp_path):
    task = task_of(clips, tmp_path, "rain")
    row = contracts.read(clips / "clips.parquet", contracts.CLIPS)[0]
    others = [
        replace(task, recipe=replace(task.recipe, temporal="per_clip")),
        replace(task, recipe=replace(task.recipe, severity=4)),
        replace(task, recipe=replace(task.recipe, preset="ame")),
        replace(task, encoding=LOSSLESS),
    ]
    assert len({one.key(row) for one in (task, *others)}) == 5
    assert Path(task.out) == tmp_path


def test_noise_recordings_are_part_of_what_decides_a_clip_and_a_missing_one_stops_the_job(clips, tmp_path):
    keys = set()
    for name, level in (("a", 0.1), ("b", 0.2)):
        (tmp_path / name).mkdir()
        media.write_wave(tmp_path / name / "wind.wav", tone(level=level), 16_000)
        row = contracts.read(clips / "clips.parquet", contracts.CLIPS)[1]
        task = task_of(clips, tmp_path / "out", "sound_wind", beds=str(tmp_path / name))
        keys.add(task.key(row))
        made = synthesis.corrupt_clip(row, task)
        assert made["available"]
        assert json.loads((tmp_path / "out" / "1.json").read_text())["sound"]["bed"] == "wind.wav"
    assert len(keys) == 2
    with pytest.raises(SetupError, match=r"no noise recording 'crowd\.wav'"):
        make(clips, tmp_path / "crowd", "sound_crowd", beds=str(tmp_path / "a"))
