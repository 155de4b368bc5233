"""Published weights become those of a dataset: classes matched, origin recorded, nothing random without a mark."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from earshot import contracts, importing, label_spaces, statistics, weights
from earshot.backbones import WeightsError, tanet_small
from earshot.files import sha256_of_file

OPTIONS = tanet_small.Options()


def published(path, n_classes):
    """A checkpoint in the published layout, as torch saves it."""
    torch.manual_seed(1)
    state = tanet_small.build(n_classes, OPTIONS).state_dict()
    renamed = {f"module.{name.replace('head.', 'new_fc.')}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "state_dict": renamed, "best_prec1": torch.tensor(71.5)}, path)
    return state


def classes_of(path, names):
    rows = [{"class_id": i, "name": name, "prompt": name.replace("_", " ")} for i, name in enumerate(names)]
    contracts.write(rows, contracts.CLASSES, path, {})
    return str(path)


@pytest.fixture
def imported(tmp_path):
    """Fetch and import a checkpoint of `n` classes, called `space`, for a dataset with `names`."""

    def run(n, space, names, **more):
        state = published(tmp_path / "model.pth.tar", n)
        spec = {"path": str(tmp_path / "model.pth.tar"), **more}
        importing.fetch(spec, str(tmp_path / "files"), True, str(tmp_path / "manifest.json"))
        out = tmp_path / "out.safetensors"
        classes = classes_of(tmp_path / "classes.parquet", names)
        importing.import_weights(str(tmp_path / "manifest.json"), space, "tanet_small", {}, classes, 0, str(out))
        return state, load_file(out), weights.facts_of(out), tmp_path

    return run


@pytest.mark.parametrize("n", [31, 32])
def test_kinetics_sounds_by_slicing_kinetics(imported, n):
    """The logits of the sliced model are the rows of the whole one's, so its softmax is renormalised over them."""
    names = label_spaces.read(f"kinetics_sounds_{n}").names
    state, ours, facts, _ = imported(400, "k400", names)
    rows = label_spaces.read("k400").positions(names)
    whole, part = tanet_small.build(400, OPTIONS).eval(), tanet_small.build(n, OPTIONS).eval()
    whole.load_state_dict(state)
    part.load_state_dict(ours)
    clip = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        all_logits, logits = whole(clip), part(clip)
    torch.testing.assert_close(logits, all_logits[:, rows])
    softmax = all_logits.softmax(-1)[:, rows]
    torch.testing.assert_close(logits.softmax(-1), softmax / softmax.sum())
    assert facts["label_space"] == label_spaces.identity(names)
    assert facts["checkpoint_label_space"] == label_spaces.identity(label_spaces.read("k400").names)
    assert facts["origin"] == "imported"


def test_what_is_recorded(imported):
    state, ours, facts, folder = imported(3, "dataset", ["c", "a", "b"])
    assert all(torch.equal(state[name], ours[name]) for name in state)
    assert facts["checkpoint"] == {"origin": "path model.pth.tar", "sha256": sha256_of_file(folder / "model.pth.tar")}
    assert facts["checkpoint_label_space"] == label_spaces.identity(["c", "a", "b"])
    assert facts["classes"] == ["c", "a", "b"]
    assert str(folder) not in json.dumps(facts)  # equal files on two machines give equal bytes
    again = weights.load_backbone(folder / "out.safetensors", "tanet_small", {}, ["c", "a", "b"], "cpu")
    assert torch.equal(again.head.weight, state["head.weight"])
    with pytest.raises(ValueError, match="in their order"):
        weights.load_backbone(folder / "out.safetensors", "tanet_small", {}, ["a", "b", "c"], "cpu")


def test_classes_in_another_order_are_put_right(imported, tmp_path):
    (tmp_path / "space.csv").write_text("index,name\n0,walk\n1,run_fast\n2,jump\n", encoding="utf-8")
    state, ours, *_ = imported(3, str(tmp_path / "space.csv"), ["Jump", "run fast"])
    assert torch.equal(ours["head.weight"], state["head.weight"][[2, 1]])
    assert torch.equal(ours["head.bias"], state["head.bias"][[2, 1]])


@pytest.mark.parametrize(
    ("n", "space", "names", "message"),
    [
        (3, "", ["a", "b", "c"], "path model.pth.tar: its label space is not known"),
        (4, "dataset", ["a", "b", "c"], "has a layer of 4 classes, but its `classes:` stands for 3"),
        (399, "k400", ["singing"], "has a layer of 399 classes, but its `classes:` stands for 400"),
        (400, "k400", ["singing", "whale song"], "1 of 2 classes are not in the label space: whale song; or train a new head"),
        (400, "k600", ["singing"], "no label space 'k600'"),
    ],
)
def test_classes_that_do_not_match_are_refused(imported, n, space, names, message):
    with pytest.raises(WeightsError, match=message):
        imported(n, space, names)


def test_random_weights_say_so(tmp_path):
    classes = classes_of(tmp_path / "classes.parquet", ["a", "b"])
    for name in ("one", "two"):
        importing.import_weights("", "", "tanet_small", {}, classes, 3, str(tmp_path / name))
    assert weights.facts_of(tmp_path / "one")["origin"] == "random"
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_checkpoint_s_encoder_takes_a_new_head(imported):
    state, *_, folder = imported(3, "dataset", ["a", "b", "c"])
    model = weights.build("tanet_small", {}, 5, seed=0)
    fresh = model.head.weight.detach().clone()
    told = importing.initial(model, str(folder / "manifest.json"), "tanet_small", {})
    assert torch.equal(model.head.weight, fresh)
    assert torch.equal(model.base_model.conv1.weight, state["base_model.conv1.weight"])
    assert told["origin"] == "path model.pth.tar"


def test_what_was_trained_here_is_taken_too(imported, tmp_path):
    state, *_ = imported(3, "dataset", ["a", "b", "c"])
    save_file(state, tmp_path / "ours.safetensors")
    spec = {"path": str(tmp_path / "ours.safetensors")}
    importing.fetch(spec, str(tmp_path), True, str(tmp_path / "m.json"))
    classes = str(tmp_path / "classes.parquet")
    importing.import_weights(str(tmp_path / "m.json"), "dataset", "tanet_small", {}, classes, 0, str(tmp_path / "o"))
    assert torch.equal(load_file(tmp_path / "o")["head.weight"], state["head.weight"])


def test_an_encoder_without_classes_needs_a_head(tmp_path):
    state = {name: t for name, t in tanet_small.build(2, OPTIONS).state_dict().items() if not name.startswith("head.")}
    save_file(state, tmp_path / "encoder.safetensors")
    importing.fetch({"path": str(tmp_path / "encoder.safetensors")}, str(tmp_path), True, str(tmp_path / "m.json"))
    classes = classes_of(tmp_path / "classes.parquet", ["a", "b"])
    with pytest.raises(WeightsError, match=r"no layer of classes, .*`fit: head`"):
        importing.import_weights(str(tmp_path / "m.json"), "", "tanet_small", {}, classes, 0, str(tmp_path / "o"))
    model = weights.build("tanet_small", {}, 2)
    importing.initial(model, str(tmp_path / "m.json"), "tanet_small", {})
    assert torch.equal(model.base_model.conv1.weight, state["base_model.conv1.weight"])


def test_published_statistics_go_to_their_layers(tmp_path):
    import numpy as np

    model = tanet_small.build(2, OPTIONS)
    layers = tanet_small.candidate_layers(model)
    widths = [model.get_submodule(name).num_features for name in layers]
    for kind, start in (("mean", 0.0), ("var", 1.0)):
        arrays = np.empty(len(widths), dtype=object)
        arrays[:] = [np.full(width, start + i, np.float32) for i, width in enumerate(widths)]
        np.save(tmp_path / f"{kind}.npy", arrays, allow_pickle=True)
    classes = classes_of(tmp_path / "classes.parquet", ["a", "b"])
    backbone = {"plugin": "tanet_small", "options": {}}
    out = str(tmp_path / "statistics.safetensors")
    statistics.import_published(str(tmp_path / "mean.npy"), str(tmp_path / "var.npy"), backbone, classes, out)
    found = statistics.load_aligned(out, "cpu")
    assert list(found) == tanet_small.aligned_layers(model)
    for name, (mean, var) in found.items():
        assert mean.unique().item() == layers.index(name) and var.unique().item() == layers.index(name) + 1
