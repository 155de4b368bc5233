"""The sound of ten seconds, and what CLAP makes of sound.

Our spec is `avvp.md` sections 1.2, 3.1, 3.2 and 7; rates in Hz, waves (N,) float32.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional

from earshot import hearing, importing, media
from earshot.audio_models import AudioModel, clap_zero_shot
from earshot.errors import MediaError
from earshot.parsers import SEGMENTS

_BINS, _STEPS, _FINER = 2, 32, 1024  # of CLAP: frequency bins, time steps, and steps after the published resizing
TOKENS = _BINS * _STEPS
_INT16 = 32767


class ClapOptions(BaseModel, extra="forbid"):
    """Which CLAP model: size of the audio tower, and whether it is a fused one, as VALOR's is."""

    variant: Literal["tiny", "base", "mini"] = "tiny"
    fused: bool = Field(True, description="LAION's 630k fusion model in the papers; false for one that is not")

    def of_model(self) -> clap_zero_shot.Options:
        """The same as options of the audio model, which embeds whole captions."""
        return clap_zero_shot.Options(variant=self.variant, fused=self.fused, templates=["{}"])


def read(path: Path, rate: int) -> media.Wave:
    """The sound of a video at `rate`; raises MediaError if there is none."""
    wave = media.read_wave(path, rate)
    if len(wave) < SEGMENTS:
        raise MediaError("no audio stream" if not len(wave) else f"sound of {len(wave)} samples")
    return wave


def seconds(wave: media.Wave) -> media.Wave:
    """A wave as ten pieces of equal length, (10, N / 10), that start at tenths of it, rounded."""
    starts = np.round(np.linspace(0, len(wave), SEGMENTS + 1))[:SEGMENTS].astype(int)
    return np.stack([wave[start : start + len(wave) // SEGMENTS] for start in starts])


def as_published(wave: media.Wave, spec: AudioModel) -> media.Wave:
    """A wave as long as a window, by picking samples evenly, without any filter between them."""
    size = round(spec.rate_hz * spec.window_s)
    return wave[np.round(np.linspace(0, len(wave) - 1, size)).astype(int)]


def quantised(wave: media.Wave) -> media.Wave:
    """A wave after a round trip through 16 bits, cut off towards zero, as CLAP's authors do."""
    return (np.clip(wave, -1, 1) * _INT16).astype(np.int16).astype(np.float32) / np.float32(_INT16)


def filled(wave: media.Wave, spec: AudioModel) -> media.Wave:
    """A wave of no more than a window, filled as the model expects: CLAP repeats it as often as it fits."""
    ((window, _),) = hearing.windows(wave, spec)
    return window


class Clap:
    """CLAP's audio tower with published weights; `spec` says what it listens to."""

    def __init__(self, manifest: Path, options: ClapOptions, device: str) -> None:
        about, published = importing.read_published(str(manifest))
        model = clap_zero_shot.build(1, options.of_model())
        fresh = {"head.weight": model.state_dict()["head.weight"]}  # no part of an audio tower
        model.load_state_dict(clap_zero_shot.import_weights({**published, **fresh}, model))
        self.tower: Any = model.to(device).eval()
        self.spec, self.device = clap_zero_shot.spec(options.of_model()), device
        self.origin = importing.checkpoint_facts(about)

    @torch.no_grad()
    def embedding(self, waves: Tensor) -> Tensor:
        """Embeddings (B, E) of length 1 of windows (B, N)."""
        return self.tower.features(waves.to(self.device)).float().cpu()

    @torch.no_grad()
    def tokens(self, waves: Tensor) -> Tensor:
        """The tokens (B, 64, D) of windows (B, N): frequency bin k // 32, time step k % 32."""
        spectrogram = self.tower.log_mel(waves.to(self.device))[:, None]
        found = self.tower.model.audio_model(input_features=spectrogram)
        return found.last_hidden_state.flatten(2).transpose(1, 2).float().cpu()


@cache
def pooling() -> np.ndarray:
    """The matrix (10, 64) float64 that makes ten seconds of CLAP's tokens.

    VALOR resizes the token map (2, 32) to (2, 1024) bicubically, averages the two frequency bins, and pools time to ten: all
    of it linear, and so done at once.
    """
    tokens = torch.eye(TOKENS, dtype=torch.float64).view(-1, 1, _BINS, _STEPS)
    finer = functional.interpolate(tokens, (_BINS, _FINER), mode="bicubic", align_corners=False)
    return functional.adaptive_avg_pool1d(finer.mean(2), SEGMENTS)[:, 0].T.numpy()
