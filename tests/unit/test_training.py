"""Source training: a killed job goes on to the same bytes, a linear head leaves the encoder alone, training stops early."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_synthesis import index

from earshot import contracts, importing, media, statistics, training, weights
from earshot.backbones import tanet_small
from earshot.config import ConfigError
from earshot.source_models import SourceModel
from helpers import cut_in_the_middle, moving_square

RUNTIME = {"training_threads": 1, "device": "cpu", "frame_cache_mb": 100, "loading_threads": 1}
BACKBONE = {"plugin": "tanet_small", "options": {}}
FAST = {"epochs": 3, "batch": 4, "views": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two classes that colour tells apart: 6 clips of each to train on, 3 to validate, and one that breaks off."""
    root = tmp_path_factory.mktemp("clips")
    lines = ["path,label,split"]
    for i in range(18):
        frames = moving_square(frames=12, size=80, seed=i)
        frames[..., i % 2] //= 3
        media.write_video(root / f"{i}.mp4", frames, 12)
        lines.append(f"{i}.mp4,{'ab'[i % 2]},{'train' if i < 12 else 'val'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return index(root)


def inputs(root, hyper=FAST, fit="all", manifest="", seed=0, **runtime):
    files = {"clips": str(root / "clips.parquet"), "classes": str(root / "classes.parquet"), "root": str(root)}
    return training.Inputs(
        **files, manifest=manifest, backbone=BACKBONE, fit=fit, hyper=hyper, seed=seed, runtime={**RUNTIME, **runtime}, code="c"
    )


def train(root, out, **how):
    training.train(inputs(root, **how), str(out / "w.safetensors"), str(out / "t.parquet"))
    return contracts.read(out / "t.parquet", contracts.TRAINING)


def values(table, metric):
    return [row["value"] for row in table if row["metric"] == metric]


class Killed(BaseException):
    pass


def kill_after(monkeypatch, saves):
    """Kill the job right after it has saved for the n-th time."""
    save, count = training.Resume.save, []

    def counted(self, state):
        save(self, state)
        count.append(1)
        if len(count) == saves:
            raise Killed

    monkeypatch.setattr(training.Resume, "save", counted)


@pytest.mark.parametrize("how", [{"fit": "all"}, {"fit": "head"}, {"fit": "all", "hyper": {**FAST, "keep": "best"}}], ids=str)
def test_a_killed_job_goes_on_to_the_same_bytes(dataset, tmp_path, monkeypatch, how):
    monkeypatch.setattr(training, "_PART", 8)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    train(dataset, tmp_path / "whole", **how)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 2)
        train(dataset, tmp_path / "killed", **how)
    assert not (tmp_path / "killed" / "w.safetensors").exists()
    train(dataset, tmp_path / "killed", **how)
    for name in ("w.safetensors", "t.parquet"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["t.parquet", "w.safetensors"]


def test_what_another_run_left_is_not_taken(dataset, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 1)
        train(dataset, tmp_path)
    train(dataset, tmp_path, seed=1)
    assert "going on" not in capsys.readouterr().out


def test_threads_do_not_change_the_result(dataset, tmp_path):
    for threads in (1, 3):
        (tmp_path / str(threads)).mkdir()
        train(dataset, tmp_path / str(threads), loading_threads=threads)
    one, three = ((tmp_path / name / "w.safetensors").read_bytes() for name in "13")
    assert one == three


def test_the_size_of_the_cache_does_not_change_the_result(dataset, tmp_path):
    for size in (0, 100):
        (tmp_path / str(size)).mkdir()
        train(dataset, tmp_path / str(size), frame_cache_mb=size)
    assert (tmp_path / "0" / "w.safetensors").read_bytes() == (tmp_path / "100" / "w.safetensors").read_bytes()


def test_training_learns(dataset, tmp_path):
    table = train(dataset, tmp_path, hyper={"epochs": 10, "batch": 4})
    losses = values(table, "loss")
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert values(table, "top1")[-1] > 60
    facts = weights.facts_of(tmp_path / "w.safetensors")
    assert (facts["origin"], facts["classes"], facts["fit"]) == ("trained", ["a", "b"], "all")


def test_a_head_is_trained_on_a_frozen_encoder(dataset, tmp_path):
    torch.manual_seed(5)
    source = tanet_small.build(7, tanet_small.Options())
    torch.save({"state_dict": source.state_dict()}, tmp_path / "source.pth")
    manifest = str(tmp_path / "m.json")
    importing.fetch({"path": str(tmp_path / "source.pth")}, str(tmp_path), True, manifest)
    table = train(dataset, tmp_path, fit="head", manifest=manifest, hyper={"epochs": 40, "batch": 8, "views": 3, "lr": 0.02})
    made = load_file(tmp_path / "w.safetensors")
    for name, tensor in source.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(made[name], tensor), name
    assert made["head.weight"].shape[0] == 2
    assert values(table, "loss")[-1] < 0.9 * values(table, "loss")[0]
    assert weights.facts_of(tmp_path / "w.safetensors")["checkpoint"]["origin"] == "path source.pth"


def test_training_stops_when_nothing_gets_better(dataset, tmp_path, monkeypatch):
    looks = iter([40.0, 70.0, 60.0, 70.0, 90.0, 90.0])
    monkeypatch.setattr(training, "accuracy", lambda *_: next(looks))
    table = train(dataset, tmp_path, hyper={**FAST, "epochs": 6, "patience": 2, "keep": "best"})
    assert values(table, "top1") == [40.0, 70.0, 60.0, 70.0]  # the second 70 is no better than the first


def test_the_best_weights_are_kept(dataset, tmp_path, monkeypatch):
    looks = iter([50.0, 80.0, 60.0, 50.0, 80.0])
    monkeypatch.setattr(training, "accuracy", lambda *_: next(looks))
    for keep, epochs in (("best", 3), ("last", 2)):
        monkeypatch.setattr(training, "_one_cycle", lambda step, total: 1.0)  # so that two epochs are the first two of three
        (tmp_path / keep).mkdir()
        train(dataset, tmp_path / keep, hyper={**FAST, "epochs": epochs, "keep": keep})
    best, second = (load_file(tmp_path / keep / "w.safetensors") for keep in ("best", "last"))
    assert all(torch.equal(best[name], second[name]) for name in best)


@pytest.mark.parametrize("fit", ["all", "head"])
@pytest.mark.parametrize("asked", [{"keep": "best"}, {"patience": 1}])
def test_looking_at_no_validation_split_is_refused(dataset, tmp_path, fit, asked):
    rows = [row for row in contracts.read(dataset / "clips.parquet", contracts.CLIPS) if row["split"] == "train"]
    contracts.write(rows, contracts.CLIPS, tmp_path / "clips.parquet", {})
    given = inputs(dataset, {**FAST, **asked}, fit)._replace(clips=str(tmp_path / "clips.parquet"))
    with pytest.raises(ValueError, match=r"need a validation split, and the dataset has none"):
        training.train(given, str(tmp_path / "w"), str(tmp_path / "t"))


def test_a_head_stops_when_nothing_gets_better(dataset, tmp_path, monkeypatch):
    looks = iter([40.0, 70.0, 60.0, 70.0, 90.0])
    monkeypatch.setattr(training._HeadTrainer, "_accuracy", lambda *_: next(looks))
    table = train(dataset, tmp_path, fit="head", hyper={**FAST, "epochs": 12, "evaluate_every": 2, "patience": 2})
    assert values(table, "top1") == [40.0, 70.0, 60.0, 70.0] and len(values(table, "loss")) == 8


def test_a_damaged_file_to_go_on_from_is_no_obstacle(dataset, tmp_path, capsys):
    (tmp_path / "w.resume.pt").write_bytes(b"PK\x03\x04 cut off")
    train(dataset, tmp_path)
    assert "cannot be read" in capsys.readouterr().out
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["t.parquet", "w.safetensors"]


@pytest.mark.parametrize("fit", ["all", "head"])
@pytest.mark.parametrize("size", [0, 100])
def test_a_clip_that_breaks_off_is_left_out_and_named(dataset, tmp_path, capsys, fit, size):
    cut_in_the_middle(dataset / "3.mp4", tmp_path / "cut.mp4")
    whole = (dataset / "3.mp4").read_bytes()
    (dataset / "3.mp4").write_bytes((tmp_path / "cut.mp4").read_bytes())
    try:
        table = train(dataset, tmp_path, fit=fit, frame_cache_mb=size)
    finally:
        (dataset / "3.mp4").write_bytes(whole)
    assert capsys.readouterr().out.count("left out of training: 3: ") == 1
    assert len(values(table, "loss")) == 3


def test_a_dataset_without_training_clips_is_refused(dataset, tmp_path):
    rows = contracts.read(dataset / "clips.parquet", contracts.CLIPS)
    contracts.write([{**row, "split": "test"} for row in rows], contracts.CLIPS, tmp_path / "clips.parquet", {})
    with pytest.raises(ValueError, match="0 readable training clips"):
        wrong = inputs(dataset)._replace(clips=str(tmp_path / "clips.parquet"))
        training.train(wrong, str(tmp_path / "w"), str(tmp_path / "t"))


def test_a_wrong_setting_is_named(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"learning_rate: .*Legal keys: epochs, batch, lr"):
        train(dataset, tmp_path, hyper={"learning_rate": 1})


def test_statistics_say_what_they_are_of(dataset, tmp_path):
    train(dataset, tmp_path)
    for threads in (1, 2):
        out = tmp_path / f"{threads}.safetensors"
        files = (str(dataset / "clips.parquet"), str(dataset / "classes.parquet"), str(tmp_path / "w.safetensors"))
        frames, runtime = {"evaluation": None, "index_base": 0}, {**RUNTIME, "loading_threads": threads}
        statistics.compute(SourceModel(*files, str(dataset), BACKBONE, frames, runtime), 5, str(out))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    facts = weights.facts_of(tmp_path / "1.safetensors")
    assert (facts["clips"], facts["batch"], facts["frames"], facts["size"]) == (12, 5, 8, 64)
    found = load_file(tmp_path / "1.safetensors")
    assert len(found) == 2 * len(facts["layers"])
    assert all(np.isfinite(tensor.numpy()).all() for tensor in found.values())
