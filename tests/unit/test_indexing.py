"""From files and lists to rows: nothing that is wrong is lost, and nothing wrong passes silently."""

import math

import pytest

from earshot import contracts, indexing
from earshot.datasets import DatasetError, folder, parsing_folder, synthetic
from earshot.folders import listing


def index(root, tmp_path, plugin="folder", **options):
    outputs = {name: str(tmp_path / f"{name}.parquet") for name in ("clips", "classes", "events")}
    indexing.index_dataset("test", plugin, str(root), options, workers=1, **outputs)
    return {row["clip_id"]: row for row in contracts.read(outputs["clips"], contracts.CLIPS)}, outputs


def test_every_listed_file_is_a_row_with_its_reason(zoo, tmp_path):
    rows, _ = index(zoo, tmp_path, labels="labels.csv")
    assert {name: row["problem"].split(":")[0] for name, row in rows.items() if not row["available"]} == {
        "truncated": "undecodable",
        "cut": "truncated",
        "empty": "empty",
        "text": "undecodable",
        "only sound": "no video stream",
        "absent": "missing",
    }
    assert {name for name, row in rows.items() if row["available"]} == {"good", "silent", "no sound", "Blåser på høy – 音"}
    assert rows["no sound"]["audio_rate"] == 0
    assert rows["good"]["audio_rate"] == 16_000
    assert rows["good"]["frames"] == 32


def test_workers_do_not_change_the_bytes(zoo, tmp_path):
    listed = folder.index(zoo, folder.Options(labels="labels.csv"))
    one, two = (indexing.probe_all(listed, zoo, "folder", workers) for workers in (1, 2))
    assert repr(one) == repr(two)  # NaN, the level of clips without sound, does not equal itself


def test_a_label_that_is_no_class_is_an_error_that_names_it(zoo, tmp_path):
    with pytest.raises(DatasetError, match=r"label 'b' of .* is not in the class list \(a, c\).*options.classes"):
        index(zoo, tmp_path, labels="labels.csv", classes=["a", "c"])


def write_csv(root, text):
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return folder.Options(labels="labels.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,split\nx.mp4,test\n", "column label is missing"),
        ("path,label,split\nx.mp4,a,dev\n", "line 2: split 'dev' is none of train, val, test"),
        ("path,label,split\nx.mp4,,test\n", "line 2: path and label must not be empty"),
        ("path,label,split\n../x.mp4,a,test\n", "line 2: '../x.mp4' must be a path below"),
        ("path,label,split\n/etc/x.mp4,a,test\n", "must be a path below"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path, text, message):
    options = write_csv(tmp_path, text)
    with pytest.raises(DatasetError, match=message):
        folder.index(tmp_path, options)


def test_an_absent_list_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no label file"):
        folder.index(tmp_path, folder.Options(labels="nothing.csv"))


def test_two_clips_of_one_name_are_refused(tmp_path):
    options = write_csv(tmp_path, "path,label,split\nx.mp4,a,test\nx.avi,a,test\n")
    with pytest.raises(DatasetError, match=r"share the clip name 'x': x.mp4 and x.avi"):
        indexing.probe_all(folder.index(tmp_path, options), tmp_path, "folder", 1)


def test_sub_folders_name_classes_and_splits(tmp_path):
    for name in ("train/dog/1.mp4", "train/cat/2.mp4", "test/dog/3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = folder.index(tmp_path, folder.Options())
    assert listed.classes == ("cat", "dog")
    assert {(clip.video, clip.split, clip.label) for clip in listed.clips} == {
        ("train/dog/1.mp4", "train", "dog"),
        ("train/cat/2.mp4", "train", "cat"),
        ("test/dog/3.mp4", "test", "dog"),
    }


def test_held_out_clips_are_a_stable_share_of_each_class(tmp_path):
    lines = [f"{label}/{i}.mp4,{label},train" for label in "ab" for i in range(20)]
    options = write_csv(tmp_path, "path,label,split\n" + "\n".join(lines) + "\n").model_copy(update={"val_share": 0.25})
    first = [clip for clip in folder.index(tmp_path, options).clips if clip.split == "val"]
    assert sorted(clip.label for clip in first) == ["a"] * 5 + ["b"] * 5
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "\n".join(reversed(lines)) + "\n")
    again = [clip for clip in folder.index(tmp_path, options).clips if clip.split == "val"]
    assert {clip.video for clip in first} == {clip.video for clip in again}


def write_parsing_set(root, train=("x_0_10\tdog,cat",), test=("y_0_10\tdog",), audio=(), visual=(), **more):
    """Lists of a parsing set; `more` are lists by name."""
    weak, dense = "filename\tevent_labels", "filename\tonset\toffset\tevent_labels"
    lists = {"AVVP_train": (weak, train), "AVVP_test": (weak, test), **{name: (weak, rows) for name, rows in more.items()}}
    lists |= {"AVVP_eval_audio": (dense, audio), "AVVP_eval_visual": (dense, visual)}
    for name, (header, rows) in lists.items():
        (root / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return root


def parsed(root, **options):
    return parsing_folder.index(root, parsing_folder.Options(**options))


def dense(listed):
    return [(event.modality, event.onset, event.offset) for event in listed.events if event.modality != "weak"]


def test_parsing_sets_keep_their_events_and_count_what_is_odd(tmp_path):
    heard = ("y_0_10\t0\t4\tdog", "z_0_10\t0\t4\tdog", "y_0_10\t5\t5\tdog", "y_0_10\t1\tlate\tdog")
    listed = parsed(write_parsing_set(tmp_path, audio=heard, visual=("y_0_10\t2\t9\tdog",)))
    assert listed.classes == ("cat", "dog")
    assert dense(listed) == [("audio", 0, 4), ("visual", 2, 9)]
    assert listed.remarks == (
        "AVVP_eval_audio.csv, rows not used, each of which has a time that is no number: 1 (y_0_10 dog 1-late)",
        "AVVP_eval_audio.csv, rows not used, each of which lasts no time: 1 (y_0_10 dog 5-5)",
        "AVVP_eval_audio.csv, rows not used, each of which names a video that no list has: 1 (z_0_10 dog 0-4)",
    )


def test_odd_rows_that_can_be_used_are_used_and_named(tmp_path):
    heard = ("y_0_10\t0\t4\tdog", "y_0_10\t0\t4\tdog", "y_0_10\t3\t7\tdog", "y_0_10\t7\t8\tdog", "y_0_10\t3\t7\tcat")
    listed = parsed(write_parsing_set(tmp_path, train=("x_0_10\tdog,dog",), audio=heard))
    assert len(dense(listed)) == 5
    assert listed.remarks == (
        "AVVP_train.csv, rows that name a class twice: 1 (x_0_10)",
        "AVVP_eval_audio.csv, rows that repeat another: 1 (y_0_10 dog 0-4)",
        "AVVP_eval_audio.csv, rows that overlap another of their class: 1 (y_0_10 dog 3-7)",
        "AVVP_eval_audio.csv, rows of a class that the weak label of their video lacks: 1 (y_0_10 cat 3-7)",
    )
    assert [event.label for event in listed.events if event.video == "videos/x_0_10.mp4"] == ["dog"]


def test_weak_labels_of_every_split_are_events_without_times(tmp_path):
    root = write_parsing_set(tmp_path, audio=("y_0_10\t0\t4\tdog",), AVVP_val_pd=("v_0.5_10.5\tcat",))
    rows, outputs = index(root, tmp_path / "out", plugin="parsing_folder")
    assert {name: row["split"] for name, row in rows.items()} == {
        "videos/x_0_10": "train", "videos/v_0.5_10.5": "val", "videos/y_0_10": "test"
    }  # fmt: skip
    events = contracts.read(outputs["events"], contracts.EVENTS)
    weak = [event for event in events if event["modality"] == "weak"]
    assert [(event["clip_id"], event["class_id"]) for event in weak] == [
        ("videos/x_0_10", 1), ("videos/x_0_10", 0), ("videos/v_0.5_10.5", 0), ("videos/y_0_10", 1)
    ]  # fmt: skip
    assert all(math.isnan(event["onset"]) and math.isnan(event["offset"]) for event in weak)
    assert [event["modality"] for event in events if event not in weak] == ["audio"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ["x_0_10\tdog\tcat"]}, "AVVP_train.csv, line 2: 3 cells between tabs, not 2"),
        ({"train": ["x_0_10\tdog,"]}, "line 2: a label of x_0_10 is empty"),
        ({"train": ["x_0_10\tdog", "x_0_10\tcat"]}, "line 3: x_0_10 is there already, in .*AVVP_train.csv, line 2"),
        ({"test": ["x_0_10\tdog"]}, "AVVP_test.csv, line 2: x_0_10 is there already, in .*AVVP_train.csv, line 2"),
        ({"train": ["../x\tdog"]}, r"line 2: '\.\./x' cannot be a file below the folder of the videos"),
        ({"AVVP_test_pd": ["y_0_10\tdog"]}, "both AVVP_test_pd.csv and AVVP_test.csv list the test split; keep one"),
        ({"train": [], "test": []}, "none of AVVP_train.csv, .* lists a video"),
        ({"audio": ["y_0_10\t0\tdog"]}, "AVVP_eval_audio.csv, line 2: 3 cells between tabs, not 4"),
        ({"audio": ["y_0_10\t3\t12\tdog"]}, "line 2: y_0_10 dog 3-12 is not within a clip of 10 s"),
        ({"visual": ["y_0_10\t-1\t3\tdog"]}, "AVVP_eval_visual.csv, line 2: y_0_10 dog -1-3 is not within"),
        ({"audio": ["y_0_10\t0,0\t4,0\tdog"]}, "none of the 1 rows can be used; line 2 has a time that is no number"),
    ],
)
def test_a_parsing_list_that_is_something_else_is_refused_with_its_line(tmp_path, lists, message):
    root = write_parsing_set(tmp_path, **lists)
    with pytest.raises(DatasetError, match=message):
        parsed(root)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "AVVP_train.csv",
            b"filename,event_labels\nx,y\n",
            r"expected the tab-separated columns filename, event_labels; the",
        ),
        ("AVVP_train.csv", b"", r"expected the tab-separated columns filename, event_labels; the header is \[\]"),
        ("AVVP_eval_audio.csv", b"filename\tevent_labels\n", "expected the tab-separated columns filename, onset, offset"),
        ("AVVP_train.csv", b"filename\tevent_labels\n\xff\xfe\tdog\n", "no list of tab-separated UTF-8 text"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path, name, content, message):
    root = write_parsing_set(tmp_path)
    (root / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        parsed(root)


@pytest.mark.parametrize("lists", [{"train": ["x_0_10\towl"]}, {"audio": ["y_0_10\t0\t1\towl"]}])
def test_a_parsing_label_that_is_no_class_is_refused_with_its_line(tmp_path, lists):
    root = write_parsing_set(tmp_path, **lists)
    with pytest.raises(DatasetError, match=r"line 2: 'owl' is none of the classes dog, cat"):
        parsed(root, classes=["dog", "cat"])
    assert "owl" in parsed(root).classes


def test_an_absent_list_of_events_is_told(tmp_path):
    root = write_parsing_set(tmp_path)
    (root / "AVVP_eval_visual.csv").unlink()
    (remark,) = parsed(root).remarks
    assert remark == "AVVP_eval_visual.csv, nothing is known of when its events are: 1 (the list is not there)"


def test_held_out_parsing_videos_are_whole_training_videos_and_stable(tmp_path):
    train = [f"x{i}_0_10\tdog" for i in range(20)]
    first = parsed(write_parsing_set(tmp_path, train=train), val_share=0.25)
    held = {clip.video for clip in first.clips if clip.split == "val"}
    assert len(held) == 5 and all(name.startswith("videos/x") for name in held)
    again = parsed(write_parsing_set(tmp_path, train=train[::-1]), val_share=0.25)
    assert {clip.video for clip in again.clips if clip.split == "val"} == held
    listed = parsed(write_parsing_set(tmp_path, train=train, AVVP_val=["v_0_10\tcat"]), val_share=0.25)
    assert [clip.video for clip in listed.clips if clip.split == "val"] == ["videos/v_0_10.mp4"]


def test_a_generated_parsing_set_has_a_validation_list_if_it_is_asked_for(tmp_path):
    size = {"size": 32, "train": 0, "test": 0, "val": 0, "sounds": 0, "parsing_train": 1, "parsing_test": 2}
    for count in (2, 0):
        synthetic.prepare(tmp_path, synthetic.Options(**size, parsing_val=count), 1)
        listed = parsed(tmp_path / "parsing")
        splits = [clip.split for clip in listed.clips]
        assert (splits.count("train"), splits.count("val"), splits.count("test")) == (1, count, 2)
        timed = {event.video.split("/")[1][:4] for event in listed.events if event.modality != "weak"}
        assert timed == ({"test", "val_"} if count else {"test"})
        assert not listed.remarks


def test_stamps_av_is_indexed_as_a_users_folder(shared, tmp_path):
    rows, outputs = index(shared / "data" / "stamps-av", tmp_path, labels="clips.csv")
    assert len(rows) == 576
    assert all(row["available"] for row in rows.values())
    assert len(contracts.read(outputs["classes"], contracts.CLASSES)) == 24
    assert sum(row["audio_rate"] == 0 for row in rows.values()) > 0


def test_stamps_av_parsing_videos_are_read(shared, tmp_path):
    rows, outputs = index(shared / "data" / "stamps-av" / "parsing", tmp_path, plugin="parsing_folder")
    assert len(rows) == 168
    modalities = [event["modality"] for event in contracts.read(outputs["events"], contracts.EVENTS)]
    assert {name: modalities.count(name) > 50 for name in ("audio", "visual", "weak")} == dict.fromkeys(modalities, True)
    assert modalities.count("weak") >= len(rows)


def test_what_the_workflow_writes_beside_a_users_files_is_not_listed(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_text("a")
    (tmp_path / "AVVP_train.csv").write_text("x")
    before = listing(str(tmp_path), "datasets.mine", shared=True)
    for name in (
        "clips.parquet",
        "features/clip.npy",
        "features/CLIP/a.npy",
        "pseudo_labels/x.npy",
        "audio/16000/a.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("made")
    assert listing(str(tmp_path), "datasets.mine", shared=True) == before != listing(str(tmp_path), "datasets.mine")
    (tmp_path / "videos" / "b.mp4").write_text("b")
    assert listing(str(tmp_path), "datasets.mine", shared=True) != before
    with pytest.raises(FileNotFoundError, match=r"nowhere.*`root` in `features\.vggish`"):
        listing(str(tmp_path / "nowhere"), "features.vggish")
