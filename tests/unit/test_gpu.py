"""What runs differently on CUDA: training in bfloat16, going on from a file, the temporal mix. Skips where there is none."""

import pytest
import torch
from test_training import FAST, dataset, kill_after, train, values

from earshot import training
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


def test_the_temporal_mix_takes_halves():
    module = TemporalAdaptiveModule(8, 6).cuda()
    x = torch.randn(12, 8, 5, 4, device="cuda", requires_grad=True)
    expected = module.eval()(x)
    with torch.autocast("cuda", torch.bfloat16):
        mixed = module(x.bfloat16())
    mixed.float().sum().backward()
    assert mixed.dtype == torch.bfloat16 and x.grad.isfinite().all()
    torch.testing.assert_close(mixed.float(), expected, atol=0.05, rtol=0.05)
