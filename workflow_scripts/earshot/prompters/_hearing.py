"""What HTS-AT hears of a clip: log-mel spectrograms of its seconds, each repeated until it fills the window.

Source: Chen et al., "HTS-AT", ICASSP 2022, and the public code of Duan et al., "Cross-modal Prompts", NeurIPS 2023, which
repeats each second as often as a clip has seconds. Shapes: B clips, T segments, N = B T, S samples, F frames, M mel bins.
"""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.compliance.kaldi import get_mel_banks
from torchaudio.functional import melscale_fbanks

from earshot.audio_models._kaldi import hanning
from earshot.audio_models._logmel import FrontEnd, LogMel
from earshot.prompters import _windows
from earshot.prompters._trunks import FRONT_END

_STRIPES = 2  # SpecAugment: so many in time and in frequency
_TIME, _FREQUENCY = 64, 8  # their largest widths in frames and mel bins
_MIXUP = 0.5  # both parameters of the beta distribution that mixup draws from


@dataclass(frozen=True)
class Bins(FrontEnd):
    """HTS-AT's front end with another number of mel bins."""

    bins: int = 64

    def banks(self) -> Tensor:
        """Mel filters (window / 2 + 1, bins)."""
        with torch.device("cpu"):
            return melscale_fbanks(self.window // 2 + 1, self.low_hz, self.high_hz, self.bins, self.rate_hz, "slaney", "slaney")


@cache
def log_mel(bins: int) -> LogMel:
    """HTS-AT's front end, from waves (N, S) to decibels (N, F, bins)."""
    one = FRONT_END
    return LogMel(Bins(one.rate_hz, one.window, one.hop, one.low_hz, one.high_hz, bins=bins))


def cut(waves: Tensor, segments: int) -> Tensor:
    """Waves of clips (B, S) as segments (B T, S / T); raises ValueError if they do not divide."""
    if waves.shape[1] % segments or waves.shape[1] < segments:
        raise ValueError(f"waves of {waves.shape[1]} samples do not divide into {segments} segments; cut them to whole seconds")
    return waves.reshape(len(waves) * segments, -1)


def spectrograms(waves: Tensor, tiles: int, bins: int) -> Tensor:
    """Decibels (N, F, M) of segments (N, S) that are each repeated `tiles` times.

    Between the ends, which see reflected samples, spectrograms of repeated sound repeat themselves: two repetitions hold all
    frames that there are.
    """
    listen, hop, half = log_mel(bins).to(waves.device), FRONT_END.hop, FRONT_END.window // 2
    period, size = waves.shape[1] // hop, waves.shape[1]
    with _windows.in_full(waves):
        if tiles <= 2 or size % hop or size < FRONT_END.window:
            return listen(waves.float().repeat(1, tiles))
        once = listen(waves.float().repeat(1, 2))
    edge = -(-half // hop)  # frames at either end that see reflected samples
    middle = edge + torch.arange(tiles * period + 1 - 2 * edge, device=waves.device) % period
    last = torch.arange(once.shape[1] - edge, once.shape[1], device=waves.device)
    return once[:, torch.cat((last.new_tensor(range(edge)), middle, last))]


def masked(mel: Tensor, generator: torch.Generator | None) -> Tensor:
    """SpecAugment (Park et al., Interspeech 2019): stripes of normalised spectrograms (N, 1, F, M) are 0.

    That it comes behind batch norm, where 0 is the mean, is our reading.
    """
    for axis, widest in ((2, _TIME), (3, _FREQUENCY)):
        size, count = mel.shape[axis], len(mel)
        draws = torch.rand(2, count, _STRIPES, 1, generator=generator)
        widths = (draws[0] * min(widest, size)).floor()
        starts = (draws[1] * (size - widths)).floor()
        places = torch.arange(size)
        hidden = ((places >= starts) & (places < starts + widths)).any(1).to(mel.device)
        mel = mel.masked_fill(hidden[:, None, :, None] if axis == 2 else hidden[:, None, None, :], 0.0)
    return mel


def mixed(mel: Tensor, generator: torch.Generator | None) -> Tensor:
    """Mixup of normalised spectrograms (N, 1, F, M) with those of the reversed batch, by weights from Beta(0.5, 0.5) each."""
    gammas = torch._standard_gamma(torch.full((2, len(mel)), _MIXUP), generator=generator)
    weight = (gammas[0] / gammas.sum(0)).to(mel.device).view(-1, 1, 1, 1)
    return mel * weight + mel.flip(0) * (1 - weight)


# --- images of sound, which LAVisH shows to a visual encoder ------------------------------------------------------------

_RATE_HZ = 16_000
_FRAME, _FFT, _PRE_EMPHASIS = 400, 512, 0.97  # Kaldi's: samples of 25 ms, of a transform, and how high tones are raised
_PICTURE_MS = 192 * 5.2  # an image shows about this much, in as many frames as it has rows
_MEAN, _SPREAD = -4.984796, 2 * 3.707978  # of such energies on AudioSet; the published code takes twice the deviation
_TAIL_S = 1.1  # the last segment starts so long before the end


def images(waves: Tensor, segments: int, side: int) -> Tensor:
    """Clips (B, S) at 16 kHz as images (B T, side, side): rows are moments, columns mel bins of Kaldi's filterbank.

    Source: `torchaudio.compliance.kaldi.fbank` as LAVisH calls it (HTK-compatible, Hann window, no dither), here for batches;
    rows that a second does not fill are 0. Raises ValueError for clips of less than 1.1 s.
    """
    last = waves.shape[1] - int(_RATE_HZ * _TAIL_S)
    if last < 0:
        raise ValueError(f"a clip of {waves.shape[1]} samples is too short: images of sound need {_TAIL_S} s at {_RATE_HZ} Hz")
    starts = torch.from_numpy(np.linspace(0, last, segments).astype(np.int64)).to(waves.device)
    waves = waves.float() - waves.float().mean(1, keepdim=True)
    pieces = waves[:, starts[:, None] + torch.arange(_RATE_HZ, device=waves.device)].flatten(0, 1)
    with _windows.in_full(waves):
        energies = _energies(pieces, int(_RATE_HZ * _PICTURE_MS / side / 1000), side)[:, :side]
    return functional.pad((energies - _MEAN) / _SPREAD, (0, 0, 0, side - energies.shape[1]))


def _energies(waves: Tensor, shift: int, bins: int) -> Tensor:
    """Kaldi's log-mel energies (N, F, bins) of waves (N, S), in frames that lie wholly in them."""
    frames = waves.unfold(-1, _FRAME, shift)
    frames = frames - frames.mean(-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], -1)  # the first sample is its own predecessor
    power = torch.fft.rfft((frames - _PRE_EMPHASIS * before) * hanning().to(waves.device), n=_FFT).abs().square()
    return (power[..., :-1] @ _kaldi_banks(bins).to(waves.device)).clamp(min=torch.finfo(torch.float32).eps).log()


@cache
def _kaldi_banks(bins: int) -> Tensor:
    """Mel filters (256, bins) from 20 Hz to 8 kHz."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # narrow filters at low tones lie between the transform's frequencies, and are 0
        return get_mel_banks(bins, _FFT, _RATE_HZ, 20.0, 0.0, 100.0, -500.0, 1.0)[0].T.contiguous()
