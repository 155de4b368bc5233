"""Adapters between two streams of tokens: latent tokens that carry one stream to the other, and a bottleneck.

Sources: Lin et al., "Vision Transformers are Parameter-Efficient Audio-Visual Learners", CVPR 2023, section 3.2 (LAVisH); the
names of parameters are the published ones, which Duan et al., "Cross-modal Prompts: Adapting Large Pre-trained Models for
Audio-Visual Downstream Tasks", NeurIPS 2023, keep. Shapes: N segments, L tokens, C channels, K latent tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from earshot.knobs import Knobs


class LatentHyper(Knobs):
    """What every adapter may be told."""

    reduction: int = Field(8, ge=1, description="channels by those of the bottleneck")
    groups: int = Field(2, ge=1, description="of channels in the bottleneck's layers, which do not mix")
    tokens: int = Field(2, ge=1, description="latent tokens")
    tokens_init: Literal["uniform", "zeros"] = "uniform"
    use_bn: bool = Field(True, description="batch norm after both layers of the bottleneck")
    audio_gate: bool = Field(True, description="the audio side's residual is scaled by a learnt number that starts at 0")
    visual_gate: bool = Field(True, description="the same of the visual side")
    norm_before: bool = Field(True, description="LayerNorm before the bottleneck")
    gate_then_norm: bool = Field(False, description="the last LayerNorm comes after the gate")


class Place(NamedTuple):
    """Tokens L and channels C of a stream at some depth."""

    tokens: int
    width: int


class Guided(NamedTuple):
    """A residual (N, L, C); weights of the tokens for pooling (N, L) where asked for; a gate of each segment (N, 1)."""

    residual: Tensor
    map: Tensor | None = None
    gate: Tensor | None = None


class LatentAdapter(nn.Module):
    """LAVisH's adapter: the other stream, of the same shape, through K latent tokens, then a bottleneck.

    `recomputing` keeps the moving statistics of batch norm from being updated a second time.
    """

    def __init__(self, width: int, hyper: LatentHyper, gated: bool) -> None:
        super().__init__()
        inner = width // hyper.reduction
        if inner * hyper.reduction != width or inner % hyper.groups:
            raise ValueError(
                f"a bottleneck of {width} channels by `reduction: {hyper.reduction}` does not divide into "
                f"`groups: {hyper.groups}`"
            )
        self.groups, self.gate_then_norm, self.recomputing = hyper.groups, hyper.gate_then_norm, False
        start = torch.rand if hyper.tokens_init == "uniform" else torch.zeros
        self.my_tokens = nn.Parameter(start(hyper.tokens, width))
        self.gate_av = nn.Parameter(torch.zeros(1))
        self.gate = nn.Parameter(torch.zeros(1)) if gated else None
        self.down_sampler = nn.Conv2d(width, inner, 1, groups=hyper.groups, bias=False)
        self.up_sampler = nn.Conv2d(inner, width, 1, groups=hyper.groups, bias=False)
        self.bn1 = nn.BatchNorm1d(inner) if hyper.use_bn else None
        self.bn2 = nn.BatchNorm1d(width) if hyper.use_bn else None
        self.ln_before = nn.LayerNorm(width) if hyper.norm_before else None
        self.ln_post = nn.LayerNorm(width)

    def forward(self, x: Tensor, other: Tensor, want_map: bool = False) -> Guided:
        """The residual of `x` (N, L, C) that the other stream (N, L, C) suggests; there is no map."""
        return Guided(self.squeezed(self.exchanged(x, other, other.transpose(1, 2))))

    def exchanged(self, x: Tensor, c: Tensor, c_turned: Tensor) -> Tensor:
        """What the latent tokens gather from `c` (N, M, C), whose transpose is given as well, added to `x`."""
        gathered = self.my_tokens + (self.my_tokens @ c_turned).softmax(-1) @ c
        weights = (x @ gathered.transpose(1, 2)).softmax(-1)
        return x + weights @ (self.gate_av * gathered)

    def squeezed(self, x: Tensor) -> Tensor:
        """The bottleneck; the published grouped convolutions of one pixel are block-diagonal products."""
        if self.ln_before is not None:
            x = self.ln_before(x)
        z = self._normed(self.bn1, functional.linear(x, _diagonal(self.down_sampler))).relu()
        z = self._normed(self.bn2, functional.linear(z, _diagonal(self.up_sampler)))
        if self.gate is None:
            return self.ln_post(z)
        if self.gate_then_norm:
            return self.ln_post(self.gate * z)
        last = self.ln_post  # whose scale and shift take the gate
        return functional.layer_norm(z, last.normalized_shape, self.gate * last.weight, self.gate * last.bias, last.eps)

    def _normed(self, norm: nn.BatchNorm1d | None, z: Tensor) -> Tensor:
        """Batch norm over segments and tokens together."""
        if norm is None:
            return z
        flat = z.flatten(0, 1)
        if self.recomputing and norm.training:
            mean, variance = norm.running_mean, norm.running_var  # clones, since the first run counted
            assert mean is not None and variance is not None
            found = functional.batch_norm(flat, mean.clone(), variance.clone(), norm.weight, norm.bias, True, eps=norm.eps)
            return found.view_as(z)
        return norm(flat).view_as(z)


def _diagonal(layer: nn.Conv2d) -> Tensor:
    """The weights (out, in) of a grouped convolution of one pixel as a whole matrix."""
    return torch.block_diag(*layer.weight[:, :, 0, 0].chunk(layer.groups))


@contextmanager
def recomputing(adapters: list[LatentAdapter]) -> Iterator[None]:
    """Within it, adapters compute what they computed before, and count nothing twice."""
    for one in adapters:
        one.recomputing = True
    try:
        yield
    finally:
        for one in adapters:
            one.recomputing = False
