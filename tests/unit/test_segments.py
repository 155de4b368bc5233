"""Clips cut into segments: the right frames and samples, and a reason for every clip that has none."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from indexed_sets import Indexed, problems, row, write_image
from PIL import Image

from earshot import contracts, feature_store, media, prepared, segments
from earshot.datasets import MaskRow, Parts
from earshot.errors import MediaError, SetupError
from helpers import tone


def numbered_frames(count, size=16):
    """Frames of one grey each, 8 levels apart."""
    return np.broadcast_to((8 * np.arange(count, dtype=np.uint8))[:, None, None, None], (count, size, size, 3))


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A video of 30 frames at 10 Hz whose grey tells their number, with a tone."""
    root = tmp_path_factory.mktemp("counted")
    media.write_video(root / "a" / "x.mp4", numbered_frames(30), 10, tone(3))
    return root


@given(st.integers(1, 400), st.integers(1, 20), st.floats(1, 60), st.sampled_from(["spread", "middles", "seconds"]))
def test_picks_are_in_order_and_within_the_clip(count, segments_, fps, rule):
    found = segments.picks(count, fps, segments_, rule)
    assert found.shape == (segments_,) and found.dtype == np.int64
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() < count


def test_picks_are_the_published_ones():
    # int(linspace(1, n, 10)) of images that count from 1
    assert segments.picks(61, 6, 10, "spread").tolist() == [int(x) - 1 for x in np.linspace(1, 61, 10)]
    assert segments.picks(300, 29.97, 10, "seconds").tolist() == [min(round((i + 0.5) * 29.97), 299) for i in range(10)]
    assert segments.picks(30, 10, 5, "seconds").tolist() == [5, 15, 25, 29, 29]
    assert segments.picks(30, 10, 5, "middles").tolist() == [3, 9, 15, 21, 27]


@pytest.mark.parametrize("rule", ["spread", "middles", "seconds"])
def test_frames_are_those_that_the_rule_picks(counted, tmp_path, rule):
    made = Indexed("folder", counted, tmp_path, test_share=0.0).frames(3, 16, rule=rule)
    grey = row(made, "a/x").mean((1, 2, 3))
    assert made.array.shape == (1, 3, 16, 16, 3) and made.array.dtype == np.uint8
    assert np.round(grey / 8).tolist() == segments.picks(30, 10, 3, rule).tolist()
    assert made.facts["rule"] == rule


def test_a_cut_clip_has_frames_and_sound_of_its_own(tmp_path):
    media.write_video(tmp_path / "x.mp4", numbered_frames(30), 10, np.concatenate([tone(1, level=0.1), tone(2, level=0.5)]))
    facts = media.probe(tmp_path / "x.mp4")
    base = {
        "clip_id": "x",
        "video": "x.mp4",
        "split": "test",
        "label": -1,
        "source": "",
        "problem": "",
        "available": True,
        "group": "",
    }
    about = {
        "frames": 30,
        "fps": 10.0,
        "width": 16,
        "height": 16,
        "audio_rate": facts.audio_rate,
        "sha256": "",
        "level": facts.level,
        "duration": 3.0,
    }
    spans = {"x": (0.0, 1.0), "y": (1.0, 3.0), "z": (5.0, 6.0)}
    rows = [{**base, **about, "clip_id": name, "start": start, "end": end} for name, (start, end) in spans.items()]
    contracts.write(rows, contracts.CLIPS, tmp_path / "clips.parquet", {})
    source = segments.Dataset("folder", {}, str(tmp_path), str(tmp_path / "clips.parquet"))
    out = str(tmp_path / "a.npy"), str(tmp_path / "a.parquet")
    segments.write_frames(source, 2, 16, 1, *out)
    made = feature_store.read(out[0])
    assert np.round(made.array[:2].mean((2, 3, 4)) / 8).tolist() == [[0, 9], [10, 29]]
    assert problems(made) == {"z": "too few frames: 0 for 2 segments"}
    segments.write_waves(source, 2, 8_000, 1, *out)
    made = feature_store.read(out[0])
    levels = made.array[:2].reshape(2, 2, 8_000).astype(float).std(2) / 32_768
    assert levels == pytest.approx(np.array([[0.0707, 0], [0.354, 0.354]]), abs=0.02)
    assert problems(made)["z"].startswith("the sound ends after 3.")


def test_resizing_is_torchs_bicubic_on_numbers():
    frames = np.random.default_rng(0).integers(0, 256, (2, 20, 31, 3), dtype=np.uint8)
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    for antialias in (False, True):
        wanted = torch.nn.functional.interpolate(tensor, (12, 12), mode="bicubic", antialias=antialias).clamp(0, 1) * 255
        found = segments.resized(frames, 12, antialias)
        assert np.abs(found - wanted.permute(0, 2, 3, 1).numpy()).max() <= 0.51
    assert (segments.resized(frames, 12, True) != segments.resized(frames, 12, False)).any()
    assert np.array_equal(segments.resized(frames[:, :20, :20], 20, False), frames[:, :20, :20])


def test_whatever_is_wrong_with_a_file_is_the_reason_of_its_row_alone(zoo, tmp_path):
    indexed = Indexed("folder", zoo, tmp_path, labels="labels.csv")
    broken = {name: clip["problem"] for name, clip in indexed.clips.items() if not clip["available"]}
    made = indexed.frames(4, 16)
    assert problems(made) == broken and len(broken) == 6
    assert not made.array[~made.available].any() and all(made.array[place].any() for place in np.flatnonzero(made.available))
    assert problems(indexed.waves(2, 16_000)) == {**broken, "no sound": "no audio stream"}
    with pytest.raises(SetupError, match=r"no clip below .* has frames; of the first clip, .*: "):
        indexed.frames(33, 16)


def test_a_damaged_file_after_the_index_was_made_is_a_row_too(video, tmp_path):
    (tmp_path / "a").mkdir()
    whole = video.read_bytes()
    for name in ("x", "y"):
        (tmp_path / "a" / f"{name}.mp4").write_bytes(whole)
    indexed = Indexed("folder", tmp_path, tmp_path / "out")
    (tmp_path / "a" / "x.mp4").write_bytes(whole[: len(whole) // 2])
    assert list(problems(indexed.frames(2, 16))) == ["a/x"]
    (tmp_path / "a" / "y.mp4").unlink()
    with pytest.raises(SetupError, match=r"of the first clip, 'a/x': undecodable"):
        indexed.waves(1, 8_000)


def test_threads_do_not_change_the_bytes(zoo, tmp_path):
    for threads in (1, 3):
        indexed = Indexed("folder", zoo, tmp_path / str(threads), labels="labels.csv")
        indexed.frames(4, 24, threads=threads)
        indexed.waves(2, 8_000, threads=threads)
    names = ["frames.npy", "frames.parquet", "waves.npy", "waves.parquet"]
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes() for name in names)


def samples(seconds, span=None, rate=1_000, hertz=50, timed=False):
    start, end = span or (0.0, seconds)
    return segments._samples(tone(seconds, rate, hertz), {"start": start, "end": end}, rate, 4, timed)


def test_short_sound_ends_in_zeros_and_long_sound_is_cut():
    assert samples(2).shape == (4_000,) and not samples(2)[2_000:].any()
    wanted = np.round(tone(2, 1_000, 50) * 32_768)
    assert np.array_equal(samples(2)[:2_000], wanted)
    assert np.array_equal(samples(4), samples(5))


def test_of_much_longer_sound_seconds_are_spread():
    steps = np.repeat(np.arange(13, dtype=np.float32) / 100, 1_000)
    spread, first = (segments._samples(steps, {"start": 0.0, "end": 13.0}, 1_000, 4, timed) for timed in (False, True))
    assert np.round(spread.reshape(4, 1_000) / 327.68)[:, 500].tolist() == [0, 4, 8, 12]
    assert np.round(first.reshape(4, 1_000) / 327.68)[:, 500].tolist() == [0, 1, 2, 3]  # labels are of these seconds


def test_files_that_end_before_their_labels_cannot_be_used():
    assert samples(3.2, timed=True).shape == (4_000,)
    with pytest.raises(MediaError, match=r"cut short: its sounds last 2\.5 s, and its labels are of 4 s"):
        samples(2.5, timed=True)

    class Source:
        def read(self, row, indices):
            return {index: np.full((2, 2, 3), index, np.uint8) for index in indices}

    def frames(count, timed):
        row = {"clip_id": "a", "video": "a", "start": 0.0, "end": count / 5, "fps": 5.0, "frames": count}
        return segments._frames(Source(), row, 4, "spread", timed)[:, 0, 0, 0].tolist()

    assert frames(18, True) == frames(18, False) == [0, 5, 11, 17]
    assert frames(50, True) == [0, 6, 12, 19] and frames(50, False) == [0, 16, 32, 49]
    with pytest.raises(MediaError, match=r"its pictures last 2\.0 s, and its labels are of 4 s"):
        frames(10, True)
    assert frames(4, False) == [0, 1, 2, 3]


@pytest.mark.parametrize("rule", ["spread", "middles", "seconds"])
def test_prepared_frames_are_one_for_each_segment(rule):
    assert segments.picks(10, 1.0, 10, rule).tolist() == list(range(10))


def test_loud_sound_is_clipped_and_what_is_no_number_is_refused():
    loud = segments._samples(np.full(10, 1.5, np.float32), {"start": 0.0, "end": 1.0}, 10, 1, False)
    assert (loud == 32_767).all()
    with pytest.raises(MediaError, match="not finite"):
        segments._samples(np.full(10, np.nan, np.float32), {"start": 0.0, "end": 1.0}, 10, 1, False)


# --- prepared files ---------------------------------------------------------------------------------------------------


def test_numbered_images_are_in_order_and_gaps_are_told(tmp_path):
    for number in (2, 10, 3, 5):
        write_image(tmp_path / f"clip_{number}.png", np.full((4, 6, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    found = prepared.numbered(tmp_path)
    assert [path.name for path in found] == [f"clip_{n}.png" for n in range(2, 11)]
    with pytest.raises(MediaError, match=r"missing: no such file as clip_4.png"):
        prepared.probe(tmp_path / "none.mp4", Parts(found, tmp_path / "x.wav", 5.0))
    assert prepared.numbered(tmp_path / "absent") == ()
    for number in (4, 6, 7, 8, 9):
        write_image(tmp_path / f"clip_{number}.png", np.full((4, 6, 3), number, np.uint8))
    about = prepared.probe(tmp_path / "none.mp4", Parts(found, tmp_path / "x.wav", 4.5))
    assert (about.frames, about.fps, about.width, about.height, about.audio_rate) == (9, 2.0, 6, 4, 0)
    assert about.remark == "no sound: x.wav: missing: no such file"
    read = prepared.read_frames(tmp_path / "none.mp4", Parts(found), [0, 8, 99])
    assert {number: int(frame[0, 0, 0]) for number, frame in read.items()} == {0: 2, 8: 10}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((10, 100), np.float32), r"holds float32 of shape \(10, 100\), not samples"),
        (np.zeros(1_000, np.int16), "holds int16"),
        (np.full(1_000, np.nan, np.float32), "not finite"),
        (np.zeros(500, np.float32), r"500 samples last 5 s at 100 Hz, and the clip 10 s: correct the rate"),
        (np.array([None]), "no array of samples"),
    ],
)
def test_arrays_that_are_no_sound_of_the_clip_are_refused(tmp_path, values, message):
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    with pytest.raises(MediaError, match=message):
        prepared.read_wave(tmp_path, Parts(None, tmp_path / "x.npy", 10.0, 100), 100)


def test_arrays_and_waves_are_resampled(tmp_path):
    np.save(tmp_path / "x.npy", tone(10, 8_000, 100))
    media.write_wave(tmp_path / "x.wav", tone(10, 8_000, 100), 8_000)
    wanted = tone(10, 4_000, 100)
    for name in ("x.npy", "x.wav"):
        found = prepared.read_wave(tmp_path, Parts(None, tmp_path / name, 10.0, 8_000), 4_000)
        assert abs(len(found) - len(wanted)) < 100
        assert np.abs(found[500:39_000] - wanted[500:39_000]).max() < 0.01


# --- masks ------------------------------------------------------------------------------------------------------------


def masked(tmp_path, masks, px=8, count=3):
    """Problems and masks of a set of clips of 8x12 px whose masks are given as {clip: {second: pixels or None}}."""
    rows, listed = [], []
    for clip, of_clip in masks.items():
        rows.append({
            "clip_id": clip, "video": f"{clip}.mp4", "split": "test", "label": -1, "source": "", "problem": "", "group": "",
            "available": True, "start": 0.0, "end": 3.0, "frames": 3, "fps": 1.0, "width": 12, "height": 8,
            "audio_rate": 0, "sha256": "", "level": 0.0, "duration": 0.0,
        })  # fmt: skip
        for second, image in of_clip.items():
            name = f"{clip}_{second}.png"
            if image is not None:
                write_image(tmp_path / name, image)
            mask = MaskRow(clip, second, name)
            listed.append({"clip_id": clip, "second": mask.second, "mask": mask.mask})
    contracts.write(rows, contracts.CLIPS, tmp_path / "clips.parquet", {})
    contracts.write(listed, contracts.MASKS, tmp_path / "masks.parquet", {})
    tables = str(tmp_path / "clips.parquet"), str(tmp_path / "masks.parquet")
    out = str(tmp_path / "m.npy"), str(tmp_path / "m.parquet")
    segments.write_masks(str(tmp_path), *tables, count, px, 1, *out)
    return feature_store.read(out[0])


def test_masks_are_squares_of_ones_and_the_rest_is_unannotated(tmp_path):
    half = np.zeros((8, 12), np.uint8)
    half[:, 6:] = 255
    made = masked(tmp_path, {"a": {0: half, 1: half > 0, 2: half // 255}, "b": {0: half}})
    assert made.array.dtype == np.uint8 and made.available.all()
    wanted = np.zeros((8, 8), np.uint8)
    wanted[:, 4:] = 1
    assert all(np.array_equal(mask, wanted) for mask in row(made, "a"))
    assert np.array_equal(row(made, "b")[0], wanted) and (row(made, "b")[1:] == segments.UNANNOTATED).all()


def test_a_palettes_first_colour_is_no_object(tmp_path):
    pixels = np.zeros((8, 12), np.uint8)
    pixels[2:4, 2:4], pixels[5, 5] = 1, 2
    image = Image.fromarray(pixels, "P")
    image.putpalette([200, 200, 200, 0, 0, 0, 9, 9, 9])  # the object is black
    image.save(tmp_path / "p.png")
    assert np.array_equal(prepared.read_mask(tmp_path / "p.png"), pixels > 0)
    colours = np.zeros((8, 12, 3), np.uint8)
    colours[1, 1, 2] = 7
    Image.fromarray(colours).save(tmp_path / "c.png")
    assert np.argwhere(prepared.read_mask(tmp_path / "c.png")).tolist() == [[1, 1]]


def test_masks_that_do_not_fit_are_the_reasons_of_their_rows(tmp_path):
    good = np.ones((8, 12), np.uint8)
    (tmp_path / "cut_0.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    given = {
        "good": {0: good},
        "size": {0: good.T},
        "gone": {0: good, 1: None},
        "late": {3: good},
        "none": {},
        "cut": {0: None},
    }
    found = problems(masked(tmp_path, given))
    assert found.pop("cut").startswith("undecodable: cut_0.png: ")
    assert found == {
        "size": "size_0.png is of size 8x12 and the frames of 12x8",
        "gone": "missing: no such file as gone_1.png",
        "late": "late_3.png is of second 3 of a clip of 3",
        "none": "no second is annotated",
    }
    with pytest.raises(SetupError, match="no clip has masks"):
        masked(tmp_path, {"none": {}})
