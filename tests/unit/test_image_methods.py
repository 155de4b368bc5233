"""Augmentations, importance, and the methods taken over from images: what they adapt, and when."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from test_synthesis import index

from earshot import importance, media, plugins, weights
from earshot.adaptation import BATCH_NORMS, Clip, Context, NotApplicable, evaluate, layers_where
from earshot.files import sha256_of_file
from earshot.methods import _augment, cotta, eata, lame, read, rotta, sar
from earshot.methods._entropy import affine_parameters, entropy, normalise_by_batch
from earshot.methods._memory import Memory
from earshot.source_models import SourceModel
from helpers import moving_square

CLASSES = 5
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
METHODS = {"eata": eata, "sar": sar, "cotta": cotta, "rotta": rotta, "lame": lame, "read": read}


def built(name):
    module = plugins.load("backbones", name)
    torch.manual_seed(0)
    return module, module.build(CLASSES, module.tiny()).eval()


def clips_for(module, n, seed=0):
    spec = module.spec(module.tiny())
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(n, 1, 3, spec.frames, spec.size, spec.size, generator=generator)
    return [Clip(clip[:0], clip) for clip in made]


@pytest.fixture(scope="module")
def small():
    """A convolutional and a transformer backbone, with their modules."""
    return {name: built(name) for name in ("tanet_small", "clip_linear")}


def context_of(module, model, **known):
    return Context(last_stage=module.last_stage(model), mean=MEAN, std=STD, **known)


def method_of(name, module, model, hyper=None, **known):
    hyper = METHODS[name].Hyper(**(hyper or {}))
    return METHODS[name].Method(copy.deepcopy(model), hyper, context_of(module, model, **known))


def parameters_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(before, model):
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


def in_unit(clips):
    return clips * torch.tensor(STD).view(3, 1, 1, 1) + torch.tensor(MEAN).view(3, 1, 1, 1)


def test_augmentation_keeps_shape_and_range():
    clips = 2 * torch.randn(3, 3, 4, 16, 20)
    torch.manual_seed(0)
    changed = _augment.augmented(clips, MEAN, STD)
    assert changed.shape == clips.shape and changed.isfinite().all()
    assert in_unit(changed).min() >= -1e-6 and in_unit(changed).max() <= 1 + 1e-6
    torch.manual_seed(0)
    assert torch.equal(_augment.augmented(clips, MEAN, STD), changed)
    assert not torch.allclose(_augment.augmented(clips, MEAN, STD), changed, atol=1e-2)


def test_augmentation_is_one_draw_a_clip():
    still = torch.rand(1, 3, 1, 16, 16).expand(2, 3, 4, 16, 16)
    torch.manual_seed(0)
    first, second = _augment.augmented(still, (0, 0, 0), (1, 1, 1))
    for clip in (first, second):
        torch.testing.assert_close(clip, clip[:, :1].expand_as(clip))
    assert not torch.allclose(first, second, atol=1e-2)


def test_moving_by_nothing_changes_nothing_and_a_quarter_turn_is_one():
    frames = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(_augment._moved(frames, 0, 0, 0, 1), frames, atol=1e-5, rtol=0)
    turned = _augment._moved(frames, 90, 0, 0, 1)
    quarters = [frames.rot90(k, (2, 3)) for k in (1, 3)]
    assert any(torch.allclose(turned, quarter, atol=1e-4) for quarter in quarters)
    torch.testing.assert_close(_augment._moved(frames, 0, 0.25, 0, 1)[..., 2:], frames[..., :-2], atol=1e-5, rtol=0)


def test_a_turn_of_a_frame_that_is_no_square_keeps_shapes():
    frames = torch.zeros(1, 1, 41, 81)
    frames[..., 18:23, 38:43] = 1  # a square in the middle
    torch.testing.assert_close(_augment._moved(frames, 90, 0, 0, 1), frames, atol=1e-3, rtol=0)


def test_geometric_copies():
    clip = torch.rand(1, 3, 1, 32, 32).expand(1, 3, 4, 32, 32)
    torch.manual_seed(0)
    copies = _augment.geometric_copies(clip, 16)
    assert copies.shape == (16, 3, 4, 32, 32)
    assert copies.min() >= -1e-6 and copies.max() <= 1 + 1e-6
    torch.testing.assert_close(copies, copies[:, :, :1].expand_as(copies))
    assert len({round(float(copy[0, 0, 0, 0]), 4) for copy in copies}) > 4
    assert _augment.geometric_copies(torch.rand(1, 3, 2, 24, 32), 8).shape == (8, 3, 2, 24, 32)


@pytest.mark.parametrize("backbone", ["tanet_small", "clip_linear"])
@pytest.mark.parametrize("name", METHODS)
def test_method_predicts_batches_and_leaves_frozen_parameters_alone(name, backbone, small):
    module, model = small[backbone]
    clips = clips_for(module, 3)
    method = method_of(
        name, module, model, {"every": 3} if name == "rotta" else {"margin": 2} if name in ("eata", "sar") else {}
    )
    student = getattr(method, "student", method.model)
    before, trainable = parameters_of(student), {n for n, p in student.named_parameters() if p.requires_grad}
    torch.manual_seed(0)
    outcomes = method.adapt(clips)
    assert [outcome.logits.shape for outcome in outcomes] == [(CLASSES,)] * 3
    assert all(outcome.logits.isfinite().all() and not outcome.logits.requires_grad for outcome in outcomes)
    assert changed(before, student) <= trainable
    assert bool(changed(before, student)) == (name != "lame")
    assert sum(outcome.steps for outcome in outcomes) == {"rotta": 1, "lame": 0}.get(name, 3)


@pytest.mark.parametrize("name", METHODS)
def test_method_survives_logits_that_are_not_numbers(name, small):
    module, model = small["clip_linear"]
    broken = copy.deepcopy(model)
    broken.head.bias.data[0] = float("nan")
    method = method_of(name, module, broken, {"every": 2} if name == "rotta" else {})
    for _ in range(2):
        assert len(method.adapt(clips_for(module, 2))) == 2


def test_predictions_before_the_update_are_those_of_the_prepared_source(small):
    module, model = small["tanet_small"]
    clips = clips_for(module, 3)
    with torch.no_grad():
        expected = normalise_by_batch(copy.deepcopy(model))(torch.cat([clip.evaluation for clip in clips]))
    for name in ("eata", "sar", "cotta"):
        outcomes = method_of(name, module, model, {"confidence": 0} if name == "cotta" else {}).adapt(clips)
        torch.testing.assert_close(torch.stack([outcome.logits for outcome in outcomes]), expected)
    outcomes = method_of("rotta", module, model).adapt(clips)
    for clip, outcome in zip(clips, outcomes, strict=True):
        torch.testing.assert_close(outcome.logits, evaluate(model, clip.evaluation), atol=1e-5, rtol=1e-4)


def test_eata_skips_what_is_uncertain_and_what_it_has_seen(small):
    module, model = small["clip_linear"]
    clips = clips_for(module, 2)
    method = method_of("eata", module, model, {"margin": 1e-6})
    before = parameters_of(method.model)
    outcomes = method.adapt(clips)
    assert [(outcome.steps, outcome.stop) for outcome in outcomes] == [(0, "filtered")] * 2
    assert not changed(before, method.model)
    method = method_of("eata", module, model, {"margin": 2})
    assert [outcome.steps for outcome in method.adapt(clips)] == [1, 1]
    assert [outcome.steps for outcome in method.adapt(clips)] == [0, 0]  # the same again


def test_eata_compares_with_a_moving_average(small):
    method = method_of("eata", *small["clip_linear"], {"memory": 0.75, "redundancy": 0.5})
    first, second = torch.tensor([[0.9, 0.1, 0, 0, 0]]), torch.tensor([[0, 0.1, 0.9, 0, 0]])
    assert method._kept(first, torch.tensor([True])).tolist() == [True]
    assert method._kept(torch.cat([first, second]), torch.tensor([True, True])).tolist() == [False, True]
    torch.testing.assert_close(method.mean, 0.75 * first[0] + 0.25 * second[0])
    assert method._kept(second, torch.tensor([False])).tolist() == [False]


def test_eata_is_held_back_by_importance(small):
    module, model = small["clip_linear"]
    names = list(affine_parameters(copy.deepcopy(model)))
    known = {name: torch.ones_like(model.get_parameter(name)) for name in names} | {"head.weight": torch.ones(5, 32)}
    drift = {}
    for alpha in (0.0, 20.0):
        hyper = {"margin": 2, "redundancy": 1, "fisher_alpha": alpha, "lr": 1e-2, "momentum": 0.1}
        method = method_of("eata", module, model, hyper, importance=known)
        for seed in range(5):
            method.adapt(clips_for(module, 2, seed))
        drift[alpha] = sum(float((method.model.get_parameter(n) - model.get_parameter(n)).detach().norm()) for n in names)
    assert 0 < drift[20.0] < 0.8 * drift[0.0]
    assert len(method.held) == len(names)
    assert not method_of("eata", module, model, {"fisher_alpha": 0}, importance=known).held


def test_importance_is_the_mean_of_squared_gradients(small):
    module, model = small["tanet_small"]
    batches = [torch.cat([clip.evaluation for clip in clips_for(module, n, seed)]) for seed, n in ((0, 3), (1, 2))]
    found, clips = importance.average(copy.deepcopy(model), batches)
    other = normalise_by_batch(copy.deepcopy(model))
    names = list(affine_parameters(copy.deepcopy(model)))
    assert clips == 5 and list(found) == names
    sums = dict.fromkeys(names, 0.0)
    for batch in batches:
        other.zero_grad()
        log_probabilities = other(batch).log_softmax(-1)
        (-log_probabilities.max(-1).values.mean()).backward()
        sums = {name: total + other.get_parameter(name).grad ** 2 for name, total in sums.items()}
    for name in names:
        torch.testing.assert_close(found[name], sums[name] / 2, rtol=1e-4, atol=1e-10)
    with pytest.raises(ValueError, match="at least one readable training clip"):
        importance.average(copy.deepcopy(model), [])


def test_importance_says_what_it_is_of(tmp_path, capsys):
    lines = ["path,label,split"]
    for i in range(7):
        media.write_video(tmp_path / f"{i}.mp4", moving_square(frames=12, size=80, seed=i), 12)
        lines.append(f"{i}.mp4,{'ab'[i % 2]},{'train' if i < 6 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    index(tmp_path)
    (tmp_path / "3.mp4").write_bytes(b"gone since")
    module, _ = built("tanet_small")
    source = tmp_path / "source.safetensors"
    weights.save(source, module.build(2, module.tiny()).state_dict(), {"classes": ["a", "b"]})
    out = {}
    for threads, most, seed in ((1, 2000, 0), (2, 2000, 0), (1, 3, 0), (1, 3, 2)):
        path = tmp_path / f"{threads}-{most}-{seed}.safetensors"
        given = SourceModel(
            clips=str(tmp_path / "clips.parquet"), classes=str(tmp_path / "classes.parquet"), weights=str(source),
            root=str(tmp_path), backbone={"plugin": "tanet_small", "options": {}},
            sampling={"evaluation": None, "index_base": 0},
            runtime={"training_threads": 1, "device": "cpu", "loading_threads": threads},
        )  # fmt: skip
        importance.compute(given, most=most, batch=2, seed=seed, out=str(path))
        out[threads, most, seed] = weights.facts_of(path)
    assert "left out: 3" in capsys.readouterr().out
    assert (tmp_path / "1-2000-0.safetensors").read_bytes() == (tmp_path / "2-2000-0.safetensors").read_bytes()
    facts = out[1, 2000, 0]
    assert (facts["clips"], facts["batch"], facts["weights"]) == (5, 2, sha256_of_file(source))
    assert out[1, 3, 0]["clips"] <= 3
    assert len({facts["clips_digest"] for facts in out.values()}) == 3
    found = load_file(tmp_path / "1-2000-0.safetensors")
    assert set(found) == set(affine_parameters(module.build(2, module.tiny())))
    assert all(tensor.isfinite().all() and tensor.min() >= 0 for tensor in found.values())


def test_sar_leaves_the_last_stage_alone_and_recovers(small):
    module, model = small["tanet_small"]
    method = method_of("sar", module, model, {"margin": 2, "recovery": 0})
    before = parameters_of(method.model)
    method.adapt(clips_for(module, 3))
    touched = changed(before, method.model)
    assert touched and not any(name.startswith("base_model.layer4.") for name in touched)
    method = method_of("sar", module, model, {"margin": 2, "recovery": 100})
    state = {name: tensor.clone() for name, tensor in method.model.state_dict().items() if tensor.is_floating_point()}
    outcomes = method.adapt(clips_for(module, 3))
    assert {outcome.stop for outcome in outcomes} == {"recovered"}
    now = method.model.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in state.items())
    assert method.average is None and not method.optimizer.state


def test_sar_filters_again_where_the_gradient_points_to(small, monkeypatch):
    module, model = small["clip_linear"]
    calls = []

    def entropy_that_rises(logits):
        calls.append(len(logits))
        return entropy(logits) + (torch.tensor([9.0, 0.0]) if len(calls) == 2 else 0)

    monkeypatch.setattr(sar, "entropy", entropy_that_rises)
    outcomes = method_of("sar", module, model, {"margin": 2}).adapt(clips_for(module, 2))
    assert [(outcome.steps, outcome.stop) for outcome in outcomes] == [(0, "filtered"), (1, "")]
    assert float(outcomes[0].loss_last) < 2


def test_cotta_forgets_everything_at_probability_one(small):
    module, model = small["clip_linear"]
    method = method_of("cotta", module, model, {"restore": 1, "confidence": 0})
    before = parameters_of(model)
    method.adapt(clips_for(module, 2))
    assert not changed(before, method.student)
    method = method_of("cotta", module, model, {"restore": 0, "confidence": 0})
    method.adapt(clips_for(module, 2))
    assert changed(before, method.student)


def test_cotta_moves_its_teacher_by_a_moving_average(small):
    module, model = small["clip_linear"]
    method = method_of("cotta", module, model, {"teacher": 0.75, "restore": 0, "confidence": 0})
    method.adapt(clips_for(module, 2))
    for name, source in model.named_parameters():
        expected = 0.75 * source + 0.25 * method.student.get_parameter(name)
        torch.testing.assert_close(method.model.get_parameter(name), expected)
        assert torch.equal(method.anchor.get_parameter(name), source)


def test_cotta_averages_over_augmentations_where_the_source_is_unsure(small, monkeypatch):
    module, model = small["clip_linear"]
    seen = []
    monkeypatch.setattr(cotta, "augmented", lambda clips, mean, std: seen.append((len(clips), mean, std)) or clips)
    clips = clips_for(module, 2)
    unsure = method_of("cotta", module, model, {"confidence": 1, "augmentations": 3}).adapt(clips)
    assert seen == [(2, MEAN, STD)] * 3
    sure = method_of("cotta", module, model, {"confidence": 0}).adapt(clips)
    assert len(seen) == 3
    torch.testing.assert_close(unsure[0].logits, sure[0].logits)  # of clips that were not changed


def test_symmetric_cross_entropy_is_entropy_where_both_agree():
    logits = torch.randn(3, 4)
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(cotta.symmetric_cross_entropy(logits, logits), expected)
    other = logits.roll(1, 0)
    forth = cotta.symmetric_cross_entropy(logits, other)
    torch.testing.assert_close(forth, cotta.symmetric_cross_entropy(other, logits))
    torch.testing.assert_close(
        2 * forth[0], -logits[0].softmax(0) @ other[0].log_softmax(0) - other[0].softmax(0) @ logits[0].log_softmax(0)
    )


@pytest.mark.parametrize("backbone", ["tanet_small", "clip_linear"])
def test_rotta_learns_when_it_is_time(backbone, small):
    module, model = small[backbone]
    method = method_of("rotta", module, model, {"every": 4, "capacity": 8, "lr": 1e-2, "nu": 0.5, "clips_at_once": 2})
    student, teacher = ({k: v.clone() for k, v in m.state_dict().items()} for m in (method.student, method.model))
    clips = clips_for(module, 5)
    torch.manual_seed(0)
    outcomes = [outcome for clip in clips[:3] for outcome in method.adapt([clip])]
    assert [outcome.steps for outcome in outcomes] == [0, 0, 0]
    assert all(torch.equal(method.student.state_dict()[key], value) for key, value in student.items())
    assert all(torch.equal(method.model.state_dict()[key], value) for key, value in teacher.items())
    outcomes = method.adapt(clips[3:])
    assert [outcome.steps for outcome in outcomes] == [1, 0]
    assert float(outcomes[0].loss_first) > 0
    for key, value in affine_parameters(copy.deepcopy(model)).items():
        now, slow = method.student.get_parameter(key), method.model.get_parameter(key)
        torch.testing.assert_close(slow, (value + now) / 2)
    assert changed(parameters_of(model), method.student) <= set(affine_parameters(copy.deepcopy(model)))
    moved = {
        key
        for key, value in teacher.items()
        if key.endswith("running_mean") and not torch.equal(method.model.state_dict()[key], value)
    }
    assert len(moved) == sum(1 for _ in layers_where(model, BATCH_NORMS))


def test_rotta_in_passes_is_rotta_at_once_without_batch_norm(small, monkeypatch):
    module, model = small["clip_linear"]
    monkeypatch.setattr(rotta, "augmented", lambda clips, mean, std: clips)
    clips = clips_for(module, 5)
    found = []
    for at_once in (1, 2, 5):
        method = method_of("rotta", module, model, {"every": 5, "capacity": 25, "clips_at_once": at_once})
        outcomes = method.adapt(clips)
        found.append(
            (float(outcomes[-1].loss_first), {n: p.grad for n, p in method.student.named_parameters() if p.requires_grad})
        )
    uncertain = [float(entropy(evaluate(model, clip.evaluation))) for clip in clips]  # student and teacher agree at first
    by_hand = sum(rotta.timeliness(age / 25) * value for age, value in zip((5, 4, 3, 2, 1), uncertain, strict=True)) / 5
    assert found[0][0] == pytest.approx(by_hand, rel=1e-4)
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, found[0][1][name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("x", [torch.randn(6, 4), torch.randn(6, 4, 3), torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5, 2)])
def test_robust_normalisation(x):
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d, 5: torch.nn.BatchNorm3d}[x.dim()]
    layer = kind(4)
    for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
        tensor.data.uniform_(0.5, 2)
    robust = rotta.Robust(copy.deepcopy(layer))
    torch.testing.assert_close(robust(x), layer.eval()(x))
    robust.weight_of_batch = 1.0
    torch.testing.assert_close(robust(x), layer.train()(x))
    torch.testing.assert_close(robust.running_mean, x.transpose(0, 1).flatten(1).mean(1))


def test_memory_holds_its_capacity_and_every_class():
    memory = Memory(4, 10)  # less room than classes
    for number in range(20):
        memory.add(number, number % 10, 0.5)
    assert len(memory.items()) == 4
    assert max(len(items) for items in memory.of_class) == 1
    tied = Memory(1, 2, weight_of_age=0)
    tied.add("old", 0, 0.5)
    tied.add("new", 0, 0.5)
    assert [item.what for item in tied.items()] == ["old"]
    assert Memory(4, 1)._badness(memory.items()[0]) > 0


def test_lame_of_one_clip_is_the_source(small):
    module, model = small["clip_linear"]
    (clip,) = clips_for(module, 1)
    for affinity in ("rbf", "knn", "linear"):
        (outcome,) = method_of("lame", module, model, {"affinity": affinity}).adapt([clip])
        torch.testing.assert_close(outcome.logits, evaluate(model, clip.evaluation))


@pytest.mark.parametrize("affinity", ["rbf", "knn", "linear"])
def test_lame_on_clips_that_are_all_the_same(small, affinity):
    module, model = small["clip_linear"]
    (clip,) = clips_for(module, 1)
    outcomes = method_of("lame", module, model, {"affinity": affinity}).adapt([clip] * 3)
    best = evaluate(model, clip.evaluation).argmax()
    for outcome in outcomes:
        assert outcome.logits.isfinite().all() and outcome.logits.argmax() == best
        torch.testing.assert_close(outcome.logits.exp().sum(), torch.tensor(1.0))


BLOCKS = {
    "video_swin": ("encoder.features.6.0.attn", ["qkv"]),
    "mvit_v2_s": ("encoder.blocks.4.attn", ["qkv"]),
    "videomae": ("encoder.model.videomae.encoder.layer.3.attention.attention", ["query", "key", "value"]),
    "clip_linear": ("encoder.vision_model.encoder.layers.3.self_attn", ["q_proj", "k_proj", "v_proj"]),
}


@pytest.mark.parametrize("last_stage", [True, False])
@pytest.mark.parametrize("backbone", BLOCKS)
def test_read_adapts_queries_keys_and_values_of_the_last_block(backbone, last_stage):
    module, model = built(backbone)
    read.trainable(model, module.last_stage(model) if last_stage else [])
    path, projections = BLOCKS[backbone]
    found = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.rpartition(".")[0] for name in found} == {f"{path}.{projection}" for projection in projections}
    assert {f"{path}.{projection}.weight" for projection in projections} < found


def test_read_adapts_the_last_stage_s_norms_where_there_is_no_attention(small):
    module, model = small["tanet_small"]
    method = method_of("read", module, model)
    names = {name for name, parameter in method.model.named_parameters() if parameter.requires_grad}
    expected = {name for name in affine_parameters(copy.deepcopy(model)) if name.startswith("base_model.layer4.")}
    assert names == expected and expected
    with pytest.raises(NotApplicable):
        read.trainable(copy.deepcopy(model), ["head"])


def test_read_predicts_after_its_update(small):
    module, model = small["clip_linear"]
    clips = clips_for(module, 3)
    method = method_of("read", module, model, {"lr": 1e-2})
    outcomes = method.adapt(clips)
    for clip, outcome in zip(clips, outcomes, strict=True):
        torch.testing.assert_close(outcome.logits, evaluate(method.model, clip.evaluation), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(outcome.logits, evaluate(model, clip.evaluation), atol=1e-6)
