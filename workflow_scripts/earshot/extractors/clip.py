"""CLIP: the image embedding of one frame a second, which captions of classes can be compared with.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; the published files
are VALOR's (Lai et al., NeurIPS 2023), of ViT-L/14, projected and of length 1. Frames are squeezed to a square, not cropped.
VALOR picks frames at both ends and evenly between them, so that second t shows the time 1.1 t; `centres` are the middles of
the seconds. Key layout: transformers' CLIPModel. Sizes in pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from earshot import importing, transforms
from earshot.backbones import _clip, clip_zero_shot
from earshot.extractors import ClassVectors, Extractor, Wanted, _checkpoint, _frames
from earshot.feature_store import Array
from earshot.parsers import SEGMENTS

MODALITY = "visual"
FILES = "CLIP/features"
WEIGHTS = "checkpoint"
BACKBONES = ("clip_zero_shot",)
_PLUGIN = "clip_zero_shot"
_BACKGROUND = "A photo of a background."  # our words: what PLSIM may read in seconds without a class


class Options(_frames.FrameOptions):
    """The model, which frames it sees, and how they are made smaller."""

    variant: Literal["base_patch16", "base_patch32", "large_patch14", "mini"] = Field(
        "large_patch14", description="published files: large_patch14"
    )
    frame_rule: _frames.Rule = Field("endpoints", description="endpoints: as VALOR; centres: the middles of the seconds")
    interpolation: Literal["bilinear", "bicubic"] = Field("bilinear", description="bicubic: as CLIP's own image processor")


def spec(options: Options) -> Extractor:
    """Vectors of 768 numbers for ViT-L/14, 512 for the base models."""
    dim = _clip.embedding(_clip.ClipOptions(variant=options.variant))
    return Extractor(f"CLIP ({options.variant})", dim, "arXiv 2103.00020", published=(SEGMENTS, dim))


def pooled(array: Array) -> Array:
    """Published files hold one vector a second already: (10, D)."""
    return np.asarray(array)


class _Encoder:
    def __init__(self, manifest: Path, options: Options, device: str) -> None:
        model, self.origin = _checkpoint.backbone(manifest, _PLUGIN, {"variant": options.variant, "frames": 1}, device)
        self.model: Any = model
        self.device, self.options, self.dim = device, options, spec(options).dim
        self.size = _clip.vision_config(_clip.ClipOptions(variant=options.variant)).image_size

    def read(self, path: Path) -> NDArray[Any]:
        """Ten frames, (10, 3, size, size) float32 from 0 to 255: VALOR does not round what it resizes."""
        options = self.options
        n_frames, fps = _frames.length(path)
        frames = _frames.read(path, _frames.picks(n_frames, fps, SEGMENTS, options.fps, options.frame_rule))
        as_floats = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        how = InterpolationMode(options.interpolation)
        return functional.resize(as_floats, [self.size] * 2, interpolation=how, antialias=options.resize_antialias).numpy()

    @torch.no_grad()
    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """All frames of all videos at once."""
        frames = torch.from_numpy(np.concatenate(inputs)).to(self.device)
        made = self.model.features(transforms.normalise(frames[:, :, None], _clip.MEAN, _clip.STD))
        return made.float().cpu().unflatten(0, (len(inputs), SEGMENTS))


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The image tower with a checkpoint's weights; raises WeightsError."""
    return _Encoder(weights, options, device)


def class_vectors(weights: Path, wanted: Wanted, options: Options) -> ClassVectors:
    """The embedded captions, and CLIP's scale of logits; the tokenizer lies beside the checkpoint. Raises WeightsError."""
    about, state = importing.read_published(str(weights))
    chosen = clip_zero_shot.Options(variant=options.variant, templates=["{}"])
    head = clip_zero_shot.head_from_text(state, about["folder"], (*wanted.captions, _BACKGROUND), chosen)["head.weight"]
    return _checkpoint.of_captions(head, wanted, about)
