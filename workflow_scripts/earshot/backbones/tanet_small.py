"""TANet's structure at small width, for the demo and for small datasets: 8 frames of 64 px, trained from scratch on a CPU.

Four stages of one bottleneck each with a temporal adaptive module, as in `tanet`; a 3x3 stem instead of 7x7, because 64 px
leave nothing to throw away. Source of the structure: Liu et al., ICCV 2021. Sizes in pixels.
"""

from pydantic import BaseModel
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from earshot.backbones import Backbone
from earshot.backbones._tanet import TANet, aligned_layers, candidate_layers, import_weights, last_stage

__all__ = ["Options", "aligned_layers", "build", "candidate_layers", "import_weights", "last_stage", "spec", "tiny"]

_FRAMES = 8
_WIDTHS = (8, 16, 32, 64)


class Options(BaseModel, extra="forbid"):
    """Nothing varies."""


def spec(options: Options) -> Backbone:
    """Clips of 8 frames of 64 px."""
    return Backbone("TANet (small)", _FRAMES, resize=72, size=64, source="structure of arXiv 2005.06803")


class _SmallResNet(nn.Module):
    """A residual network with torchvision's attribute names; maps (N, 3, H, W) to features (N, 4 * last width)."""

    def __init__(self) -> None:
        super().__init__()
        stem = 16
        self.conv1 = nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(stem), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = (stem, *(width * Bottleneck.expansion for width in _WIDTHS))
        stages = [_stage(inputs[i], width, 1 if i == 0 else 2) for i, width in enumerate(_WIDTHS)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map frames (N, 3, H, W) to features (N, D)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(inputs: int, width: int, stride: int) -> nn.Sequential:
    outputs = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(Bottleneck(inputs, width, stride, shortcut))


def build(n_classes: int, options: Options) -> nn.Module:
    """The small model with random weights."""
    return TANet(_SmallResNet(), _WIDTHS[-1] * Bottleneck.expansion, _FRAMES, n_classes, dropout=0.3)


def tiny() -> Options:
    """The model is small as it is."""
    return Options()
