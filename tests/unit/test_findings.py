"""What is wrong with a dataset beyond single files."""

import math
from dataclasses import replace

import pytest
from fake_results import clip_row

from earshot import contracts
from earshot.datasets import ClipRow, EventRow, Index, MaskRow, QuestionRow
from earshot.datasets import ave as ave_plugin
from earshot.findings import find, split_hash, summary
from earshot.indexing import probe_all


def row(name, split="test", sha="", **changes):
    base = {"clip_id": name, "video": f"{name}.mp4", "split": split, "sha256": sha or name, "label": 0, "audio_rate": 16_000}
    return clip_row(0, **{**base, "level": -20.0, **changes})


def told(rows, audible=None):
    found = find(rows, ["dog", "cat"], audible)
    contracts.to_table(found, contracts.FINDINGS)
    return [(r["kind"], r["clip_id"], r["other"], r["note"]) for r in found]


def test_a_clean_dataset_has_no_findings():
    assert told([row("a"), row("b", "train")]) == []


def test_one_file_in_two_splits_is_a_leak():
    rows = [row("a", "train"), row("a+2", "test", video="a.mp4", sha="a")]
    assert told(rows) == [("leak", "a", "a+2", "one file: a.mp4")]


def test_equal_files_are_duplicates_in_a_split_and_leaks_across():
    rows = [row("a", "train", "same"), row("b", "train", "same"), row("c", "val", "same")]
    assert told(rows) == [("leak", "a", "c", "equal files, 3 clips"), ("duplicate", "b", "a", "equal files")]


def test_clips_cut_out_of_one_file_are_no_duplicates():
    assert told([row("a"), row("a+2", video="a.mp4", sha="a")]) == []


def test_one_recording_in_two_splits_is_told_once_for_all_its_clips():
    rows = [row("a", "train", group="g1"), row("b", "train", group="g1"), row("c", "test", group="g1"), row("d", group="g2")]
    assert told(rows) == [("leak", "a", "c", "one recording: g1, 3 clips")]


def test_files_that_are_not_there_share_nothing_but_their_name():
    gone = {"available": False, "problem": "missing: no such file", "audio_rate": 0, "level": math.nan}
    rows = [row("a", "train", **gone) | {"sha256": ""}, row("b", **gone) | {"sha256": ""}]
    assert [kind for kind, *_ in told(rows)] == ["unavailable", "unavailable"]


def test_sound_that_is_absent_silent_or_broken_is_told():
    rows = [
        row("mute", audio_rate=0, level=math.nan),
        row("quiet", level=-math.inf),
        row("broken", level=math.nan, problem="sound cannot be decoded: x"),
    ]
    assert told(rows) == [
        ("undecodable sound", "broken", "", "sound cannot be decoded: x"),
        ("no track", "mute", "", ""),
        ("silent", "quiet", "", "every sample is zero"),
    ]


def test_only_classes_that_should_be_heard_miss_a_track():
    rows = [row("dog", audio_rate=0, level=math.nan), row("cat", label=1, audio_rate=0, level=math.nan), row("cat2", label=1)]
    assert told(rows, frozenset({"dog"})) == [("no track", "dog", "", ""), ("unexpected track", "cat2", "", "class cat")]


def test_counts_by_split():
    rows = [row("a", "train", "same"), row("b", "train", "same"), row("c", "test", "same"), row("d", level=-math.inf)]
    rows.append(row("e", available=False, problem="missing", audio_rate=0))
    found = summary(rows, find(rows, ["dog"], None))
    assert found["train"] == {"listed": 2, "found": 2, "no_track": 0, "silent": 0, "duplicates": 1, "leaks": 1}
    assert found["test"] == {"listed": 3, "found": 2, "no_track": 0, "silent": 1, "duplicates": 0, "leaks": 1}
    assert found["val"]["listed"] == 0


CLIPS = (ClipRow("a.mp4", "train", "dog"), ClipRow("b.mp4", "test", "cat"))
LISTED = Index(("dog", "cat"), CLIPS)


@pytest.mark.parametrize(
    "other",
    [
        Index(("cat", "dog"), CLIPS),
        Index(("dog", "cat"), (CLIPS[0], ClipRow("b.mp4", "val", "cat"))),
        Index(("dog", "cat"), (CLIPS[0], ClipRow("b.mp4", "test", "dog"))),
        Index(("dog", "cat"), (CLIPS[0], ClipRow("b.mp4", "test", "cat", start=1.0))),
        Index(("dog", "cat"), CLIPS[:1]),
        Index(("dog", "cat"), CLIPS, questions=(QuestionRow("1", "a.mp4", "test", "t", "k", "dog"),)),
        Index(("dog", "cat"), CLIPS, events=(EventRow("a.mp4", "audio", "dog", 1, 3),)),
        Index(("dog", "cat"), CLIPS, events=(EventRow("a.mp4", "audio", "dog", 1, 4),)),
        Index(("dog", "cat"), CLIPS, events=(EventRow("a.mp4", "weak", "dog", math.nan, math.nan),)),
        Index(("dog", "cat"), CLIPS, masks=(MaskRow("a.mp4", 0, "m.png"),)),
    ],
)
def test_the_identity_of_splits_changes_with_what_is_asked(other):
    assert split_hash(LISTED, names(LISTED)) != split_hash(other, names(other))


def test_the_identity_of_splits_does_not_change_with_order_and_files():
    turned = Index(("dog", "cat"), CLIPS[::-1], remarks=("nothing",))
    assert split_hash(LISTED, names(LISTED)) == split_hash(turned, names(turned))


def test_the_identity_of_splits_does_not_depend_on_the_folder_of_videos():
    moved = Index(("dog", "cat"), tuple(replace(clip, video=f"elsewhere/{clip.video}") for clip in CLIPS))
    assert split_hash(LISTED, names(LISTED)) == split_hash(moved, names(moved))


def names(listed):
    return [clip.video for clip in listed.clips]


def test_the_leaks_of_ave_are_found_without_a_single_video(shared, tmp_path):
    listed = ave_plugin.index(shared / "data" / "ave", ave_plugin.Options())
    rows = probe_all(listed, shared / "data" / "ave", "ave", 2)
    leaks = [r for r in find(rows, listed.classes, None) if r["kind"] == "leak"]
    pairs = [(r["split"], r["other_split"]) for r in leaks]
    assert (pairs.count(("train", "test")), pairs.count(("train", "val"))) == (8, 10)
    assert {r["note"].split(":")[0] for r in leaks} == {"one file"}
