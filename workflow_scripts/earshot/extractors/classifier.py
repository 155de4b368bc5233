"""A video classifier of this workflow: what its last layer sees of each second, and what it says of it.

Each second is a clip of its own, with as many frames as the backbone takes, in its own way of choosing them. The features are
those that its head is applied to, so that its classes can label seconds where the dataset has classes of the same names.
Source: none; the models are those of `backbones`, each with its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from earshot import sampling, transforms
from earshot.backbones import Backbone
from earshot.errors import SetupError
from earshot.extractors import ClassVectors, Extractor, Wanted, _frames
from earshot.files import sha256_of_file
from earshot.label_spaces import plain
from earshot.parsers import SEGMENTS
from earshot.weights import facts_of, load_backbone, spec_of

MODALITY = "visual"
FILES = ""
WEIGHTS = "backbone"


class Options(BaseModel, extra="forbid"):
    """Nothing to set: the weights say which backbone it is."""


def spec(options: Options) -> Extractor:
    """As many numbers as the head has inputs."""
    return Extractor("video classifier", 0, "this workflow")


class _Encoder:
    def __init__(self, path: Path, device: str) -> None:
        self.model, self.spec = _model(path, device)
        self.device, self.origin = device, _origin(path)
        self.dim = self.model.head.in_features

    def read(self, path: Path) -> NDArray[Any]:
        """A clip of each second, (10, 3, T, size, size) uint8."""
        wanted = picks(_frames.length(path)[0], self.spec)
        used, at = np.unique(wanted, return_inverse=True)
        base = transforms.resized(_frames.read(path, used), self.spec)
        (crop,) = transforms.evaluation_crops(base, self.spec)
        return crop.numpy()[:, at.reshape(wanted.shape)].swapaxes(0, 1)

    @torch.no_grad()
    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """One video at a time: its seconds are a batch."""
        return torch.stack([self._one(torch.from_numpy(np.ascontiguousarray(clips))) for clips in inputs])

    def _one(self, clips: Tensor) -> Tensor:
        return self.model.features(transforms.normalise(clips.to(self.device), self.spec.mean, self.spec.std)).float().cpu()


def picks(n_frames: int, spec: Backbone) -> sampling.Indices:
    """The frames (10, T) of the clips of a video's tenths, each as the backbone evaluates a video of its length."""
    edges = np.round(np.linspace(0, n_frames, SEGMENTS + 1)).astype(int)
    starts = np.minimum(edges[:-1], n_frames - 1)
    lengths = np.maximum(np.diff(edges), 1)
    clips = (sampling.evaluation(spec.sampling, int(length), spec.frames)[0] for length in lengths)
    return starts[:, None] + np.stack(list(clips))


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The backbone with the weights that this workflow wrote."""
    return _Encoder(weights, device)


def class_vectors(weights: Path, wanted: Wanted, options: Options) -> ClassVectors:
    """The backbone's classes of the same names; scores are its probabilities among all of its own classes.

    Names are compared without case, punctuation and underscores. Raises SetupError if no class is the same.
    """
    model, _ = _model(weights, "cpu")
    known = [plain(name) for name in facts_of(weights)["classes"]]
    members = torch.tensor([[plain(name) == other for other in known] for name in wanted.names])
    if not members.any():
        raise SetupError(
            f"none of the {len(known)} classes of the backbone is one of the {len(wanted.names)} of this dataset: take a "
            "backbone that was trained on some of them"
        )
    return ClassVectors.of_head(model.head, members, "softmax", {"weights": _origin(weights)})


def _model(path: Path, device: str) -> tuple[Any, Backbone]:
    facts = facts_of(path)
    plugin, options = facts["backbone"], facts["options"]
    model = load_backbone(path, plugin, options, facts["classes"], device).eval()
    return model, spec_of(plugin, options)


def _origin(path: Path) -> dict[str, str]:
    facts = facts_of(path)
    return {"plugin": facts["backbone"], "origin": facts["origin"], "sha256": sha256_of_file(path)}
