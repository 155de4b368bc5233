"""AVMIT: the real test list, and training clips from ratings."""

import shutil
from collections import Counter

import pytest

from earshot.datasets import DatasetError, avmit

HEADER = "filename,AVMIT_label,MIT_label,video_location,new_filename,tfrecord_filename\n"
RATED = "filename,r1,r2,r3,AVMIT_label,MIT_label,video_location,tfrecord_filename\n"


@pytest.fixture
def root(tmp_path):
    rows = [
        "swimming/a.mp4,diving,swimming,training,diving/diving_1.mp4,x",
        "barking/b.mp4,barking,barking,validation,barking/barking_1.mp4,x",
    ]
    (tmp_path / "test_set.csv").write_text(HEADER + "\n".join(rows) + "\n")
    rated = [
        "barking/c.mp4,0,0,3,barking,barking,training,x", "barking/d.mp4,2,0,1,barking,barking,training,x",
        "baking/e.mp4,0,0,3,baking,baking,training,x", "swimming/a.mp4,0,0,3,diving,swimming,training,x",
    ]  # fmt: skip
    (tmp_path / "video_ratings.csv").write_text(RATED + "\n".join(rated) + "\n")
    return tmp_path


def options(**given):
    return avmit.Options(**{"val_share": 0, **given})


def test_the_real_test_list_is_read_without_loss(shared, tmp_path):
    shutil.copy(shared / "data" / "lists" / "avmit_test_set.csv", tmp_path / "test_set.csv")
    found = avmit.index(tmp_path, options())
    assert len(found.clips) == 960 == found.expected["test"]
    assert Counter(clip.label for clip in found.clips) == dict.fromkeys(found.classes, 60)
    assert found.remarks[0].endswith("957 of 960")
    merged = found.remarks[1]
    for pair in ("diving <- swimming, 17", "frying <- cooking, 23", "giggling <- laughing, 38", "inflating <- blowing, 11"):
        assert pair in merged
    assert "video_ratings.csv is not there" in found.remarks[-1]


def test_training_clips_are_rated_by_two_and_no_test_clips(root):
    found = avmit.index(root, options())
    assert [(c.clip, c.split, c.video) for c in found.clips] == [
        ("barking/c", "train", "training/barking/c.mp4"),
        ("diving/a", "test", "training/swimming/a.mp4"),
        ("barking/b", "test", "validation/barking/b.mp4"),
    ]
    assert "rows of the training list that are test videos, and not used: 1 (swimming/a.mp4)" in found.remarks


def test_curated_files_have_names_of_their_own(root):
    shutil.copy(root / "test_set.csv", root / "train_set.csv")
    (root / "train_set.csv").write_text(HEADER + "barking/z.mp4,barking,barking,training,barking/barking_9.mp4,x\n")
    found = avmit.index(root, options(layout="curated", train_list="train_set.csv"))
    assert [c.video for c in found.clips] == ["barking/barking_9.mp4", "diving/diving_1.mp4", "barking/barking_1.mp4"]


def test_all_is_dropped_by_hand_and_says_from_where(root):
    found = avmit.sources(root, options(archives=["moments.zip"]))
    assert [s.name for s in found] == ["test_set.csv", "video_ratings.csv", "moments.zip"]
    assert not any(s.origins for s in found) and "form at" in found[-1].by_hand


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a/b.mp4,flying,flying,training,x/y.mp4,x", "line 2: 'flying' is none of the classes"),
        ("../b.mp4,barking,barking,training,x/y.mp4,x", "line 2: '../b.mp4' is not <label>/<file>"),
        ("a/b.mp4,barking,barking,elsewhere,x/y.mp4,x", "line 2: the video is in 'elsewhere'"),
        ("a/b.mp4,barking", "line 2: fewer cells than the header has"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(root, row, told):
    (root / "test_set.csv").write_text(f"{HEADER}{row}\n")
    with pytest.raises(DatasetError, match=told):
        avmit.index(root, options())


def test_the_authors_lists_of_training_and_validation_clips(root):
    header = "filename,actual_label,r1,r2,r3,label,video_location,tfrecord_filename\n"
    (root / "train.csv").write_text(f"{header}cooking/yt-a_1.mp4,cooking,0,0,3,frying,MIT_training,x\n")
    (root / "val.csv").write_text(f"{header}barking/v_2.mp4,barking,0,0,3,barking,MIT_validation,x\n")
    found = avmit.index(root, options(train_list="train.csv", val_list="val.csv"))
    assert [(c.video, c.split, c.label) for c in found.clips][:2] == [
        ("validation/barking/v_2.mp4", "val", "barking"), ("training/cooking/yt-a_1.mp4", "train", "frying")
    ]  # fmt: skip
    assert found.expected == {"train": 6_560, "val": 736, "test": 960}


def test_clips_of_one_video_are_one_recording(root):
    rated = [
        f"barking/{yt}v{k}_{n}.mp4,0,0,3,barking,barking,training,x" for k in range(60) for yt, n in (("yt-", 1), ("", 22))
    ]
    (root / "video_ratings.csv").write_text(RATED + "\n".join(rated) + "\n")
    clips = avmit.index(root, options(val_share=0.3)).clips
    held = {c.group for c in clips if c.split == "val"}
    assert 8 < len(held) < 30 and not held & {c.group for c in clips if c.split == "train"}
