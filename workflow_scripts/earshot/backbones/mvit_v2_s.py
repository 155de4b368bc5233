"""MViTv2-S: a transformer that pools its tokens between stages, 16 frames of 224 px; torchvision's MViT.

Source: Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection", CVPR 2022. Key
layout: torchvision, where `head.1.*` is the head. Sizes in pixels.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torchvision.models.video import MViT, mvit_v2_s
from torchvision.models.video.mvit import MSBlockConfig, MultiscaleBlock

from earshot.adaptation import layers_where
from earshot.backbones import Backbone
from earshot.backbones._classifier import Rule, VideoClassifier, fit, layers_of

_RULES: tuple[Rule, ...] = ((r"head\.1\.", "head."), (r"(?!head\.)", "encoder."))
# of the small form, by block: heads, width in, width out, stride of queries, stride of keys and values
_MINI_BLOCKS = ((1, 16, 16, 1, 8), (2, 16, 32, 2, 4), (2, 32, 64, 2, 2), (2, 64, 64, 1, 2), (4, 64, 128, 2, 1))
_MINI_FRAMES, _MINI_SIZE = 8, 64


class Options(BaseModel, extra="forbid"):
    """Size of the model, and what is dropped at random while it trains or adapts. Clip length is part of the weights."""

    variant: Literal["small", "mini"] = "small"
    stochastic_depth: float = Field(0.2, ge=0, lt=1)
    dropout: float = Field(0.5, ge=0, lt=1, description="before the head")


def spec(options: Options) -> Backbone:
    """Clips as torchvision's weights take them, without antialiasing."""
    full = options.variant == "small"
    return Backbone(
        f"MViTv2 ({options.variant})", 16 if full else _MINI_FRAMES, resize=256 if full else 72,
        size=224 if full else _MINI_SIZE, source="arXiv 2112.01526", mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225),
        antialias=False,
    )  # fmt: skip


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published one has 34,537,744 parameters for 400 classes."""
    if options.variant == "small":
        encoder = mvit_v2_s(weights=None, stochastic_depth_prob=options.stochastic_depth, num_classes=1)
    else:
        encoder = _mini(options.stochastic_depth)
    n_features = encoder.norm.normalized_shape[0]
    encoder.head = nn.Identity()
    return VideoClassifier(encoder, n_features, n_classes, options.dropout)


def _mini(stochastic_depth: float) -> MViT:
    """Four stages of 1, 1, 2 and 1 narrow blocks with the same switches as the published model."""
    blocks = [
        MSBlockConfig(heads, width, out, [3, 3, 3], [3, 3, 3], [1, query, query], [1, key, key])
        for heads, width, out, query, key in _MINI_BLOCKS
    ]
    return MViT(
        spatial_size=(_MINI_SIZE, _MINI_SIZE),
        temporal_size=_MINI_FRAMES,
        block_setting=blocks,
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        stochastic_depth_prob=stochastic_depth,
        num_classes=1,
    )


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a checkpoint of torchvision to the keys of `model`; raises WeightsError."""
    return fit(state, model, _RULES)


def candidate_layers(model: nn.Module) -> list[str]:
    """All LayerNorm layers, those of pooled queries, keys and values included (81 for the published model)."""
    return layers_of(model, nn.LayerNorm)


def aligned_layers(model: nn.Module) -> list[str]:
    """The LayerNorm layers of the last two of the four stages and the last one of all, by analogy with Video Swin.

    A stage starts at a block that pools its queries over space; the last two are blocks 3 to 15 of the published model.
    """
    kept = tuple(f"{name}." for name in _last_blocks(model, 2))
    return [name for name in candidate_layers(model) if name.startswith(kept) or name == "encoder.norm"]


def last_stage(model: nn.Module) -> list[str]:
    """The blocks from the last one that pools its queries on, and the last LayerNorm."""
    return [*_last_blocks(model, 1), "encoder.norm"]


def _last_blocks(model: nn.Module, stages: int) -> list[str]:
    """Names of the blocks of the last stages."""
    blocks = list(layers_where(model, MultiscaleBlock))
    starts = [index for index, (_, block) in enumerate(blocks) if block.pool_skip is not None]
    return [name for name, _ in blocks[starts[-stages] :]]


def tiny() -> Options:
    """One or two narrow blocks a stage, clips of 8 frames of 64 px."""
    return Options(variant="mini")
