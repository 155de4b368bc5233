"""Log-mel spectrograms in decibels: what PANNs, HTS-AT and CLAP listen to.

Source: torchlibrosa's `Spectrogram` and `LogmelFilterBank`, the front end inside those models: periodic Hann window, frames
centred on multiples of the hop with reflected ends, power, triangular filters, 10 log10 of no less than 1e-10. Rates and
frequencies in Hz, windows and hops in samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from earshot.backbones import WeightsError

N_MELS = 64
MATRICES = r"(spectrogram_extractor|logmel_extractor)\."  # fixed tensors in published files, which the model makes itself
_SMALLEST = 1e-10
_TOLERANCE = 1e-3  # of the largest entry, for matrices that other versions of the same libraries made
_WAY_OUT = "take the published file of this model"


@dataclass(frozen=True)
class FrontEnd:
    """What a spectrogram is made of: rate, samples of a window and from window to window, the band of its mel bins.

    `scale` is Slaney's with filters of equal area, or HTK's with filters of equal height.
    """

    rate_hz: int
    window: int
    hop: int
    low_hz: float
    high_hz: float
    scale: Literal["slaney", "htk"] = "slaney"

    def banks(self) -> Tensor:
        """Mel filters (window / 2 + 1, 64)."""
        norm = "slaney" if self.scale == "slaney" else None
        n_bins = self.window // 2 + 1
        with torch.device("cpu"):  # torchaudio needs values, also where a model is built without any
            return melscale_fbanks(n_bins, self.low_hz, self.high_hz, N_MELS, self.rate_hz, norm=norm, mel_scale=self.scale)

    def __str__(self) -> str:
        return f"{self.rate_hz} Hz, windows of {self.window}, {self.low_hz:g} to {self.high_hz:g} Hz"


class LogMel(nn.Module):
    """Map waves (B, N) to log-mel spectrograms (B, T, 64) in dB; a wave of less than a window is filled up with zeros."""

    window: Tensor
    banks: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.front_end = front_end
        self.register_buffer("window", torch.hann_window(front_end.window), persistent=False)
        self.register_buffer("banks", front_end.banks(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Map (B, N) to (B, N / hop + 1, 64)."""
        size = self.front_end.window
        waves = functional.pad(waves, (0, max(0, size - waves.shape[-1])))
        spectrum = torch.stft(waves, size, self.front_end.hop, window=self.window, pad_mode="reflect", return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return 10 * (power.transpose(1, 2) @ self.banks).clamp(min=_SMALLEST).log10()


def check_matrices(
    state: Mapping[str, Tensor], wanted: FrontEnd, others: Sequence[FrontEnd] = (), way_out: str = _WAY_OUT
) -> None:
    """Hold the Fourier and mel matrices in a published file, where it has them, to those of a front end.

    Raises WeightsError that names the matrix and, if it is that of one of `others`, which; `way_out` says what to do then.
    """
    for key, stored in state.items():
        make = next((make for name, make in _MADE.items() if key.endswith(name)), None)
        if make is None or _equal(stored, make(wanted)):
            continue
        unknown = f"unknown, with {tuple(stored.shape)} here"
        found = next((str(other) for other in others if _equal(stored, make(other))), unknown)
        raise WeightsError(f"{key}: the front end of this file is {found}; the model's is {wanted}: {way_out}")


def _fourier(front_end: FrontEnd) -> Tensor:
    """The windowed Fourier matrix (window / 2 + 1, 1, window), complex."""
    samples = torch.arange(front_end.window, dtype=torch.float64)
    turns = torch.outer(samples[: front_end.window // 2 + 1], samples) / front_end.window
    window = torch.hann_window(front_end.window, dtype=torch.float64)
    return torch.polar(window.expand_as(turns).contiguous(), -2 * torch.pi * turns)[:, None]


_MADE = {
    "spectrogram_extractor.stft.conv_real.weight": lambda front_end: _fourier(front_end).real,
    "spectrogram_extractor.stft.conv_imag.weight": lambda front_end: _fourier(front_end).imag,
    "logmel_extractor.melW": FrontEnd.banks,
}


def _equal(stored: Tensor, made: Tensor) -> bool:
    return stored.shape == made.shape and bool((stored - made).abs().max() <= _TOLERANCE * made.abs().max())
