"""Our TANet, statistics, ViTTA and audio-assisted method against numbers of the reference implementations."""

import math

import fill
import numpy as np
import pytest
import torch
from golden_files import golden
from torch import nn

from earshot.adaptation import Clip, Context, Evidence
from earshot.methods import audio_assisted, vitta
from earshot.methods._alignment import Alignment, AlignmentHyper, consistency
from earshot.methods._cycle import CycleHyper, jensen_shannon, views_agree
from earshot.methods._listening import ListeningHyper, mapped_audio, pseudo_label

RUNS = [("tanet_source", "vitta_tanet", {}), ("swin_source", "vitta_videoswin", {"rho": 0.05, "lambda_consis": 0.05})]


def views_of(step):
    return torch.stack([fill.clip(f"tta/{step}/{view}", 16, 64) for view in (0, 1)])


@pytest.mark.parametrize(("fixture", "numbers", "published"), RUNS, ids=["tanet", "video_swin"])
@pytest.mark.parametrize("run", ["default", "large_lr"])
def test_vitta_online(request, fixture, numbers, published, run):
    source, expected = request.getfixturevalue(fixture), golden(numbers)[run]
    assert [source.to_published(f"{name}.")[:-1] for name in source.aligned] == expected["hooked_layers"]
    model = source.fresh()
    parameters = {source.to_published(name): parameter for name, parameter in model.named_parameters()}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    method = vitta.Method(model, vitta.Hyper(lr=expected["lr"], adapt_dropout="off", **published), Context(source.aligned))
    for i, step in enumerate(expected["steps"]):
        (outcome,) = method.adapt([Clip(views_of(i), fill.clip(f"eval/{i}", 16, 64)[None])])
        assert float(outcome.loss_first) == pytest.approx(step["loss"], rel=1e-5)
        np.testing.assert_allclose(outcome.logits, step["eval_logits_after"], atol=2e-4)
        for name, norm in step["grad_norm"].items():
            assert float(parameters[name].grad.norm()) == pytest.approx(norm, rel=2e-3)
        if run == "large_lr":  # at the default rate a step is near float32's resolution
            for name, drift in step["param_delta_l2"].items():
                assert float((parameters[name].detach() - before[name]).norm()) == pytest.approx(drift, rel=5e-3), name
    moments = {source.to_published(f"{name}.")[:-1]: pair for name, pair in method.alignment.committed.items()}
    for name, ema in expected["ema_after_last_step"].items():
        mean, var = moments[name]
        np.testing.assert_allclose(mean[:3], ema["mean_head"], rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(var[:3], ema["var_head"], rtol=2e-3, atol=1e-5)
    group = method.optimizer.param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 5e-4, False)


@pytest.mark.parametrize(("fixture", "numbers", "published"), RUNS, ids=["tanet", "video_swin"])
def test_vitta_loss_by_layer(request, fixture, numbers, published):
    source, expected = request.getfixturevalue(fixture), golden(numbers)["default"]["steps"][0]
    hyper = AlignmentHyper(rho=published.get("rho", 0.1))
    alignment = Alignment(source.model, hyper, Context(source.aligned))
    with torch.no_grad():
        logits, targets = alignment.forward(views_of(0))
    by_layer = [float(alignment.loss({name: pair})) for name, pair in targets.items()]
    np.testing.assert_allclose(by_layer, expected["align_per_layer"], rtol=1e-5)
    assert float(consistency(logits)) == pytest.approx(expected["consis"], rel=5e-4)
    np.testing.assert_allclose(logits.flatten(), expected["view_logits"], atol=5e-5)


def test_vitta_episodic_with_two_steps(tanet_source):
    expected = golden("vitta_tanet")["reset_each_sample_2_grad_steps"]
    hyper = vitta.Hyper(lr=expected["lr"], steps=2, adapt_dropout="off")
    method = vitta.Method(tanet_source.fresh(), hyper, Context(tanet_source.aligned, episodic=True))
    (outcome,) = method.adapt([Clip(views_of(0), fill.clip("eval/0", 16, 64)[None])])
    assert float(outcome.loss_last) == pytest.approx(expected["steps"][0]["loss"], rel=1e-5)
    np.testing.assert_allclose(outcome.logits, expected["steps"][0]["eval_logits_after"], atol=2e-4)


@pytest.mark.parametrize("case", golden("functional")["vitta_consistency"], ids=lambda case: case["logits"])
def test_consistency(case):
    """The reference sums over the batch; ours has a batch of one, so clips are summed here."""
    logits = torch.from_numpy(3 * fill.normal(case["logits"][len("3*normal(") : -1], case["shape"])).requires_grad_(True)
    loss = torch.stack([consistency(views) for views in logits]).sum()
    loss.backward()
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    assert float(logits.grad.norm()) == pytest.approx(case["grad_l2"], rel=1e-4)


@pytest.mark.parametrize("name", golden("audio_assist_example")["cases"])
def test_pseudo_label(name):
    example = golden("audio_assist_example")
    case, inputs = example["cases"][name], example["inputs"]
    options = dict(case["options"])
    heard = options.pop("has_audio", True)
    target = options.pop("target", "soft")
    hyper = ListeningHyper(**options)
    views = torch.tensor(inputs["view_logits"], dtype=torch.float64)
    mapped = mapped_audio(torch.tensor(inputs["audio_logits"]).double(), heard, torch.tensor(inputs["M"]).double(), hyper)
    q, alpha = pseudo_label(views.softmax(-1).mean(0), mapped, hyper)
    assert (mapped.q is not None) == bool(case["u"])
    assert mapped.kappa == pytest.approx(case["kappa"], abs=1e-6)
    assert alpha == pytest.approx(case["alpha"], abs=1e-6)
    if case["q_a"]:
        np.testing.assert_allclose(mapped.q, case["q_a"], atol=1e-6)
    np.testing.assert_allclose(q, case["q"], atol=1e-6)
    if target == "hard":
        q = torch.nn.functional.one_hot(q.argmax(), len(q)).double()
    assert float(audio_assisted.soft_cross_entropy(views, q)) == pytest.approx(case["L_pl"], abs=1e-6)
    assert float(consistency(views)) == pytest.approx(case["consis"], abs=1e-6)
    assert float(jensen_shannon(views)) == pytest.approx(case["jsd"], abs=1e-6)
    assert views_agree(views, CycleHyper()) == case["agree_argmax"]


class _Scripted(audio_assisted.Method):
    """The cycle with losses and agreement from a script and no model behind it."""

    def __init__(self, trace):
        options = {{"rule": "stop_rule"}.get(key, key): value for key, value in trace["options"].items()}
        self.hyper, self.trace, self.n, self.undone = audio_assisted.Hyper(**options), trace, 0, 0
        self.alignment = self

    def forward(self, views):
        return torch.zeros(2, 3), {}

    def _measure(self, logits, targets, target):
        loss = self.trace["loss_at_n"][self.n]
        loss = math.nan if loss is None else float(loss)
        return audio_assisted._Pass(torch.tensor(loss), loss, math.isfinite(loss), self.trace["agree_at_n"][self.n], targets)

    def _update(self, loss):
        self.n += 1

    def _snapshot(self):
        def restore():
            self.n -= 1

        return restore


@pytest.mark.parametrize(
    "trace", golden("audio_assist_example")["cycle_traces"], ids=lambda t: f"{t['stop']}-{t['updates_kept']}"
)
def test_cycle_traces(trace):
    method, clip = _Scripted(trace), torch.zeros(2, 3, 1, 1, 1)
    n, stop, _, _, _ = method._cycle(Clip(clip, clip), audio_assisted.Heard(None, 0.0))
    assert (n, stop) == (trace["updates_kept"], trace["stop"])
    assert method.n == n  # what was not kept was taken back


@pytest.mark.parametrize("adapt_dropout", ["reference", "off"])
def test_audio_assisted_with_one_step_and_no_pseudo_label_is_vitta(tanet_source, adapt_dropout):
    """Bit for bit, with dropout as the reference leaves it on and without, over two clips."""
    context = Context(tanet_source.aligned, label_map=torch.eye(101))
    common = {"lr": 2e-3, "adapt_dropout": adapt_dropout}
    ours = audio_assisted.Method(tanet_source.fresh(), audio_assisted.Hyper(n_max=1, lambda_pl=0, **common), context)
    theirs = vitta.Method(tanet_source.fresh(), vitta.Hyper(**common), context)
    for i in range(2):
        clip = Clip(views_of(i), fill.clip(f"eval/{i}", 16, 64)[None], Evidence(torch.ones(101), heard=True))
        answers = []
        for method in (ours, theirs):
            torch.manual_seed(i)
            answers.append(method.adapt([clip])[0].logits)
        assert torch.equal(*answers)


LAYERS = {"bn2d": nn.BatchNorm2d, "bn3d": nn.BatchNorm3d, "ln": nn.LayerNorm}
DISTANCES = {"l1_loss": "l1", "mse_loss": "mse", "kld": "kl"}


@pytest.mark.parametrize("case", golden("functional")["vitta_alignment"], ids=lambda case: f"{case['layer']}-{case['reg']}")
def test_alignment_of_one_layer(case):
    """Loss, gradient and moving averages of three clips, for each distance and kind of layer."""
    channels = case["shape"][-1] if case["layer"] == "ln" else case["shape"][1]
    layer = LAYERS[case["layer"]](channels).eval()
    layer.load_state_dict(fill.checkpoint([(name, value.shape, "") for name, value in layer.state_dict().items()]))
    means = torch.from_numpy(fill.normal("al/src_mean", [channels]))
    variances = torch.from_numpy(fill.normal("al/src_var", [channels])).exp()
    hyper = AlignmentHyper(rho=case["momentum"], distance=DISTANCES[case["reg"]])
    alignment = Alignment(nn.Sequential(layer), hyper, Context({"0": (means, variances)}))
    for name, value, gradient in zip(case["x"], case["values"], case["input_grad_l2"], strict=True):
        x = torch.from_numpy(fill.normal(name, case["shape"])).requires_grad_(True)
        _, targets = alignment.forward(x)
        loss = alignment.loss(targets)
        loss.backward()
        alignment.commit(targets)
        assert loss.item() == pytest.approx(value, rel=1e-5)
        assert float(x.grad.norm()) == pytest.approx(gradient, rel=2e-3)
    mean, var = alignment.committed["0"]
    np.testing.assert_allclose(mean, case["ema_mean"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(var, case["ema_var"], rtol=1e-4, atol=1e-6)
