"""Frozen encoders on disk: made at random, trained on clips, imported; and what is refused."""

import json

import numpy as np
import pytest
import torch
from prompted_sets import NANO, RUNTIME, Set
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from earshot import contracts, encoder_training, encoder_weights, weights
from earshot.backbones import WeightsError
from earshot.config import ConfigError, load
from earshot.prompters import _trunks
from earshot.prompting_data import Sources

JOB = {"name": "nano", "kind": "swin_htsat", "size": "nano", "seed": 0, "runtime": RUNTIME}


@pytest.fixture(scope="module", autouse=True)
def nano():
    """Encoders of milliseconds."""
    _trunks.SIZES["nano"] = NANO
    yield
    del _trunks.SIZES["nano"]


def inputs(folder, **hyper):
    made = Set(folder, segments=2)
    sources = Sources(made.path("clips"), made.path("classes"), "", "", made.sources.arrays)
    return encoder_training.Inputs(sources, "nano", "swin_htsat", "nano", 0, RUNTIME, {"epochs": 6, "batch": 3, **hyper})


def test_encoders_learn_the_classes_of_training_clips_and_give_the_same_bytes_again(tmp_path):
    job = inputs(tmp_path / "set", lr=3e-3)
    for name in ("a", "b"):
        encoder_training.train(job, str(tmp_path / name), str(tmp_path / f"{name}.parquet"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    rows = contracts.read(tmp_path / "a.parquet", contracts.TRAINING)
    losses = [row["value"] for row in rows if row["metric"] == "loss"]
    assert len(losses) == 6 and losses[-1] < losses[0]
    facts = weights.facts_of(tmp_path / "a")
    assert facts["origin"] == "trained" and facts["clips"] == 6  # of the training split alone
    first = encoder_weights.fresh("swin_htsat", "nano", 0).audio.state_dict()
    after = encoder_weights.load(str(tmp_path / "a"), "swin_htsat", "nano")[0].audio.state_dict()
    moved = "audio_encoder.batch_norm.running_mean"
    assert not torch.equal(first[moved], after[moved])  # the level of spectrograms is learnt too


def test_a_killed_training_of_encoders_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    job = inputs(tmp_path / "set", epochs=3)
    encoder_training.train(job, str(tmp_path / "whole"), str(tmp_path / "whole.parquet"))
    monkeypatch.setattr(encoder_training, "_SAVE_EVERY", 0.0)
    saved, steps = encoder_training.Resume.save, []

    def killed(self, state):
        saved(self, state)
        steps.append(state["epoch"])
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(encoder_training.Resume, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        encoder_training.train(job, str(tmp_path / "killed"), str(tmp_path / "killed.parquet"))
    encoder_training.train(job, str(tmp_path / "killed"), str(tmp_path / "killed.parquet"))
    assert steps == [1, 2, 3]
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "killed").read_bytes()


def test_a_pair_that_shares_its_encoder_reads_its_part_of_another_pair(tmp_path):
    encoder_weights.initialise_encoders(JOB, str(tmp_path / "pair"))
    shared, facts = encoder_weights.load(str(tmp_path / "pair"), "swin_swin", "nano")
    whole, _ = encoder_weights.load(str(tmp_path / "pair"), "swin_htsat", "nano")
    assert shared.audio is None and facts["origin"] == "random"
    for name, tensor in shared.visual.state_dict().items():
        assert torch.equal(tensor, whole.visual.state_dict()[name])


def manifest(folder, name, state):
    save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")
    about = {"file": str(folder / f"{name}.safetensors"), "folder": str(folder), "origin": f"there/{name}", "sha256": "0"}
    (folder / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")
    return str(folder / f"{name}.json")


def test_published_encoders_are_imported_and_the_wrong_file_is_named(tmp_path):
    pair = encoder_weights.fresh("swin_htsat", "nano", 7)
    visual = manifest(tmp_path, "swin", pair.visual.state_dict())
    audio = manifest(tmp_path, "clap", {f"audio_model.{k}": v for k, v in pair.audio.state_dict().items()})
    encoder_weights.import_encoders({"visual": visual, "audio": audio}, JOB, str(tmp_path / "out"))
    found, facts = encoder_weights.load(str(tmp_path / "out"), "swin_htsat", "nano")
    assert facts["visual"]["origin"] == "there/swin" and facts["audio"]["origin"] == "there/clap"
    assert all(torch.equal(t, pair.audio.state_dict()[n]) for n, t in found.audio.state_dict().items())
    with pytest.raises(WeightsError, match=r"do not fit: missing audio_encoder\.batch_norm"):
        encoder_weights.import_encoders({"visual": visual, "audio": visual}, JOB, str(tmp_path / "out"))


def test_encoders_that_diverge_or_have_no_sound_say_so(tmp_path):
    with pytest.raises(ValidationError, match="rate"):
        encoder_training.train(inputs(tmp_path / "set", rate=1), str(tmp_path / "a"), str(tmp_path / "t"))
    with pytest.raises(ValueError, match="diverged"):
        encoder_training.train(inputs(tmp_path / "set", lr=1e30), str(tmp_path / "a"), str(tmp_path / "t"))
    assert not (tmp_path / "a").exists()


def test_a_clip_without_a_class_is_named(tmp_path):
    job = inputs(tmp_path / "set")
    rows = contracts.read(job.sources.clips, contracts.CLIPS)
    rows[1]["label"] = -1
    contracts.write(rows, contracts.CLIPS, job.sources.clips, {})
    with pytest.raises(ValueError, match="clip 'train/1' has no class of its own"):
        encoder_training.train(job, str(tmp_path / "a"), str(tmp_path / "t"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"size": "tiny"}, "exactly one of"),
        ({"size": "tiny", "random": True, "trained_on": "demo"}, "given: trained_on, random"),
        ({"size": "tiny", "trained_on": "nothing"}, "unknown dataset 'nothing'"),
        ({"size": "tiny", "visual": "nothing"}, "unknown checkpoint 'nothing'"),
        ({"size": "tiny", "random": True, "train": {"epochs": 3}}, "`train:` is of encoders that are trained here"),
        ({"size": "tiny", "trained_on": "demo", "train": {"epoch": 3}}, r"encoders\.mine\.train\.epoch"),
    ],
)
def test_encoders_without_one_origin_are_refused(section, message):
    base = {"datasets": {"demo": {"plugin": "synthetic"}}, "experiments": {}, "targets": []}
    with pytest.raises(ConfigError, match=message):
        load({**base, "encoders": {"mine": section}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "aves"}, "unknown task 'aves'"),
        ({"prompters": ["dgst"]}, "unknown prompter 'dgst'"),
        ({"encoders": "other"}, "unknown encoders 'other'"),
        ({"datasets": ["other"]}, "unknown dataset 'other'"),
        ({"reference": "lavish"}, "prompting.mine.reference: unknown prompter 'lavish'"),
        ({"prompters": ["dgsct_clip"]}, "reads names, which encoders 'mine' trained on clips cannot"),
        ({"epochs": 3}, "prompting.mine.epochs"),
        ({"train_on": "demo"}, "prompting.mine.train_on: prompter 'none' does not read names of other classes"),
        ({"task": "avs_ms3", "datasets": ["single"]}, "'avs_ms3' is of another half of AVSBench than dataset 'single'"),
        ({"motion": "flow"}, "prompting.mine.motion: task 'ave' takes no features"),
    ],
)
def test_experiments_that_name_what_is_not_there_are_refused(change, message):
    mine = {"task": "ave", "datasets": ["demo"], "encoders": "mine", "prompters": ["none"], **change}
    base = {"datasets": {"demo": {"plugin": "synthetic"}}, "experiments": {}, "targets": []}
    base["datasets"]["single"] = {"plugin": "avsbench", "root": "avsbench", "options": {"subset": "s4"}}
    base["features"] = {"flow": {"plugin": "r2plus1d", "root": "features"}}
    pair = {"mine": {"size": "tiny", "trained_on": "demo"}}
    with pytest.raises(ConfigError, match=message):
        load({**base, "encoders": pair, "prompting": {"mine": mine}})


def test_encoders_of_another_size_do_not_load(tmp_path):
    encoder_weights.initialise_encoders(JOB, str(tmp_path / "pair"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        encoder_weights.load(str(tmp_path / "pair"), "swin_htsat", "tiny")
    assert np.isfinite(next(iter(load_file(tmp_path / "pair").values())).numpy()).all()
