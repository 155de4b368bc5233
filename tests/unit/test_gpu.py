"""What runs differently on CUDA: training in bfloat16, going on from a file, the temporal mix. Skips where there is none."""

import copy
from dataclasses import replace

import pytest
import test_parsing
import torch
from test_training import FAST, dataset, kill_after, train, values

from earshot import parsing, plugins, training
from earshot.adaptation import Clip, Context
from earshot.backbones._tanet import TemporalAdaptiveModule

__all__ = ["dataset"]
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("fit", ["all", "head"])
def test_training_on_cuda_goes_on_to_the_same_bytes(dataset, tmp_path, monkeypatch, fit):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    table = train(dataset, tmp_path / "whole", fit=fit, device="cuda")
    assert all(torch.tensor(values(table, "loss")).isfinite())
    with monkeypatch.context() as patch, pytest.raises(BaseException, match=""):
        kill_after(patch, 1)
        train(dataset, tmp_path / "killed", fit=fit, device="cuda")
    train(dataset, tmp_path / "killed", fit=fit, device="cuda")
    assert (tmp_path / "whole/w.safetensors").read_bytes() == (tmp_path / "killed/w.safetensors").read_bytes()
    assert training.Hyper(**FAST).amp


def test_a_captured_pass_adapts_as_an_eager_one():
    """Three clips of ViTTA with the pass over the views replayed from a CUDA graph."""
    module, vitta = plugins.load("backbones", "tanet_small"), plugins.load("methods", "vitta")
    torch.manual_seed(0)
    model = module.build(5, module.Options()).cuda().eval()
    widths = {name: len(model.get_submodule(name).weight) for name in module.aligned_layers(model)}
    statistics = {name: (torch.zeros(width).cuda(), torch.ones(width).cuda()) for name, width in widths.items()}
    answers = []
    for captured in (False, True):
        hyper, context = vitta.Hyper(lr=1e-3, adapt_dropout="off"), Context(statistics, cuda_graphs=captured)
        method, generator = vitta.Method(copy.deepcopy(model), hyper, context), torch.Generator("cuda").manual_seed(1)
        for _ in range(3):
            views = torch.randn(2, 3, 8, 64, 64, device="cuda", generator=generator)
            (outcome,) = method.adapt([Clip(views, views[:1])])
        answers.append(outcome.logits)
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-4)


def test_the_temporal_mix_takes_halves():
    module = TemporalAdaptiveModule(8, 6).cuda()
    x = torch.randn(12, 8, 5, 4, device="cuda", requires_grad=True)
    expected = module.eval()(x)
    with torch.autocast("cuda", torch.bfloat16):
        mixed = module(x.bfloat16())
    mixed.float().sum().backward()
    assert mixed.dtype == torch.bfloat16 and x.grad.isfinite().all()
    torch.testing.assert_close(mixed.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("amp", [True, False])
def test_a_parser_trains_goes_on_and_parses_on_cuda(tmp_path, monkeypatch, amp):
    made = test_parsing.Set(tmp_path)
    inputs = made.inputs(train={"epochs": 4, "batch": 8, "amp": amp})
    inputs = replace(inputs, runtime={**test_parsing.RUNTIME, "device": "cuda"})
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    table = test_parsing.train(inputs, tmp_path / "whole")
    assert all(torch.tensor(values(table, "loss")).isfinite())
    monkeypatch.setattr(parsing, "_SAVE_EVERY", 0)
    with monkeypatch.context() as patch, pytest.raises(BaseException, match=""):
        kill_after(patch, 2)
        test_parsing.train(inputs, tmp_path / "killed")
    test_parsing.train(inputs, tmp_path / "killed")
    assert all(row["available"] for row in test_parsing.parse(inputs, tmp_path / "killed"))
