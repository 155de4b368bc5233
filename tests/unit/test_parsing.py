"""Training and running parsers: resumed to the same bytes, chosen on validation clips, blind to the labels of test clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from earshot import contracts, feature_store, parsing, parsing_data, pseudo_labels, weights
from earshot.backbones import WeightsError
from earshot.config import ConfigError
from earshot.epochs import Best
from earshot.errors import MediaError
from earshot.extractors import ClassVectors
from earshot.files import write_json
from earshot.parsing_data import Sources
from earshot.resuming import Resume

CLASSES, DIM = ("bell", "cat", "dog", "drum"), 6
SPLITS = {"train": 24, "val": 8, "test": 10}
RUNTIME = {"device": "cpu", "training_threads": 1, "torch_threads": 1}
SMALL = {"structure": {"dim": 16, "heads": 2, "ff": 16, "layers": 1}, "train": {"epochs": 4, "batch": 8}, "optim": {"lr": 3e-3}}
OFF = {name: {"enabled": False} for name in ("tsam", "sloss", "plsim")}


def clip_ids(split):
    return [f"videos/{split}_{n:02d}" for n in range(SPLITS[split])]


def events_of(split):
    """One or two classes a clip, heard, seen or both; weak labels everywhere, times in val and test."""
    rng = np.random.default_rng(sum(map(ord, split)))
    rows = []
    for clip in clip_ids(split):
        for number in rng.choice(len(CLASSES), 1 + int(rng.integers(2)), replace=False):
            rows.append((clip, "weak", int(number), np.nan, np.nan))
            for modality in (("audio",), ("visual",), ("audio", "visual"))[int(rng.integers(3))]:
                onset = int(rng.integers(0, 7))
                rows.append((clip, modality, int(number), onset, onset + int(rng.integers(2, 4))))
    return rows


class Set:
    """A parsing set on disk, whose features show its events through noise."""

    def __init__(self, folder, missing=(), test_weak=None):
        self.folder = Path(folder)
        events = {split: events_of(split) for split in SPLITS}
        if test_weak is not None:
            events["test"] = [row for row in events["test"] if row[1] != "weak"] + test_weak
        self.listed = [(clip, split) for split in SPLITS for clip in clip_ids(split)]
        facts = {"dataset": "made"}
        contracts.write([self._clip(*one) for one in self.listed], contracts.CLIPS, self.path("clips"), facts)
        named = [{"class_id": n, "name": name, "prompt": name} for n, name in enumerate(CLASSES)]
        contracts.write(named, contracts.CLASSES, self.path("classes"), facts)
        dense = [row for split in ("val", "test") for row in events[split]] + [r for r in events["train"] if r[1] == "weak"]
        keys = ("clip_id", "modality", "class_id", "onset", "offset")
        contracts.write([dict(zip(keys, row, strict=True)) for row in dense], contracts.EVENTS, self.path("events"), facts)
        self._features([row for rows in events.values() for row in rows], missing)

    def path(self, name, suffix="parquet"):
        return str(self.folder / f"{name}.{suffix}")

    def _clip(self, clip, split):
        blank = dict.fromkeys(("start", "end", "duration", "fps", "level"), 0.0) | dict.fromkeys(
            ("frames", "width", "height", "audio_rate"), 0
        )
        told = {
            "clip_id": clip,
            "video": f"{clip}.mp4",
            "split": split,
            "label": -1,
            "sha256": "",
            "source": "made",
            "group": "",
        }
        return {**blank, **told, "available": False, "problem": "the video is gone"}

    def _features(self, events, missing):
        rng = np.random.default_rng(5)
        clips = [clip for clip, _ in self.listed]
        where = np.zeros((len(clips), 2, 10, len(CLASSES)), np.float32)
        for clip, modality, number, onset, offset in events:
            if modality != "weak":
                where[clips.index(clip), int(modality == "visual"), onset:offset, number] = 1
        for side, name in enumerate(("audio", "visual")):
            noise = 0.3 * rng.standard_normal((len(clips), 10, DIM)).astype(np.float32)
            array = noise + np.pad(where[:, side], ((0, 0), (0, 0), (0, DIM - len(CLASSES))))
            made = (MediaError("no file") if clip in missing else row for clip, row in zip(clips, array, strict=True))
            feature_store.write(made, clips, (10, DIM), {"extractor": "made"}, self.path(name, "npy"), self.path(name))
            vectors = ClassVectors(torch.eye(4, DIM), torch.zeros(4), torch.eye(4, dtype=torch.bool), "none")
            pseudo_labels.save_vectors(self.path(f"{name}_vectors", "safetensors"), vectors, {"classes": list(CLASSES)})
        labels = pseudo_labels.label(where + 0.3 * rng.standard_normal(where.shape), 0.5, 0.0)
        whole = (2, 10, len(CLASSES))
        feature_store.write(iter(labels), clips, whole, {}, self.path("labels", "npy"), self.path("labels"), dtype="uint8")

    @property
    def sources(self):
        streams = {name: self.path(name, "npy") for name in ("audio", "visual")}
        tables = (self.path(name) for name in ("clips", "classes", "events"))
        return Sources(*tables, streams, self.path("labels", "npy"))

    def inputs(self, plugin="link", seed=0, **hyper):
        words = {side: self.path(f"{side}_vectors", "safetensors") for side in ("audio", "visual")}
        return parsing.Inputs(self.sources, plugin, {**SMALL, **hyper}, seed, RUNTIME, words, code="c")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Set(tmp_path_factory.mktemp("set"))


def train(inputs, out):
    out.mkdir(exist_ok=True)
    parsing.train(inputs, str(out / "best.safetensors"), str(out / "last.safetensors"), str(out / "t.parquet"))
    return contracts.read(out / "t.parquet", contracts.TRAINING)


def parse(inputs, folder, split="test", **facts):
    parsing.parse(inputs, str(folder / "best.safetensors"), split, str(folder / "parses.parquet"), facts)
    return contracts.read(folder / "parses.parquet", contracts.PARSES)


def values(table, metric, split="train"):
    return [row["value"] for row in table if (row["metric"], row["split"]) == (metric, split)]


def same_bytes(first, second, names=("best.safetensors", "last.safetensors", "t.parquet")):
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("plugin", ["han", "valor", "link"])
def test_a_parser_learns_what_is_heard_and_seen(made, tmp_path, plugin):
    inputs = made.inputs(plugin, train={"epochs": 30, "batch": 8}, optim={"lr": 8e-3})
    table = train(inputs, tmp_path)
    losses, scores = values(table, "loss"), values(table, "f_score_seg_TypeAV", "val")
    assert len(losses) == len(scores) == 30 and table[0]["epoch"] == 1
    assert losses[-1] < losses[0] and max(scores) > scores[0] + 10
    rows = parse(inputs, tmp_path)
    assert [row["clip_id"] for row in rows] == clip_ids("test") and all(row["available"] for row in rows)
    assert {(len(row["video_prob"]), len(row["segment_prob"])) for row in rows} == {(4, 80)}


@pytest.mark.parametrize("plugin", ["han", "link"])
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(made, tmp_path, plugin):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(made.inputs(plugin, seed=seed), tmp_path / name)
    assert same_bytes(tmp_path / "a", tmp_path / "b")
    assert not same_bytes(tmp_path / "a", tmp_path / "c", ["last.safetensors"])


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_training_goes_on_to_the_same_bytes(made, tmp_path, monkeypatch, epoch, capsys):
    train(made.inputs(), tmp_path / "whole")
    monkeypatch.setattr(parsing, "_SAVE_EVERY", 0)
    save, count = Resume.save, []

    def counted(self, state):
        save(self, state)
        count.append(1)
        if len(count) == epoch:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Resume, "save", counted)
        with pytest.raises(Killed):
            train(made.inputs(), tmp_path / "killed")
    assert (tmp_path / "killed" / "best.resume.pt").exists()
    train(made.inputs(), tmp_path / "killed")
    assert f"going on after epoch {epoch}" in capsys.readouterr().out
    assert same_bytes(tmp_path / "whole", tmp_path / "killed")
    assert not (tmp_path / "killed" / "best.resume.pt").exists()


def test_the_state_of_another_training_is_not_taken(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parsing, "_SAVE_EVERY", 0)
    monkeypatch.setattr(Resume, "forget", lambda self: None)
    train(made.inputs(), tmp_path / "a")
    train(made.inputs(), tmp_path / "a")
    assert "going on after epoch 4" in capsys.readouterr().out
    others = (made.inputs(seed=1), made.inputs(optim={"lr": 1e-3}), replace(made.inputs(), code="d"))
    for other in others:
        train(other, tmp_path / "a")
        assert "going on" not in capsys.readouterr().out


def test_the_kept_epoch_is_the_best_of_the_validation_split_and_the_last_one_is_there_too(made, tmp_path):
    inputs = made.inputs("han", train={"epochs": 12, "batch": 8}, optim={"lr": 2e-2})
    scores = values(train(inputs, tmp_path), "f_score_seg_TypeAV", "val")
    facts = weights.facts_of(tmp_path / "best.safetensors")
    assert facts["epoch"] == 1 + max(k for k, score in enumerate(scores) if score == max(scores))  # ties: the later one
    assert weights.facts_of(tmp_path / "last.safetensors")["epoch"] == 12
    built = parsing.build(inputs)
    held = parsing_data.load(inputs.sources, "val")
    for name, expected in (("best", max(scores)), ("last", scores[-1])):
        built.model.load_state_dict(load_file(tmp_path / f"{name}.safetensors"))
        assert parsing.scores_of(built, held)["f_score_seg_TypeAV"] == expected


def test_ties_go_to_the_first_epoch_in_the_valor_family():
    for ties, epoch in (("first", 1), ("later", 3)):
        best = Best("best", ties, 3)
        for number, value in enumerate((50.0, 40.0, 50.0), start=1):
            best.look(number, value, {})
        assert best.epoch == epoch


def test_the_last_epoch_is_kept_where_nothing_can_be_chosen_by(made, tmp_path):
    blind = Set(tmp_path)
    rows = [row for row in contracts.read(blind.path("events"), contracts.EVENTS) if "val_" not in row["clip_id"]]
    contracts.write(rows, contracts.EVENTS, blind.path("events"), {})
    with pytest.raises(ValueError, match="no event in the validation split; set `keep: last`"):
        train(blind.inputs(), tmp_path / "out")
    table = train(blind.inputs(train={"epochs": 3, "batch": 8, "keep": "last"}), tmp_path / "out")
    assert not values(table, "f_score_seg_TypeAV", "val")
    states = [load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("best", "last")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_link_without_its_modules_trains_to_the_weights_of_valor_plus_plus(made, tmp_path):
    train(made.inputs("valor_plus_plus"), tmp_path / "v")
    train(made.inputs("link", **OFF), tmp_path / "l")
    first, second = (load_file(tmp_path / name / "last.safetensors") for name in "vl")
    assert first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())
    assert [values(contracts.read(tmp_path / name / "t.parquet", contracts.TRAINING), "loss") for name in "v"] == [
        values(contracts.read(tmp_path / name / "t.parquet", contracts.TRAINING), "loss") for name in "l"
    ]


def test_gates_mu_and_lambda_are_followed_from_epoch_to_epoch(made, tmp_path):
    table = train(made.inputs(train={"epochs": 6, "batch": 4}, optim={"lr": 1e-2}), tmp_path)
    mu, weight = values(table, "mu"), values(table, "lambda")
    assert len(mu) == 6 and np.all(np.diff(mu) > 0) and mu[0] < 1  # towards one, always
    assert all(1 <= value <= np.e for value in weight)
    assert values(table, "alpha_beta_audio")[-1] != 0 and values(table, "alpha_beta_visual")[-1] != 0
    assert {"loss_video", "loss_heard", "loss_seen", "loss_similarity", "loss_video_heard"} <= {row["metric"] for row in table}
    assert values(table, "lr")[0] == pytest.approx(1e-3)  # the first of ten epochs of warm-up


# --- what test labels may do ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """A LINK whose PLSIM has learnt something."""
    folder = tmp_path_factory.mktemp("link")
    train(made.inputs(train={"epochs": 8, "batch": 8}), folder)
    return folder


SOURCES = ("ungated", "predicted", "none", "gated_oracle")


@pytest.mark.parametrize("source", SOURCES)
def test_weak_labels_of_test_clips_change_nothing_but_what_is_marked_as_a_leak(made, trained, tmp_path, source):
    every_class = [(clip, "weak", n, np.nan, np.nan) for clip in clip_ids("test") for n in range(4)]
    no_class = [(clip, "weak", n, np.nan, np.nan) for clip in clip_ids("test") for n in (0,)]
    found = []
    for number, weak in enumerate((every_class, no_class)):
        other = Set(tmp_path / str(number), test_weak=weak) if (tmp_path / str(number)).mkdir() is None else None
        inputs = other.inputs(plsim={"eval_source": source}, train={"epochs": 8, "batch": 8})
        (tmp_path / str(number) / "best.safetensors").write_bytes((trained / "best.safetensors").read_bytes())
        rows = parse(inputs, tmp_path / str(number))
        facts = contracts.facts_of(tmp_path / str(number) / "parses.parquet")
        assert facts["leak"] is (source == "gated_oracle") and facts["shown"] == source
        found.append([row["segment_prob"] for row in rows])
    assert (found[0] == found[1]) is (source != "gated_oracle")


def test_the_sources_of_pseudo_labels_differ_at_evaluation(made, trained, tmp_path):
    found = []
    for source in SOURCES:
        inputs = made.inputs(plsim={"eval_source": source}, train={"epochs": 8, "batch": 8})
        parsing.parse(inputs, str(trained / "best.safetensors"), "test", str(tmp_path / "p.parquet"), {})
        found.append(tuple(map(tuple, (r["segment_prob"] for r in contracts.read(tmp_path / "p.parquet", contracts.PARSES)))))
    assert len(set(found)) >= 3  # thresholds alone may find what the weak labels would have left


def test_a_parser_that_does_not_look_is_no_leak(made, tmp_path):
    for sides in (
        {"audio": False, "visual": False, "eval_source": "gated_oracle"},
        {"enabled": False, "eval_source": "gated_oracle"},
    ):
        inputs = made.inputs(plsim=sides)
        train(inputs, tmp_path)
        parse(inputs, tmp_path)
        assert contracts.facts_of(tmp_path / "parses.parquet")["leak"] is False


def test_labels_that_were_published_masked_are_shown_to_nobody_unmarked(made, tmp_path):
    masked = Set(tmp_path)
    labels = feature_store.read(masked.path("labels", "npy"))
    rows = [row | np.uint8(4) for row in np.array(labels.array)]
    out = (masked.path("labels", "npy"), masked.path("labels"))
    feature_store.write(iter(rows), labels.clip_ids, (2, 10, 4), {}, *out, dtype="uint8")
    with pytest.raises(ValueError, match="gated_oracle"):
        train(masked.inputs(), tmp_path / "out")
    train(masked.inputs(plsim={"eval_source": "gated_oracle"}), tmp_path / "out")
    train(masked.inputs(plsim={"eval_source": "predicted"}), tmp_path / "out")


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_clips_without_features_are_left_out_and_counted(tmp_path, capsys):
    lost = ("videos/train_03", "videos/test_04")
    broken = Set(tmp_path, missing=lost)
    train(broken.inputs("valor"), tmp_path / "out")
    told = capsys.readouterr().out
    assert "left out of train: videos/train_03: audio: no file; visual: no file" in told
    assert weights.facts_of(tmp_path / "out" / "best.safetensors")["missing"] == 1
    rows = {row["clip_id"]: row for row in parse(broken.inputs("valor"), tmp_path / "out")}
    assert len(rows) == SPLITS["test"] and not rows["videos/test_04"]["available"]
    assert rows["videos/test_04"]["problem"] == "audio: no file; visual: no file" and rows["videos/test_04"]["video_prob"] == []


def test_a_set_without_weak_labels_is_no_parsing_set(tmp_path):
    other = Set(tmp_path)
    contracts.write([], contracts.EVENTS, other.path("events"), {})
    with pytest.raises(ValueError, match="no training clip has a weak label"):
        train(other.inputs("han"), tmp_path / "out")


def test_a_split_that_is_empty_or_without_features_is_said_to_be(made, tmp_path):
    with pytest.raises(ValueError, match="no clip is in the split 'nowhere'"):
        parsing_data.load(made.sources, "nowhere")
    broken = Set(tmp_path, missing=clip_ids("test"))
    with pytest.raises(ValueError, match=r"none of 10 clips of 'test' can be used; e\.g\. videos/test_00: audio: no file"):
        parsing_data.load(broken.sources, "test")


def test_scores_that_are_not_finite_are_missing(made, tmp_path):
    inputs = made.inputs("han")
    train(inputs, tmp_path)
    state = load_file(tmp_path / "best.safetensors")
    state["fc_prob.weight"][0] = torch.nan
    weights.save(tmp_path / "best.safetensors", state, weights.facts_of(tmp_path / "best.safetensors"))
    rows = parse(inputs, tmp_path)
    assert not any(row["available"] for row in rows) and {row["problem"] for row in rows} == {"scores that are not finite"}


@pytest.mark.parametrize("train_", [{"epochs": 4, "batch": 8}, {"epochs": 1, "batch": 24, "keep": "last"}])
def test_a_training_that_diverges_says_so(made, tmp_path, train_):
    with pytest.raises(ValueError, match=r"diverged in epoch \d+: .*lower `lr`"):
        train(made.inputs("han", optim={"lr": 1e30}, train=train_), tmp_path)


def test_the_split_that_chose_the_epoch_is_not_scored(made, tmp_path):
    train(made.inputs("han"), tmp_path)
    with pytest.raises(ValueError, match="chosen by the validation split"):
        parse(made.inputs("han"), tmp_path, split="val")
    last = made.inputs("han", train={"epochs": 4, "batch": 8, "keep": "last"})
    assert len(parse(last, tmp_path, split="val")) == SPLITS["val"]


def test_what_learns_from_pseudo_labels_is_evaluated_without_them(tmp_path):
    bare = Set(tmp_path)
    labels = feature_store.read(bare.path("labels", "npy"))
    pairs = zip(labels.clip_ids, np.array(labels.array), strict=True)
    rows = [row if "train" in clip else MediaError("none") for clip, row in pairs]
    out = (bare.path("labels", "npy"), bare.path("labels"))
    feature_store.write(iter(rows), labels.clip_ids, (2, 10, 4), {}, *out, dtype="uint8")
    for plugin, knobs in (("valor", {}), ("link", {"plsim": {"eval_source": "predicted"}}), ("link", OFF)):
        train(bare.inputs(plugin, **knobs), tmp_path / "out")
        assert all(row["available"] for row in parse(bare.inputs(plugin, **knobs), tmp_path / "out"))
    with pytest.raises(ValueError, match="labels: none"):
        train(bare.inputs("link"), tmp_path / "out")


@pytest.mark.parametrize("tsam", [{"share_modalities": True}, {"cross": {"parameterisation": "alpha_only"}}])
def test_shared_and_missing_parameters_survive_being_written(made, tmp_path, tsam):
    knobs = {"tsam": tsam}
    train(made.inputs(**knobs), tmp_path)
    assert all(row["available"] for row in parse(made.inputs(**knobs), tmp_path))


def test_features_that_show_nothing_are_said_to(made, tmp_path):
    for facts, told in (
        ({"origin": "synthetic"}, " (made up)"),
        ({"weights": {"origin": "random"}}, " (random weights)"),
        ({}, ""),
    ):
        doubtful = Set(tmp_path)
        store = feature_store.read(doubtful.path("audio", "npy"))
        out = (doubtful.path("audio", "npy"), doubtful.path("audio"))
        feature_store.write(iter(np.array(store.array)), store.clip_ids, (10, DIM), facts, *out)
        train(doubtful.inputs("valor"), tmp_path / "out")
        parse(doubtful.inputs("valor"), tmp_path / "out", features="mine")
        assert contracts.facts_of(tmp_path / "out" / "parses.parquet")["features"] == f"mine{told}"


def test_an_unknown_knob_is_refused_with_the_legal_ones(made):
    with pytest.raises(ConfigError, match=r"tsamm.*Legal keys: .*tsam"):
        parsing.build(made.inputs(tsamm={"enabled": False}))


def test_published_weights_are_taken_and_those_of_another_parser_are_not(made, tmp_path):
    inputs = made.inputs("valor")
    train(inputs, tmp_path)
    published = {f"module.{key}": value for key, value in load_file(tmp_path / "last.safetensors").items()}
    save_file(published, tmp_path / "published.safetensors")
    manifest = {"file": str(tmp_path / "published.safetensors"), "folder": str(tmp_path), "origin": "somewhere", "sha256": "0"}
    write_json(tmp_path / "m.json", manifest)
    parsing.import_weights(inputs, str(tmp_path / "m.json"), "dataset", str(tmp_path / "imported.safetensors"))
    found = load_file(tmp_path / "imported.safetensors")
    assert all(torch.equal(value, found[key]) for key, value in load_file(tmp_path / "last.safetensors").items())
    assert weights.facts_of(tmp_path / "imported.safetensors")["checkpoint"] == {"origin": "somewhere", "sha256": "0"}
    with pytest.raises(WeightsError, match="not of this parser"):
        parsing.import_weights(
            made.inputs("valor", structure={"dim": 32}), str(tmp_path / "m.json"), "dataset", str(tmp_path / "x")
        )
    (tmp_path / "space.csv").write_text("index,name\n0,dog\n1,drum\n2,bell\n3,cat\n")
    parsing.import_weights(inputs, str(tmp_path / "m.json"), str(tmp_path / "space.csv"), str(tmp_path / "turned.safetensors"))
    turned = load_file(tmp_path / "turned.safetensors")
    for layer in ("fc_prob", "fc_frame_att", "fc_av_att"):  # rows of bell, cat, dog, drum
        assert torch.equal(turned[f"{layer}.weight"], found[f"{layer}.weight"][[2, 3, 0, 1]])
    assert torch.equal(turned["fc_a.weight"], found["fc_a.weight"])
    with pytest.raises(WeightsError, match="label space is not known"):
        parsing.import_weights(inputs, str(tmp_path / "m.json"), "", str(tmp_path / "x"))


def test_batches_copy_only_their_own_rows(made):
    split = parsing_data.load(made.sources, "train")
    assert isinstance(split.streams["audio"].array, np.memmap)
    batch = split.batch(np.array([3, 0]))
    whole = np.load(made.path("audio", "npy"))
    assert batch.audio.shape == (2, 10, DIM) and np.array_equal(batch.audio[1], whole[0]) and batch.motion is None
    assert batch.heard.shape == (2, 10, 4) and torch.equal(
        batch.heard.amax(1) > 0, (batch.heard.amax(1) > 0) & (batch.weak > 0)
    )


def test_many_clips_at_once_say_what_few_do(made, trained, monkeypatch):
    built = parsing.build(made.inputs(train={"epochs": 8, "batch": 8}))
    built.model.load_state_dict(load_file(trained / "best.safetensors"))
    split = parsing_data.load(made.sources, "test")
    whole = parsing.said(built, split)
    monkeypatch.setattr(parsing, "_AT_ONCE", 3)
    for many, few in zip(whole, parsing.said(built, split), strict=True):
        np.testing.assert_allclose(many, few, rtol=1e-5, atol=1e-6)
