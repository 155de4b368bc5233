"""Tasks of prompted encoders: what every head must keep, and what each task says of itself."""

import numpy as np
import pytest
import torch
from fake_tasks import ALL, CLASSES, given, made, pick
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError

from earshot import tasks
from earshot.backbones import WeightsError
from earshot.metrics import parsing_f_score, segmentation
from earshot.tasks import _mgn, _tpavi, ave, avqa, avvp

HEADS = [(name, {}) for name in ALL] + [("ave", {"head": "mlp"}), ("avs_s4", {"loss": {"similarity": 0.5}})]


def step(module, hyper, head, encoded, batch):
    """One step with dropout; returns the losses before it."""
    optimizer = hyper.optim.build(head.train(), torch.nn.Identity())
    found = module.losses(head(encoded, batch), batch, hyper, 1)
    optimizer.zero_grad()
    sum(found.terms.values()).backward()
    optimizer.step()
    return found


@pytest.mark.parametrize(("name", "hyper"), HEADS)
def test_a_task_keeps_one_shape_of_an_item_and_scores_it_by_every_metric(name, hyper):
    module, _, head = made(name, **hyper)
    shapes = set()
    for clips in (1, 3):
        encoded, batch = given(name, clips)
        with torch.no_grad():
            kept = module.predict(head.eval()(encoded, batch), batch)
        assert kept.dtype == torch.float32 and len(kept) == clips and kept.isfinite().all()
        shapes.add(kept.shape[1:])
        scores = module.per_item(kept.numpy(), {key: value.numpy() for key, value in batch.labels.items()})
        assert tuple(scores) == module.METRICS
        for values in scores.values():
            assert values.shape == (clips,)
            assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    assert len(shapes) == 1


@pytest.mark.parametrize(("name", "hyper"), HEADS)
def test_training_is_deterministic_and_reaches_every_parameter(name, hyper):
    states = []
    for _ in range(2):
        module, chosen, head = made(name, **hyper)
        for seed in range(2):
            found = step(module, chosen, head, *given(name, 2, seed))
        assert all(value.isfinite() and value >= 0 for value in found.terms.values())
        assert [key for key, parameter in head.named_parameters() if parameter.grad is None] == []
        states.append(head.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(("name", "hyper"), HEADS)
def test_a_clip_is_told_the_same_whatever_else_is_in_its_batch(name, hyper):
    module, _, head = made(name, **hyper)
    encoded, batch = given(name)
    one, alone = pick(encoded, batch, 2, module.SEGMENTS)
    with torch.no_grad():
        together = module.predict(head.eval()(encoded, batch), batch)[2]
        torch.testing.assert_close(module.predict(head(one, alone), alone)[0], together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "hyper"), HEADS)
def test_half_precision_gives_nearly_the_same_losses_in_single_precision(name, hyper):
    module, chosen, head = made(name, **hyper)
    encoded, batch = given(name, 2)
    whole = module.losses(head.eval()(encoded, batch), batch, chosen, 1).terms
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(encoded, batch)
        half = module.losses(output, batch, chosen, 1).terms
        kept = module.predict(output, batch)
    assert {value.dtype for value in (*half.values(), kept)} == {torch.float32}
    for term, value in whole.items():
        torch.testing.assert_close(half[term], value, rtol=0.05, atol=0.01)


DEAD = {
    "ave": "CMBS.AVInter.norm1.weight",
    "avvp": "temporal_attn.video_encoder.encoder_layer.norm1.weight",
    "avs_s4": "temporal_attn.video_decoder.0.affine_matrix.weight",
    "avs_ms3": "path4.resConfUnit1.conv1.weight",
    "avqa": "norm3.weight",
}


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_of_another_model_is_refused_by_name(name):
    module, _, head = made(name)
    published = {f"module.{key.removeprefix('decoder.')}": tensor for key, tensor in head.state_dict().items()}
    others = (DEAD[name], "swin.norm.weight", "htsat.norm.weight", "vis_adapter_blocks_p1.0.gate")
    whole = {**published, **dict.fromkeys(others, torch.zeros(1))}
    found = module.import_weights(whole, made(name, seed=1)[2])
    assert found.keys() == head.state_dict().keys()
    assert all(torch.equal(value, head.state_dict()[key]) for key, value in found.items())
    first = next(key for key in published if key.endswith("weight"))
    with pytest.raises(WeightsError, match=r"missing .*weight; unknown none"):
        module.import_weights({key: value for key, value in whole.items() if key != first}, head)
    with pytest.raises(WeightsError, match=r"unknown sur\.prise"):
        module.import_weights({**whole, "sur.prise": torch.zeros(1)}, head)
    with pytest.raises(WeightsError, match=r"of another shape .*\(1, 1, 1\), not"):
        module.import_weights({**whole, first: torch.zeros(1, 1, 1)}, head)


RATES = {
    "ave": {1: 5e-4, 3: 5e-4, 4: 5e-4 * 0.35, 7: 5e-4 * 0.35**2},
    "avvp": {1: 3e-4, 10: 3e-4, 11: 3e-5},
    "avs_s4": {1: 3e-4, 15: 3e-4},
    "avs_ms3": {1: 1.5e-4, 30: 1.5e-4},
    "avqa": {8: 1e-4, 9: 1e-5, 17: 1e-6},
}


@pytest.mark.parametrize("name", ALL)
def test_the_learning_rates_are_the_published_ones(name):
    optim = made(name)[1].optim
    rates = {epoch: optim.lr * optim.factor(epoch) for epoch in RATES[name]}
    assert rates == pytest.approx(RATES[name], rel=1e-12)
    assert optim.weight_decay == 0 and optim.lr_modules is None


# --- localisation -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@drawn(st.lists(st.sampled_from([-50.0, -1e-7, 0.0, 1e-7, 0.3, 50.0]), min_size=10, max_size=10), st.integers(0, 99))
def test_what_is_kept_of_a_clip_decides_as_published(is_event, seed):
    """The class of the clip where the chance of an event is above a half, background elsewhere."""
    logits = torch.randn(1, len(CLASSES), generator=torch.Generator().manual_seed(seed))
    output = {"event": logits, "is_event": torch.tensor([is_event])}
    kept = ave.predict(output, given("ave", 1)[1])
    assert kept.shape == (1, 10, len(CLASSES) + 1)
    expected = torch.where(output["is_event"].sigmoid() > 0.5, logits.argmax(), len(CLASSES)).numpy()
    assert ave.per_item(kept.numpy(), {"segments": expected})["segment_accuracy"] == 1
    other = {"segments": (expected + 1) % (len(CLASSES) + 1)}
    assert ave.per_item(kept.numpy(), other)["segment_accuracy"] == 0


def test_the_gate_may_be_taken_for_the_probability_that_it_is():
    encoded, batch = given("ave")
    found = {}
    for kind in ("logits", "probabilities"):
        module, hyper, head = made("ave", loss={"gate": kind})
        found[kind] = module.losses(head.eval()(encoded, batch), batch, hyper, 1).terms
    assert {key for key in found["logits"] if not torch.equal(found["logits"][key], found["probabilities"][key])} == {"gate"}


# --- parsing ------------------------------------------------------------------------------------------------------------


def test_motion_is_left_out_where_there_is_none():
    encoded, batch = given("avvp")
    without = made("avvp", motion=0)[2].eval()
    assert not any(key.startswith(("fc_st", "fc_fusion")) for key in without.state_dict())
    silent = tasks.Batch(batch.frames, batch.waves, {key: value for key, value in batch.labels.items() if key != "motion"})
    assert without(encoded, silent)["frames"].shape == (4, 10, 2, len(CLASSES))
    with pytest.raises(ValueError, match="features of motion"):
        made("avvp")[2](encoded, silent)


def test_the_mean_over_clips_of_the_f_scores_is_the_official_score():
    truth = given("avvp", 6)[1].labels["dense"].numpy()
    frames, clip = np.random.default_rng(0).random((6, 10, 2, len(CLASSES))), np.ones((6, len(CLASSES)))
    kept = avvp.predict({"frames": torch.from_numpy(frames), "clip": torch.from_numpy(clip)}, None).numpy()
    found = {name: 100 * values.mean() for name, values in avvp.per_item(kept, {"dense": truth}).items()}
    official = parsing_f_score.summary(parsing_f_score.per_video(parsing_f_score.decisions(clip, frames), truth))
    assert found == pytest.approx(official, rel=1e-12)
    assert len(set(found.values())) > 5


def test_a_segment_goes_to_one_token_when_assignment_is_hard():
    torch.manual_seed(0)
    assign = _mgn._Assign(8, "hard").eval()
    tokens, segments = torch.randn(2, 4, 8), torch.randn(2, 6, 8)
    with torch.no_grad():
        gathered, shares = assign(tokens, segments)
        one = torch.nn.functional.one_hot(shares.argmax(dim=1), 4).transpose(1, 2).float()
        expected = assign.proj((one / (one.sum(dim=-1, keepdim=True) + 1)) @ assign.v_proj(segments))
    torch.testing.assert_close(gathered, expected)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 6))
    assign(tokens, segments)[0].sum().backward()
    assert assign.q_proj.weight.grad.abs().max() > 0

    def noisy(seed):
        torch.manual_seed(seed)
        return assign.train()(tokens, segments)[0]

    assert torch.equal(noisy(1), noisy(1)) and not torch.equal(noisy(1), noisy(2))


# --- segmentation -------------------------------------------------------------------------------------------------------


def test_interaction_without_its_matrix_is_that_with_it():
    torch.manual_seed(0)
    module = _tpavi.Tpavi(6, 4).double().eval()
    torch.nn.init.normal_(module.W_z[1].weight)
    x, audio = torch.randn(2, 6, 5, 3, 3).double(), torch.randn(2, 5, 4).double()
    found, aligned = module(x.movedim(1, -1), audio)
    everywhere = aligned.transpose(1, 2)[..., None, None].expand_as(x)
    theta, phi, g = (layer(y).flatten(2) for layer, y in ((module.theta, x), (module.phi, everywhere), (module.g, x)))
    weights = theta.transpose(1, 2) @ phi / theta.shape[2]
    mixed = (weights @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
    normalised = module.W_z[1](module.W_z[0](mixed).flatten(2)).view_as(x)
    torch.testing.assert_close(found, module.norm_layer((normalised + x).movedim(1, -1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["avs_s4", "avs_ms3"])
def test_what_is_not_annotated_teaches_and_scores_nothing(name):
    module, hyper, head = made(name)
    encoded, batch = given(name, 2)
    masks = batch.labels["masks"].clone()
    masks[:, 1:] = segmentation.NOT_ANNOTATED
    first = tasks.Batch(batch.frames, batch.waves, {"masks": masks})
    output = head.eval()(encoded, batch)
    found = module.losses(output, first, hyper, 1).terms["mask"]
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(found, loss(output["masks"][:, 0], masks[:, 0].float()))
    kept = module.predict(output, first).detach().numpy()
    whole = module.predict(output, batch).detach().numpy()
    expected = module.per_item(whole[:, :1], {})
    assert all(np.array_equal(values, expected[metric]) for metric, values in module.per_item(kept, {}).items())
    none = tasks.Batch(batch.frames, batch.waves, {"masks": torch.full_like(masks, segmentation.NOT_ANNOTATED)})
    assert all(np.isnan(values).all() for values in module.per_item(module.predict(output, none).detach().numpy(), {}).values())
    with pytest.raises(ValueError, match="nothing to learn from"):
        module.losses(output, none, hyper, 1)


def test_masks_have_the_size_of_the_frames_and_maps_that_of_the_knob():
    encoded, batch = given("avs_s4", 1, side=24)
    assert made("avs_s4")[2](encoded, batch)["masks"].shape == (1, 5, 24, 24)
    other = {"head": {**made("avs_s4")[1].head.model_dump(), "sides": [16, 8, 4, 2]}}
    assert made("avs_s4", **other)[2](encoded, batch)["masks"].shape == (1, 5, 24, 24)
    with pytest.raises(ValidationError, match="half of the one before"):
        made("avs_s4", head={"sides": [16, 8, 4, 3]})


def test_segmentation_refuses_encoders_without_four_stages():
    module, hyper, _ = made("avs_s4")
    with pytest.raises(ValueError, match="4 visual stages, and these encoders have 1"):
        module.build(tasks.Shape(8, 7, (8,), (2,), CLASSES), hyper)


def test_sight_is_drawn_to_sound_where_the_loss_says_so():
    encoded, batch = given("avs_ms3", 2)
    terms = [
        module.losses(head.eval()(encoded, batch), batch, hyper, 1).terms
        for module, hyper, head in (made("avs_ms3", loss=knobs) for knobs in ({}, {"similarity": 1.0}, {"similarity": 0}))
    ]
    assert float(terms[0]["similarity"].detach()) == pytest.approx(0.5 * float(terms[1]["similarity"].detach()), rel=1e-5)
    assert terms[0]["similarity"] > 0 and "similarity" not in terms[2]


# --- answering ----------------------------------------------------------------------------------------------------------


def test_questions_are_scored_under_their_type_and_what_pools_it():
    kinds = np.arange(9)
    scores = np.eye(6)[[0, 1, 2, 3, 4, 5, 0, 1, 2]]
    answers = scores.argmax(axis=1)
    answers[[1, 4]] = 5  # an Audio-Comparative and an Audio-Visual-Existential one are wrong
    found = avqa.per_item(scores, {"answer": answers, "kind": kinds})
    means = {name: np.nanmean(values) for name, values in found.items()}
    numbers = {name: int((~np.isnan(values)).sum()) for name, values in found.items()}
    assert means["accuracy_AQ"] == 0.5 and means["accuracy_VQ"] == 1 and means["accuracy_AVQ"] == 0.8
    assert means["accuracy_Avg"] == pytest.approx(7 / 9) and means["accuracy_Audio-Comparative"] == 0
    assert [numbers[f"accuracy_{name}"] for name in ("AQ", "VQ", "AVQ", "Avg", "Audio-Visual-Temporal")] == [2, 2, 5, 9, 1]
    assert {f"accuracy_{kind}" for kind in avqa.KINDS} < set(avqa.METRICS)


def test_frames_of_other_clips_are_needed_for_the_loss_alone():
    encoded, batch = given("avqa", negatives=False)
    module, hyper, head = made("avqa")
    output = head.eval()(encoded, batch)
    torch.testing.assert_close(module.predict(output, batch).sum(dim=-1), torch.ones(4))
    with pytest.raises(ValueError, match="frames of other clips"):
        module.losses(output, batch, hyper, 1)
    assert list(module.losses(output, batch, made("avqa", loss={"match": 0})[1], 1).terms) == ["answer"]


def test_answering_needs_words():
    module, hyper, _ = made("avqa")
    with pytest.raises(ValueError, match="no words"):
        module.build(tasks.Shape(12, 7, (12,), (1,), CLASSES), hyper)


def test_the_head_for_ave_has_the_published_parameters_but_those_without_a_use():
    """Of 12.1 and 0.55 million: four templates of layers, unused self-attention of two decoders, and two attention modules."""
    shape = tasks.Shape(1536, 768, (192, 384, 768, 1536), (48, 24, 12, 6), tuple(map(str, range(28))), 0, 0)
    with torch.device("meta"):
        head = ave.build(shape, ave.Hyper())
        encoder, attention = torch.nn.TransformerEncoderLayer(256, 4, 1024), torch.nn.MultiheadAttention(256, 4)

    def count(module):
        return sum(one.numel() for one in module.parameters())

    unused = 2 * count(encoder) + 2 * (count(encoder) + count(attention)) + 2 * count(attention)
    assert count(head.temporal_attn) + unused == pytest.approx(12.1e6, abs=0.05e6)
    assert count(head.CMBS) + 2 * count(attention) == pytest.approx(0.55e6, abs=0.005e6)
    assert count(head) == 7_881_687
