"""Windows of sound, scores of published models and scores made elsewhere; label spaces that do not fit are refused."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earshot import contracts, hearing, label_spaces, media, plugins, sounds, tagger_weights, weights
from earshot.audio_models import AudioModel, precomputed
from earshot.backbones import WeightsError
from earshot.errors import SetupError
from helpers import tone

NAMES = ["Bark", "Meow"]


def spec(short):
    return AudioModel("m", rate_hz=10, window_s=1.0, source="", short=short)


@pytest.mark.parametrize(
    ("short", "expected", "length"),
    [
        ("pad", [1, 2, 3, 4, 0, 0, 0, 0, 0, 0], 4),
        ("repeat", [1, 2, 3, 4, 1, 2, 3, 4, 0, 0], 8),
        ("loop", [1, 2, 3, 4, 1, 2, 3, 4, 1, 2], 10),
    ],
)
def test_a_short_wave_is_filled_as_the_model_expects(short, expected, length):
    ((wave, sound),) = hearing.windows(np.array([1, 2, 3, 4], np.float32), spec(short))
    assert wave.tolist() == expected and sound == length


@given(st.integers(1, 95), st.sampled_from(["pad", "repeat", "loop"]))
def test_windows_cover_a_wave_from_its_start_to_its_end(n, short):
    wave = np.arange(1, n + 1, dtype=np.float32)
    found = hearing.windows(wave, spec(short))
    assert all(len(piece) == 10 and 1 <= length <= 10 for piece, length in found)
    assert found[0][0][0] == 1
    heard = {sample for piece, _ in found for sample in piece if sample}
    assert n - len(heard) <= 1, "a tenth of a window at most"
    assert len(found) == 1 or found[-1][0][-1] == n


@given(st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=5))
def test_pooled_logits_are_those_of_the_mean_probability(values):
    logits = torch.tensor(values, dtype=torch.float32)
    mean = logits.double().sigmoid().mean(0)
    torch.testing.assert_close(hearing.pooled(logits, "sigmoid").double().sigmoid(), mean, atol=1e-6, rtol=1e-4)
    several = hearing.pooled(logits, "softmax").softmax(0)
    torch.testing.assert_close(several.double(), logits.double().softmax(-1).mean(0), atol=1e-6, rtol=1e-4)


def test_a_certain_window_stays_certain():
    sure = hearing.pooled(torch.tensor([[60.0, -60.0], [60.0, -60.0]]), "sigmoid")
    assert sure.tolist() == pytest.approx([60.0, -60.0])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A table of sound: 1 s, 25 s, files that are gone or cut off, and silence."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = []
    for name, seconds in (("short", 1), ("long", 25), ("gone", 1), ("cut", 1), ("empty", 1), ("silent", 0)):
        if seconds:
            media.write_wave(folder / f"{name}.wav", tone(seconds), 16_000)
        rows.append({
            "clip_id": name, "wave": f"{name}.wav" if seconds else "", "rate": 16_000, "samples": 16_000 * seconds,
            "level": -10.0, "heard": bool(seconds), "problem": "" if seconds else "no audio stream",
        })  # fmt: skip
    (folder / "gone.wav").unlink()
    media.write_wave(folder / "empty.wav", np.zeros(0, np.float32), 16_000)
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:9_000])
    contracts.write(rows, contracts.AUDIO, folder / "audio.parquet", {})
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny AST as the workflow writes it."""
    module = plugins.load("audio_models", "ast")
    torch.manual_seed(0)
    options, path = module.tiny(), tmp_path_factory.mktemp("ast") / "ast.safetensors"
    weights.save(path, module.build(2, options).state_dict(), tagger_weights.facts("ast", options, NAMES, origin="imported"))
    return path


def scored(recordings, tiny, tmp_path, batch):
    hearing.score(str(recordings / "audio.parquet"), str(tiny), batch, "cpu", 1, 2, str(tmp_path / f"{batch}.parquet"))
    return {row["clip_id"]: row for row in contracts.read(tmp_path / f"{batch}.parquet", contracts.AUDIO_SCORES)}


def test_clips_share_batches_and_a_file_that_is_gone_costs_only_itself(recordings, tiny, tmp_path):
    together, alone = scored(recordings, tiny, tmp_path, 8), scored(recordings, tiny, tmp_path, 1)
    for clip in ("short", "long"):
        assert together[clip]["heard"]
        assert together[clip]["scores"] == pytest.approx(alone[clip]["scores"], abs=1e-4)
    assert not together["gone"]["heard"] and "gone.wav" in together["gone"]["problem"]
    assert not together["cut"]["heard"] and "is cut off in" in together["cut"]["problem"]
    assert together["empty"]["problem"] == "sound without samples"
    assert together["silent"]["problem"] == "no audio stream"
    assert contracts.facts_of(tmp_path / "8.parquet")["label_space"] == label_spaces.identity(NAMES)


def test_sound_at_another_rate_is_refused(recordings, tiny, tmp_path):
    rows = [{**row, "rate": 8_000} for row in contracts.read(recordings / "audio.parquet", contracts.AUDIO)]
    contracts.write(rows, contracts.AUDIO, tmp_path / "audio.parquet", {})
    with pytest.raises(SetupError, match="sound at 8000 Hz, but ast listens at 16000 Hz"):
        hearing.score(str(tmp_path / "audio.parquet"), str(tiny), 2, "cpu", 1, 1, str(tmp_path / "s.parquet"))


def clips_table(path, clips):
    row = dict.fromkeys((f.name for f in contracts.CLIPS), 0)
    text = {"video": "", "sha256": "", "problem": "", "source": "", "group": "", "available": True, "split": "test"}
    contracts.write([{**row, **text, "clip_id": clip} for clip in clips], contracts.CLIPS, path, {})
    return str(path)


def user_scores(tmp_path, rows, label_space=None):
    table = pa.Table.from_pylist(rows)
    if label_space:
        table = table.replace_schema_metadata({"earshot": json.dumps({"label_space": label_space})})
    pq.write_table(table, tmp_path / "mine.parquet")
    return str(tmp_path / "mine.parquet")


def imported(tmp_path, rows, label_space=None, **options):
    clips = clips_table(tmp_path / "clips.parquet", ["a", "b", "c"])
    scores, out = user_scores(tmp_path, rows, label_space), tmp_path / "out.parquet"
    precomputed.import_scores(scores, clips, ["test"], NAMES, precomputed.Options(**options), str(out))
    return {row["clip_id"]: row for row in contracts.read(out, contracts.AUDIO_SCORES)}, contracts.facts_of(out)


def test_scores_made_elsewhere_become_rows_for_every_clip(tmp_path):
    rows = [
        {"clip_id": "a", "scores": [0.25, 1.0]},
        {"clip_id": "b", "scores": [0.5, math.nan]},
        {"clip_id": "z", "scores": [0, 0]},
    ]
    found, facts = imported(tmp_path, rows, given="probabilities", activation="softmax")
    assert found["a"]["scores"] == pytest.approx([math.log(0.25), math.log(1 - 1e-7)], abs=1e-6)
    assert not found["b"]["heard"] and found["b"]["problem"] == "non-finite scores" and found["b"]["scores"] == [0, 0]
    assert not found["c"]["heard"] and found["c"]["problem"] == "not in the file of scores"
    assert (facts["absent"], facts["surplus"], facts["activation"]) == (1, 1, "softmax")


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_come_back(tmp_path, activation):
    found, facts = imported(tmp_path, [{"clip_id": "a", "scores": [0.3, 0.7]}], given="probabilities", activation=activation)
    logits = torch.tensor(found["a"]["scores"])
    back = logits.softmax(0) if facts["activation"] == "softmax" else logits.sigmoid()
    assert back.tolist() == pytest.approx([0.3, 0.7])


def test_a_probability_that_is_none_counts_as_not_heard(tmp_path):
    found, _ = imported(tmp_path, [{"clip_id": "a", "scores": [0.5, 1.5]}], given="probabilities")
    assert not found["a"]["heard"]


@pytest.mark.parametrize(
    ("rows", "space", "message"),
    [
        ([{"clip_id": "a", "scores": [0.0]}], None, "1 clips, such as 'a', have no list of 2 scores"),
        ([{"clip_id": "a", "scores": [0.0, 0.0]}] * 2, None, "clip 'a' is there more than once"),
        ([{"clip_id": "a", "logits": [0.0, 0.0]}], None, "no Parquet file with the columns clip_id, scores"),
        ([{"clip_id": "a.mp4", "scores": [0.0, 0.0]}], None, "holds none of the clips: it names them as 'a.mp4'"),
        ([{"clip_id": "a", "scores": ["x", "y"]}], None, "lists of string, not of numbers"),
        ([{"clip_id": "a", "scores": 0.5}], None, "`scores` is double, not a list of numbers"),
        ([{"clip_id": "a", "scores": [0.0, 0.0]}], "527-abc", "of label space 527-abc, but `classes:` stands for 2-"),
    ],
)
def test_wrong_files_of_scores_are_refused(tmp_path, rows, space, message):
    with pytest.raises(SetupError, match=message):
        imported(tmp_path, rows, space)


def manifest(tmp_path, state, **config):
    weights.save(tmp_path / "model.safetensors", state, {})
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    about = {"file": str(tmp_path / "model.safetensors"), "folder": str(tmp_path), "origin": "path m", "sha256": "0" * 64}
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    return str(tmp_path / "manifest.json")


def space(tmp_path, names):
    (tmp_path / "space.csv").write_text("index,name\n" + "\n".join(f"{i},{name}" for i, name in enumerate(names)))
    return str(tmp_path / "space.csv")


def tiny_ast(n):
    module = plugins.load("audio_models", "ast")
    torch.manual_seed(0)
    return module.build(n, module.tiny()).state_dict(), module.tiny().model_dump()


def test_published_weights_are_imported_with_the_names_of_their_sounds(tmp_path):
    state, options = tiny_ast(2)
    where = manifest(tmp_path, state, id2label={"0": "bark", "1": "meow"})
    tagger_weights.import_weights(where, space(tmp_path, NAMES), "ast", options, "", str(tmp_path / "out.safetensors"))
    facts = weights.facts_of(tmp_path / "out.safetensors")
    assert facts["labels"] == NAMES and facts["origin"] == "imported" and facts["checkpoint"]["origin"] == "path m"
    found, model = hearing.load(tmp_path / "out.safetensors", "cpu")
    assert found.rate_hz == 16_000
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("names", "config", "message"),
    [
        (["Bark", "Meow", "Moo"], {}, "shapes"),
        (["Meow", "Bark"], {"id2label": {"0": "Bark", "1": "Meow"}}, "from number 0 on are not the 2 that `classes:`"),
        (None, {}, "its outputs are not known, .*say `classes:`"),
    ],
)
def test_weights_of_another_label_space_are_refused(tmp_path, names, config, message):
    state, options = tiny_ast(2)
    where = manifest(tmp_path, state, **config)
    with pytest.raises(WeightsError, match=message):
        tagger_weights.import_weights(where, space(tmp_path, names) if names else "", "ast", options, "", str(tmp_path / "out"))


def test_the_vocabulary_is_that_of_the_weights_or_of_a_label_space(tiny, tmp_path):
    rows = [{"class_id": i, "name": name, "prompt": name} for i, name in enumerate(("cat", "dog"))]
    contracts.write(rows, contracts.CLASSES, tmp_path / "classes.parquet", {})
    classes = str(tmp_path / "classes.parquet")
    assert sounds.vocabulary(str(tiny), "", classes) == NAMES
    assert sounds.vocabulary("", "dataset", classes) == ["cat", "dog"]
    assert len(sounds.vocabulary("", "audioset527", classes)) == 527
