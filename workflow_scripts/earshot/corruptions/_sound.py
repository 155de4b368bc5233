"""What the corruptions of the sound share: checks, random numbers, and adding noise at a stated level.

A ratio of signal to noise is of mean squares, each over all samples and channels of the whole clip.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from earshot.corruptions._kernels import random_words
from earshot.errors import MediaError

Wave = NDArray[np.float32]
Signal = NDArray[np.float64]
Facts = dict[str, Any]
Level = tuple[str, float]
Sound = Callable[[Wave, int, Any, np.random.Generator, str], tuple[Wave, Facts]]

SNR_DB: tuple[Level, ...] = (("snr", 20.0), ("snr", 10.0), ("snr", 5.0), ("snr", 0.0), ("snr", -5.0))


def guarded(function: Sound) -> Sound:
    """Refuse waves with NaN or infinite samples, and return empty ones as they are."""

    @wraps(function)
    def sound(wave: Wave, rate: int, value: Any, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
        if not np.isfinite(wave).all():
            raise MediaError("sound with non-finite samples")
        return function(wave, rate, value, rng, beds) if wave.size else (wave, {})

    return sound


def uniforms(count: int, rng: np.random.Generator) -> Signal:
    """`count` numbers in [0, 1) from the upper 53 bits of raw words."""
    return (rng.bit_generator.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@cache
def _quantiles() -> Signal:
    return np.asarray(ndtri((np.arange(65536) + 0.5) / 65536), np.float64)


def normals(count: int, rng: np.random.Generator) -> Signal:
    """`count` numbers of the standard normal law, to the 65536 steps of a 16-bit word (at most 4.3 from zero)."""
    return _quantiles()[random_words(count, rng)]


def mean_square(signal: NDArray[Any]) -> float:
    """Power over all samples and channels."""
    return float(np.mean(np.square(signal, dtype=np.float64)))


def saturated(signal: Signal) -> tuple[Wave, float]:
    """A signal limited to [-1, 1], and the share of its samples that lay beyond."""
    return np.clip(signal, -1, 1).astype(np.float32), float(np.mean(np.abs(signal) > 1))


def mixed(wave: Wave, noise: Signal, value: Level) -> tuple[Wave, Facts]:
    """Wave (N, C) plus noise (N, C) or (N, 1), saturated; `value` says at which level.

    ("snr", dB): relative to the clip; ("gain", dB): the noise amplified; ("sigma", factor): the noise multiplied.
    A clip of digital silence has no ratio to keep, and stays as it is under "snr".
    """
    signal, power = mean_square(wave), mean_square(noise)
    if value[0] == "snr" and not signal:
        return wave, {"snr_db": None, "note": "digital silence has no signal-to-noise ratio: no noise was added"}
    gain = _gain(value, signal, power)
    out, share = saturated(wave + gain * noise)
    facts = {
        "snr_db": _decibels(signal, gain**2 * power),
        "snr_db_saturated": _decibels(signal, mean_square(out.astype(np.float64) - wave)),
        "saturated_share": share,
    }
    return out, facts


def _gain(value: Level, signal: float, power: float) -> float:
    kind, level = value
    if kind == "sigma":
        return level
    gain = 10 ** (level / 20) if kind == "gain" else (signal / power) ** 0.5 * 10 ** (-level / 20)
    return float(f"{gain:.6g}")  # sums differ in their last bits between machines; what is added shall not


def _decibels(signal: float, noise: float) -> float | None:
    return round(float(10 * np.log10(signal / noise)), 3) if signal and noise else None
