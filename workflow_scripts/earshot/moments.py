"""Mean and variance of normalisation layers' outputs, by channel, while a model runs.

Source: ViTTA (Lin et al., CVPR 2023), section 3.1; our spec, `tta.md` section 2.2: over everything but channels, all views
of the batch in one volume, population variance.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from earshot.adaptation import Moments

_BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Moments]]:
    """Collect the moments (D,) of the named layers' outputs in the forward passes of the block, the last pass winning."""
    found: dict[str, Moments] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = _of_batch_norm(layer, inputs[0]) if _is_frozen_batch_norm(layer) else _of(layer, output)

        return keep

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _is_frozen_batch_norm(layer: nn.Module) -> bool:
    return isinstance(layer, _BATCH_NORMS) and not layer.training and layer.running_mean is not None


def _of_batch_norm(layer: Any, x: Tensor) -> Moments:
    # A frozen BatchNorm is an affine map, so its output's moments follow from its input's. Its output must not be kept
    # for the backward pass: the in-place ReLU behind it would overwrite it.
    var, mean = _VarMean.apply(x, _all_but(1, x.dim()))
    scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    return scale * (mean - layer.running_mean) + layer.bias, scale.square() * var


def _of(layer: nn.Module, output: Tensor) -> Moments:
    channel = 1 if isinstance(layer, _BATCH_NORMS) else output.dim() - 1
    var, mean = torch.var_mean(output.float(), dim=_all_but(channel, output.dim()), correction=0)
    return mean, var


def _all_but(channel: int, dims: int) -> list[int]:
    return [dim for dim in range(dims) if dim != channel]


class _VarMean(torch.autograd.Function):
    """Population variance and mean (D,) over `dims`, in float32.

    On CPUs torch's own takes twenty times as long as a sum, and its backward pass goes over the volume three times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
        whole = x.float()
        if x.is_cuda:
            var, mean = torch.var_mean(whole, dims, correction=0, keepdim=True)
        else:
            mean = whole.mean(dims, keepdim=True)
            var = (whole - mean).square_().mean(dims, keepdim=True)
        ctx.save_for_backward(x, mean)
        return var.flatten(), mean.flatten()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_var: Tensor, of_mean: Tensor) -> tuple[Tensor, None]:
        x, mean = ctx.saved_tensors
        n = x.numel() // mean.numel()
        slope = 2 / n * of_var.view_as(mean)
        return torch.addcmul(of_mean.view_as(mean) / n - slope * mean, x, slope).to(x.dtype), None
