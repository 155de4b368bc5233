"""Kinetics-Sounds and Kinetics50: subsets of Kinetics-400 by its annotations, wherever the files are."""

import json

import pytest

from earshot import label_spaces
from earshot.datasets import DatasetError, kinetics50, kinetics_sounds

TAPS = "tap dancing,AAAAAAAAAAA,1,11"
HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
PATHS = ("https://h/train/part_0.tar.gz", "https://h/train/part_1.tar.gz")


def annotate(root, part, rows):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"{part}.csv").write_text(HEADER + "".join(f"{row},{part},0\n" for row in rows))


@pytest.fixture
def root(tmp_path):
    annotate(
        tmp_path, "train", ["tap dancing,AAAAAAAAAAA,1,11", '"abseiling",BBBBBBBBBBB,0,10', "strumming guitar,DDDDDDDDDDD,3,13"]
    )
    annotate(tmp_path, "val", ["blowing nose,CCCCCCCCCCC,127,137"])
    for part in ("train", "val"):
        (tmp_path / f"k400_{part}_path.txt").write_text("\n".join(PATHS).replace("train", part) + "\n")
    return tmp_path


def sounds(**options):
    return kinetics_sounds.Options(**{"val_share": 0, **options})


def test_only_clips_of_the_classes_are_listed(root):
    found = kinetics_sounds.index(root, sounds())
    assert len(found.classes) == 31
    assert [(c.clip, c.split, c.label) for c in found.clips] == [
        ("train/AAAAAAAAAAA_000001_000011", "train", "tap dancing"),
        ("val/CCCCCCCCCCC_000127_000137", "test", "blowing nose"),
    ]
    assert found.clips[0].group == "AAAAAAAAAAA"
    assert "strumming guitar" in [c.label for c in kinetics_sounds.index(root, sounds(classes="32")).clips]


@pytest.mark.parametrize("folder", ["train/tap_dancing", "train/tap dancing", "train", "K400/train/part_0", "somewhere"])
def test_a_file_is_found_wherever_a_copy_has_it(root, folder):
    path = root / folder / "AAAAAAAAAAA_000001_000011.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    clip = kinetics_sounds.index(root, sounds()).clips[0]
    assert (clip.video, clip.clip) == (f"{folder}/{path.name}", "train/AAAAAAAAAAA_000001_000011")


def test_a_replacement_goes_before_the_corrupt_file(root):
    for folder in ("train", "replacement"):
        (root / folder).mkdir()
        (root / folder / "AAAAAAAAAAA_000001_000011.mp4").write_bytes(b"x")
    assert kinetics_sounds.index(root, sounds()).clips[0].video.startswith("replacement/")


def test_held_out_videos_are_whole_and_of_training_alone(root):
    annotate(root, "train", [f"tap dancing,{k:011d},{s},{s + 10}" for k in range(60) for s in (1, 30)])
    found = kinetics_sounds.index(root, sounds(val_share=0.3))
    groups = {split: {c.group for c in found.clips if c.split == split} for split in ("train", "val", "test")}
    assert 8 < len(groups["val"]) < 30 and not groups["val"] & groups["train"] and len(groups["test"]) == 1


def test_first_the_lists_are_fetched_then_what_they_name(root):
    lists = kinetics_sounds.sources(root / "empty", sounds())
    assert [s.name for s in lists] == [
        "annotations/train.csv",
        "annotations/val.csv",
        "k400_train_path.txt",
        "k400_val_path.txt",
    ]
    found = kinetics_sounds.sources(root, sounds())
    assert found[:4] == lists
    archives = {s.name: s for s in found[4:]}
    assert set(archives) == {f"{p}/part_{k}.tar.gz" for p in ("train", "val") for k in (0, 1)} | {
        "replacement_for_corrupted_k400.tgz"
    }
    assert archives["train/part_1.tar.gz"].members == {"AAAAAAAAAAA_000001_000011.mp4"}
    assert archives["train/part_1.tar.gz"].origins == (PATHS[1],) and archives["train/part_1.tar.gz"].unpack


def test_clips_may_be_fetched_one_by_one(root):
    found = kinetics_sounds.sources(root, sounds(fetch="youtube"))
    videos = [s for s in found if not s.needed]
    assert [s.origins for s in videos] == [
        ("youtube://AAAAAAAAAAA?start=1&end=11",), ("youtube://CCCCCCCCCCC?start=127&end=137",)
    ]  # fmt: skip
    few = kinetics_sounds.sources(root, sounds(fetch="youtube", first={"train": 1}))
    assert [s.to for s in few if not s.needed] == [video.to for video in videos]
    annotate(root, "train", [TAPS, "tap dancing,EEEEEEEEEEE,1,11"])
    few = kinetics_sounds.sources(root, sounds(fetch="youtube", first={"train": 1}))
    assert [s.to for s in few if not s.needed] == [video.to for video in videos]
    assert videos[0].to == "train/AAAAAAAAAAA_000001_000011.mp4" == kinetics_sounds.index(root, sounds()).clips[0].video


def test_a_list_of_archives_that_is_none_is_refused(root):
    (root / "k400_train_path.txt").write_text("file:///etc/passwd\n")
    with pytest.raises(DatasetError, match=r"entry 1: 'file:///etc/passwd' is not the address of an archive"):
        kinetics_sounds.sources(root, sounds())


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("tap dancing,AAAAAAAAAAA,11,1", "line 2: a clip from '11' to '1'"),
        ("tap dancing,AAAAAAAAAAA,1.5,10", "line 2: a clip from '1.5'"),
        ("tap dancing,../AAAA,1,10", "line 2: '../AAAA' cannot be the name of a video"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(root, row, told):
    annotate(root, "train", [row])
    with pytest.raises(DatasetError, match=told):
        kinetics_sounds.index(root, sounds())


def test_rows_that_name_a_clip_again_and_classes_without_clips_are_told(root):
    annotate(root, "train", [TAPS] * 2)
    found = kinetics_sounds.index(root, sounds())
    assert len(found.clips) == 2
    again, absent = found.remarks
    assert again.endswith("and are not used: 1 (train/AAAAAAAAAAA_000001_000011 as train tap dancing)")
    assert absent.startswith("classes of which no clip is listed: 29 (")


def test_an_empty_list_is_refused(root):
    annotate(root, "val", [])
    with pytest.raises(DatasetError, match=r"val\.csv: the list is empty"):
        kinetics_sounds.index(root, sounds())


def test_the_lists_of_ogm_ge(root):
    annotate(root, "test", ["blowing nose,CCCCC_CCCCC,127,137"])
    (root / "train.txt").write_text("AAAAAAAAAAA_000001_000011,10,2\n")
    (root / "ogm_test.txt").write_text("CCCCC_CCCCC_127,10,0\nEEEEEEEEEEE_5,10,0\n\n")
    given = {"ogm_train": "train.txt", "ogm_test": "ogm_test.txt"}
    found = kinetics_sounds.index(root, sounds(**given))
    assert [(c.clip, c.split, c.label) for c in found.clips] == [
        ("train/AAAAAAAAAAA_000001_000011", "train", found.classes[2]),
        ("test/CCCCC_CCCCC_000127_000137", "test", "blowing nose"),
        ("test/EEEEEEEEEEE_000005_000015", "test", "blowing nose"),
    ]
    assert found.expected == {"train": 14_799, "val": 0, "test": 2_597}
    assert [s.name for s in kinetics_sounds.sources(root, sounds(**given))][2] == "annotations/test.csv"
    (root / "ogm_test.txt").write_text("CCCCC_CCCCC_127,10,31\n")
    with pytest.raises(DatasetError, match=r"line 1: .* is not <clip>,<seconds>,<class below 31>"):
        kinetics_sounds.index(root, sounds(**given))
    with pytest.raises(DatasetError, match="number the 31 classes, and `classes` is 32"):
        kinetics_sounds.index(root, sounds(**given, classes="32"))
    with pytest.raises(DatasetError, match="go together"):
        kinetics_sounds.index(root, sounds(ogm_train="train.txt"))


def test_a_class_of_ones_own_must_be_one_of_kinetics(root, tmp_path):
    (tmp_path / "mine.csv").write_text("index,name\n0,tap dancing\n1,playin accordion\n")
    with pytest.raises(DatasetError, match="1 of 2 classes are not in the label space: playin accordion"):
        kinetics_sounds.index(root, sounds(classes=str(tmp_path / "mine.csv")))


def test_links_are_followed_and_hidden_folders_are_not(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "tap").mkdir()
    (elsewhere / "tap" / "AAAAAAAAAAA_000001_000011.mp4").write_bytes(b"x")
    (elsewhere / "loop").symlink_to(elsewhere)
    (root / "train").symlink_to(elsewhere)
    (root / ".unpacking").mkdir()
    (root / ".unpacking" / "CCCCCCCCCCC_000127_000137.mp4").write_bytes(b"half")
    first, second = kinetics_sounds.index(root, sounds()).clips
    assert first.video == "train/tap/AAAAAAAAAAA_000001_000011.mp4" and second.video.startswith("val/")


def test_classes_that_are_no_list_are_refused(root):
    with pytest.raises(DatasetError, match="`classes: 30`: no label space"):
        kinetics_sounds.index(root, sounds(classes="30"))


def test_kinetics50_has_classes_of_kinetics(root):
    names = kinetics50.SPEC.classes
    assert len(names) == 50 and len(label_spaces.read("k400").positions(names)) == 50
    annotate(root, "train", [f"{names[0]},AAAAAAAAAAA,1,11", "blowing nose,CCCCCCCCCCC,0,10"])
    found = kinetics50.index(root, kinetics50.Options(val_share=0))
    assert [(c.clip, c.label) for c in found.clips] == [("train/AAAAAAAAAAA_000001_000011", names[0])]
    assert found.expected == {}


def test_the_lists_of_read(root):
    names = kinetics50.SPEC.classes
    (root / "labels.csv").write_text("index,mid\n0,dying_hair\n")
    for name, video in (("train", "AAAAAAAAAAA"), ("test", "CCCCCCCCCCC.mp4")):
        rows = {"data": [{"video_id": video, "wav": "x.wav", "labels": names[7].replace(" ", "_")}]}
        (root / f"{name}.json").write_text(json.dumps(rows))
    (root / "val").mkdir()
    (root / "val" / "CCCCCCCCCCC_000127_000137.mp4").write_bytes(b"x")
    options = kinetics50.Options(train_json="train.json", test_json="test.json", labels_csv="labels.csv", val_share=0)
    found = kinetics50.index(root, options)
    assert [(c.split, c.label, c.clip) for c in found.clips] == [
        ("train", names[7], "train/AAAAAAAAAAA"), ("test", names[7], "test/CCCCCCCCCCC")
    ]  # fmt: skip
    assert found.clips[1].video == "val/CCCCCCCCCCC_000127_000137.mp4"
    assert found.expected == {"train": 29_204, "val": 0, "test": 2_466}
    assert kinetics50.sources(root, options) == []
    (root / "test.json").write_text('{"data": [{"video_id": "x", "labels": "ks_9"}]}')
    with pytest.raises(DatasetError, match="entry 1: 'ks_9' is none of the 50 classes"):
        kinetics50.index(root, options)
    (root / "labels.csv").write_text(f"index,mid,display_name\n0,ks_9,{names[3]}\n")
    assert kinetics50.index(root, options).clips[1].label == names[3]
    (root / "test.json").write_text("[]")
    with pytest.raises(DatasetError, match='no JSON object with a list "data"'):
        kinetics50.index(root, options)
    with pytest.raises(DatasetError, match="give `test_json` as well"):
        kinetics50.index(root, kinetics50.Options(train_json="train.json"))
