"""Sound tracks, scores and label maps: silence and nonsense are marked, different vocabularies are refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earshot import audio, contracts, hearing, indexing, label_map, media, tagging, weights
from earshot.methods._listening import ListeningHyper, mapped_audio, pseudo_label
from helpers import tone

RUNTIME = {"training_threads": 1, "torch_threads": 1, "device": "cpu", "frame_cache_mb": 100}


@pytest.fixture(scope="module")
def heard(zoo, tmp_path_factory):
    """The zoo's sound tracks."""
    out = tmp_path_factory.mktemp("heard")
    tables = {name: str(out / f"{name}.parquet") for name in ("clips", "classes", "events")}
    indexing.index_dataset("zoo", "folder", str(zoo), {"labels": "labels.csv"}, 1, **tables)
    audio.extract(tables["clips"], str(zoo), 16_000, ["train", "test"], 1, str(out / "audio" / "audio.parquet"))
    return out


def test_every_clip_has_a_row_that_says_what_can_be_heard(heard):
    rows = {row["clip_id"]: row for row in contracts.read(heard / "audio" / "audio.parquet", contracts.AUDIO)}
    assert {name for name, row in rows.items() if row["heard"]} == {"good", "Blåser på høy – 音"}
    assert rows["no sound"]["problem"] == "no audio stream"
    assert rows["silent"]["problem"] in ("digital silence", "below the floor")
    assert rows["truncated"]["problem"] == "clip unavailable"
    assert len(rows) == 10
    wave = media.load_wave(heard / "audio" / rows["good"]["wave"])
    assert rows["good"]["level"] == pytest.approx(20 * math.log10(0.3 / math.sqrt(2)), abs=0.5)
    assert len(wave) == rows["good"]["samples"]


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A bank of two sounds that are easy to tell apart."""
    root = tmp_path_factory.mktemp("bank")
    rng = np.random.default_rng(0)
    lines = ["path,sound"]
    for i in range(10):
        media.write_flac(root / f"t{i}.flac", tone(2, hertz=300 + 20 * i), 16_000)
        media.write_flac(root / f"n{i}.flac", (0.1 * rng.standard_normal(32_000)).astype(np.float32), 16_000)
        lines += [f"t{i}.flac,Tone", f"n{i}.flac,Noise"]
    (root / "sounds.csv").write_text("\n".join(lines) + "\n")
    return root / "sounds.csv"


@pytest.fixture(scope="module")
def tagger(bank):
    tagging.train(
        str(bank),
        "small_tagger",
        {},
        {"epochs": 6},
        0,
        RUNTIME,
        str(bank.with_name("w.safetensors")),
        str(bank.with_name("m.parquet")),
    )
    return bank.with_name("w.safetensors")


def test_the_tagger_learns_and_training_is_repeatable(bank, tagger, tmp_path):
    rows = contracts.read(bank.with_name("m.parquet"), contracts.TRAINING)
    assert rows[-1]["metric"] == "top1"
    assert rows[-1]["value"] == 100
    tagging.train(
        str(bank), "small_tagger", {}, {"epochs": 6}, 0, RUNTIME, str(tmp_path / "w.safetensors"), str(tmp_path / "m.parquet")
    )
    assert (tmp_path / "w.safetensors").read_bytes() == tagger.read_bytes()


def test_scores_mark_what_was_not_heard(heard, tagger, tmp_path):
    hearing.score(str(heard / "audio" / "audio.parquet"), str(tagger), 4, "cpu", 1, 2, str(tmp_path / "s.parquet"))
    rows = {row["clip_id"]: row for row in contracts.read(tmp_path / "s.parquet", contracts.AUDIO_SCORES)}
    labels = contracts.facts_of(tmp_path / "s.parquet")["labels"]
    assert labels == ["Noise", "Tone"]
    assert labels[int(np.argmax(rows["good"]["scores"]))] == "Tone"
    assert rows["silent"]["scores"] == [0.0, 0.0]
    assert not rows["silent"]["heard"]


def test_non_finite_scores_count_as_not_heard(heard, tagger, tmp_path):
    tensors = {name: tensor for name, tensor in __import__("safetensors.torch").torch.load_file(tagger).items()}
    tensors["head.bias"] = torch.full_like(tensors["head.bias"], math.nan)
    weights.save(tmp_path / "nan.safetensors", tensors, weights.facts_of(tagger))
    nan = str(tmp_path / "nan.safetensors")
    hearing.score(str(heard / "audio" / "audio.parquet"), nan, 4, "cpu", 1, 1, str(tmp_path / "s.parquet"))
    rows = {row["clip_id"]: row for row in contracts.read(tmp_path / "s.parquet", contracts.AUDIO_SCORES)}
    assert not any(row["heard"] for row in rows.values())
    assert rows["good"]["problem"] == "non-finite scores"
    assert np.isfinite(rows["good"]["scores"]).all()


def reviewed(tmp_path, rows, **changes):
    values = {
        "dataset": "d", "audio_model_labels": "bank", "origin": "reviewed", "model": "", "prompt_sha256": "",
        "reviewed_by": "a test", "date": "2026-11-21", "note": "from names", "rows": rows, **changes,
    }  # fmt: skip
    path = tmp_path / "map.json"
    path.write_text(json.dumps(values))
    return path


def target(label, weight=1.0):
    return {"label": label, "weight": weight}


def test_a_label_map_is_checked_against_both_vocabularies(tmp_path):
    rows = [
        {"audio_label": "Bark", "video_labels": [target("dog"), target("wolf", 0.5)]},
        {"audio_label": "Meow", "video_labels": []},
        {"audio_label": "Moo", "video_labels": [target("cow")]},
    ]
    made, dropped = label_map.to_rows(label_map.read(reviewed(tmp_path, rows)), ["Bark", "Meow", "Purr"], ["cat", "dog"])
    assert [(row["audio_name"], row["video_name"]) for row in made] == [("Bark", "dog"), ("Meow", ""), ("Purr", "")]
    assert dropped == ["audio label 'Moo'", "video label 'wolf' of 'Bark'"]


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        ([{"audio_label": "Bark", "video_labels": [target("dog", 2.0)]}], {}, "less than or equal to 1"),
        ([{"audio_label": "Bark"}], {}, "video_labels"),
        ([], {"surplus": 1}, "surplus"),
    ],
)
def test_a_malformed_label_map_is_refused(tmp_path, rows, changes, message):
    with pytest.raises(label_map.LabelMapError, match=message):
        label_map.read(reviewed(tmp_path, rows, **changes))


def test_a_label_map_of_another_vocabulary_is_refused(tmp_path):
    rows = [{"audio_label": "Bark", "video_labels": [target("dog")]}]
    with pytest.raises(label_map.LabelMapError, match="shares no audio label"):
        label_map.to_rows(label_map.read(reviewed(tmp_path, rows)), ["Tone"], ["dog"])
    with pytest.raises(label_map.LabelMapError, match="more than once"):
        label_map.to_rows(label_map.read(reviewed(tmp_path, rows * 2)), ["Bark"], ["dog"])
    twice = [{"audio_label": "Bark", "video_labels": [target("dog"), target("dog", 0.5)]}]
    with pytest.raises(label_map.LabelMapError, match="gives 'Bark' a video label more than once"):
        label_map.to_rows(label_map.read(reviewed(tmp_path, twice)), ["Bark"], ["dog"])
    (tmp_path / "latin.json").write_bytes("é".encode("latin-1"))
    with pytest.raises(label_map.LabelMapError, match="is no label map"):
        label_map.read(tmp_path / "latin.json")


def test_the_demo_map_covers_the_demo_vocabularies():
    from earshot.config import reviewed_label_map
    from earshot.datasets import _scene, _sound

    demo = label_map.read(reviewed_label_map("demo.json"))
    assert sorted(row.audio_label for row in demo.rows) == sorted(_sound.SOUNDS)
    named = {target.label for row in demo.rows for target in row.video_labels}
    assert named <= set(_scene.CLASSES)
    assert any(not row.video_labels for row in demo.rows)


logits = hnp.arrays(np.float64, 6, elements=st.floats(-8, 8))


@given(logits, st.booleans(), st.sampled_from(["product", "linear", "mask"]), st.floats(0, 1))
def test_a_pseudo_label_is_a_distribution(values, is_heard, combine, alpha_max):
    mapping = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0.5], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]).double()
    hyper = ListeningHyper(combine=combine, alpha_max=alpha_max)
    mapped = mapped_audio(torch.from_numpy(values), is_heard, mapping, hyper)
    visual = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    q, alpha = pseudo_label(visual, mapped, hyper)
    assert float(q.sum()) == pytest.approx(1)
    assert bool((q >= 0).all())
    assert 0 <= alpha <= alpha_max
    if not is_heard:
        assert mapped.q is None
        assert alpha == 0


@pytest.mark.parametrize("path", sorted(Path(label_map.__file__).parent.glob("label_maps/*.json")), ids=lambda path: path.stem)
def test_every_map_of_the_library_states_how_it_was_made(path):
    file = label_map.read(path)
    assert file.note and file.date and (file.reviewed_by or file.model)
    assert not (file.origin == "reviewed" and file.model), "a reviewed map that a model made says so as its origin"
