"""PANNs Cnn14: twelve convolutions on a log-mel spectrogram, for sound at 32 kHz (Cnn14) or 16 kHz (Cnn14_16k).

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", IEEE/ACM TASLP 2020,
table II, as evaluated: without dropout. The published model applies a sigmoid to these logits. Key layout: the authors'
files, with or without `model` around it. Rates in Hz, times in seconds, widths in channels.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, cast

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from earshot.audio_models import AudioModel
from earshot.audio_models._logmel import MATRICES, N_MELS, FrontEnd, LogMel, check_matrices
from earshot.backbones._classifier import Rule, fit

RATE_HZ = 32_000
OTHER_RATES_HZ = (16_000,)
_WINDOW_S = 10.0
_FRONT_ENDS = {
    32_000: FrontEnd(32_000, window=1024, hop=320, low_hz=50, high_hz=14_000),
    16_000: FrontEnd(16_000, window=512, hop=160, low_hz=50, high_hz=8_000),
}
_WIDTHS = {"base": (64, 128, 256, 512, 1024, 2048), "mini": (4, 4, 8, 8, 16, 16)}


class Options(BaseModel, extra="forbid"):
    """Size of the model, and the rate that it was trained at."""

    variant: Literal["base", "mini"] = "base"
    rate_hz: Literal[32_000, 16_000] = Field(32_000, description="32000 for Cnn14, 16000 for Cnn14_16k")


def spec(options: Options) -> AudioModel:
    """Windows of 10 s; a shorter sound is followed by zeros."""
    return AudioModel(f"PANNs Cnn14 ({options.variant})", options.rate_hz, _WINDOW_S, source="arXiv 1912.10211")


class _Block(nn.Module):
    """Two convolutions, each normalised and rectified."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        for layer in (self.conv1, self.conv2):
            nn.init.xavier_uniform_(layer.weight)  # as published; torch's own fade out over twelve layers

    def forward(self, maps: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu())).relu()


class _Tagger(nn.Module):
    def __init__(self, front_end: FrontEnd, widths: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        self.log_mel = LogMel(front_end)
        self.bn0 = nn.BatchNorm1d(N_MELS)
        self.blocks = nn.ModuleList(_Block(inputs, outputs) for inputs, outputs in pairwise((1, *widths)))
        self.fc1 = nn.Linear(widths[-1], widths[-1])
        self.head = nn.Linear(widths[-1], n_classes)

    def features(self, waves: Tensor) -> Tensor:
        """Map waves (B, N) to features (B, D)."""
        maps = self.bn0(self.log_mel(waves).transpose(1, 2)).transpose(1, 2)[:, None]  # (B, 1, T, F)
        for block in self.blocks[:-1]:
            maps = functional.avg_pool2d(block(maps), 2)
        over_time = self.blocks[-1](maps).mean(3)
        return self.fc1(over_time.amax(2) + over_time.mean(2)).relu()

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) to logits (B, A); the zeros after the end of a wave count as silence, as in training."""
        return self.head(self.features(waves))


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published one has 80,753,615 parameters for 527 classes."""
    return _Tagger(_FRONT_ENDS[options.rate_hz], _WIDTHS[options.variant], n_classes)


_RULES: tuple[Rule, ...] = (
    (r"conv_block(\d)\.", lambda found: f"blocks.{int(found[1]) - 1}."),
    (r"fc_audioset\.", "head."),
)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint to the keys of `model`; raises WeightsError, also for one with another front end."""
    check_matrices(state, cast(LogMel, model.get_submodule("log_mel")).front_end, tuple(_FRONT_ENDS.values()), _WAY_OUT)
    return fit(state, model, _RULES, dropped=rf"^{MATRICES}")


_WAY_OUT = "set the option `rate_hz` to that of the file, 32000 for Cnn14 or 16000 for Cnn14_16k, or take one of these files"


def tiny() -> Options:
    """Six narrow blocks."""
    return Options(variant="mini")
