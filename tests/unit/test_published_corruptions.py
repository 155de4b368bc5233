"""Corrupted files that others published, in the place of our own."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_results import clip_row
from pydantic import BaseModel

from earshot import contracts, media, plugins, published_corruptions
from earshot.datasets import DatasetError
from earshot.frames import frames_of

LISTED = (("gauss/Archery/v_b.mp4", "v_b"), ("gauss/Archery/v_a.mp4", "v_a"), ("gauss/Archery/v_gone.mp4", "v_gone"))


class Options(BaseModel, extra="forbid"):
    shade: int = 0


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Four clean clips of which two were published, one more is only named, and one is not."""
    module = SimpleNamespace(Options=Options, published=lambda root, options, corruption: LISTED)
    monkeypatch.setattr(plugins, "load", lambda kind, name: module)
    root = tmp_path / "published"
    for shade, (path, stem) in enumerate(LISTED):
        if stem != "v_gone":
            media.write_video(root / path, np.full((6, 32, 32, 3), 40 + 100 * shade, np.uint8), 12.0)
    rows = [
        named("UCF-101/Archery/v_a"),
        named("UCF-101/Archery/v_b"),
        named("UCF-101/Archery/v_gone"),
        named("UCF-101/Bow/v_c"),
    ]
    rows.append(named("UCF-101/Bow/v_t", split="train"))
    clips = str(tmp_path / "data" / "ucf101" / "clips.parquet")
    contracts.write(rows, contracts.CLIPS, clips, {})
    return SimpleNamespace(root=root, clips=clips, out=str(tmp_path / "data" / "ucf101-c" / "gauss" / "5" / "clips.parquet"))


def named(clip, **changes):
    return clip_row(0, clip_id=clip, video=f"{clip}.avi", frames=6, **changes)


def take(world, **options):
    given = {"name": "theirs", "plugin": "theirs", "root": str(world.root), "options": options}
    published_corruptions.take(world.clips, ["test"], "gauss", given, 1, "code", world.out)
    return contracts.read(world.out, contracts.CORRUPTED_CLIPS)


def test_rows_keep_the_published_order_and_the_rest_is_missing_with_its_reason(world):
    rows = take(world)
    assert [row["clip_id"].rpartition("/")[2] for row in rows] == ["v_b", "v_a", "v_gone", "v_c"]
    assert [row["available"] for row in rows] == [True, True, False, False]
    assert rows[2]["problem"].startswith("published file: missing") and rows[3]["problem"] == "not among the published files"
    assert {(row["corruption"], row["severity"]) for row in rows} == {("gauss", 5)}
    assert contracts.facts_of(world.out)["published"] == "theirs"


def test_frames_are_read_from_the_published_file(world):
    first = take(world)[0]
    frames = frames_of(world.out, "nowhere").read(first, [0, 5])
    assert abs(int(np.mean(frames[0])) - 40) < 4


def test_a_file_of_another_length_is_told(world, tmp_path):
    media.write_video(world.root / LISTED[0][0], np.zeros((4, 32, 32, 3), np.uint8), 12.0)
    assert take(world)[0]["problem"] == "4 frames, and the clean clip 6"


def test_a_dataset_that_is_another_is_refused(world, monkeypatch):
    other = SimpleNamespace(Options=Options, published=lambda root, options, corruption: [("x.mp4", "x")])
    monkeypatch.setattr(plugins, "load", lambda kind, name: other)
    with pytest.raises(DatasetError, match="none of 1 published files under 'gauss' has the stem of one of 4 clips"):
        take(world)


def test_two_clips_of_one_stem_are_refused(world):
    rows = [named("UCF-101/Archery/v_a"), named("UCF-101/Bow/v_a")]
    contracts.write(rows, contracts.CLIPS, world.clips, {})
    with pytest.raises(DatasetError, match="'UCF-101/Archery/v_a' and 'UCF-101/Bow/v_a' would share"):
        take(world)
