"""TANet: ResNet-50 with a temporal adaptive module in every bottleneck, 16 frames of 224 px.

Source: Liu et al., "TAM: Temporal Adaptive Module for Video Recognition", ICCV 2021; as used by ViTTA (CVPR 2023).
Sizes in pixels.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models import resnet50

from earshot.backbones import Backbone, _tanet
from earshot.backbones._tanet import aligned_layers, candidate_layers

__all__ = ["SPEC", "aligned_layers", "build", "candidate_layers", "import_weights"]

SPEC = Backbone("TANet (ResNet-50)", frames=16, resize=256, size=224, source="arXiv 2005.06803")


def build(n_classes: int) -> nn.Module:
    """The full model, 24,985,093 parameters for 101 classes, with random weights."""
    return _tanet.TANet(resnet50(weights=None), 2048, SPEC.frames, n_classes, dropout=0.8)


def import_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Map a published checkpoint, with or without the `module.` prefix, to our keys (strict)."""
    n_classes = next((len(value) for key, value in state.items() if key.endswith("new_fc.bias")), 1)
    return _tanet.import_weights(state, build(n_classes))
