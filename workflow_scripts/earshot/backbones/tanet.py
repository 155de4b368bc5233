"""TANet: ResNet-50 with a temporal adaptive module in every bottleneck, 16 frames of 224 px.

Source: Liu et al., "TAM: Temporal Adaptive Module for Video Recognition", ICCV 2021; as used by ViTTA (CVPR 2023).
Sizes in pixels.
"""

from typing import Literal

from pydantic import BaseModel
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from earshot.backbones import Backbone
from earshot.backbones._tanet import TANet, aligned_layers, candidate_layers, import_weights, last_stage

__all__ = ["Options", "aligned_layers", "build", "candidate_layers", "import_weights", "last_stage", "spec", "tiny"]

_DEPTHS = {"resnet50": (3, 4, 6, 3), "mini": (1, 1, 1, 1)}


class Options(BaseModel, extra="forbid"):
    """The residual network, and the length of clips, which is part of the weights: 8 and 16 frames were published."""

    variant: Literal["resnet50", "mini"] = "resnet50"
    frames: Literal[8, 16] = 16


def spec(options: Options) -> Backbone:
    """Clips of the published models; the small one takes clips of 64 px."""
    resize, size = (256, 224) if options.variant == "resnet50" else (72, 64)
    return Backbone("TANet (ResNet-50)", options.frames, resize, size, source="arXiv 2005.06803")


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published one has 24,985,093 parameters for 101 classes."""
    base = ResNet(Bottleneck, list(_DEPTHS[options.variant]))
    return TANet(base, 512 * Bottleneck.expansion, options.frames, n_classes, dropout=0.8)


def tiny() -> Options:
    """One bottleneck a stage."""
    return Options(variant="mini", frames=8)
