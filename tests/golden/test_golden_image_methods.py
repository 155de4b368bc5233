"""Tent, EATA, SAR, LAME, RoTTA's memory and READ against numbers of the reference implementations on a tiny network."""

import fill
import numpy as np
import pytest
import torch
from golden_files import golden
from torch import nn

from earshot.adaptation import Clip, Context
from earshot.methods import eata, lame, read, rotta, sar, tent
from earshot.methods._entropy import entropy
from earshot.methods._memory import Memory

LOGITS = {"rtol": 0, "atol": 2e-5}
WEIGHTS = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def functional():
    """The numbers of single functions."""
    return golden("functional")


class TinyNet(nn.Module):
    """The network of the golden numbers, for clips (B, 3, 1, H, W) of one frame."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.layer4 = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12))
        self.fc = nn.Linear(12, 10)
        entries = [(name, list(tensor.shape), "") for name, tensor in self.state_dict().items()]
        self.load_state_dict(fill.checkpoint(entries))
        self.fc.weight.data *= 6

    def forward(self, clips):
        x = torch.relu(self.bn1(self.conv1(clips.squeeze(2))))
        return self.fc(torch.relu(self.layer4(x)).mean((2, 3)))


def batch(i):
    pictures = 1.5 * fill.normal(f"net/x{i}", (6, 3, 8, 8)) + fill.normal(f"net/t{i}", (6, 3, 1, 1))
    return [Clip(torch.empty(0), picture[None, :, None]) for picture in torch.from_numpy(pictures)]


def follow(method, numbers):
    """Adapt to the three batches one by one and compare logits; yields the outcomes of each."""
    for i, expected in enumerate(numbers["step_logits"]):
        outcomes = method.adapt(batch(i))
        logits = torch.stack([outcome.logits for outcome in outcomes])
        np.testing.assert_allclose(logits.flatten(), expected, **LOGITS)
        yield outcomes


def assert_scales(model, numbers):
    np.testing.assert_allclose(model.bn1.weight.detach(), numbers["bn1_weight_after"], **WEIGHTS)
    np.testing.assert_allclose(model.layer4[1].weight.detach(), numbers["layer4_bn_weight_after"], **WEIGHTS)


def test_tiny_net(functional):
    with torch.no_grad():
        logits = TinyNet().eval()(torch.cat([clip.evaluation for clip in batch(0)]))
    np.testing.assert_allclose(logits.flatten(), functional["tiny_net"]["source_logits_x0"], **LOGITS)


def test_tent(functional):
    method = tent.Method(TinyNet(), tent.Hyper(optimizer="sgd", lr=functional["tiny_net"]["lr"]), Context())
    assert len(list(follow(method, functional["tiny_tent"]))) == 3
    assert_scales(method.model, functional["tiny_tent"])


@pytest.mark.parametrize("run", ["tiny_eta", "tiny_eta_wide_margin"])
def test_eta(functional, run):
    numbers = functional[run]
    margins = {"margin": numbers["margins"]["MARGIN_E0"], "redundancy": numbers["margins"]["D_MARGIN"]}
    method = eata.Method(TinyNet(), eata.Hyper(lr=functional["tiny_net"]["lr"], **margins), Context())
    updates = np.cumsum([sum(outcome.steps for outcome in outcomes) for outcomes in follow(method, numbers)])
    assert updates.tolist() == [state["num_samples_update_2"] for state in numbers["state"]]
    assert_scales(method.model, numbers)


@pytest.mark.parametrize("run", ["tiny_sar", "tiny_sar_wide_margin", "tiny_sar_recovery"])
def test_sar(functional, run):
    numbers = functional[run]
    hyper = sar.Hyper(lr=functional["tiny_net"]["lr"], margin=numbers["margins"]["MARGIN_E0"], recovery=numbers["reset_em"])
    method = sar.Method(TinyNet(), hyper, Context(last_stage=["layer4"]))
    averages = []
    for outcomes in follow(method, numbers):
        averages.append(method.average)
        if not any(outcome.steps for outcome in outcomes):  # the reference then lets its momentum go on: trap 22
            for parameter in method.affine:
                parameter.grad = torch.zeros_like(parameter)
            method.optimizer.step()
    expected = [state["ema"] for state in numbers["state"]]
    assert averages == [None if value is None else pytest.approx(value, rel=1e-5) for value in expected]
    assert_scales(method.model, numbers)


def test_sar_does_nothing_where_no_clip_is_reliable(functional):
    hyper = sar.Hyper(lr=functional["tiny_net"]["lr"])
    method = sar.Method(TinyNet(), hyper, Context(last_stage=["layer4"]))
    steps, stops, scales = [], [], []
    for i in range(3):
        outcomes = method.adapt(batch(i))
        steps.append(sum(outcome.steps for outcome in outcomes))
        stops.append({outcome.stop for outcome in outcomes})
        scales.append(method.model.bn1.weight.detach().clone())
    assert steps[0] > 0 and steps[1] > 0 and steps[2] == 0
    assert stops[2] == {"filtered"}
    assert torch.equal(scales[1], scales[2])


@pytest.mark.parametrize("affinity", ["rbf", "knn", "linear"])
def test_lame(functional, affinity):
    features = torch.from_numpy(fill.normal("lame/f", (9, 16)))
    logits = torch.from_numpy(2 * fill.normal("lame/z", (9, 5)))
    hyper = lame.Hyper(affinity=affinity)
    answers = lame.corrected(logits.softmax(-1), lame.affinities(features, hyper), hyper)
    np.testing.assert_allclose(answers.flatten(), functional["lame"][affinity], atol=1e-5)


def test_memory(functional):
    numbers = functional["rotta_memory"]
    memory = Memory(numbers["capacity"], numbers["num_class"])
    for number, (prediction, uncertainty) in enumerate(numbers["sequence_pred_uncertainty"]):
        memory.add(number, prediction, uncertainty)
    assert [[item.what for item in items] for items in memory.of_class] == numbers["kept_ids_per_class"]
    assert [[item.age for item in items] for items in memory.of_class] == numbers["ages_per_class"]
    weights = [rotta.timeliness(age) for age in (0, 0.5, 1, 2)]
    np.testing.assert_allclose(weights, numbers["timeliness"], rtol=1e-6)


class Fusion(nn.Module):
    """Logits a W + v of clips that hold a (7) and v (12), one after the other."""

    def __init__(self):
        super().__init__()
        self.block = nn.ModuleDict({"qkv": nn.Linear(7, 12, bias=False)})
        self.block["qkv"].weight.data = torch.from_numpy(fill.normal("read/w", (7, 12))).T.contiguous()

    def forward(self, clips):
        return self.block["qkv"](clips[:, :7]) + clips[:, 7:]


def test_read(functional):
    method = read.Method(Fusion(), read.Hyper(lr=1e-2), Context(last_stage=["block"]))
    for i, expected in enumerate(functional["read"]["steps"]):
        both = np.concatenate([fill.normal(f"read/a{i}", (4, 7)), fill.normal(f"read/v{i}", (4, 12))], axis=1)
        clips = [Clip(torch.empty(0), row[None]) for row in torch.from_numpy(both)]
        with torch.no_grad():
            before = method.model(torch.from_numpy(both))
        np.testing.assert_allclose(before.flatten(), expected["logits_before"], **LOGITS)
        assert float(read.confidence_loss(before, method.hyper.gamma)) == pytest.approx(expected["loss_ra"], rel=1e-5)
        assert float(read.balance(before)) == pytest.approx(expected["loss_bal"], rel=1e-5)
        outcomes = method.adapt(clips)
        assert float(outcomes[0].loss_first) == pytest.approx(expected["loss"], rel=1e-5)
        after = torch.stack([outcome.logits for outcome in outcomes])
        np.testing.assert_allclose(after.flatten(), expected["logits_after"], **LOGITS)


def test_entropy_is_that_of_the_memory(functional):
    """What RoTTA calls uncertainty is the entropy in nats."""
    highest = entropy(torch.zeros(functional["rotta_memory"]["num_class"]))
    assert max(value for _, value in functional["rotta_memory"]["sequence_pred_uncertainty"]) <= float(highest)
