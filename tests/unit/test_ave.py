"""AVE: every row of its lists is a clip with its event, as videos or as prepared files, and odd rows are named."""

from collections import Counter

import numpy as np
import pytest
from indexed_sets import Indexed, problems, row, write_image

from earshot import media
from earshot.datasets import DatasetError, ave
from helpers import moving_square, tone

TRAIN = ["Bark&dogA&good&2&5", "Cat&catA&good&0&10", "Bark&twice&good&0&3"]
VAL = ["Cat&catB&good&4&4"]
TEST = ["Bark&twice&good&0&10", "Cat&catC&good&0&2"]


def write_lists(root, train=TRAIN, val=VAL, test=TEST, extra=(), header=True):
    root.mkdir(exist_ok=True)
    lines = [*test, *train, *val, *extra]
    head = ["Category&VideoID&Quality&StartTime&EndTime"] * header
    (root / "Annotations.txt").write_text("\n".join([*head, *lines]))
    for name, rows in (("train", train), ("val", val), ("test", test)):
        (root / f"{name}Set.txt").write_text("".join(f"{line}\n" for line in rows))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """AVE in its layout: videos, and the same prepared; `catA` is cut off, `catC` gone."""
    root = write_lists(tmp_path_factory.mktemp("ave"))
    (root / "AVE").mkdir()
    for name in ("dogA", "catA", "twice", "catB"):
        media.write_video(root / "AVE" / f"{name}.mp4", moving_square(40), 4, tone(10))
        for number in range(1, 21):
            write_image(root / "video_frames" / name / f"{number:08d}.jpg", np.full((16, 24, 3), 10 * number, np.uint8))
        (root / "raw_audio").mkdir(exist_ok=True)
        np.save(root / "raw_audio" / f"{name}.npy", tone(10, 1_000))
    whole = (root / "AVE" / "catA.mp4").read_bytes()
    (root / "AVE" / "catA.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "video_frames" / "catA" / "00000020.jpg").write_bytes(b"")
    return root


PREPARED = {"frames": "video_frames", "sound": "raw_audio", "sound_rate": 1_000}


def test_every_row_is_a_clip_with_a_name_of_its_own(root, tmp_path):
    indexed = Indexed("ave", root, tmp_path)
    assert list(indexed.clips) == [f"AVE/{name}" for name in ("dogA", "catA", "twice", "catB", "twice+2", "catC")]
    assert [clip["split"] for clip in indexed.clips.values()] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert indexed.clips["AVE/twice+2"]["video"] == "AVE/twice.mp4"
    assert len(indexed.classes) == 28 and indexed.classes[indexed.clips["AVE/dogA"]["label"]] == "Bark"
    events = {(e["clip_id"], e["modality"]): (e["onset"], e["offset"]) for e in indexed.events}
    assert events["AVE/twice", "audio"] == events["AVE/twice", "visual"] == (0, 3)
    assert events["AVE/twice+2", "audio"] == (0, 10) and ("AVE/catB", "audio") not in events and len(events) == 10
    assert indexed.remarks == [
        "rows that last no time, all of which is background: 1 (catB Cat 4-4)",
        "videos with several rows, each a clip: 1 (twice)",
        "videos that are in both train and test: 1 (twice)",
    ]


def test_videos_become_segments(root, tmp_path):
    indexed = Indexed("ave", root, tmp_path)
    frames, waves = indexed.frames(10, 32), indexed.waves(10, 8_000)
    assert {name: problem.partition(":")[0] for name, problem in problems(frames).items()} == {
        "AVE/catA": "undecodable",
        "AVE/catC": "missing",
    }
    assert problems(waves) == problems(frames)
    assert np.array_equal(row(frames, "AVE/twice"), row(frames, "AVE/twice+2"))
    decoded = media.read_frames(root / "AVE" / "dogA.mp4", picks := [0, 4, 8, 13, 17, 21, 26, 30, 34, 39])
    assert np.array_equal(row(frames, "AVE/dogA"), [decoded[k] for k in picks])
    heard = row(waves, "AVE/dogA") / 32_768
    assert heard.shape == (80_000,) and abs(heard.std() - tone(10).std()) < 0.02


def test_prepared_files_stand_for_videos(root, tmp_path):
    indexed = Indexed("ave", root, tmp_path, **PREPARED)
    clip = indexed.clips["AVE/dogA"]
    facts = ("frames", "fps", "width", "height", "audio_rate", "start", "end")
    assert [clip[name] for name in facts] == [20, 2.0, 24, 16, 1_000, 0.0, 10.0]
    assert len(clip["sha256"]) == 64 and clip["sha256"] == indexed.clips["AVE/twice"]["sha256"]
    assert indexed.clips["AVE/catA"]["problem"].startswith("undecodable: 00000020.jpg")
    assert indexed.clips["AVE/catC"]["problem"] == "missing: no image of a frame"
    frames = indexed.frames(10, 8)
    grey = row(frames, "AVE/dogA").mean((1, 2, 3))
    assert np.round(grey / 10).tolist() == np.linspace(1, 20, 10).astype(int).tolist()
    assert set(problems(frames)) == {"AVE/catA", "AVE/catC"}
    heard = row(indexed.waves(10, 1_000), "AVE/dogA")
    assert np.array_equal(heard, np.rint(tone(10, 1_000) * 32_768))


def test_frames_may_be_prepared_and_sound_be_the_videos(root, tmp_path):
    indexed = Indexed("ave", root, tmp_path, frames="video_frames")
    assert indexed.clips["AVE/dogA"]["audio_rate"] == 16_000 and indexed.clips["AVE/dogA"]["frames"] == 20
    assert row(indexed.waves(10, 8_000), "AVE/dogA").any()
    indexed = Indexed("ave", root, tmp_path, sound="raw_audio", sound_rate=1_000)
    assert indexed.clips["AVE/dogA"]["audio_rate"] == 1_000 and indexed.clips["AVE/dogA"]["frames"] == 40
    indexed = Indexed("ave", root, tmp_path, **{**PREPARED, "sound_rate": 2_000})  # half as long as it should be
    with pytest.raises(Exception, match=r"10000 samples last 5 s at 2000 Hz, and the clip 10 s"):
        indexed.waves(10, 1_000)


def test_a_header_is_no_row_and_its_absence_loses_none(tmp_path):
    found = [ave.index(write_lists(tmp_path, header=header), ave.Options()) for header in (True, False)]
    assert found[0] == found[1] and len(found[0].clips) == 6


def test_categories_give_classes_and_their_order(tmp_path):
    write_lists(tmp_path)
    (tmp_path / "categories.txt").write_text("Cat\nBark\n")
    assert ave.index(tmp_path, ave.Options()).classes == ("Cat", "Bark")
    (tmp_path / "categories.txt").write_text("Cat\nCat\n")
    with pytest.raises(DatasetError, match="2 classes, of which 1 differ"):
        ave.index(tmp_path, ave.Options())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Bark&x&good&0", r"trainSet.txt, line 1: 4 cells, not Category&VideoID"),
        ("Dog&x&good&0&4", r"line 1: 'Dog' is none of the classes"),
        ("Bark&x&good&5&4", r"an event from '5' to '4' is not within 10 whole seconds"),
        ("Bark&x&good&0&11", r"an event from '0' to '11'"),
        ("Bark&x&good&-1&4", r"an event from '-1' to '4'"),
        ("Bark&../x&good&0&4", r"'../x' cannot be the name of a video"),
        ("Bark&&good&0&4", r"'' cannot be the name of a video"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, line, message):
    write_lists(tmp_path)
    (tmp_path / "trainSet.txt").write_text(line)
    with pytest.raises(DatasetError, match=message):
        ave.index(tmp_path, ave.Options())


def test_lists_that_do_not_fit_together_are_refused_or_told(tmp_path):
    write_lists(tmp_path, extra=["Cat&left&good&0&1"])
    told = "rows of Annotations.txt that are in no list, and not used: 1 (left Cat 0-1)"
    assert told in ave.index(tmp_path, ave.Options()).remarks
    (tmp_path / "valSet.txt").write_text("Cat&strange&good&4&5\n")
    with pytest.raises(DatasetError, match=r"1 rows of .* are not in Annotations.txt, the first is strange Cat 4-5"):
        ave.index(tmp_path, ave.Options())
    (tmp_path / "valSet.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"valSet.txt: the list is empty"):
        ave.index(tmp_path, ave.Options())
    (tmp_path / "valSet.txt").unlink()
    with pytest.raises(DatasetError, match=r"valSet.txt is not there; .*order.h5` are not read"):
        ave.index(tmp_path, ave.Options())


def test_the_real_lists_are_read_without_loss(shared):
    listed = ave.index(shared / "data" / "ave", ave.Options())
    splits = [clip.split for clip in listed.clips]
    assert [splits.count(split) for split in ("train", "val", "test")] == [3_339, 402, 402]
    assert listed.classes == ave.SPEC.classes and len({clip.clip for clip in listed.clips}) == 4_143
    assert len({clip.video for clip in listed.clips}) == 4_097 and len(listed.events) == 2 * 4_142
    counts = {told.partition(": ")[0]: int(told.rpartition(": ")[2].split()[0]) for told in listed.remarks[1:]}
    assert counts == {
        "videos with several rows, each a clip": 45,
        "videos that are in both train and test": 8,
        "videos that are in both train and val": 10,
    }
    assert "VWi2ENBuTbw" in listed.remarks[0]
    whole = sum(event.offset - event.onset == 10 for event in listed.events)
    assert whole == 2 * 2_750


def test_the_real_lists_have_the_published_splits_and_tell_their_recordings(shared):
    listed = ave.index(shared / "data" / "ave", ave.Options())
    splits = Counter(clip.split for clip in listed.clips)
    assert splits == listed.expected == {"train": 3_339, "val": 402, "test": 402}
    videos = {split: {clip.group for clip in listed.clips if clip.split == split} for split in splits}
    assert len(set.union(*videos.values())) == 4_097
    assert len(videos["train"] & videos["test"]) == 8 and len(videos["train"] & videos["val"]) == 10
    assert (len(videos["val"]), len(videos["test"])) == (401, 402)


def test_all_is_in_one_archive_and_the_folder_in_it_is_an_option(tmp_path):
    (archive,) = ave.sources(tmp_path, ave.Options(archive_folder="AVE_v2"))
    assert archive.origins[0].startswith("drive://") and archive.unpack
    assert (archive.below, archive.to) == ("AVE_v2", ".") and ave.SPEC.home in archive.by_hand and ave.SPEC.restricted
