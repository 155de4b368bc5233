"""R(2+1)D-18: motion within each second, by a video classifier without its last layer, on eight frames of 112 px.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, trained on Kinetics-400;
the files are those of AVVP-ECCV20 (Tian et al., ECCV 2020). Key layout: torchvision. Sizes in pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from earshot import transforms
from earshot.backbones import KINETICS_MEAN, KINETICS_STD
from earshot.extractors import Extractor, _checkpoint, _frames
from earshot.feature_store import Array
from earshot.parsers import SEGMENTS

MODALITY = "visual"
FILES = "feats/r2plus1d_18"
WEIGHTS = "checkpoint"
BACKBONES = ("r2plus1d_18",)
_PICKED = 80
_SIZE = 112
_DIM = 512


class Options(_frames.FrameOptions):
    """The network: the published files are of resnet18."""

    variant: Literal["resnet18", "mini"] = Field("resnet18", description="published files: resnet18")


def spec(options: Options) -> Extractor:
    """Vectors of 512 numbers."""
    return Extractor("R(2+1)D-18", _DIM, "arXiv 1711.11248", published=(SEGMENTS, _DIM))


def pooled(array: Array) -> Array:
    """Published files hold one vector a second already: (10, 512)."""
    return np.asarray(array)


class _Encoder:
    dim = _DIM

    def __init__(self, manifest: Path, options: Options, device: str) -> None:
        shape = {"variant": options.variant, "frames": _PICKED // SEGMENTS}
        model, self.origin = _checkpoint.backbone(manifest, "r2plus1d_18", shape, device)
        self.model: Any = model
        self.device, self.options = device, options

    def read(self, path: Path) -> NDArray[Any]:
        """Ten clips of eight frames, (10, 3, 8, 112, 112) uint8."""
        n_frames, fps = _frames.length(path)
        frames = _frames.read(path, _frames.picks(n_frames, fps, _PICKED, self.options.fps))
        squares = _frames.squares(frames, _SIZE, self.options.resize_antialias)
        return np.ascontiguousarray(squares.reshape(SEGMENTS, -1, *squares.shape[1:]).swapaxes(1, 2))

    @torch.no_grad()
    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """All clips of all videos at once."""
        clips = torch.from_numpy(np.concatenate(inputs)).to(self.device)
        made = self.model.features(transforms.normalise(clips, KINETICS_MEAN, KINETICS_STD))
        return made.float().cpu().unflatten(0, (len(inputs), SEGMENTS))


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The network with a checkpoint's weights; raises WeightsError."""
    return _Encoder(weights, options, device)
