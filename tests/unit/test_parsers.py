"""Parsers: what every one must keep, and what LINK's modules are said to do (our spec, avvp.md section 4)."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from earshot import parsers, plugins
from earshot.backbones import WeightsError
from earshot.config import ConfigError, overrides
from earshot.parsers import _sloss, _tsam, link, valor_plus_plus

CLASSES, CLIPS, TEXT = 6, 5, 7
SMALL = {"structure": {"dim": 16, "heads": 2, "ff": 24, "layers": 2}}
OFF = {name: {"enabled": False} for name in ("tsam", "sloss", "plsim")}
ALL = plugins.available("parsers")


def shape(motion=5):
    generator = torch.Generator().manual_seed(3)
    texts = {side: torch.randn(CLASSES, TEXT, generator=generator) for side in ("audio", "visual")}
    return parsers.Shape(audio=8, visual=9, motion=motion, classes=CLASSES, texts=texts)


def a_batch(seed=0, clips=CLIPS, shown=True):
    generator = torch.Generator().manual_seed(seed)

    def labels(*size, p=0.3):
        return (torch.rand(*size, generator=generator) < p).float()

    weak = labels(clips, CLASSES, p=0.5)
    heard, seen = (labels(clips, 10, CLASSES, p=0.1) * weak[:, None] for _ in range(2))
    features = [torch.randn(clips, 10, size, generator=generator) for size in (8, 9, 5)]
    return parsers.Batch(*features, weak, heard, seen, torch.stack([heard, seen], dim=2) if shown else None)


def made(name, seed=0, motion=5, **hyper):
    module = plugins.load("parsers", name)
    settings = module.Hyper.model_validate({**SMALL, **hyper})
    torch.manual_seed(seed)
    return module, settings, module.build(shape(motion), settings)


def step(module, hyper, model, batch, seed=0):
    """One step with dropout; returns the losses before it."""
    torch.manual_seed(seed)
    optimizer = hyper.optim.build(model.train())
    found = module.losses(model(batch), batch, model, hyper)
    optimizer.zero_grad()
    sum(found.terms.values()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), hyper.optim.clip or torch.inf)
    optimizer.step()
    return found


@pytest.mark.parametrize("name", ALL)
def test_a_parser_names_its_source_and_says_something_about_every_second(name):
    module, hyper, model = made(name)
    assert "Source:" in module.__doc__ and hyper.train.epochs > 0
    output = model.eval()(a_batch())
    assert output.logits.shape == (*output.encoded.shape[:3], CLASSES) == (CLIPS, 10, 2, CLASSES)
    assert output.video.shape == (CLIPS, CLASSES) and output.by_modality.shape == (CLIPS, 2, CLASSES)
    assert output.video.min() >= 0 and output.video.max() <= 2


@pytest.mark.parametrize("name", ALL)
def test_training_is_deterministic_and_reaches_every_parameter(name):
    states = []
    for _ in range(2):
        module, hyper, model = made(name)
        for seed in range(2):
            found = step(module, hyper, model, a_batch(seed), seed)
        assert all(torch.isfinite(value) and value >= 0 for value in found.terms.values())
        assert all(parameter.grad is not None for parameter in model.parameters())
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", ALL)
def test_a_clip_is_parsed_the_same_whatever_else_is_in_its_batch(name):
    _, _, model = made(name)
    whole, alone = model.eval()(a_batch()).logits[2], a_batch()
    picked = parsers.Batch(**{key: getattr(alone, key)[2:3] for key in alone.__dataclass_fields__})
    torch.testing.assert_close(model(picked).logits[0], whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_motion_is_left_out_where_a_feature_set_or_a_knob_has_none(name):
    without = made(name, motion=0)[2]
    assert not any(key.startswith(("fc_st", "fc_fusion")) for key in without.state_dict())
    assert not any(key.startswith("fc_st") for key in made(name, use_motion=False)[2].state_dict())
    silent = replace(a_batch(), motion=None)
    assert without.eval()(silent).logits.shape == (CLIPS, 10, 2, CLASSES)
    with pytest.raises(ValueError, match="features of motion"):
        made(name)[2](silent)


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_of_another_structure_is_refused_by_name(name):
    module, _, model = made(name)
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    again = module.import_weights(state, made(name, seed=1)[2])
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.items())
    with pytest.raises(WeightsError, match=r"fc_prob\.weight"):
        module.import_weights({key: value for key, value in state.items() if "fc_prob.weight" not in key}, model)
    with pytest.raises(WeightsError, match="surprise"):
        module.import_weights({**state, "surprise": torch.zeros(1)}, model)


def test_han_reads_both_modalities_from_before_a_layer_and_valor_does_not():
    same = {"structure": {"dim": 16, "heads": 2, "ff": 24, "layers": 1, "dropout": 0}}
    both = [made(name, **same)[2].eval() for name in ("han", "valor")]
    both[1].load_state_dict(both[0].state_dict())
    outputs = [model(a_batch()).encoded for model in both]
    assert torch.equal(outputs[0][:, :, 0], outputs[1][:, :, 0]) and not torch.allclose(
        outputs[0][:, :, 1], outputs[1][:, :, 1]
    )


# --- LINK ---------------------------------------------------------------------------------------------------------------


def test_link_without_its_modules_is_valor_plus_plus_to_the_last_bit():
    pairs = [made("valor_plus_plus"), made("link", **OFF)]
    assert [p.shape for p in pairs[0][2].parameters()] == [p.shape for p in pairs[1][2].parameters()]
    for seed in range(3):
        found = [step(*pair, a_batch(seed), seed) for pair in pairs]
        assert found[0].terms.keys() == found[1].terms.keys()
        assert all(torch.equal(value, found[1].terms[key]) for key, value in found[0].terms.items())
    states = [pair[2].state_dict() for pair in pairs]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_random_stream_of_link_without_its_modules_is_that_of_valor_plus_plus():
    after = []
    for name, off in (("valor_plus_plus", {}), ("link", OFF)):
        module, hyper, model = made(name, **off)
        step(module, hyper, model, a_batch())
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


@pytest.mark.parametrize("on", [on for size in (1, 2, 3) for on in itertools.combinations(OFF, size)])
def test_what_a_module_adds_leaves_the_initial_weights_of_the_others_alone(on):
    base = made("valor_plus_plus")[2].state_dict()
    state = made("link", **{name: {"enabled": name in on} for name in OFF})[2].state_dict()
    assert all(torch.equal(value, state[key]) for key, value in base.items())
    assert {key.split(".")[0] for key in set(state) - set(base)} == set(on)


def test_interaction_and_words_change_nothing_at_first():
    """The gate of the interaction starts at zero, and PLSIM as the identity."""
    quiet = {"tsam": {"temporal": False, "spatial": False}, "sloss": {"enabled": False}}
    plain, linked = made("valor_plus_plus")[2].eval(), made("link", **quiet)[2].eval()
    assert torch.equal(plain(a_batch()).logits, linked(a_batch()).logits)


TSAM_KNOBS = [
    {"axes": "feature_as_channel"}, {"reduction": 5}, {"spatial_reduce": "mean"}, {"spatial_reduce": "linear"},
    {"residual": "add"}, {"out_norm": "layernorm"}, {"scale": "sqrt_d"}, {"attention": "channels"},
    {"share_modalities": True}, {"position": "post_encoder"}, {"temporal": False}, {"spatial": False}, {"cross_modal": False},
    {"cross": {"alpha_init": 0.5, "parameterisation": "alpha_only"}},
]  # fmt: skip
SLOSS_KNOBS = [
    {"lambda": "constant"}, {"form": "ramp"}, {"mu": {"mode": "fixed"}}, {"mu": {"mode": "learnable_normalised"}},
    {"detach_s": False}, {"target": "leap_code"}, {"empty_pair": "one"}, {"empty_pair": "ignore"}, {"pairs": "aligned"},
    {"features": "tsam"}, {"features": "plsim"}, {"weight": 0.5}, {"mu": {"init": 0.5}},
]  # fmt: skip
PLSIM_KNOBS = [
    {"audio": False}, {"visual": False}, {"granularity": "video"}, {"aggregate": "sum"}, {"aggregate": "max"},
    {"init": "zero_last"}, {"residual": False}, {"position": "pre_encoder"},
]  # fmt: skip
LOSS_KNOBS = [
    {"w_video_a": 0.0}, {"w_video_v": 2.0}, {"video_modality_target": "weak"}, {"video_modality_target": "weak_smoothed"},
    {"w_heard": 0.5}, {"w_seen": 0.5}, {"w_video": 2.0},
]  # fmt: skip
KNOBS = [
    (group, knobs)
    for group, several in (("tsam", TSAM_KNOBS), ("sloss", SLOSS_KNOBS), ("plsim", PLSIM_KNOBS), ("loss", LOSS_KNOBS))
    for knobs in several
]
ALIVE = {"tsam": {"cross": {"alpha_init": 0.3}}, "plsim": {"init": "default"}}


@pytest.mark.parametrize(("group", "knobs"), KNOBS, ids=lambda part: str(part))
def test_every_knob_changes_the_loss_or_its_gradient(group, knobs):
    def signature(**hyper):
        module, settings, model = made("link", **hyper)
        batch = a_batch()
        found = module.losses(model.eval()(batch), batch, model, settings)
        total = sum(found.terms.values())
        total.backward()
        norms = [float(p.grad.norm()) for p in model.parameters() if p.grad is not None]
        assert all(map(torch.isfinite, found.terms.values()))
        return float(total.detach()), sum(norms)

    other = {**ALIVE, group: {**ALIVE.get(group, {}), **knobs}}
    assert signature(**ALIVE) != signature(**other)


def test_gates_that_could_never_learn_are_refused():
    with pytest.raises(ValidationError, match="both 0"):
        _tsam.Cross(alpha_init=0, beta_init=0)
    assert _tsam.Cross(alpha_init=0, beta_init=0, parameterisation="alpha_only").alpha_init == 0
    with pytest.raises(ValidationError, match="never moves"):
        _sloss.Mu(init=1)
    assert _sloss.Mu(init=1, mode="fixed").init == 1


def test_one_gate_of_two_gets_a_gradient_where_the_other_is_zero():
    module, hyper, model = made("link")
    batch = a_batch()
    sum(module.losses(model(batch), batch, model, hyper).terms.values()).backward()
    assert model.tsam.alpha_a.grad != 0 and model.tsam.beta_a.grad == 0


def test_alpha_of_zero_leaves_gated_features_alone():
    knobs = _tsam.Tsam()
    module = _tsam.TemporalSpatial(16, knobs)
    a, v = torch.randn(2, 10, 16), torch.randn(2, 10, 16)
    heard, seen = module(a, v)
    assert torch.equal(heard, module.audio(a)) and torch.equal(seen, module.visual(v))


def test_the_interaction_is_an_attention_over_segments_and_both_read_what_was_before():
    module = _tsam.TemporalSpatial(
        4, _tsam.Tsam(temporal=False, spatial=False, cross=_tsam.Cross(alpha_init=0.5, beta_init=2.0))
    )
    a, v = torch.randn(1, 10, 4), torch.randn(1, 10, 4)
    heard, seen = module(a, v)
    by_hand = torch.stack([sum(w * row for w, row in zip((v[0] @ a[0, t]).softmax(0), v[0], strict=True)) for t in range(10)])
    torch.testing.assert_close(heard[0], a[0] + 0.5 * 2.0 * by_hand)
    torch.testing.assert_close(seen[0, 3], v[0, 3] + ((a[0] @ v[0, 3]).softmax(0)[:, None] * a[0]).sum(0))


@given(st.floats(-1, 1), st.floats(-1, 3))
@settings(max_examples=200, deadline=None)
def test_lambda_lies_between_one_and_its_peak(s, mu):
    for form in ("piecewise", "ramp"):
        value = float(_sloss.weight(torch.tensor(s, dtype=torch.float64), torch.tensor(mu, dtype=torch.float64), form))
        assert value + 1e-12 >= 1 and value <= torch.tensor(abs(1 - mu)).double().exp() + 1e-6


def test_lambda_at_the_borders_of_its_pieces():
    s, mu = torch.tensor([-0.2, -0.2 + 1e-9, -1e-9, 0.0], dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    peak = torch.e
    assert _sloss.weight(s, mu).tolist() == pytest.approx([1, peak, peak, peak])
    assert _sloss.weight(s, mu, "ramp").tolist() == pytest.approx([1, 1, peak, peak], abs=1e-7)


@pytest.mark.parametrize(("init", "sign"), [(0.0, -1), (0.5, -1), (1.5, 1), (2.0, 1)])
def test_descent_moves_mu_towards_one(init, sign):
    loss = _sloss.Similarity(_sloss.Sloss(mu=_sloss.Mu(init=init)))
    value, _ = loss(torch.randn(CLIPS, 10, 2, 8), a_batch())
    value.backward()
    assert float(loss.mu.grad) * sign > 0


def test_a_normalised_lambda_only_moves_weight_between_pairs():
    features = torch.randn(CLIPS, 10, 2, 8)
    plain = _sloss.Similarity(_sloss.Sloss.model_validate({"lambda": "constant"}))(features, a_batch())[0]
    knobs = _sloss.Sloss(mu=_sloss.Mu(mode="learnable_normalised"))
    cosine = torch.nn.functional.normalize(features, dim=-1)
    cosine = cosine[:, :, 0] @ cosine[:, :, 1].transpose(1, 2)
    weights = _sloss.weight(cosine, torch.tensor(0.0))
    found, mean = _sloss.Similarity(knobs)(features, a_batch())
    torch.testing.assert_close(mean, weights.mean())
    assert not torch.equal(found, plain)
    knobs = _sloss.Sloss(mu=_sloss.Mu(mode="fixed", init=1))
    torch.testing.assert_close(_sloss.Similarity(knobs)(features, a_batch())[0], plain)


def test_segments_without_any_class_are_alike_different_or_left_out():
    empty = torch.zeros(1, 10, CLASSES)
    for name, value, counted in (("zero", 0, 100), ("one", 1, 100), ("ignore", 0, 0)):
        wanted, counts = _sloss.targets(empty, empty, _sloss.Sloss(empty_pair=name))
        assert wanted.eq(value).all() and counts.sum() == counted
    loss = _sloss.Similarity(_sloss.Sloss(empty_pair="ignore"))
    batch = a_batch()
    nothing = parsers.Batch(
        batch.audio, batch.visual, None, batch.weak, torch.zeros_like(batch.heard), torch.zeros_like(batch.seen)
    )
    assert float(loss(torch.randn(CLIPS, 10, 2, 8), nothing)[0]) == 0


def test_scalars_do_not_decay_unless_that_is_wanted():
    for free, groups in ((True, 2), (False, 1)):
        _, hyper, model = made("link", optim={"no_decay_scalars": free})
        optimizer = hyper.optim.build(model)
        assert len(optimizer.param_groups) == groups
        assert optimizer.param_groups[0]["weight_decay"] == 1e-3
        if free:
            assert optimizer.param_groups[1]["weight_decay"] == 0 and len(optimizer.param_groups[1]["params"]) == 5


def test_a_fixed_mu_stays():
    module, hyper, model = made("link", sloss={"mu": {"mode": "fixed", "init": 0.3}})
    step(module, hyper, model, a_batch())
    assert float(model.sloss.mu) == pytest.approx(0.3)


def test_words_of_pseudo_labels_change_a_trained_parser_and_their_absence_leaves_it_alone():
    _, _, model = made("link", plsim={"init": "default"})
    model.eval()
    shown, other = a_batch(), a_batch(shown=False)
    blank = parsers.Batch(
        **{**{k: getattr(shown, k) for k in shown.__dataclass_fields__}, "shown": torch.zeros(CLIPS, 10, 2, CLASSES)}
    )
    logits = [model(batch).logits for batch in (shown, blank, other)]
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[1], logits[2])


def test_seconds_without_a_class_read_the_background_where_there_is_one():
    texts = {side: torch.randn(CLASSES + 1, TEXT) for side in ("audio", "visual")}
    given = parsers.Shape(8, 9, 5, CLASSES, texts)
    hyper = link.Hyper.model_validate({**SMALL, "plsim": {"empty": "background_prompt"}})
    words = link.build(given, hyper).plsim.sides["audio"]
    shown = torch.zeros(1, 10, CLASSES)
    shown[0, 3, :2] = 1
    found = words._words(shown)
    torch.testing.assert_close(found[0, 3], texts["audio"][:2].mean(0))
    assert torch.equal(found[0, 4], texts["audio"][CLASSES])


def test_what_is_not_there_is_asked_for():
    module = plugins.load("parsers", "link")
    bare = parsers.Shape(8, 9, 5, CLASSES)
    with pytest.raises(ValueError, match="no class vectors of audio, visual"):
        module.build(bare, module.Hyper())
    assert module.build(bare, module.Hyper.model_validate({"plsim": {"enabled": False}}))
    with pytest.raises(ValueError, match="background_prompt"):
        made("link", plsim={"empty": "background_prompt"})
    module, hyper, model = made("link", tsam={"enabled": False}, sloss={"features": "tsam"})
    with pytest.raises(ValueError, match="that module is off"):
        module.losses(model(a_batch()), a_batch(), model, hyper)


def test_a_group_given_in_part_keeps_the_parsers_own_defaults():
    hyper = overrides(link.Hyper, {"optim": {"lr": 0.1}, "tsam": {"cross": {"alpha_init": 0.2}}}, "here")
    assert hyper.optim.betas == (0.5, 0.999) and hyper.tsam.cross.beta_init == 1 and hyper.structure == link.Hyper().structure
    assert valor_plus_plus.Hyper().optim.lr == 3e-4 and plugins.load("parsers", "valor").Hyper().optim.lr == 1e-4
    with pytest.raises(ConfigError, match="lrate"):
        overrides(link.Hyper, {"optim": {"lrate": 0.1}}, "here")
    with pytest.raises(ConfigError, match="cannot be divided"):
        overrides(link.Hyper, {"structure": {"heads": 3}}, "here")


def test_hans_learning_rate_falls_tenfold_every_ten_epochs():
    hyper = plugins.load("parsers", "han").Hyper()
    rates = [hyper.optim.rate(epoch, 40) for epoch in (1, 10, 11, 20, 21, 40)]
    assert rates == pytest.approx([3e-4, 3e-4, 3e-5, 3e-5, 3e-6, 3e-7])
    assert hyper.optim.model_copy(update={"schedule": "cosine", "warmup": 3}).rate(3, 3) == 3e-4
