"""VGGSound: a list of ids and seconds."""

import json

import pytest

from earshot.datasets import DatasetError, vggsound

ROWS = (
    'AAAAAAAAAAA,30,"playing bagpipes",train\n'
    'AAAAAAAAAAA,50,"playing bagpipes",train\n'
    'BBBBBBBBBBB,0,"child speech, kid speaking",test\n'
    "CCCCCCCCCCC,7,child speech_ kid speaking,test\n"
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "vggsound.csv").write_text(ROWS)
    return tmp_path


def options(**given):
    return vggsound.Options(**{"val_share": 0, **given})


def test_both_spellings_of_a_label_are_one_class(root):
    found = vggsound.index(root, options())
    assert len(found.classes) == 309
    assert [c.label for c in found.clips[2:]] == [found.clips[2].label] * 2
    assert [c.video for c in found.clips[:2]] == ["videos/AAAAAAAAAAA_000030.mp4", "videos/AAAAAAAAAAA_000050.mp4"]
    assert [c.group for c in found.clips[:2]] == ["AAAAAAAAAAA"] * 2


def test_names_of_videos_follow_the_pattern(root):
    found = vggsound.index(root, options(pattern="{id}_{start}", videos="v", suffix=".webm"))
    assert found.clips[3].video == "v/CCCCCCCCCCC_7.webm"


def test_only_clips_that_are_used_are_fetched(root):
    assert [s.name for s in vggsound.sources(root / "empty", options())] == ["vggsound.csv"]
    found = vggsound.sources(root, options(first={"train": 1, "test": 1}))
    assert [s.origins for s in found[1:]] == [
        ("youtube://AAAAAAAAAAA?start=30&end=40",), ("youtube://BBBBBBBBBBB?start=0&end=10",)
    ]  # fmt: skip
    assert not any(s.needed for s in found[1:])
    assert len(vggsound.sources(root, options(fetch=False))) == 1


def test_a_video_is_held_out_with_all_its_clips(tmp_path):
    rows = [f"{k:011d},{s},playing bagpipes,train" for k in range(80) for s in (0, 30)]
    (tmp_path / "vggsound.csv").write_text("\n".join(rows))
    clips = vggsound.index(tmp_path, options(val_share=0.2)).clips
    held = {c.group for c in clips if c.split == "val"}
    assert 5 < len(held) < 30 and not held & {c.group for c in clips if c.split == "train"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("AAAAAAAAAAA,x,playing bagpipes,train\n", "line 1: .* is not <id>,<first second>,<label>,train or test"),
        ("AAAAAAAAAAA,3,playing bagpipes,dev\n", "line 1: .* is not <id>"),
        ("AAAAAAAAAAA,3,whistling teapots,train\n", "line 1: 'whistling teapots' is none of the 309 classes"),
        ("a/b,3,playing bagpipes,train\n", "line 1: 'a/b' cannot be the name of a video"),
        ("", "the list is empty"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path, text, told):
    (tmp_path / "vggsound.csv").write_text(text)
    with pytest.raises(DatasetError, match=told):
        vggsound.index(tmp_path, options())


def test_the_test_list_of_read(root):
    rows = [{"video_id": "BBBBBBBBBBB", "labels": "vgg_3"}, {"video_id": "DDDDDDDDDDD", "labels": "vgg_0"}]
    (root / "vgg_test.json").write_text(json.dumps({"data": rows}))
    found = vggsound.index(root, options(test_json="vgg_test.json"))
    assert [c.clip for c in found.clips if c.split == "test"] == ["BBBBBBBBBBB_000000"]
    assert "not used: 1 (DDDDDDDDDDD)" in found.remarks[0] and found.expected == {"test": 14_046}


def test_names_of_clips_do_not_depend_on_names_of_files(root):
    one, other = vggsound.index(root, options()), vggsound.index(root, options(pattern="{id}", videos="v"))
    assert [c.clip for c in one.clips[2:]] == [c.clip for c in other.clips[2:]] == ["BBBBBBBBBBB_000000", "CCCCCCCCCCC_000007"]
