"""Videos joined out of clips: events are where picture and sound agree, and nowhere else."""

import csv

import numpy as np
import pytest
from indexed_sets import Indexed, problems, row

from earshot import media, prompting_data
from earshot.datasets import DatasetError, joined
from earshot.metrics import parsing_f_score
from helpers import tone

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
HERTZ = {"red": 300.0, "green": 700.0, "blue": 1_500.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Clips of 2 s of one colour each with a tone of its own; of every class one sounds like another, and one is broken."""
    root = tmp_path_factory.mktemp("source")
    rows = []
    for split, label, k in ((split, label, k) for split in ("train", "test") for label in COLOURS for k in range(3)):
        heard = "blue" if k == 2 and label != "blue" else label
        path = f"{split}_{label}_{k}.mp4"
        frames = np.broadcast_to(np.array(COLOURS[label], np.uint8), (16, 32, 32, 3))
        media.write_video(root / path, frames, 8, tone(2, hertz=HERTZ[heard]))
        rows.append((path, label, split, heard))
    (root / "broken.mp4").write_bytes(b"no video")
    media.write_video(root / "short.mp4", np.zeros((4, 32, 32, 3), np.uint8), 8, tone(0.5))
    rows += [("broken.mp4", "red", "train", "red"), ("short.mp4", "red", "train", "red")]
    with open(root / "clips.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split", "heard"), *rows])
    return root


def options(folder, **more):
    given = {"heard": "heard", "train": 2, "val": 0, "test": 1, "fps": 4, "size": 32, **more}
    return {"source": str(folder / "clips.csv"), **given}


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined")
    joined.prepare(folder, joined.Options(**options(source)), 1)
    return folder


def dominant(frames):
    """The colour of each frame (T, px, px, 3)."""
    return [list(COLOURS)[k] for k in frames.mean((1, 2)).argmax(1)]


def loudest(wave, rate):
    """The class whose tone is the loudest in each second, or none."""
    found = []
    for second in wave.reshape(10, rate) / 32_768:
        spectrum = np.abs(np.fft.rfft(second * np.hanning(rate)))
        peak = int(spectrum.argmax())
        near = min(HERTZ, key=lambda name: abs(HERTZ[name] - peak))
        found.append(near if second.std() > 0.05 and abs(HERTZ[near] - peak) < 5 else "none")
    return found


def test_what_is_seen_and_heard_agrees_in_the_event_alone(source, made, tmp_path):
    indexed = Indexed("joined", made, tmp_path, **options(source))
    frames, waves = indexed.frames(10, 32, rule="seconds"), indexed.waves(10, 8_000)
    assert len(indexed.clips) == 9 and indexed.classes == sorted(COLOURS) and not problems(frames) and not problems(waves)
    spans = {e["clip_id"]: range(int(e["onset"]), int(e["offset"])) for e in indexed.events}
    background = set()
    for name, clip in indexed.clips.items():
        seen, heard = dominant(row(frames, name)), loudest(row(waves, name), 8_000)
        for second, pair in enumerate(zip(seen, heard, strict=True)):
            if second in spans[name]:
                assert pair == (indexed.classes[clip["label"]],) * 2, (name, second)
            else:
                assert pair[0] != pair[1], (name, second)
                background.add(pair[1])
    assert background > {"none"}  # silence or noise, and sounds of classes


def test_events_give_the_labels_of_segments(source, made, tmp_path):
    indexed = Indexed("joined", made, tmp_path, **options(source))
    for name, clip in indexed.clips.items():
        events = [(e["class_id"], e["onset"], e["offset"], e["modality"]) for e in indexed.events if e["clip_id"] == name]
        (labels,) = prompting_data.segment_classes(parsing_f_score.targets(3, [events]))
        onset, offset = events[0][1:3]
        assert labels.tolist() == [clip["label"] if onset <= second < offset else 3 for second in range(10)]


def test_the_same_options_give_the_same_bytes_and_another_seed_others(source, made, tmp_path):
    joined.prepare(tmp_path / "again", joined.Options(**options(source)), 2)
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert len(names) == 11
    assert all((made / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    one, other = (joined.Options(**options(source, seed=seed)) for seed in (0, 1))
    pools = joined.pools(one, 1)
    assert joined.planned(pools, one) != joined.planned(pools, other)


def test_splits_do_not_mix_and_only_own_sounds_are_heard(source, capsys):
    chosen = joined.Options(**options(source))
    pools = joined.pools(chosen, 1)
    told = capsys.readouterr().out
    assert "left out: broken.mp4: undecodable" in told and "left out: short.mp4: lasts 0.50 s, less than 2 s" in told
    for video in joined.planned(pools, chosen):
        own = video.pieces[video.onset : video.offset]
        assert all(piece.seen == piece.heard and f"_{video.label}_" in piece.seen for piece in own)
        for piece in video.pieces:
            assert piece.seen.startswith(video.split)
            assert piece.heard in (joined.NOISE, joined.SILENCE) or piece.heard.startswith(video.split)
            assert not piece.heard.endswith(("red_2.mp4", "green_2.mp4"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"val": 1}, r"no usable clip of 'blue' with its own sound is in 'val'; set `val: 0` or a `val_share`"),
        ({"classes": ["red"]}, "background is made of other classes, and there are 1 in all"),
        ({"heard": "sound"}, "no column 'sound', which `heard` names"),
        ({"classes": ["red", "pink"]}, "no usable clip of 'pink'"),
        ({"source": ""}, "no clips to join; give the option `source`"),
    ],
)
def test_what_cannot_be_joined_is_refused(source, tmp_path, more, message):
    with pytest.raises(DatasetError, match=message):
        joined.prepare(tmp_path, joined.Options(**options(source, **more)), 1)
