"""CLAP: the tokens of a clip's sound as a whole, pooled to one vector a second.

Source: Wu et al., "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption
Augmentation", ICASSP 2023; the published files are VALOR's (Lai et al., NeurIPS 2023), the last layer's tokens of two frequency
bins by 32 time steps, which are not projected and so cannot be compared with captions: see `clap_slices`. Parsers resize the
token map, map it linearly and pool it, which is the same as pooling first. Rates in Hz.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earshot.audio_models import _htsat
from earshot.extractors import Extractor, _sound
from earshot.feature_store import Array

MODALITY = "audio"
FILES = "CLAP/features"
WEIGHTS = "checkpoint"


class Options(_sound.ClapOptions):
    """Which CLAP model."""


def spec(options: Options) -> Extractor:
    """Tokens of 768 numbers for the model in the papers."""
    dim = _htsat.config(options.variant).hidden_size
    return Extractor(f"CLAP ({options.variant})", dim, "arXiv 2211.06687", published=(_sound.TOKENS, dim))


def pooled(array: Array) -> Array:
    """The published resizing, averaging and pooling as one product: (64, D) to (10, D)."""
    return _sound.pooling() @ array


class _Encoder:
    def __init__(self, manifest: Path, options: Options, device: str) -> None:
        self.clap = _sound.Clap(manifest, options, device)
        self.dim, self.origin = spec(options).dim, self.clap.origin

    def read(self, path: Path) -> NDArray[Any]:
        """The whole sound as a window (480000,), by picking samples."""
        wave = _sound.read(path, self.clap.spec.rate_hz)
        return _sound.quantised(_sound.as_published(wave, self.clap.spec))

    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """All videos at once."""
        tokens = self.clap.tokens(torch.from_numpy(np.stack(inputs)))
        return torch.from_numpy(pooled(tokens.numpy())).float()


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The audio tower with a checkpoint's weights; raises WeightsError."""
    return _Encoder(weights, options, device)
