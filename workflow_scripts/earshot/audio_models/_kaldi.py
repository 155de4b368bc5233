"""Log-mel filterbank energies as Kaldi computes them, for batches: what AST and BEATs listen to.

Source: Kaldi's `compute-fbank-feats` without dither, in the form of `torchaudio.compliance.kaldi.fbank`, which takes one wave
at a time. Sound at 16 kHz, frames of 25 ms every 10 ms that lie wholly in the wave, 128 mel bins from 20 Hz to 8 kHz,
natural logarithm of power.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.compliance.kaldi import get_mel_banks

RATE_HZ = 16_000
N_MELS = 128
SHIFT = 160  # samples from frame to frame
_FRAME = 400  # samples of a frame
_FFT = 512
_PRE_EMPHASIS = 0.97
_SMALLEST = torch.finfo(torch.float32).eps  # what the logarithm sees of silence


def hanning() -> Tensor:
    """The symmetric Hann window (400,)."""
    return torch.hann_window(_FRAME, periodic=False)


def povey() -> Tensor:
    """Kaldi's own window (400,), a Hann window that falls off more slowly."""
    return hanning().pow(0.85)


def n_frames(samples: Tensor) -> Tensor:
    """How many frames lie wholly in waves of so many samples."""
    return ((samples - _FRAME) // SHIFT + 1).clamp(min=0)


class KaldiLogMel(nn.Module):
    """Map waves (B, N) to log-mel energies (B, T, 128); a wave of less than a frame is filled up with zeros."""

    window: Tensor
    banks: Tensor

    def __init__(self, window: Tensor) -> None:
        super().__init__()
        banks, _ = get_mel_banks(N_MELS, _FFT, RATE_HZ, 20.0, 0.0, 100.0, -500.0, 1.0)  # 0.0 is half the rate; no warping
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("banks", functional.pad(banks, (0, 1)).T.contiguous(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Map (B, N) to (B, T, 128)."""
        waves = functional.pad(waves, (0, max(0, _FRAME - waves.shape[-1])))
        frames = waves.unfold(-1, _FRAME, SHIFT)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], -1)  # Kaldi takes the first sample as its own predecessor
        frames = (frames - _PRE_EMPHASIS * before) * self.window
        spectrum = torch.fft.rfft(frames, n=_FFT)
        power = spectrum.real.square() + spectrum.imag.square()  # abs() takes care of extremes and needs longer
        return (power @ self.banks).clamp(min=_SMALLEST).log()
