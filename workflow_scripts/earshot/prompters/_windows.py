"""Window attention of the frozen encoders, from the parts of timm's Swin-V2 and of transformers' HTS-AT.

The layers are the libraries' own; what is done differently is that the bias of relative positions is computed once for weights
that stay, and that attention is torch's fused one. Sources: Liu et al., "Swin Transformer V2", CVPR 2022, section 3.2; Chen et
al., "HTS-AT", ICASSP 2022, section 2.1. Shapes: N images, L = side * side tokens, C channels, windows of A tokens.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isqrt, log
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_SHARPEST = log(100)  # Swin-V2's bound of the scale of cosines


def in_full(like: Tensor) -> AbstractContextManager[Any]:
    """Without autocast on the device of a tensor; `meta`, where shapes are tried, has none."""
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


class Biases:
    """Biases of attention, kept for as long as the weights that they are computed from stay what they are."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Any, Tensor]] = {}

    def of(self, name: Any, sources: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
        """The bias of a block, computed anew if one of its sources is trained, or was changed or moved."""
        if any(one.requires_grad for one in sources):
            return make()
        stamp = [(one.data_ptr(), one._version, one.device) for one in sources]
        if name not in self._kept or self._kept[name][0] != stamp:
            with torch.no_grad(), in_full(sources[0]):
                self._kept[name] = (stamp, make())
        return self._kept[name][1]


def seen(block: Any, x: Tensor, biases: Biases, name: Any) -> Tensor:
    """The residual of attention in a Swin-V2 block, normalised behind it: tokens (N, L, C) to (N, L, C)."""
    attention, side, width = block.attn, isqrt(x.shape[1]), x.shape[2]
    bias = None if attention.q_bias is None else torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
    shift = block.shift_size[0]
    windows = _cut(x, side, block.window_size[0], shift)
    q, k, v = functional.linear(windows, attention.qkv.weight, bias).unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    scale = attention.logit_scale.clamp(max=_SHARPEST).exp()
    q, k = functional.normalize(q, dim=-1) * scale.view(-1, 1), functional.normalize(k, dim=-1)
    positions = biases.of(name, list(attention.cpb_mlp.parameters()), lambda: _continuous(block))
    found = attention.proj(_attend(q, k, v, positions, len(x), 1.0))
    return block.drop_path1(block.norm1(_join(found, side, block.window_size[0], shift, width)))


def refined(block: Any, x: Tensor) -> Tensor:
    """The residual of the perceptron in a Swin-V2 block: tokens (N, L, C) to (N, L, C)."""
    return block.drop_path2(block.norm2(block.mlp(x)))


def heard(block: Any, x: Tensor, biases: Biases, name: Any, dropped: Callable[[Tensor], Tensor]) -> Tensor:
    """What a whole block of HTS-AT makes of tokens (N, L, C); `dropped` is applied to either of its residuals."""
    side, width = isqrt(x.shape[1]), x.shape[2]
    block.set_shift_and_window_size((side, side))
    window, shift, attention = block.window_size, block.shift_size, block.attention.self
    windows = _cut(block.layernorm_before(x), side, window, shift)
    layers = (attention.query, attention.key, attention.value)
    q, k, v = (layer(windows).unflatten(-1, (attention.num_attention_heads, -1)) for layer in layers)
    table = attention.relative_position_bias_table
    positions = biases.of(name, [table], lambda: _relative(block, side, table))
    found = block.attention.output.dense(_attend(q, k, v, positions, len(x), None))
    x = x + dropped(_join(found, side, window, shift, width))
    return x + dropped(block.output.dense(block.intermediate(block.layernorm_after(x))))


def _continuous(block: Any) -> Tensor:
    """The bias of a Swin-V2 block as `_attend` takes it."""
    attention = block.attn
    table = attention.cpb_mlp(attention.relative_coords_table).view(-1, attention.num_heads)
    bias = 16 * table.sigmoid()[attention.relative_position_index].permute(2, 0, 1)
    return _masked(bias, block.attn_mask)


def _relative(block: Any, side: int, table: Tensor) -> Tensor:
    """The bias of a block of HTS-AT as `_attend` takes it."""
    bias = table[block.attention.self.relative_position_index].permute(2, 0, 1)
    return _masked(bias, block.get_attn_mask(side, side, table.dtype, table.device))


def _masked(bias: Tensor, mask: Tensor | None) -> Tensor:
    """A bias (heads, A, A) as (1, heads, A, A) for all windows; with a mask (windows, A, A) as (1, windows * heads, A, A)."""
    return bias[None].contiguous() if mask is None else (bias + mask[:, None]).flatten(0, 1)[None]


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, images: int, scale: float | None) -> Tensor:
    """Attention within windows: queries, keys and values (windows of all images, A, heads, d) to (…, A, heads * d).

    Where windows have biases of their own, windows and heads share an axis.
    """
    heads, each = q.shape[2], bias.shape[1] // q.shape[2]
    q, k, v = (one.transpose(1, 2) for one in (q, k, v))
    if each > 1:
        q, k, v = (one.reshape(images, each * heads, *one.shape[2:]) for one in (q, k, v))
    found = functional.scaled_dot_product_attention(q, k, v.to(q.dtype), bias.to(q.dtype), scale=scale)
    return found.reshape(-1, heads, *found.shape[2:]).transpose(1, 2).flatten(2)


def _cut(x: Tensor, side: int, window: int, shift: int) -> Tensor:
    """Tokens (N, L, C) of a square map, rolled by `shift`, as windows (N * windows, A, C)."""
    across = side // window
    image = x.unflatten(1, (side, side))
    if shift:
        image = image.roll((-shift, -shift), (1, 2))
    return image.unflatten(2, (across, window)).unflatten(1, (across, window)).transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _join(windows: Tensor, side: int, window: int, shift: int, width: int) -> Tensor:
    """The inverse of `_cut`."""
    across = side // window
    image = windows.view(-1, across, across, window, window, width).transpose(2, 3).reshape(-1, side, side, width)
    if shift:
        image = image.roll((shift, shift), (1, 2))
    return image.flatten(1, 2)
