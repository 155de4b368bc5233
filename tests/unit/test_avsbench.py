"""AVSBench: both parts in their published layouts, from lists, images and waves to frames, sound and masks."""

import numpy as np
import pytest
from indexed_sets import Indexed, problems, row, write_image
from PIL import Image

from earshot import media, segments
from earshot.datasets import DatasetError, avsbench
from helpers import tone

S4 = [("cat1_0_5000", "cat", "train"), ("cat2_0_5000", "cat", "test"), ("dog.x_5_10", "dog", "val")]
MS3 = [("one", "train"), ("two", "test")]


def mask(k):
    """A mask of 32x32 px: its first k rows."""
    found = np.zeros((32, 32), bool)
    found[:k] = True
    return found


def write_frames(folder, stem):
    for k in range(1, 6):
        write_image(folder / f"{stem}_{k}.png", np.full((32, 32, 3), 20 * k, np.uint8))


def write_s4(root):
    base = root / "Single-source"
    for name, category, split in S4:
        place = f"{split}/{category}"
        write_frames(base / "s4_data" / "visual_frames" / place / name, name)
        for k in range(1, 2 if split == "train" else 6):
            write_image(base / "s4_data" / "gt_masks" / place / name / f"{name}_{k}.png", mask(k))
        (base / "s4_data" / "audio_wav" / place).mkdir(parents=True, exist_ok=True)
        media.write_wave(base / "s4_data" / "audio_wav" / place / f"{name}.wav", tone(5), 16_000)
    lines = [f"{name},0,{category},{split}" for name, category, split in S4]
    (base / "s4_meta_data.csv").write_text("\n".join(["name,start,category,split", *lines]))


def write_ms3(root):
    base = root / "Multi-sources"
    for name, split in MS3:
        write_frames(base / "ms3_data" / "visual_frames" / name, f"{name}.mp4")
        for k in range(1, 6):
            image = Image.fromarray(mask(k).astype(np.uint8) * (1 + k % 2), "P")
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
            path = base / "ms3_data" / "gt_masks" / split / name / f"{name}_{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        (base / "ms3_data" / "audio_wav" / split).mkdir(parents=True, exist_ok=True)
        media.write_wave(base / "ms3_data" / "audio_wav" / split / f"{name}.wav", tone(5), 16_000)
    (base / "ms3_meta_data.csv").write_text("\n".join(["name,split", *(f"{name},{split}" for name, split in MS3)]))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "avsbench"
    write_s4(root)
    write_ms3(root)
    return root


def test_s4_is_listed_probed_and_cut(root, tmp_path):
    indexed = Indexed("avsbench", root, tmp_path)
    assert indexed.classes == ["cat", "dog"]
    assert {name: clip["split"] for name, clip in indexed.clips.items()} == {
        "train/cat/cat1_0_5000": "train", "test/cat/cat2_0_5000": "test", "val/dog/dog.x_5_10": "val",
    }  # fmt: skip
    for clip in indexed.clips.values():
        facts = ("frames", "fps", "width", "height", "audio_rate", "end", "available", "problem")
        assert [clip[name] for name in facts] == [5, 1.0, 32, 32, 16_000, 5.0, True, ""]
    seconds = {name: [m["second"] for m in indexed.masks if m["clip_id"] == name] for name in indexed.clips}
    assert list(seconds.values()) == [[0], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    frames, waves, masks = indexed.frames(5, 32), indexed.waves(5, 32_000), indexed.shown(5, 32)
    assert row(frames, "val/dog/dog.x_5_10").mean((1, 2, 3)).tolist() == [20, 40, 60, 80, 100]
    assert waves.array.shape == (3, 160_000) and abs(row(waves, "test/cat/cat2_0_5000")[:150_000].std() - 6_951) < 150
    assert row(masks, "test/cat/cat2_0_5000").sum((1, 2)).tolist() == [32, 64, 96, 128, 160]
    first, *others = row(masks, "train/cat/cat1_0_5000")
    assert first.sum() == 32 and all((other == segments.UNANNOTATED).all() for other in others)
    assert not problems(frames) and not problems(waves) and not problems(masks)


def test_ms3_has_no_classes_and_a_mask_for_every_second(root, tmp_path):
    indexed = Indexed("avsbench", root, tmp_path, subset="ms3")
    assert indexed.classes == [] and [clip["label"] for clip in indexed.clips.values()] == [-1, -1]
    assert list(indexed.clips) == ["train/one", "test/two"] and len(indexed.masks) == 10
    assert not problems(indexed.waves(5, 16_000))
    assert row(indexed.frames(5, 16), "test/two").mean((1, 2, 3)).tolist() == [20, 40, 60, 80, 100]
    assert row(indexed.shown(5, 16), "train/one").sum((1, 2)).tolist() == [0, 16, 16, 32, 32]  # 1 to 5 rows of 32, every second


def test_damage_costs_its_clip_alone(root, tmp_path):
    base = root / "Single-source" / "s4_data"
    (base / "visual_frames/train/cat/cat1_0_5000/cat1_0_5000_3.png").unlink()
    (base / "audio_wav/test/cat/cat2_0_5000.wav").write_bytes(b"RIFF")
    write_image(base / "gt_masks/val/dog/dog.x_5_10/dog.x_5_10_2.png", mask(3)[:16])
    indexed = Indexed("avsbench", root, tmp_path)
    told = {name: clip["problem"] for name, clip in indexed.clips.items()}
    assert told["train/cat/cat1_0_5000"] == "missing: no such file as cat1_0_5000_3.png"
    assert told["test/cat/cat2_0_5000"].startswith("no sound: cat2_0_5000.wav: undecodable")
    assert indexed.clips["test/cat/cat2_0_5000"]["available"]
    assert set(problems(indexed.frames(5, 32))) == {"train/cat/cat1_0_5000"}
    assert set(problems(indexed.waves(5, 16_000))) == {"train/cat/cat1_0_5000", "test/cat/cat2_0_5000"}
    assert "is of size 32x16 and the frames of 32x32" in problems(indexed.shown(5, 32))["val/dog/dog.x_5_10"]
    (base / "visual_frames/val/dog/dog.x_5_10/dog.x_5_10_5.png").write_bytes(b"no image")
    write_image(base / "visual_frames/test/cat/cat2_0_5000/cat2_0_5000_2.png", np.zeros((8, 8, 3), np.uint8))
    told = {name: clip["problem"] for name, clip in Indexed("avsbench", root, tmp_path).clips.items()}
    assert told["val/dog/dog.x_5_10"].startswith("undecodable: dog.x_5_10_5.png")
    assert told["test/cat/cat2_0_5000"] == "frames of several sizes: 32x32, and 8x8 in cat2_0_5000_2.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,start,split\nx,0,train", "column category is missing; the header is"),
        ("name,start,category,split\nx,0,cat,dev", r"line 2: split 'dev' is none of train, val, test"),
        ("name,start,category,split\n../x,0,cat,val", r"'../x' cannot be the name"),
        ("name,start,category,split\n,0,cat,val", r"line 2: '' cannot be the name"),
        ("name,start,category,split\n", "the list is empty"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "Single-source").mkdir()
    (tmp_path / "Single-source" / "s4_meta_data.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        avsbench.index(tmp_path, avsbench.Options())


def test_an_absent_list_says_where_it_belongs(tmp_path):
    with pytest.raises(DatasetError, match=r"ms3_meta_data.csv is not there; lay out the files"):
        avsbench.index(tmp_path, avsbench.Options(subset="ms3"))


@pytest.mark.parametrize(("subset", "folder", "train"), [("s4", "Single-source", 3_452), ("ms3", "Multi-sources", 296)])
def test_the_archive_has_to_be_asked_for(root, subset, folder, train):
    options = avsbench.Options(subset=subset)
    (archive,) = avsbench.sources(root, options)
    assert archive.name == f"{folder}.zip" and not archive.origins and archive.unpack
    assert avsbench.SPEC.home in archive.by_hand and f"the folder {folder}" in archive.by_hand
    assert avsbench.sources(root, avsbench.Options(subset=subset, archive="x.tar"))[0].name == "x.tar"
    assert avsbench.index(root, options).expected["train"] == train
