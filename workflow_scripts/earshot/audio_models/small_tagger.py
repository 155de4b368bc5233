"""A small sound tagger for the demo and for a user's own sound bank: log-mel spectrogram, four convolutions, mean over time.

Multi-label logits over the bank's own names, trained with binary cross-entropy on mixed and shifted excerpts. Rates in Hz,
times in seconds. Source: the plain CNN tagger of Kong et al., "PANNs", IEEE/ACM TASLP 2020 (Cnn6), at small width.
"""

from itertools import pairwise

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from earshot.audio_models import AudioModel

RATE_HZ = 16_000
_WIDTHS = (16, 32, 64, 96)


class Options(BaseModel, extra="forbid"):
    """Nothing to set."""


class Hyper(BaseModel, extra="forbid"):
    """How the tagger is trained."""

    epochs: int = Field(30, ge=1)
    batch: int = Field(32, ge=2)
    lr: float = Field(3e-3, gt=0)
    mix: float = Field(0.3, ge=0, le=1, description="share of training excerpts with a second sound under them")
    noise_db: float = Field(20.0, description="typical signal-to-noise ratio of added noise, dB")


def spec(options: Options) -> AudioModel:
    """Two seconds, over and over again."""
    return AudioModel("small CNN tagger", RATE_HZ, window_s=2.0, source="after arXiv 1912.10211", short="loop")


class _Tagger(nn.Module):
    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.mel = MelSpectrogram(RATE_HZ, n_fft=512, hop_length=200, n_mels=48, f_min=40, f_max=7800)
        self.norm = nn.BatchNorm2d(1)
        widths = (1, *_WIDTHS)
        self.blocks = nn.Sequential(*[_block(a, b) for a, b in pairwise(widths)])
        self.head = nn.Linear(_WIDTHS[-1], n_classes)

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) to logits (B, A); windows are filled to the end, so that their lengths are all the same."""
        level = waves.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4)
        mel = (self.mel(waves / level * 0.1) + 1e-6).log()  # loudness says nothing about what sounds
        maps = self.blocks(self.norm(mel[:, None]))  # (B, D, F, T)
        pooled = maps.mean(2)
        return self.head(pooled.amax(-1) + pooled.mean(-1))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.AvgPool2d(2))


def build(n_classes: int, options: Options) -> nn.Module:
    """A tagger with random weights."""
    return _Tagger(n_classes)


def tiny() -> Options:
    """It is small as it is."""
    return Options()


def mix(wave: Tensor, other: Tensor, hyper: Hyper, generator: torch.Generator) -> tuple[Tensor, bool]:
    """Shift a wave (N,) in time, change its level, add noise and perhaps another sound 6 dB or more below."""
    draw = torch.rand(5, generator=generator)
    wave = wave.roll(int(draw[0] * len(wave)))
    mixed = bool(draw[1] < hyper.mix)
    if mixed:
        ratio = wave.square().mean().sqrt() / other.square().mean().sqrt().clamp(min=1e-5)
        wave = wave + other.roll(int(draw[2] * len(other))) * ratio * 10 ** (-(6 + 10 * draw[3]) / 20)
    noise = torch.randn(len(wave), generator=generator) * wave.square().mean().sqrt()
    return wave + noise * 10 ** (-(hyper.noise_db + 20 * (draw[4] - 0.5)) / 20), mixed
