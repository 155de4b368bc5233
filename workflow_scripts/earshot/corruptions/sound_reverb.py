"""Reverberation of the sound: convolution with the response of a synthetic room.

The response is the direct path and, from the next sample on, Gaussian noise that decays by 60 dB within RT60 (in s), drawn for
each channel; its energy is set by the direct-to-reverberant ratio (in dB). The output keeps the clip's length and level: what
would sound on after the end is cut, and the whole is scaled to the clip's RMS. Source: ours; exponentially decaying noise is
the usual statistical model of a diffuse room (Polack 1988).
"""

import numpy as np
from scipy.signal import oaconvolve

from earshot.corruptions import Corruption
from earshot.corruptions._sound import Facts, Signal, Wave, guarded, mean_square, normals, saturated

SPEC = Corruption(
    "Reverberation of the sound",
    family="sound",
    unit="RT60 in s and direct-to-reverberant ratio in dB",
    severities={"default": ((0.3, 10.0), (0.6, 5.0), (1.0, 0.0), (1.5, -3.0), (2.5, -6.0))},
    source="ours",
    randomness="noise",
)


@guarded
def sound(wave: Wave, rate: int, value: tuple[float, float], rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Put a wave (N, C) into a room of `value`: (RT60, direct-to-reverberant ratio)."""
    rt60, ratio = value
    facts: Facts = {"rt60_s": rt60, "direct_to_reverberant_db": ratio}
    if not np.any(wave):
        return wave, facts
    out = wave.astype(np.float64)
    out[1:] += oaconvolve(out, _tail(rt60, ratio, rate, wave.shape[1], rng), axes=0)[: len(wave) - 1]
    kept, share = saturated(out * (mean_square(wave) / mean_square(out)) ** 0.5)
    return kept, facts | {"saturated_share": share}


def _tail(rt60: float, ratio: float, rate: int, channels: int, rng: np.random.Generator) -> Signal:
    """Reverberant part (samples, channels), of energy 10^(-ratio/10) in each channel."""
    count = max(1, round(rt60 * rate))
    decay = 10 ** (-3 * np.arange(count) / count)
    tail = normals(count * channels, rng).reshape(count, channels) * decay[:, None]
    return tail * (10 ** (-ratio / 10) / np.sum(tail**2, axis=0)) ** 0.5
