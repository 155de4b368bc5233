"""Grouping of segments under class tokens. Names of parameters are those of the published checkpoints.

Source: Mo & Tian, "Multi-modal Grouping Network for Weakly-Supervised Audio-Visual Video Parsing", NeurIPS 2022 (MGN), as
DG-SCT uses it (our spec, `dgsct.md` section 6.2); the blocks are those of vision transformers, and the grouping that of Xu et
al., "GroupViT", CVPR 2022.

Axes: B clips, T segments, S tokens of classes, D channels.
"""

from typing import Literal

import torch
from pydantic import Field
from timm.layers import DropPath, Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from earshot.knobs import Section


class Grouping(Section):
    """Sizes of the groupings."""

    width: int = Field(128, ge=1)
    heads: int = Field(8, ge=1)
    depth: int = Field(3, ge=1, description="blocks of one modality")
    depth_both: int = Field(6, ge=1, description="blocks of both modalities")
    tokens_hidden: int = Field(64, ge=1, description="hidden size of the layers across tokens")
    mlp_ratio: float = Field(4.0, gt=0)
    drop_path: float = Field(0.1, ge=0, lt=1)


class _CrossAttention(nn.Module):
    """Attention of queries (B, S, D) to keys (B, T, D), by which both are projected."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        parts = (self.q_proj(query), self.k_proj(key), self.v_proj(key))
        split = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.proj(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


class _CrossBlock(nn.Module):
    """Tokens look at segments; they are normalised at the end and not before."""

    def __init__(self, sizes: Grouping) -> None:
        super().__init__()
        width = sizes.width
        self.norm_post, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _CrossAttention(width, sizes.heads)
        self.mlp = Mlp(width, int(width * sizes.mlp_ratio))
        self.drop_path = DropPath(sizes.drop_path)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        x = query + self.drop_path(self.attn(query, key))
        return self.norm_post(x + self.drop_path(self.mlp(self.norm2(x))))


class _Assign(nn.Module):
    """Every segment goes to the tokens: in shares (`soft`), or to one of them (`hard`, straight-through)."""

    def __init__(self, width: int, kind: Literal["soft", "hard"]) -> None:
        super().__init__()
        self.hard = kind == "hard"
        self.q_proj, self.k_proj, self.v_proj, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens (B, S, D) and segments (B, T, D) to what each token gathers (B, S, D), and to the shares (B, S, T)."""
        raw = self.q_proj(query) @ self.k_proj(key).transpose(1, 2) / query.shape[-1] ** 0.5
        shares = raw.softmax(dim=1)
        weights = self._one(raw, shares) if self.hard else shares
        # the one in the divisor is the publication's
        gathered = (weights / (weights.sum(dim=-1, keepdim=True) + 1)) @ self.v_proj(key)
        return self.proj(gathered), shares

    def _one(self, raw: Tensor, shares: Tensor) -> Tensor:
        """One token for each segment, with the gradient of the shares; drawn with Gumbel noise in training."""
        if self.training:
            return F.gumbel_softmax(raw, hard=True, dim=1)
        first = torch.zeros_like(shares).scatter_(1, shares.argmax(dim=1, keepdim=True), 1.0)
        return first - shares.detach() + shares


class Group(nn.Module):
    """Segments under tokens, of which there are `tokens`."""

    def __init__(self, tokens: int, sizes: Grouping, kind: Literal["soft", "hard"]) -> None:
        super().__init__()
        width = sizes.width
        self.norm_tokens, self.norm_post_tokens, self.norm_x, self.norm_new_x = (nn.LayerNorm(width) for _ in range(4))
        self.mlp_inter = Mlp(tokens, sizes.tokens_hidden, tokens)
        self.pre_assign_attn = _CrossBlock(sizes)
        self.assign = _Assign(width, kind)
        self.mlp_channels = Mlp(width, int(width * sizes.mlp_ratio))

    def forward(self, segments: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Map segments (B, T, D) and tokens (B, S, D) to the tokens with their segments (B, S, D), and to shares (B, S, T)."""
        segments, tokens = self.norm_x(segments), self.norm_tokens(tokens)
        tokens = self.norm_post_tokens(self.mlp_inter(tokens.transpose(1, 2)).transpose(1, 2))
        tokens = self.pre_assign_attn(tokens, segments)
        gathered, shares = self.assign(tokens, segments)
        tokens = tokens + gathered
        return tokens + self.mlp_channels(self.norm_new_x(tokens)), shares


class Unit(nn.Module):
    """Blocks over segments and tokens, then their grouping; with `crossed` segments, what they group of the other modality."""

    def __init__(self, tokens: int, depth: int, sizes: Grouping, crossed: int = 0) -> None:
        super().__init__()
        width, ratio, drop = sizes.width, sizes.mlp_ratio, sizes.drop_path
        self.blocks = nn.ModuleList(
            Block(width, sizes.heads, ratio, qkv_bias=True, drop_path=drop, norm_layer=nn.LayerNorm) for _ in range(depth)
        )
        if crossed:
            self.han_encoder = Group(crossed, sizes, "hard")
        self.grouping = Group(tokens, sizes, "soft")

    def forward(self, segments: Tensor, tokens: Tensor, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map segments (B, T, D) and tokens (B, S, D) to grouped tokens (B, S, D), and to a weight (B, T, S) in [1, 2]."""
        x = torch.cat([segments, tokens], dim=1)
        for block in self.blocks:
            x = block(x)
        segments, tokens = x[:, : segments.shape[1]], x[:, segments.shape[1] :]
        if other is not None:
            segments, _ = self.han_encoder(segments, other)
        grouped, shares = self.grouping(segments, tokens)
        return grouped, 1 + shares.softmax(dim=-1).transpose(1, 2)
