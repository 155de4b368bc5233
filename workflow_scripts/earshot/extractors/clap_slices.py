"""CLAP, second by second: the embedding of each second's sound on its own, which captions of classes can be compared with.

Source: as in `clap`; VALOR (Lai et al., NeurIPS 2023) labels the seconds of training clips so. Each second is repeated to the
length of CLAP's window. Nothing is published: the features are made from videos. Rates in Hz.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from earshot import importing
from earshot.audio_models import clap_zero_shot
from earshot.extractors import ClassVectors, Extractor, Wanted, _checkpoint, _sound

MODALITY = "audio"
FILES = ""
WEIGHTS = "checkpoint"
_BACKGROUND = "This is a sound of background noise"  # our words: what PLSIM may read in seconds without a class


class Options(_sound.ClapOptions):
    """Which CLAP model, and what is cut into seconds."""

    pick_samples: bool = Field(
        True, description="cut a sound of ten seconds, by picking samples as for `clap`; false: the sound as long as it is"
    )


def spec(options: Options) -> Extractor:
    """Embeddings in the space of CLAP's captions, 512 numbers for the model in the papers."""
    return Extractor(f"CLAP by second ({options.variant})", 0, "arXiv 2211.06687")


class _Encoder:
    def __init__(self, manifest: Path, options: Options, device: str) -> None:
        self.clap, self.options = _sound.Clap(manifest, options, device), options
        self.dim, self.origin = self.clap.tower.head.in_features, self.clap.origin

    def read(self, path: Path) -> NDArray[Any]:
        """The ten seconds, (10, 48000) where samples are picked."""
        wave = _sound.read(path, self.clap.spec.rate_hz)
        if self.options.pick_samples:
            wave = _sound.as_published(wave, self.clap.spec)
        return _sound.quantised(_sound.seconds(wave))

    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """One video at a time: ten windows are a batch."""
        windows = (np.stack([_sound.filled(second, self.clap.spec) for second in seconds]) for seconds in inputs)
        return torch.stack([self.clap.embedding(torch.from_numpy(some)) for some in windows])


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The audio tower with a checkpoint's weights; raises WeightsError."""
    return _Encoder(weights, options, device)


def class_vectors(weights: Path, wanted: Wanted, options: Options) -> ClassVectors:
    """The embedded captions, and CLAP's scale of logits for audio; the tokenizer lies beside the checkpoint.

    Raises WeightsError.
    """
    about, state = importing.read_published(str(weights))
    captions = (*wanted.captions, _BACKGROUND)
    head = clap_zero_shot.head_from_text(state, about["folder"], captions, options.of_model())["head.weight"]
    return _checkpoint.of_captions(head, wanted, about)
