"""UCF101, and its published corrupted files."""

import numpy as np
import pytest
from indexed_sets import Indexed

from earshot import label_spaces, media
from earshot.datasets import DatasetError, ucf101, ucf101_c
from earshot.datasets.ucf101 import Options

CLASSES = label_spaces.read("ucf101").names
# the folder's capitals differ from the file's
HAND = "HandstandPushups/v_HandStandPushups"


@pytest.fixture
def lists(tmp_path):
    """The lists of two classes in the official form, with four training groups each and one of test clips."""
    folder = tmp_path / "ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_text("1 Archery\n2 HandstandPushups\n\n")
    names = ("Archery/v_Archery", HAND)
    train = [f"{n}_g{g:02d}_c{c:02d}.avi {k}" for k, n in enumerate(names, 1) for g in (8, 9, 10, 11) for c in (1, 2)]
    (folder / "trainlist01.txt").write_text("\r\n".join(train) + "\r\n")
    (folder / "testlist01.txt").write_text("".join(f"{n}_g01_c01.avi\n" for n in names))
    return tmp_path


def test_the_class_is_the_folder_and_validation_takes_whole_groups(lists):
    found = ucf101.index(lists, Options(val_groups=1))
    assert found.classes == ("Archery", "HandstandPushups")
    assert {clip.label for clip in found.clips if "HandStand" in clip.video} == {"HandstandPushups"}
    by_split = {s: {c.group for c in found.clips if c.split == s} for s in ("train", "val", "test")}
    assert not by_split["train"] & by_split["val"] and len(by_split["val"]) == 2 and len(by_split["train"]) == 6
    assert sum(clip.split == "val" for clip in found.clips) == 4
    assert [clip.split for clip in ucf101.index(lists, Options(val_groups=0)).clips].count("val") == 0


def test_the_held_out_groups_do_not_depend_on_the_order_of_the_list(lists):
    path = lists / "ucfTrainTestlist" / "trainlist01.txt"
    held = {c.group for c in ucf101.index(lists, Options()).clips if c.split == "val"}
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    assert {c.group for c in ucf101.index(lists, Options()).clips if c.split == "val"} == held


def test_the_official_list_of_test_clips_has_the_published_counts(shared, lists):
    import csv

    with (shared / "data" / "classes" / "ucf101.csv").open() as file:
        counts = {row["name"]: (int(row["test01_videos"]), row["audio_expected"]) for row in csv.DictReader(file)}
    assert sum(n for n, _ in counts.values()) == ucf101.index(lists, Options()).expected["test"] == 3_783
    audible = ucf101.index(lists, Options()).audible
    assert len(audible) == 51 and audible == {name for name, (_, expected) in counts.items() if expected == "1"}
    assert sum(n for name, (n, _) in counts.items() if name in audible) == 1_944


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("classInd.txt", "1 Archery\n3 Bowling\n", "line 2: '3 Bowling' is not '2 <Class>'"),
        ("classInd.txt", "\n", "the list is empty"),
        ("trainlist01.txt", "Bowling/v_Bowling_g08_c01.avi 1\n", "line 1: 'Bowling/v_Bowling_g08_c01.avi' is not <Class>"),
        ("trainlist01.txt", "Archery/v_Archery_g08_c01.avi 2\n", "line 1: '2' is not 1, the number of Archery"),
        ("trainlist01.txt", "../v_Archery_g08_c01.avi 1\n", "line 1: '../v_Archery_g08_c01.avi' is not <Class>"),
        ("testlist01.txt", "Archery/clip.avi\n", "line 1: 'Archery/clip.avi' is not <Class>"),
        ("testlist01.txt", "", "the list is empty"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(lists, name, text, told):
    (lists / "ucfTrainTestlist" / name).write_text(text)
    with pytest.raises(DatasetError, match=told):
        ucf101.index(lists, Options(val_groups=0))


def test_an_absent_list_says_what_to_unpack(tmp_path):
    with pytest.raises(DatasetError, match="unpack UCF101TrainTestSplits"):
        ucf101.index(tmp_path, Options())


def test_no_class_may_lose_all_its_groups(lists):
    with pytest.raises(DatasetError, match="4 groups to train on: lower `val_groups`, which is 4"):
        ucf101.index(lists, Options(val_groups=4))


def test_the_first_few_clips_of_a_split(lists):
    found = ucf101.index(lists, Options(first={"train": 2, "test": 1}))
    assert [clip.split for clip in found.clips].count("train") == 2


@pytest.fixture
def corrupted(tmp_path):
    """Two published clips under one corruption, whose clean ones have sound."""
    lines = []
    for name, label in (("Archery/v_Archery_g02_c01", 2), (f"{HAND}_g01_c01", CLASSES.index("HandstandPushups"))):
        path = f"level_5_ucf_val_split_1_/gauss/{name}.mp4"
        media.write_video(tmp_path / path, np.zeros((4, 32, 32, 3), np.uint8), 8.0)
        tone = np.sin(np.arange(4_000) / 5).astype(np.float32)
        media.write_video(tmp_path / "clean" / f"{name}.mp4", np.zeros((4, 32, 32, 3), np.uint8), 8.0, tone, 8_000)
        (tmp_path / "clean" / f"{name}.mp4").rename(tmp_path / "clean" / f"{name}.avi")
        lines.append(f"elsewhere/gauss/{name}.mp4 4 {label}")
    folder = tmp_path / "list_video_perturbations_ucf" / "gauss"
    folder.mkdir(parents=True)
    (folder / "gauss_shuffled.txt").write_text("\n".join(reversed(lines)) + "\n")
    (folder / "gauss.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_published_files_keep_the_order_of_their_list(corrupted):
    found = ucf101_c.published(corrupted, ucf101_c.Options(), "gauss")
    assert [stem for _, stem in found] == ["v_HandStandPushups_g01_c01", "v_Archery_g02_c01"]
    assert found[1][0] == "level_5_ucf_val_split_1_/gauss/Archery/v_Archery_g02_c01.mp4"
    listed = ucf101_c.published(corrupted, ucf101_c.Options(list_name="{corruption}.txt"), "gauss")
    assert listed == found[::-1]


def test_sound_is_that_of_the_clean_clip(corrupted, tmp_path):
    indexed = Indexed("ucf101_c", corrupted, tmp_path / "out", clean="clean")
    assert {clip["audio_rate"] for clip in indexed.clips.values()} == {8_000}
    assert all(clip["available"] and clip["level"] > -10 for clip in indexed.clips.values())
    mute = Indexed("ucf101_c", corrupted, tmp_path / "mute")
    assert {clip["audio_rate"] for clip in mute.clips.values()} == {0}


def test_a_list_lies_in_a_folder_of_its_corruption_or_beside_the_others(corrupted):
    folder = corrupted / "list_video_perturbations_ucf"
    (folder / "gauss" / "gauss_shuffled.txt").rename(folder / "gauss_shuffled.txt")
    assert len(ucf101_c.published(corrupted, ucf101_c.Options(), "gauss")) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("gauss/Archery/v_a.mp4 4 3", "line 1: class 3 is BabyCrawling, and the folder Archery"),
        ("gauss/Archery/v_a.mp4 4 101", "is not <path> <frames> <class id below 101>"),
        ("gauss/Archery/.. 4 2", "cannot be the name of a video"),
        ("v_a.mp4 4 2", "is not <path> <frames> <class id"),
        ("", "the list is empty"),
    ],
)
def test_a_wrong_list_of_published_files_is_refused(corrupted, line, told):
    (corrupted / "list_video_perturbations_ucf" / "gauss" / "gauss_shuffled.txt").write_text(f"{line}\n")
    with pytest.raises(DatasetError, match=told):
        ucf101_c.published(corrupted, ucf101_c.Options(), "gauss")
