"""Video Swin Transformer: windowed attention over space and time, 16 frames of 224 px; torchvision's SwinTransformer3d.

Source: Liu et al., "Video Swin Transformer", CVPR 2022; as used by ViTTA (CVPR 2023). Key layouts: mmaction
(`backbone.*`, `cls_head.fc_cls.*`) and torchvision. Sizes in pixels.
"""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torchvision.models.video import SwinTransformer3d

from earshot.backbones import Backbone
from earshot.backbones._classifier import Rule, VideoClassifier, fit, layers_of

_SHAPES: dict[str, tuple[int, list[int], list[int]]] = {  # width, depths, heads
    "tiny": (96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "small": (96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "base": (128, [2, 2, 18, 2], [4, 8, 16, 32]),
    "mini": (24, [1, 1, 2, 1], [1, 2, 4, 8]),
}


class Options(BaseModel, extra="forbid"):
    """Size of the model, clip length, and what is dropped at random while it trains or adapts."""

    variant: Literal["tiny", "small", "base", "mini"] = "base"
    frames: int = Field(16, ge=2, multiple_of=2)
    preprocessing: Literal["vitta", "torchvision"] = Field(
        "vitta", description="short side of 224 px, rounded as mmcv does; or 256 px, as torchvision's weights were measured"
    )
    window_frames: Literal[8, 16] = Field(8, description="16: the checkpoint of Something-Something v2")
    stochastic_depth: float = Field(0.2, ge=0, lt=1)
    dropout: float = Field(0.5, ge=0, lt=1, description="before the head")


def spec(options: Options) -> Backbone:
    """Clips as ViTTA prepares them: bilinear without antialiasing, as OpenCV's, and middles of segments."""
    size, resize = (64, 64) if options.variant == "mini" else (224, 224 if options.preprocessing == "vitta" else 256)
    return Backbone(
        f"Video Swin ({options.variant})", options.frames, resize, size, source="arXiv 2106.13230",
        antialias=False, sampling="segments", crop="resized",
        rounding="mmcv" if options.preprocessing == "vitta" else "torchvision",
    )  # fmt: skip


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published base model has 87,742,509 parameters for 101 classes."""
    width, depths, heads = _SHAPES[options.variant]
    encoder = SwinTransformer3d(
        patch_size=[2, 4, 4],
        embed_dim=width,
        depths=depths,
        num_heads=heads,
        window_size=[options.window_frames, 7, 7],
        stochastic_depth_prob=options.stochastic_depth,
        num_classes=1,
    )
    encoder.head = nn.Identity()
    return VideoClassifier(encoder, 8 * width, n_classes, options.dropout)


def _block(found: re.Match[str]) -> str:
    return f"encoder.features.{2 * int(found[1])}.{found[2]}."


def _merging(found: re.Match[str]) -> str:
    return f"encoder.features.{2 * int(found[1]) + 1}."


_RULES: tuple[Rule, ...] = (
    (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.", lambda found: f"{_block(found)}mlp.0."),
    (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.", lambda found: f"{_block(found)}mlp.3."),
    (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.", _block),
    (r"backbone\.layers\.(\d+)\.downsample\.", _merging),
    (r"backbone\.", "encoder."),
    (r"cls_head\.fc_cls\.", "head."),
    (r"(?!head\.)", "encoder."),  # torchvision's own names
)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint to the keys of `model`; raises WeightsError. Index buffers are made by the model."""
    return fit(state, model, _RULES, dropped=r"relative_position_index$")


def candidate_layers(model: nn.Module) -> list[str]:
    """All LayerNorm layers but that of the patch embedding, as in the published statistics files (52 for base)."""
    return [name for name in layers_of(model, nn.LayerNorm) if name != "encoder.patch_embed.norm"]


def aligned_layers(model: nn.Module) -> list[str]:
    """The LayerNorm layers of the last two stages and the last one of all (42 for base): ViTTA, section 4."""
    stages = ("encoder.features.4.", "encoder.features.5.", "encoder.features.6.", "encoder.norm")
    return [name for name in candidate_layers(model) if name.startswith(stages)]


def last_stage(model: nn.Module) -> list[str]:
    """The last of the four stages and the last LayerNorm."""
    return ["encoder.features.6", "encoder.norm"]


def tiny() -> Options:
    """One or two narrow blocks a stage, clips of 8 frames of 64 px."""
    return Options(variant="mini", frames=8)
