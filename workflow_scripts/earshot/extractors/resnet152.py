"""ResNet-152: features of single frames, eight a second, averaged over each second.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, trained on ImageNet, without its last layer; the
files are those of AVVP-ECCV20 (Tian et al., ECCV 2020). Parsers map these vectors linearly before they average eight of them,
which is the same as averaging first. Key layout: torchvision. Sizes in pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torchvision import models

from earshot import importing, transforms
from earshot.backbones import IMAGENET_MEAN, IMAGENET_STD
from earshot.backbones._classifier import fit
from earshot.extractors import Extractor, _frames
from earshot.feature_store import Array
from earshot.parsers import SEGMENTS

MODALITY = "visual"
FILES = "feats/res152"
WEIGHTS = "checkpoint"
_PICKED = 80
_SIZE = 224


class Options(_frames.FrameOptions):
    """How many layers: the published files are of 152; with fewer, making features of videos is quicker."""

    layers: Literal[18, 34, 50, 101, 152] = Field(152, description="published files: 152")


def spec(options: Options) -> Extractor:
    """Vectors of 2048 numbers, or of 512 for 18 and 34 layers."""
    dim = 512 if options.layers < 50 else 2048
    return Extractor(f"ResNet-{options.layers}", dim, "arXiv 1512.03385", published=(_PICKED, dim))


def pooled(array: Array) -> Array:
    """The mean over the frames of each second: (80, D) to (10, D)."""
    return array.reshape(SEGMENTS, -1, array.shape[1]).mean(1, dtype=np.float64)


class _Encoder:
    def __init__(self, manifest: Path, options: Options, device: str) -> None:
        about, published = importing.read_published(str(manifest))
        model = getattr(models, f"resnet{options.layers}")(weights=None)
        model.fc = nn.Identity()
        model.load_state_dict(fit(published, model, (), dropped=r"^fc\."))
        self.model, self.device, self.options = model.to(device).eval(), device, options
        self.dim, self.origin = spec(options).dim, importing.checkpoint_facts(about)

    def read(self, path: Path) -> NDArray[Any]:
        """80 frames, (80, 3, 224, 224) uint8."""
        n_frames, fps = _frames.length(path)
        frames = _frames.read(path, _frames.picks(n_frames, fps, _PICKED, self.options.fps))
        return _frames.squares(frames, _SIZE, self.options.resize_antialias)

    @torch.no_grad()
    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """One video at a time: 80 frames are a batch."""
        return torch.stack([self._one(torch.from_numpy(frames)) for frames in inputs])

    def _one(self, frames: Tensor) -> Tensor:
        as_clips = transforms.normalise(frames[:, :, None].to(self.device), IMAGENET_MEAN, IMAGENET_STD)
        return torch.from_numpy(pooled(self.model(as_clips[:, :, 0]).cpu().numpy())).float()


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The network with a checkpoint's weights; raises WeightsError."""
    return _Encoder(weights, options, device)
