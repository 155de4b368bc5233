"""Every present and future adaptation method keeps the contract of its kind."""

import copy

import pytest
import torch

from earshot import adaptation, plugins
from earshot.adaptation import Clip, Context, Evidence, NotApplicable
from earshot.contracts import DIVERGED
from earshot.errors import MediaError
from earshot.streams import Arrival, mixed_choice, run_stream

CLASSES, SOUNDS = 5, 4
METHODS = plugins.available("methods")
RATED = [name for name in METHODS if "lr" in plugins.load("methods", name).Hyper.model_fields]
TWO_PASS = [name for name in METHODS if plugins.describe("methods", name)["two_pass"]]
NEEDS = {"views", "audio", "statistics", "importance"}


def source_of(backbone):
    torch.manual_seed(0)
    module = plugins.load("backbones", backbone)
    return module, module.build(CLASSES, module.tiny()).eval()


def context_of(module, model, **more):
    """What the cell of an experiment knows: statistics of a source that saw standard normal features, equal importance."""
    layers = {name: model.get_submodule(name).weight for name in module.aligned_layers(model)}
    statistics = {name: (torch.zeros(len(weight)), torch.ones(len(weight))) for name, weight in layers.items()}
    norms = (name for name, _ in adaptation.layers_where(model, adaptation.NORMS))
    importance = {f"{n}.{key}": torch.ones(model.get_submodule(n).weight.shape) for n in norms for key in ("weight", "bias")}
    known = {"label_map": torch.eye(SOUNDS, CLASSES), "importance": importance, "last_stage": module.last_stage(model)}
    return Context(statistics, **{"clips": 3, **known, **more})


@pytest.fixture(scope="module")
def small():
    return source_of("tanet_small")


def clips(n=3, size=32):
    generator = torch.Generator().manual_seed(1)
    for i in range(n):
        views = torch.randn(2, 3, 8, size, size, generator=generator)
        yield Clip(views, views[:1].clone(), Evidence(torch.randn(SOUNDS, generator=generator) + 1, heard=i != 1))


def hyper_of(name, **wanted):
    """Settings under which every method acts on its first clip, with those of `wanted` that it has."""
    module = plugins.load("methods", name)
    eager = {"margin": 1.0, "redundancy": 1.0, "every": 1, "augmentations": 2, "copies": 2, "adapt_dropout": "off"}
    given = {**eager, **wanted}
    return module.Hyper(**{key: value for key, value in given.items() if key in module.Hyper.model_fields})


def stream(name, small, hyper=None, shown=None, batch=1, first_seed=0, **more):
    module, model = small
    arrivals = [Arrival(lambda clip=clip: clip, seed=i) for i, clip in enumerate(shown or clips(), start=first_seed)]
    plugin, context = plugins.load("methods", name), context_of(module, model, **more)
    return [outcome for outcome, _ in run_stream(plugin, hyper or hyper_of(name), model, context, arrivals, batch)]


@pytest.mark.parametrize("name", METHODS)
def test_it_says_how_it_works(name):
    module, said = plugins.load("methods", name), plugins.describe("methods", name)
    assert module.PREDICTS in ("before", "after", "none")
    assert set(module.NEEDS) <= NEEDS
    assert said == {
        "plugin": name, "summary": said["summary"], "predicts": module.PREDICTS, "needs": module.NEEDS,
        "batched": module.BATCHED, "two_pass": module.TWO_PASS,
    }  # fmt: skip
    assert module.PREDICTS == "none" or "update" in module.__doc__ or "prediction" in module.__doc__
    for backbone, settings in getattr(module, "FOR_BACKBONE", {}).items():
        plugins.check("backbones", backbone)
        module.Hyper(**settings)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_method(name, small, batch):
    before = copy.deepcopy(small[1].state_dict())
    outcomes = stream(name, small, plugins.load("methods", name).Hyper(), batch=batch)
    assert all(torch.equal(before[key], value) for key, value in small[1].state_dict().items()), "the source model was changed"
    assert [outcome.logits.shape for outcome in outcomes] == [(CLASSES,)] * 3
    assert not outcomes[0].logits.requires_grad
    again = stream(name, small, plugins.load("methods", name).Hyper(), batch=batch)
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(outcomes, again, strict=True)), "not deterministic"
    rows = [adaptation.prediction_row(outcome) for outcome in outcomes]
    assert all(row["available"] and 0 < row["confidence"] <= 1 and row["entropy"] >= 0 for row in rows)


@pytest.mark.parametrize("name", METHODS)
def test_frozen_parameters_stay_as_they_are(name, small):
    """What a method does not set trainable does not move, not even by weight decay."""
    module, model = small
    plugin = plugins.load("methods", name)
    method = plugin.Method(copy.deepcopy(model), hyper_of(name, lr=1e-2), context_of(module, model))
    adapted = getattr(method, "student", method.model)  # some predict by a teacher that follows the adapted model
    frozen = {key for key, parameter in adapted.named_parameters() if not parameter.requires_grad}
    before = {key: value.clone() for key, value in adapted.named_parameters()}
    for clip in clips():
        method.adapt([clip])
    moved = {key for key, value in adapted.named_parameters() if not torch.equal(value, before[key])}
    assert not moved & frozen
    assert bool(moved) == (name in RATED)


@pytest.mark.parametrize("name", METHODS)
def test_method_resets_exactly(name, small):
    """In the episodic protocol a clip's prediction does not depend on the clips before it."""
    shown = list(clips())
    whole = stream(name, small, shown=shown, episodic=True)
    module, model = small
    arrivals = [Arrival(lambda: shown[2], seed=2)]
    context = context_of(module, model, episodic=True)
    ((alone, _),) = run_stream(plugins.load("methods", name), hyper_of(name), model, context, arrivals)
    assert torch.equal(whole[2].logits, alone.logits)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "source"])
def test_method_does_something(name, small):
    strong = stream(name, small, hyper_of(name, lr=1e-2), list(clips(4)), batch=2)
    plain = stream("source", small, shown=list(clips(4)), batch=2)
    assert not torch.allclose(strong[-1].logits, plain[-1].logits, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_several_evaluation_clips_are_averaged(name, small):
    """A clip that is evaluated twice by the same frames is as good as one that is evaluated once, but for rounding."""
    if name in ("norm", "tent", "sar", "eata", "cotta", "read", "shot", "dua", "rotta"):
        pytest.skip("its batch statistics are of twice as many frames")
    doubled = [Clip(c.views, torch.cat([c.evaluation] * 2), c.evidence) for c in clips()]
    once, twice = stream(name, small), stream(name, small, shown=doubled)
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(one.logits, two.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", TWO_PASS)
def test_two_passes_end_in_one_model(name, small):
    """Every clip is predicted by the model that the whole list left behind, so equal clips get equal answers."""
    shown = list(clips())
    outcomes = stream(name, small, hyper_of(name, lr=1e-2), [*shown, shown[0]], batch=2, two_pass=True)
    assert torch.equal(outcomes[0].logits, outcomes[3].logits)
    online = stream(name, small, hyper_of(name, lr=1e-2), [*shown, shown[0]], batch=2)
    assert not torch.equal(online[0].logits, online[3].logits)


@pytest.mark.parametrize("name", METHODS)
def test_views_that_are_not_numbers_do_not_spoil_the_stream(name, small):
    """The clip is answered by the source model or not touched at all, and the next one is as if it came first."""
    first, second, third = clips()
    broken = Clip(first.views * torch.nan, first.evaluation, first.evidence)
    outcomes = stream(name, small, hyper_of(name), [broken, second, third])
    assert all(bool(outcome.logits.isfinite().all()) for outcome in outcomes)
    if "views" in plugins.load("methods", name).NEEDS:
        assert outcomes[0].stop == DIVERGED
        assert outcomes[0].steps == 0
        source = stream("source", small, shown=[first])
        assert torch.allclose(outcomes[0].logits, source[0].logits, atol=1e-5)
    afresh = stream(name, small, hyper_of(name), [second, third], first_seed=1)
    if "views" in plugins.load("methods", name).NEEDS:
        assert all(torch.equal(ours.logits, theirs.logits) for ours, theirs in zip(outcomes[1:], afresh, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_a_clip_that_is_not_numbers_is_no_prediction(name, small):
    first, second, third = clips()
    broken = Clip(second.views * torch.nan, second.evaluation * torch.nan, second.evidence)
    outcomes = stream(name, small, hyper_of(name), [first, broken, third])
    assert outcomes[1] == "non-finite logits"
    assert adaptation.prediction_row(outcomes[1])["available"] is False
    assert bool(outcomes[2].logits.isfinite().all())


@pytest.mark.parametrize("two_pass", [False, True])
@pytest.mark.parametrize("name", RATED)
def test_a_learning_rate_that_explodes_is_told(name, small, two_pass):
    """It ends in finite rows of which some say why, not in tables of NaN."""
    outcomes = stream(name, small, hyper_of(name, lr=1e30, restore=0.0, n_min=2), list(clips(3)), two_pass=two_pass)
    rows = [adaptation.prediction_row(outcome) for outcome in outcomes]
    assert all(row["available"] and row["confidence"] == row["confidence"] for row in rows)
    assert any(row["stop"] in (DIVERGED, "rising", "recovered") for row in rows), [row["stop"] for row in rows]


@pytest.mark.parametrize("name", METHODS)
def test_method_on_a_transformer(name):
    """Every method runs on a backbone of LayerNorm layers, or says that it has nothing to adapt there."""
    source = source_of("video_swin")
    if name in ("norm", "dua"):
        with pytest.raises(NotApplicable, match="no BatchNorm layer"):
            stream(name, source)
        return
    outcomes = stream(name, source, hyper_of(name, lr=1e-3))
    assert all(bool(outcome.logits.isfinite().all()) for outcome in outcomes)


def test_sound_is_ignored_where_there_is_none(small):
    for name in ("audio_assisted", "audio_fusion"):
        outcomes = stream(name, small)
        assert [outcome.heard for outcome in outcomes] == [True, False, True]
        assert outcomes[1].audio_class == -1


def test_views_are_drawn_anew_for_every_pass_if_asked(small):
    drawn = []

    def redraw(n):
        drawn.append(n)
        return torch.randn(2, 3, 8, 32, 32)

    shown = [Clip(clip.views, clip.evaluation, clip.evidence, redraw) for clip in clips(1)]
    stream("audio_assisted", small, hyper_of("audio_assisted", n_min=3, n_max=3), shown)
    assert drawn == []
    stream("audio_assisted", small, hyper_of("audio_assisted", n_min=3, n_max=3, resample_views=True), shown)
    assert drawn == [1, 2]


@pytest.mark.parametrize("update", ["all", "affine"])
def test_an_update_that_is_taken_back_leaves_nothing_behind(small, update):
    """After a rising loss, parameters and the optimiser's state are those of before, bit for bit."""
    module, model = small
    plugin = plugins.load("methods", "audio_assisted")
    method = plugin.Method(copy.deepcopy(model), plugin.Hyper(lr=1e-5, update=update), context_of(module, model))
    first, _, third = clips()
    method.adapt([first])
    before = copy.deepcopy((method.model.state_dict(), method.optimizer.state_dict()))
    committed = method.alignment.committed
    method.optimizer.param_groups[0]["lr"] = 1e4
    (outcome,) = method.adapt([third])
    assert outcome.stop in ("rising", DIVERGED)
    assert outcome.steps == 0
    after = (method.model.state_dict(), method.optimizer.state_dict())
    assert all(torch.equal(value, after[0][key]) for key, value in before[0].items())
    for index, state in before[1]["state"].items():
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(after[1]["state"][index][k])) for k, v in state.items())
    assert method.alignment.committed is not committed  # the pass at the parameters that were kept still counts


def test_a_clip_that_cannot_be_read_costs_only_itself(small):
    def broken():
        raise MediaError("undecodable: test")

    module, model = small
    good = list(clips())
    arrivals = [Arrival(lambda: good[0]), Arrival(broken), Arrival(lambda: good[2])]
    for batch, threads in ((1, 1), (2, 2)):
        plugin = plugins.load("methods", "source")
        stream = run_stream(plugin, plugin.Hyper(), model, context_of(module, model), arrivals, batch, threads)
        outcomes = [outcome for outcome, _ in stream]
        assert outcomes[1] == "undecodable: test"
        assert adaptation.prediction_row(outcomes[1])["available"] is False
        assert not isinstance(outcomes[2], str)


def test_clips_prepared_ahead_change_nothing(small):
    module, model = small
    shown = list(clips())
    plugin = plugins.load("methods", "vitta")
    arrivals = [Arrival(lambda clip=clip: clip, seed=i) for i, clip in enumerate(shown)]
    answers = []
    for threads in (1, 3):
        stream = run_stream(plugin, plugin.Hyper(), model, context_of(module, model), arrivals, threads=threads)
        answers.append(torch.stack([outcome.logits for outcome, _ in stream]))
    assert torch.equal(*answers)


def test_non_finite_logits_are_no_prediction(small):
    module, model = small
    broken = copy.deepcopy(model)
    broken.head.bias.data.fill_(float("nan"))
    assert stream("source", (module, broken)) == ["non-finite logits"] * 3


@pytest.mark.parametrize("name", ["tent", "shot", "lame", "t3a"])
def test_a_clip_that_cannot_be_read_leaves_a_smaller_batch(name, small):
    def broken():
        raise MediaError("undecodable: test")

    module, model = small
    first, _, third = clips()
    arrivals = [Arrival(lambda: first), Arrival(broken, seed=1), Arrival(lambda: third, seed=2)]
    plugin = plugins.load("methods", name)
    found = [o for o, _ in run_stream(plugin, hyper_of(name), model, context_of(module, model), arrivals, batch=3)]
    assert found[1] == "undecodable: test"
    whole = stream(name, small, shown=[first, third], batch=2)
    assert torch.equal(found[0].logits, whole[0].logits)
    assert torch.equal(found[2].logits, whole[1].logits)


def test_a_batch_does_not_reach_over_two_corruptions(small):
    module, model = small
    shown = list(clips())
    arrivals = [Arrival(lambda c=clip: c, group=group) for clip, group in zip(shown, "aab", strict=True)]
    plugin, context = plugins.load("methods", "norm"), context_of(module, model)
    found = [o.logits for o, _ in run_stream(plugin, plugin.Hyper(), model, context, arrivals, batch=3)]
    pair, alone = stream("norm", small, shown=shown[:2], batch=2), stream("norm", small, shown=shown[2:])
    assert torch.equal(found[0], pair[0].logits)
    assert torch.equal(found[2], alone[0].logits)


def test_dua_adapts_to_its_share_of_the_list(small):
    outcomes = stream("dua", small, hyper_of("dua", share=0.3), list(clips(4)), clips=4)
    assert [outcome.steps for outcome in outcomes] == [1, 1, 0, 0]
    assert [outcome.steps for outcome in stream("dua", small, two_pass=True, clips=3)] == [1, 0, 0]


def test_shot_keeps_the_lists_labels_when_it_diverges(small):
    """What was seen of the list outlives the model that saw it."""
    shown = list(clips(4))
    shown[1] = Clip(shown[1].views, shown[1].evaluation * torch.nan, shown[1].evidence)
    outcomes = stream("shot", small, hyper_of("shot"), shown, two_pass=True)
    assert [isinstance(outcome, str) for outcome in outcomes] == [False, True, False, False]


def test_sound_without_a_part_in_the_update_is_not_told_as_used(small):
    for settings in ({"lambda_pl": 0}, {"alpha_max": 0, "pl_when_no_audio": True}):
        outcomes = stream("audio_assisted", small, hyper_of("audio_assisted", **settings))
        assert not any(outcome.heard for outcome in outcomes)


def test_a_mixed_stream_draws_all_corruptions():
    drawn = [mixed_choice(4, 0, f"clip{i}") for i in range(400)]
    assert drawn == [mixed_choice(4, 0, f"clip{i}") for i in range(400)]
    assert min(drawn.count(number) for number in range(4)) > 70
