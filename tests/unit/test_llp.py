"""LLP's lists: what they hold, and that nothing irregular in them is lost or passes silently."""

import shutil
from collections import Counter
from itertools import combinations, pairwise

import pytest

from earshot import contracts, indexing
from earshot.datasets import DatasetError, llp
from earshot.files import sha256_of_file

FILES = ["AVVP_train", "AVVP_val_pd", "AVVP_test_pd", "AVVP_eval_audio", "AVVP_eval_audio.pre2024", "AVVP_eval_visual"]
ZERO = [
    "CaC2xvdLC34_250_260 Speech 9-9", "CSWQ_HzQ_10_20 Basketball_bounce 9-9", "Gg3pK71kApY_30_40 Speech 10-10",
    "H5WcJwyjxIg_2_12 Baby_cry_infant_cry 0-0", "Baue01N86wE_10_20 Dog 1-1", "8DF2PxdT5tE_390_400 Cheering 9-0",
]  # fmt: skip
UNKNOWN = {
    "12eWNawPekw_30_40", "17iGUal2M_10_20", "19jWnmYnlD8_30_400", "7X3oSVoA_90_100", "AkAfFL5Q4QA_30_40", "CSWQ_HzQ_10_20",
    "P7x4FV4lg_570_580", "VMTJRpjbE_150_160",
}  # fmt: skip
NO_TIME, NO_VIDEO = "rows not used, each of which lasts no time", "rows not used, each of which names a video that no list has"
NOT_WEAK = "rows of a class that the weak label of their video lacks"


@pytest.fixture(scope="module")
def root(shared):
    return shared / "data" / "llp"


@pytest.fixture(scope="module")
def listed(root):
    return llp.index(root, llp.Options())


def remark(listed, file, kind):
    """The number that a remark tells, and the rows that it names."""
    (told,) = [told for told in listed.remarks if told.startswith(f"{file}.csv, {kind}: ")]
    number, _, rows = told.removeprefix(f"{file}.csv, {kind}: ").partition(" (")
    return int(number), rows.removesuffix(")").split("; ")


def events_of(listed, *modalities):
    return [event for event in listed.events if event.modality in modalities]


def test_splits_have_their_sizes_and_order(listed):
    splits = [clip.split for clip in listed.clips]
    assert Counter(splits) == {"train": 10_000, "val": 649, "test": 1_200}
    assert splits == sorted(splits, key=["train", "val", "test"].index)
    assert listed.clips[0].video == "videos/BjCEufrlXm4_20_30.mp4"
    assert len(listed.classes) == 25 and {event.label for event in listed.events} == set(listed.classes)


def test_videos_have_their_numbers_of_weak_labels(listed):
    split = {clip.video: clip.split for clip in listed.clips}
    labels = Counter(event.video for event in events_of(listed, "weak"))
    sizes = Counter((split[video], number) for video, number in labels.items())
    assert {number: n for (part, number), n in sizes.items() if part == "train"} == {1: 4032, 2: 5879, 3: 89}
    assert {number: n for (part, number), n in sizes.items() if part == "val"} == {1: 212, 2: 367, 3: 56, 4: 14}
    assert {number: n for (part, number), n in sizes.items() if part == "test"} == {1: 404, 2: 649, 3: 118, 4: 25, 5: 3, 7: 1}
    assert remark(listed, "AVVP_test_pd", "rows that name a class twice") == (1, ["LcFWKgFphXI_20_30"])


def test_dense_rows_are_in_val_and_test_alone(listed):
    split = {clip.video: clip.split for clip in listed.clips}
    rows = Counter((split[event.video], event.modality) for event in events_of(listed, "audio", "visual"))
    # of 1,451 and 2,666 audio rows, one and four last no time
    assert rows == {("val", "audio"): 1450, ("test", "audio"): 2662, ("val", "visual"): 856, ("test", "visual"): 1628}
    number = {modality: {event.video for event in events_of(listed, modality)} for modality in ("audio", "visual")}
    without = Counter(
        (part, modality) for modality, found in number.items() for video, part in split.items() if video not in found
    )
    assert (without["val", "audio"], without["test", "audio"]) == (4, 6)  # test: one has a row that lasts no time
    assert (without["val", "visual"], without["test", "visual"]) == (70, 121)


def test_irregular_rows_are_counted_and_named(listed):
    assert remark(listed, "AVVP_eval_audio", NO_TIME)[0] == 6
    assert set(remark(listed, "AVVP_eval_audio", NO_TIME)[1]) == set(ZERO)
    for file, names in (("AVVP_eval_audio", UNKNOWN), ("AVVP_eval_visual", UNKNOWN - {"17iGUal2M_10_20"})):
        assert {row.split()[0] for row in remark(listed, file, NO_VIDEO)[1]} == names
    number, rows = remark(listed, "AVVP_eval_audio", "rows that repeat another")
    assert (number, len({row.split()[0] for row in rows})) == (8, 5)
    assert remark(listed, "AVVP_eval_audio", NOT_WEAK)[0] == 76
    assert remark(listed, "AVVP_eval_visual", NOT_WEAK)[0] == 51
    assert len(listed.remarks) == 8


def test_overlapping_rows_are_used_and_named(listed):
    assert remark(listed, "AVVP_eval_audio", "rows that overlap another of their class")[0] == 15
    groups = {}
    for event in sorted(events_of(listed, "audio"), key=lambda event: event.onset):
        groups.setdefault((event.video, event.label), []).append(event)
    # with repeated rows, and by their order of onset alone, there are 20
    assert sum(later.onset < earlier.offset for group in groups.values() for earlier, later in pairwise(group)) == 20


def test_some_weak_classes_have_no_row(listed):
    rows = {(event.video, event.label) for event in events_of(listed, "audio", "visual")}
    rows |= {(f"videos/{name}.mp4", label) for name, label, _ in map(str.split, ZERO)}
    judged = {clip.video for clip in listed.clips if clip.split != "train"}
    lacking = {e.video for e in events_of(listed, "weak") if e.video in judged and (e.video, e.label) not in rows}
    assert len(lacking) == 32


def test_the_older_audio_list_differs_in_three_rows(root, listed):
    older = llp.index(root, llp.Options(audio_events="v2020"))
    now, then = ({(e.video, e.label, e.onset, e.offset) for e in events_of(one, "audio")} for one in (listed, older))
    assert then < now
    assert now - then == {
        ("videos/JfZEqeLZqWk_30_40.mp4", "Speech", 0, 4), ("videos/JfZEqeLZqWk_30_40.mp4", "Speech", 7, 10),
        ("videos/KvIjsmANkxI_10_20.mp4", "Cat", 0, 1),
    }  # fmt: skip
    named = {row.split()[0] for row in remark(older, "AVVP_eval_audio.pre2024", NO_VIDEO)[1]}
    assert named == UNKNOWN | {"Baby_cry_infant_cry", "KvIjsmANkxI_10_20`"}
    assert events_of(older, "visual") == events_of(listed, "visual")


def test_absent_videos_are_rows_and_keep_their_whole_names(root, tmp_path):
    outputs = {name: str(tmp_path / f"{name}.parquet") for name in ("clips", "classes", "events")}
    indexing.index_dataset("llp", "llp", str(root), {"suffix": ".mkv"}, workers=1, **outputs)
    rows = contracts.read(outputs["clips"], contracts.CLIPS)
    assert len(rows) == 11_849 and not any(row["available"] for row in rows)
    assert {row["problem"] for row in rows} == {"missing: no such file"}
    fractions = {row["clip_id"] for row in rows if "." in row["clip_id"]}
    assert len(fractions) == 5 and "videos/AP0061o0Nvk_101.8_111.8" in fractions
    assert contracts.facts_of(outputs["clips"])["remarks"]
    events = contracts.read(outputs["events"], contracts.EVENTS)
    assert Counter(event["modality"] for event in events) == {"weak": 19_405, "audio": 4_112, "visual": 2_484}


def test_a_list_that_is_absent_or_empty_is_an_error(root, tmp_path):
    for name in FILES:
        shutil.copyfile(root / f"{name}.csv", tmp_path / f"{name}.csv")
    assert len(llp.index(tmp_path, llp.Options()).clips) == 11_849
    (tmp_path / "AVVP_val_pd.csv").write_text("filename\tevent_labels\n")
    with pytest.raises(DatasetError, match=r"AVVP_val_pd.csv: the list is empty"):
        llp.index(tmp_path, llp.Options())
    (tmp_path / "AVVP_eval_audio.pre2024.csv").unlink()
    with pytest.raises(DatasetError, match=r"AVVP_eval_audio.pre2024.csv not there; put the lists of LLP there"):
        llp.index(tmp_path, llp.Options(audio_events="v2020"))


def test_a_class_that_llp_does_not_have_is_refused(tmp_path):
    weak, dense = "filename\tevent_labels\n", "filename\tonset\toffset\tevent_labels\n"
    for name in FILES:
        (tmp_path / f"{name}.csv").write_text(dense if "eval" in name else f"{weak}{name}_0_10\tSpeech\n")
    assert len(llp.index(tmp_path, llp.Options()).clips) == 3
    (tmp_path / "AVVP_val_pd.csv").write_text(f"{weak}x_0_10\tSpeach\n")
    with pytest.raises(DatasetError, match=r"AVVP_val_pd.csv, line 2: 'Speach' is none of the classes Speech, Car,"):
        llp.index(tmp_path, llp.Options())


@pytest.mark.parametrize("options", [{"suffix": "mp4"}, {"audio_events": "v2021"}, {"folder": "videos"}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        llp.Options(**options)


def test_the_first_clips_of_each_split(shared):
    listed = llp.index(shared / "data" / "llp", llp.Options(first={"train": 30, "test": 5}))
    splits = [clip.split for clip in listed.clips]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (30, 649, 5)
    assert {event.video for event in listed.events} <= {clip.video for clip in listed.clips}


def names(root, **options):
    return [source.name for source in llp.sources(root, llp.Options(**options))]


def test_lists_are_fetched_from_the_public_repository_and_are_these(root, tmp_path):
    found = llp.sources(tmp_path, llp.Options())
    assert {source.name: source.sha256 for source in found} == {
        f"{name}.csv": sha256_of_file(root / f"{name}.csv") for name in FILES if "pre2024" not in name
    }
    assert all(source.needed and source.origins[0].endswith(f"/master/data/{source.name}") for source in found)
    (older,) = [s for s in llp.sources(tmp_path, llp.Options(audio_events="v2020")) if "pre2024" in s.name]
    assert older.sha256 == sha256_of_file(root / older.name) and not older.origins and "DG-SCT" in older.by_hand


def test_features_and_videos_are_fetched_only_if_asked_for_and_videos_once_they_are_listed(root, tmp_path):
    assert len(names(root)) == 5
    assert names(tmp_path, fetch_features=True, fetch_videos=True)[5:] == ["CLIP.zip", "CLAP.zip"]
    found = llp.sources(root, llp.Options(fetch_videos=True, first={"train": 2, "val": 1, "test": 1}))[5:]
    assert found[0].origins == ("youtube://BjCEufrlXm4?start=20&end=30",)
    assert found[0].to == "videos/BjCEufrlXm4_20_30.mp4" and len(found) == 4
    assert not any(source.needed for source in found)


def test_an_id_may_hold_what_parts_a_name(tmp_path):
    name = "a_b-c_d_e_f_1.5_11.5"
    weak, dense = "filename\tevent_labels\n", "filename\tonset\toffset\tevent_labels\n"
    for split in ("AVVP_train", "AVVP_val_pd", "AVVP_test_pd"):
        (tmp_path / f"{split}.csv").write_text(f"{weak}{name if 'test' in split else f'{split}_0_10'}\tSpeech\n")
    for side in ("audio", "visual"):
        (tmp_path / f"AVVP_eval_{side}.csv").write_text(dense)
    (found,) = [s for s in llp.sources(tmp_path, llp.Options(fetch_videos=True)) if name in s.name]
    assert found.origins == ("youtube://a_b-c_d_e_f?start=1.5&end=11.5",)
    assert [clip.group for clip in llp.index(tmp_path, llp.Options()).clips if clip.split == "test"] == ["a_b-c_d_e_f"]


def test_lists_of_another_version_are_told_by_name(root, tmp_path, listed):
    kind = "lists that differ from the published ones"
    assert not any(kind in told for told in listed.remarks)
    for name in FILES:
        shutil.copyfile(root / f"{name}.csv", tmp_path / f"{name}.csv")
    shutil.copyfile(root / "AVVP_eval_audio.pre2024.csv", tmp_path / "AVVP_eval_audio.csv")
    with (tmp_path / "AVVP_train.csv").open("a") as file:
        file.write("AAAAAAAAAAA_0_10\tSpeech\n")
    (told,) = [told for told in llp.index(tmp_path, llp.Options()).remarks if kind in told]
    assert (
        f"{kind}: 2 (AVVP_train.csv is an unknown version (sha256 {sha256_of_file(tmp_path / 'AVVP_train.csv')[:12]})" in told
    )
    assert "AVVP_eval_audio.csv is the published AVVP_eval_audio.pre2024.csv" in told


def test_no_recording_is_in_two_splits(listed):
    videos = {split: {clip.group for clip in listed.clips if clip.split == split} for split in ("train", "val", "test")}
    assert not any(one & other for one, other in combinations(videos.values(), 2))
    assert listed.expected == {split: len(found) for split, found in videos.items()}
