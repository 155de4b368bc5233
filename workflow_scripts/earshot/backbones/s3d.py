"""S3D: an Inception network whose convolutions are split into space and time, 16 frames of 224 px; torchvision's S3D.

Source: Xie et al., "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification",
ECCV 2018. Key layout: torchvision, where the head is the 1x1x1 convolution `classifier.1`. It commutes with the mean over
positions that torchvision takes after it, so that here it is a linear layer on the mean. Sizes in pixels.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torchvision.models.video import S3D

from earshot.backbones import KINETICS_MEAN, KINETICS_STD, Backbone
from earshot.backbones._classifier import Rule, VideoClassifier, fit, layers_of

_WIDTH = 1024
_RULES: tuple[Rule, ...] = ((r"classifier\.1\.", "head."), (r"(?!head\.)", "encoder."))


class Options(BaseModel, extra="forbid"):
    """Size of clips, their length, and what is dropped at random before the head while the model trains or adapts."""

    variant: Literal["s3d", "mini"] = Field("s3d", description="mini: the same network on clips of 64 px")
    frames: int = Field(16, ge=14, description="its average pooling needs 14 frames")
    dropout: float = Field(0.2, ge=0, lt=1, description="before the head")


def spec(options: Options) -> Backbone:
    """Clips as torchvision's weights take them: a resize that ignores the aspect ratio, no antialiasing."""
    resize, size = (256, 224) if options.variant == "s3d" else (72, 64)
    return Backbone(
        "S3D", options.frames, (resize, resize), size, source="arXiv 1712.04851",
        mean=KINETICS_MEAN, std=KINETICS_STD, antialias=False,
    )  # fmt: skip


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published one has 8,320,048 parameters for 400 classes."""
    encoder = S3D(num_classes=1)
    encoder.classifier = nn.Identity()
    if options.variant == "mini":
        encoder.avgpool = nn.AdaptiveAvgPool3d(1)  # torchvision's needs 7 x 7 positions
    return VideoClassifier(encoder, _WIDTH, n_classes, options.dropout)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a checkpoint of torchvision to the keys of `model`; raises WeightsError."""
    return fit({key: _linear(key, value) for key, value in state.items()}, model, _RULES)


def _linear(key: str, value: Tensor) -> Tensor:
    """The weight (K, D, 1, 1, 1) of the convolution as that of a linear layer; all else as it is."""
    return value.flatten(1) if key.endswith("classifier.1.weight") and value.dim() == 5 else value


def candidate_layers(model: nn.Module) -> list[str]:
    """All BatchNorm3d layers (77)."""
    return layers_of(model, nn.BatchNorm3d)


def aligned_layers(model: nn.Module) -> list[str]:
    """The BatchNorm3d layers of the Inception blocks after the third max-pooling, by analogy with ViTTA's choice for TANet.

    They are the last two stages of a resolution: a quarter of the frames at 14 x 14 positions, an eighth at 7 x 7.
    """
    stages = tuple(f"encoder.features.{index}." for index in (8, 9, 10, 11, 12, 14, 15))
    return [name for name in candidate_layers(model) if name.startswith(stages)]


def last_stage(model: nn.Module) -> list[str]:
    """The blocks after the last max-pooling."""
    return ["encoder.features.14", "encoder.features.15"]


def tiny() -> Options:
    """Short and small clips; the network has no size of its own."""
    return Options(variant="mini", frames=14)
