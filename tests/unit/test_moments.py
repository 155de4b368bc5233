"""Moments of layers' outputs: values and gradients against torch's own, in any precision and layout."""

import pytest
import torch
from torch import nn

from earshot.moments import recorded


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_moments_of_a_frozen_batch_norm(layout, shift):
    """They are those of the output, and so are their gradients."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm2d(5).eval()
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean):
            tensor.normal_(generator=generator)
    model = nn.Sequential(layer)
    x = (shift + torch.randn(6, 5, 4, 3, generator=generator)).to(memory_format=layout).requires_grad_(True)
    weights = torch.randn(2, 5, generator=generator)
    gradients = []
    for own in (True, False):
        x.grad = None
        if own:
            with recorded(model, ["0"]) as seen:
                model(x)
            mean, var = seen["0"]
        else:
            var, mean = torch.var_mean(model(x), dim=(0, 2, 3), correction=0)
        (weights[0] @ mean + weights[1] @ var).backward()
        gradients.append((mean.detach(), var.detach(), x.grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_moments_are_single_precision_of_halves():
    layer = nn.BatchNorm2d(3).eval()
    x = torch.randn(4, 3, 8, 8).bfloat16().requires_grad_(True)
    with recorded(nn.Sequential(layer), ["0"]) as seen, torch.autocast("cpu", torch.bfloat16):
        layer(x)
    mean, var = seen["0"]
    assert mean.dtype == var.dtype == torch.float32
    (mean.sum() + var.sum()).backward()
    assert x.grad.dtype == torch.bfloat16 and x.grad.isfinite().all()
