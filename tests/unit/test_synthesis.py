"""Corrupted videos: the same bytes however they are made, the sound untouched, failures as rows."""

import json
import math
import shutil

import numpy as np
import pytest

from earshot import contracts, indexing, media, plugins, synthesis
from helpers import moving_square, tone

CORRUPTIONS = plugins.available("corruptions")


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


def make(root, out, corruption, severity=5, workers=1, seed=0, code="c"):
    task = synthesis.Task(corruption, severity, "ucf101c", seed, code, str(root), str(out))
    synthesis.synthesize(str(root / "clips.parquet"), ["test"], task, workers, str(out / "clips.parquet"))
    return contracts.read(out / "clips.parquet", contracts.CORRUPTED_CLIPS)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_one_and_two_workers_give_the_same_bytes(clips, tmp_path, corruption):
    one, two = tmp_path / "one", tmp_path / "two"
    rows = make(clips, one, corruption, workers=1)
    make(clips, two, corruption, workers=2)
    assert contents(one) == contents(two)
    assert [row["clip_id"] for row in rows] == ["1", "2", "3"]
    assert all(row["available"] and 5 < row["psnr"] < 60 for row in rows)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_frames_rate_size_and_sound_are_kept(clips, tmp_path, corruption):
    make(clips, tmp_path, corruption)
    for name in ("1", "3"):
        before, after = media.probe(clips / f"{name}.mp4"), media.probe(tmp_path / f"{name}.mp4")
        for field in ("frames", "fps", "width", "height", "audio_rate"):
            assert getattr(before, field) == getattr(after, field), field
        assert np.array_equal(media.read_wave(clips / f"{name}.mp4", 16_000), media.read_wave(tmp_path / f"{name}.mp4", 16_000))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_quality_falls_with_severity(clips, tmp_path, corruption):
    levels = [make(clips, tmp_path / str(s), corruption, severity=s)[0]["psnr"] for s in (1, 3, 5)]
    assert levels[0] > levels[1] > levels[2]


def test_another_seed_gives_other_noise_and_another_clip_too(clips, tmp_path):
    a, b = make(clips, tmp_path / "a", "gauss", seed=0), make(clips, tmp_path / "b", "gauss", seed=1)
    assert a[0]["sha256"] != b[0]["sha256"]
    noise = [media.read_frames(tmp_path / "a" / f"{i}.mp4", [0])[0].astype(int) for i in (1, 2)]
    assert not np.array_equal(noise[0], noise[1])


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


def test_unavailable_clips_stay_unavailable(zoo, tmp_path):
    root = tmp_path / "clean"
    shutil.copytree(zoo, root)
    index(root)
    task = synthesis.Task("contrast", 5, "ucf101c", 0, "c", str(root), str(tmp_path / "out"))
    synthesis.synthesize(str(root / "clips.parquet"), ["train", "test"], task, 1, str(tmp_path / "out" / "clips.parquet"))
    rows = contracts.read(tmp_path / "out" / "clips.parquet", contracts.CORRUPTED_CLIPS)
    clean = contracts.read(root / "clips.parquet", contracts.CLIPS)
    assert [row["available"] for row in rows] == [row["available"] for row in clean]
    assert [row["problem"] for row in rows] == [row["problem"] for row in clean]


def test_variable_frame_rate_is_refused_where_time_stamps_would_be_lost(tmp_path):
    import ffmpeg

    media.write_video(tmp_path / "even.mp4", moving_square(32), 16)
    uneven = ffmpeg.input(str(tmp_path / "even.mp4")).video.filter("setpts", "PTS+gt(N,15)*8/16/TB")
    media.run_ffmpeg(ffmpeg.output(uneven, str(tmp_path / "uneven.mp4"), fps_mode="passthrough", vcodec="libx264"))
    (tmp_path / "labels.csv").write_text("path,label,split\nuneven.mp4,a,test\n")
    index(tmp_path)
    rows = make(tmp_path, tmp_path / "gauss", "gauss")
    assert "variable frame rate" in rows[0]["problem"]
    assert not rows[0]["available"]
    assert make(tmp_path, tmp_path / "h265", "h265_abr")[0]["available"]


def test_the_manifest_names_what_was_done(clips, tmp_path):
    make(clips, tmp_path, "h265_abr")
    manifest = json.loads((tmp_path / "1.json").read_text())
    assert manifest["value"] == 32
    assert manifest["encoder"]["vcodec"] == "libx265"
    assert manifest["clip_id"] == "1"
