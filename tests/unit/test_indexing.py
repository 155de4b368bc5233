"""From files and lists to rows: nothing that is wrong is lost, and nothing wrong passes silently."""

import pytest

from earshot import contracts, indexing
from earshot.datasets import DatasetError, folder, parsing_folder


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
    assert indexing.probe_all(listed, zoo, "folder", 1) == indexing.probe_all(listed, zoo, "folder", 2)


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


def test_parsing_sets_keep_their_events_and_count_what_is_odd(tmp_path):
    (tmp_path / "AVVP_train.csv").write_text("filename\tevent_labels\nx_0_10\tdog,cat\n")
    (tmp_path / "AVVP_test.csv").write_text("filename\tevent_labels\ny_0_10\tdog\n")
    header = "filename\tonset\toffset\tevent_labels\n"
    (tmp_path / "AVVP_eval_audio.csv").write_text(header + "y_0_10\t0\t4\tdog\nz_0_10\t0\t4\tdog\ny_0_10\t5\t5\tdog\n")
    (tmp_path / "AVVP_eval_visual.csv").write_text(header + "y_0_10\t2\t9\tdog\n")
    listed = parsing_folder.index(tmp_path, parsing_folder.Options())
    assert listed.classes == ("cat", "dog")
    assert [(event.modality, event.onset, event.offset) for event in listed.events] == [("audio", 0, 4), ("visual", 2, 9)]
    assert len(listed.remarks) == 2


def test_stamps_av_is_indexed_as_a_users_folder(shared, tmp_path):
    rows, outputs = index(shared / "data" / "stamps-av", tmp_path, labels="clips.csv")
    assert len(rows) == 576
    assert all(row["available"] for row in rows.values())
    assert len(contracts.read(outputs["classes"], contracts.CLASSES)) == 24
    assert sum(row["audio_rate"] == 0 for row in rows.values()) > 0


def test_stamps_av_parsing_videos_are_read(shared, tmp_path):
    rows, outputs = index(shared / "data" / "stamps-av" / "parsing", tmp_path, plugin="parsing_folder")
    assert len(rows) == 168
    assert len(contracts.read(outputs["events"], contracts.EVENTS)) > 50
