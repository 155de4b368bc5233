"""HTS-AT: a Swin transformer over a folded spectrogram of 10 s, with a token-semantic head; the model trained on AudioSet.

Source: Chen et al., "HTS-AT: A Hierarchical Token-Semantic Audio Transformer", ICASSP 2022; the trunk is transformers'
ClapAudioModel, the head the convolution of section 2.2, whose logits over time are averaged. The published model applies a
sigmoid to them. Key layout: the authors' checkpoint (`sed_model.*`). Rates in Hz, times in seconds.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel
from torch import Tensor, nn
from transformers import ClapAudioModel

from earshot.audio_models import AudioModel, _htsat
from earshot.audio_models._logmel import FrontEnd, LogMel, check_matrices
from earshot.backbones._classifier import Rule, fit

RATE_HZ = 32_000
_WINDOW_S = 10.0
_FRONT_END = FrontEnd(RATE_HZ, window=1024, hop=320, low_hz=50, high_hz=14_000)


class Options(BaseModel, extra="forbid"):
    """Size of the model: the published one, or a narrow one."""

    variant: Literal["base", "mini"] = "base"


def spec(options: Options) -> AudioModel:
    """Windows of 10 s at 32 kHz; a shorter sound is followed by zeros."""
    return AudioModel(f"HTS-AT ({options.variant})", RATE_HZ, _WINDOW_S, source="arXiv 2202.00874")


class _Tagger(nn.Module):
    def __init__(self, trunk: ClapAudioModel, n_classes: int) -> None:
        super().__init__()
        self.log_mel = LogMel(_FRONT_END)
        self.trunk = trunk
        self.head = nn.Conv2d(trunk.config.hidden_size, n_classes, kernel_size=(2, 3), padding=(0, 1))

    def features(self, waves: Tensor) -> Tensor:
        """Map waves (B, N) to features (B, D, 2, 32): two groups of mel bins, 32 steps in time."""
        return self.trunk(input_features=self.log_mel(waves)[:, None]).last_hidden_state

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) to logits (B, A); the zeros after the end of a wave count as silence, as in training."""
        return self.head(self.features(waves)).mean((2, 3))


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights."""
    size = "tiny" if options.variant == "base" else options.variant  # the authors call the size of their model tiny
    return _Tagger(ClapAudioModel(_htsat.config(size)), n_classes)


_RULES: tuple[Rule, ...] = (
    (r"sed_model\.tscam_conv\.", "head."),
    *_htsat.rules("sed_model.", "trunk.audio_encoder."),
)
_UNUSED = _htsat.unused("sed_model.")


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint to the keys of `model`; raises WeightsError, also for one with another front end."""
    check_matrices(state, _FRONT_END)
    return fit(_htsat.split(state), model, _RULES, dropped=_UNUSED)


def tiny() -> Options:
    """Eight narrow blocks."""
    return Options(variant="mini")
