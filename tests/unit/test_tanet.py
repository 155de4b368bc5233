"""TANet's temporal module against a plain form of its formulas."""

import pytest
import torch
from torch.nn import functional

from earshot.backbones import tanet_small
from earshot.backbones._tanet import TemporalAdaptiveModule


def plain(module, x):
    """Gate every frame, then a grouped convolution over time with a kernel for each clip and channel."""
    n, channels, height, width = x.shape
    clips = x.view(-1, module.frames, channels, height, width)
    pooled = clips.mean((3, 4)).transpose(1, 2)
    gated = clips * module.L(pooled).transpose(1, 2)[..., None, None]
    kernels = module.G(pooled.reshape(-1, module.frames)).view(-1, 1, 3, 1)
    rows = gated.permute(0, 2, 1, 3, 4).reshape(1, -1, module.frames, height * width)
    mixed = functional.conv2d(rows, kernels, padding=(1, 0), groups=rows.shape[1])
    return mixed.view(-1, channels, module.frames, height, width).transpose(1, 2).reshape(n, channels, height, width)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_temporal_module_and_its_gradients(layout):
    torch.manual_seed(0)
    module = TemporalAdaptiveModule(8, 6).double().eval()
    x = torch.randn(12, 8, 5, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_(True)
    target = torch.randn(12, 8, 5, 4, dtype=torch.float64)
    parameters = [x, *module.parameters()]
    ours, theirs = module(x), plain(module, x)
    torch.testing.assert_close(ours, theirs)
    first = torch.autograd.grad((ours * target).sum(), parameters)
    second = torch.autograd.grad((theirs * target).sum(), parameters)
    for found, expected in zip(first, second, strict=True):
        torch.testing.assert_close(found, expected)


def test_clips_do_not_mix():
    torch.manual_seed(0)
    module = TemporalAdaptiveModule(8, 6).eval()
    x = torch.randn(12, 8, 5, 4)
    with torch.no_grad():
        torch.testing.assert_close(module(x)[:6], module(x[:6]))


def test_a_clip_of_another_length_is_refused():
    model = tanet_small.build(3, tanet_small.Options())
    with pytest.raises(ValueError, match="takes clips of 8 frames, not 16"):
        model(torch.zeros(1, 3, 16, 64, 64))
