"""Training and running prompters: resumed to the same bytes, chosen on validation clips, blind to test labels, frozen where
they should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from prompted_sets import NANO, PX, SPLITS, Set
from safetensors.torch import load_file, save_file

from earshot import contracts, plugins, prompt_views, prompting, prompting_data, weights
from earshot.backbones import WeightsError
from earshot.config import ConfigError
from earshot.files import write_json
from earshot.prompters import _trunks
from earshot.resuming import Resume

AVE = plugins.describe("tasks", "ave")


@pytest.fixture(scope="module", autouse=True)
def nano():
    """Encoders of milliseconds."""
    _trunks.SIZES["nano"] = NANO
    yield
    del _trunks.SIZES["nano"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Set(tmp_path_factory.mktemp("set"))


def train(inputs, out):
    out.mkdir(exist_ok=True)
    prompting.train(inputs, str(out / "w.safetensors"), str(out / "t.parquet"), str(out / "c.parquet"))
    return contracts.read(out / "t.parquet", contracts.TRAINING)


def run(inputs, out, split="test", show=0):
    prompting.run(inputs, str(out / "w.safetensors"), split, show, str(out / "p.parquet"), str(out / "v.safetensors"))
    return contracts.read(out / "p.parquet", contracts.PROMPTED)


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """DG-SCT, trained for three epochs, and what it said of the test split."""
    out = tmp_path_factory.mktemp("trained")
    table = train(made.inputs(), out)
    return out, table, run(made.inputs(), out, show=2)


def same_bytes(first, second, *names):
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def values(table, metric, split="train"):
    return [row["value"] for row in table if (row["metric"], row["split"]) == (metric, split)]


def test_the_epoch_of_the_best_validation_score_is_kept(trained):
    out, table, _ = trained
    scores = values(table, "segment_accuracy", "val")
    assert len(scores) == 3
    assert weights.facts_of(out / "w.safetensors")["epoch"] == 1 + int(np.argmax(scores))


def test_only_modules_and_head_are_stored_and_encoders_stay_as_they_were(made, trained):
    names = load_file(trained[0] / "w.safetensors")
    assert {name.split(".")[0] for name in names} == {"prompter", "head"}
    assert not any(name.startswith(("prompter.visual.", "prompter.audio.")) for name in names)
    built = prompting.build(made.inputs())
    before = {name: one.clone() for name, one in built.model.named_parameters() if not one.requires_grad}
    training = prompting_data.load(made.sources, "train", AVE)
    prompting._Trainer(built, training, None, 0, Resume(made.folder / "none", ""))._epoch(1)
    after = dict(built.model.named_parameters())
    assert before and all(torch.equal(one, after[name]) for name, one in before.items())


def test_training_again_gives_the_same_bytes_and_a_killed_one_goes_on_to_them(made, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(prompting, "_SAVE_EVERY", 0.0)
    look, seen = prompting.Best.look, []

    def killed(self, epoch, *rest):
        look(self, epoch, *rest)
        seen.append(epoch)
        if epoch == 3 and len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(prompting.Best, "look", killed)
    with pytest.raises(KeyboardInterrupt):
        train(made.inputs(), tmp_path)
    assert (tmp_path / "w.resume.pt").exists() and not (tmp_path / "w.safetensors").exists()
    train(made.inputs(), tmp_path)
    assert seen == [1, 2, 3, 3]  # the third epoch alone was done again
    assert same_bytes(trained[0], tmp_path, "w.safetensors", "t.parquet")
    assert not (tmp_path / "w.resume.pt").exists()


def test_the_state_of_another_training_is_not_taken(made, trained):
    named = [{**row, "name": f"a {row['name']}"} for row in contracts.read(made.path("classes"), contracts.CLASSES)]
    contracts.write(named, contracts.CLASSES, trained[0] / "classes.parquet", {})
    renamed = replace(made.inputs(), sources=replace(made.sources, classes=str(trained[0] / "classes.parquet")))
    others = (made.inputs(seed=1), made.inputs(batch=2), made.inputs(modules={"tokens": 4}), replace(made.inputs(), code="d"))
    keys = {prompting._key(one, prompting.build(one)) for one in (made.inputs(), renamed, *others)}
    assert len(keys) == 6
    with pytest.raises(ValueError, match=r"of other classes, bell, cat, dog, …: 'dgsct' reads no names"):
        run(renamed, trained[0])


def test_parts_of_a_batch_add_up_to_it_and_the_reference_throws_the_first_away(made):
    """In evaluation mode, where neither dropout nor statistics of batches differ."""
    training = prompting_data.load(made.sources, "train", AVE)

    def gradient(**how):
        built = prompting.build(made.inputs("none", **how))
        trainer = prompting._Trainer(built, training, None, 0, Resume(made.folder / "none", ""))
        built.model.eval()
        trainer._step(np.arange(4), 1, prompting.Means())
        return torch.cat([p.grad.flatten() for p in built.model.head.parameters() if p.grad is not None])

    whole, parts = gradient(batch=4), gradient(batch=4, at_once=2)
    assert torch.allclose(whole, parts, rtol=1e-4, atol=1e-6)
    thrown = gradient(batch=4, at_once=2, accumulation="reference")
    built = prompting.build(made.inputs("none"))
    built.model.eval()
    batch = training.batch(np.arange(2, 4))
    loss = torch.stack(list(built.task.losses(built.forward(batch)[1], batch, built.hyper, 1).terms.values())).sum()
    loss.backward()
    last = torch.cat([p.grad.flatten() for p in built.model.head.parameters() if p.grad is not None])
    assert torch.allclose(thrown, last, rtol=1e-4, atol=1e-6) and not torch.allclose(thrown, whole, rtol=1e-2)


def test_checkpointing_changes_no_number(made):
    found = []
    for on in (False, True):
        built = prompting.build(made.inputs(checkpointing=on))
        batch = prompting_data.load(made.sources, "train", AVE).batch(np.arange(3))
        built.model.train()
        torch.manual_seed(0)
        loss = torch.stack(list(built.task.losses(built.forward(batch)[1], batch, built.hyper, 1).terms.values())).sum()
        loss.backward()
        gradients = {name: one.grad for name, one in built.model.named_parameters() if one.grad is not None}
        found.append((loss.item(), gradients, built.model.kept()))
    (first, plain, moved), (second, again, moved_again) = found
    assert first == pytest.approx(second, rel=1e-6) and plain.keys() == again.keys()
    assert all(torch.allclose(one, again[name], rtol=1e-3, atol=1e-5) for name, one in plain.items())
    assert all(torch.allclose(one, moved_again[name]) for name, one in moved.items() if "running" in name)


def test_every_clip_has_a_row_and_views_show_what_was_looked_at(made, trained):
    out, _, rows = trained
    facts = contracts.facts_of(out / "p.parquet")
    assert [row["item"] for row in rows] == [f"test/{k}" for k in range(SPLITS["test"])]
    assert facts["scores_shape"] == [10, 4] and all(len(row["scores"]) == 40 for row in rows)
    assert facts["encoders"] == f"nano{contracts.UNTRAINED}" and facts["trainable"] < facts["total"]
    views = prompt_views.read_views(out / "v.safetensors")
    arrays = views.arrays
    assert arrays["visual"].shape[:2] == arrays["audio"].shape[:2] == arrays["labels"].shape == (4, 10)
    assert arrays["frames"].shape == (2, 10, PX, PX, 3) and len(views.shown) == 2
    maps = arrays["visual_map"].sum(axis=(2, 3))
    assert np.allclose(maps, 1, atol=1e-4)


def test_scores_of_test_clips_do_not_depend_on_their_labels(made, trained, tmp_path):
    swapped = [{**row, "class_id": (row["class_id"] + 1) % 3} for row in contracts.read(made.path("events"), contracts.EVENTS)]
    contracts.write(swapped, contracts.EVENTS, tmp_path / "events.parquet", {})
    inputs = replace(made.inputs(), sources=replace(made.sources, events=str(tmp_path / "events.parquet")))
    (tmp_path / "w.safetensors").write_bytes((trained[0] / "w.safetensors").read_bytes())
    assert run(inputs, tmp_path) == trained[2]


def test_clips_that_cannot_be_used_are_left_out_and_named(tmp_path, capsys):
    broken = Set(tmp_path / "set", missing=("train/1", "val/0", "test/2"))
    train(broken.inputs("none", epochs=1), tmp_path)
    rows = {row["item"]: row for row in run(broken.inputs("none"), tmp_path)}
    assert not rows["test/2"]["available"] and "frames: no file; waves: no file" in rows["test/2"]["problem"]
    assert sum(row["available"] for row in rows.values()) == 3 and not rows["test/2"]["scores"]
    told = capsys.readouterr().out
    assert "left out of train: train/1" in told and "left out of val: val/0" in told and "left out of test: test/2" in told
    assert contracts.facts_of(tmp_path / "p.parquet")["train_missing"] == 1


def test_a_training_that_diverges_says_so(made, tmp_path):
    with pytest.raises(ValueError, match=r"diverged in epoch|not finite"):
        train(made.inputs("none", optim={"lr": 1e38}), tmp_path)


def test_no_validation_split_means_the_last_epoch_or_an_error(tmp_path):
    blind = Set(tmp_path / "set")
    rows = [row for row in contracts.read(blind.path("clips"), contracts.CLIPS) if row["split"] != "val"]
    contracts.write(rows, contracts.CLIPS, blind.path("clips"), {})
    with pytest.raises(ValueError, match="there is none; set `keep: last`"):
        train(blind.inputs("none"), tmp_path)
    train(blind.inputs("none", keep="last", epochs=2), tmp_path)
    assert weights.facts_of(tmp_path / "w.safetensors")["epoch"] == 2


def test_the_split_that_chose_the_epoch_is_not_scored(made, trained):
    with pytest.raises(ValueError, match="chosen by the validation split"):
        run(made.inputs(), trained[0], split="val")
    elsewhere = replace(made.inputs(), facts={**made.inputs().facts, "trained_on": "another"})
    assert len(run(elsewhere, trained[0], split="val")) == SPLITS["val"]


@pytest.mark.parametrize("plugin", ["none", "dgsct"])
@pytest.mark.parametrize(
    "settings",
    [
        {"finetune": ["audio"]},
        {"finetune": ["visual"], "checkpointing": True},
        {"trunk_mode": "reference"},
        {"precision": "bf16", "trunk_mode": "reference", "checkpointing": True},
    ],
    ids=lambda one: "-".join(one),
)
def test_every_way_of_training_goes_on_where_it_was_killed_with_the_same_bytes(made, tmp_path, monkeypatch, plugin, settings):
    inputs = made.inputs(plugin, epochs=2, **settings)
    train(inputs, tmp_path / "whole")
    monkeypatch.setattr(prompting, "_SAVE_EVERY", 0.0)
    epoch = prompting._Trainer._epoch

    def killed(self, number):
        if number == 2:
            raise KeyboardInterrupt
        epoch(self, number)

    monkeypatch.setattr(prompting._Trainer, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(inputs, tmp_path / "killed")
    monkeypatch.setattr(prompting._Trainer, "_epoch", epoch)
    train(inputs, tmp_path / "killed")
    assert same_bytes(tmp_path / "whole", tmp_path / "killed", "w.safetensors", "t.parquet")
    kept = load_file(tmp_path / "whole" / "w.safetensors")
    sides = {side for side in ("visual", "audio") if any(key.startswith(f"prompter.{side}.") for key in kept)}
    assert sides == set(settings.get("finetune", ["audio"] if "trunk_mode" in settings else []))
    assert len(run(inputs, tmp_path / "whole")) == SPLITS["test"]


def test_knobs_that_do_not_exist_are_named(made):
    with pytest.raises(ConfigError, match=r"prompters\.<name>\.hyper: token: .*Legal keys"):
        prompting.build(made.inputs(modules={"token": 3}))
    with pytest.raises(ConfigError, match=r"prompting\.<name>\.hyper: train\.epoch: "):
        prompting.build(made.inputs(epoch=3))


def test_published_weights_are_taken_over(made, trained, tmp_path):
    state = load_file(trained[0] / "w.safetensors")
    published = {f"module.{name.split('.', 1)[1]}": tensor for name, tensor in state.items()}
    save_file(published, tmp_path / "published.safetensors")
    manifest = {"file": str(tmp_path / "published.safetensors"), "origin": "there", "sha256": "0"}
    write_json(tmp_path / "m.json", manifest)
    prompting.import_weights(made.inputs(), str(tmp_path / "m.json"), str(tmp_path / "w.safetensors"))
    assert run(made.inputs(), tmp_path) == trained[2]
    assert weights.facts_of(tmp_path / "w.safetensors")["checkpoint"]["origin"] == "there"
    published.pop(next(name for name in published if "my_tokens" in name))
    save_file(published, tmp_path / "published.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        prompting.import_weights(made.inputs(), str(tmp_path / "m.json"), str(tmp_path / "w.safetensors"))


def test_weights_of_other_modules_are_refused(made, trained):
    built = prompting.build(made.inputs("none"))
    with pytest.raises(KeyError, match="other modules"):
        built.model.take(load_file(trained[0] / "w.safetensors"))


def test_patience_ends_a_training(made, tmp_path, monkeypatch):
    monkeypatch.setattr(prompting, "scores_of", lambda built, items: {"segment_accuracy": 50.0})
    table = train(made.inputs("none", epochs=9, patience=2), tmp_path)
    assert [row["epoch"] for row in table if row["split"] == "val"] == [1, 2, 3]


def test_frames_of_other_clips_are_never_the_clips_own(made):
    items = prompting_data.load(made.sources, "train", {**AVE, "truth": ("negatives",)})
    array = items.stores["frames"].array
    drawn = items.batch(np.arange(len(items)), 0, 1).labels["negatives"].numpy()
    for place, row in enumerate(items.rows["frames"]):
        own = {frame.tobytes() for frame in array[row]}
        assert not any(frame.tobytes() in own for frame in drawn[place])
    again = items.batch(np.array([2]), 0, 1).labels["negatives"].numpy()[0]
    other = items.batch(np.array([2]), 0, 2).labels["negatives"].numpy()[0]
    assert np.array_equal(again, drawn[2]) and not np.array_equal(other, again)


def test_segments_are_of_the_class_that_is_heard_and_seen():
    dense = np.zeros((1, 2, 3, 10), bool)
    dense[0, 0, 1, 2:6] = dense[0, 1, 1, 4:9] = dense[0, 0, 2, :] = True
    assert prompting_data.segment_classes(dense).tolist() == [[3, 3, 3, 3, 1, 1, 3, 3, 3, 3]]


def test_the_first_clips_of_each_class_are_the_few_that_are_learnt_from(made):
    items = prompting_data.load(made.sources, "train", {**AVE, "truth": ("segments",)})
    few = items.few(1)
    assert few.names == ["train/0", "train/1", "train/2"] and len(few) == 3
    assert np.array_equal(few.batch(np.array([1])).frames, items.batch(np.array([1])).frames)
    weak = prompting_data.load(made.sources, "train", {**AVE, "truth": ("weak",)}).few(5)
    assert weak.names == [f"train/{k}" for k in (0, 3, 1, 4, 2, 5)]


def test_a_set_without_events_has_its_classes_in_all_seconds(tmp_path):
    made = Set(tmp_path)
    contracts.write([], contracts.EVENTS, made.sources.events, {})
    items = prompting_data.load(made.sources, "train", {**AVE, "truth": ("segments", "weak", "label")})
    assert (items.labels["segments"] == items.labels["label"][:, None]).all()
    assert (items.labels["weak"].argmax(1) == items.labels["label"]).all() and (items.labels["weak"].sum(1) == 1).all()
    rows = [{**row, "label": -1} for row in contracts.read(made.sources.clips, contracts.CLIPS)]
    contracts.write(rows, contracts.CLIPS, made.sources.clips, {})
    with pytest.raises(ValueError, match="has no class of its own"):
        prompting_data.load(made.sources, "train", AVE)


def test_weak_labels_alone_tell_what_is_in_a_clip_where_they_are_given(tmp_path):
    made = Set(tmp_path)
    rows = contracts.read(made.sources.events, contracts.EVENTS)
    weak = {"clip_id": "train/0", "modality": "weak", "class_id": 2, "onset": np.nan, "offset": np.nan}
    contracts.write([*rows, weak], contracts.EVENTS, made.sources.events, {})
    found = prompting_data.load(made.sources, "train", {**AVE, "truth": ("weak", "dense")}).labels
    assert found["weak"][0].tolist() == [0, 0, 1] and found["dense"][0, :, 0].any()
    assert found["weak"][1].tolist() == [0, 1, 0]  # of its events, for nothing else tells


def test_splits_without_any_event_are_neither_learnt_from_nor_chosen_by(tmp_path):
    silent = Set(tmp_path)
    rows = contracts.read(silent.sources.events, contracts.EVENTS)
    contracts.write([row for row in rows if row["clip_id"].startswith("train")], contracts.EVENTS, silent.sources.events, {})
    with pytest.raises(ValueError, match="chooses by the validation split, and no event of it is known; set `keep: last`"):
        train(silent.inputs("none"), tmp_path)
    table = train(silent.inputs("none", keep="last", epochs=1), tmp_path)
    assert not values(table, "segment_accuracy", "val")  # silence would score 100 %
    contracts.write([row for row in rows if row["clip_id"].startswith("val")], contracts.EVENTS, silent.sources.events, {})
    with pytest.raises(ValueError, match="no clip of the training split has an event in any second"):
        train(silent.inputs("none"), tmp_path)
