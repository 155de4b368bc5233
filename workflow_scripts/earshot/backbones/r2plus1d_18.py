"""R(2+1)D: a residual network of 18 layers, each convolution split into space and time, 16 frames of 112 px.

torchvision's VideoResNet. Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
CVPR 2018. Key layout: torchvision, where `fc.*` is the head. Sizes in pixels.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

from earshot.backbones import KINETICS_MEAN, KINETICS_STD, Backbone
from earshot.backbones._classifier import Rule, VideoClassifier, fit, layers_of

_DEPTHS = {"resnet18": 2, "mini": 1}  # blocks in each of the four stages
_RULES: tuple[Rule, ...] = ((r"fc\.", "head."), (r"(?!head\.)", "encoder."))


class Options(BaseModel, extra="forbid"):
    """The residual network, and the length of clips, which is free: the pooling over time takes any."""

    variant: Literal["resnet18", "mini"] = "resnet18"
    frames: int = Field(16, ge=1)


def spec(options: Options) -> Backbone:
    """Clips as torchvision's weights take them: a resize that ignores the aspect ratio, no antialiasing."""
    full = options.variant == "resnet18"
    return Backbone(
        "R(2+1)D-18", options.frames, resize=(128, 171) if full else (36, 48), size=112 if full else 32,
        source="arXiv 1711.11248", mean=KINETICS_MEAN, std=KINETICS_STD, antialias=False,
    )  # fmt: skip


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published one has 31,505,325 parameters for 400 classes."""
    depths = [_DEPTHS[options.variant]] * 4
    encoder = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, depths, R2Plus1dStem, num_classes=1)
    n_features = encoder.fc.in_features
    encoder.fc = nn.Identity()
    return VideoClassifier(encoder, n_features, n_classes)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a checkpoint of torchvision to the keys of `model`; raises WeightsError."""
    return fit(state, model, _RULES)


def candidate_layers(model: nn.Module) -> list[str]:
    """All BatchNorm3d layers (37 for 18 layers: two for each split convolution, and the shortcuts')."""
    return layers_of(model, nn.BatchNorm3d)


def aligned_layers(model: nn.Module) -> list[str]:
    """The BatchNorm3d layers of the last two of the four stages, by analogy with ViTTA's choice for TANet."""
    return [name for name in candidate_layers(model) if name.startswith(("encoder.layer3.", "encoder.layer4."))]


def last_stage(model: nn.Module) -> list[str]:
    """The last of the four stages."""
    return ["encoder.layer4"]


def tiny() -> Options:
    """One block a stage, clips of 8 frames of 32 px."""
    return Options(variant="mini", frames=8)
