"""Dropout of the sound: gaps of 50 to 500 ms in which all channels are zero, until a share of the clip is silent.

Lengths are uniform, the last gap is cut so that the share is met to the sample, and the pauses between gaps divide the rest of
the clip at random; gaps never overlap but may touch. At a share of 1 the whole clip is silent. Source: ours.
"""

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._sound import Facts, Wave, guarded, uniforms

SPEC = Corruption(
    "Dropout of the sound",
    family="sound",
    unit="share of the clip that is silent",
    severities={"default": (0.10, 0.25, 0.50, 0.75, 1.0)},
    source="ours",
    randomness="noise",
)
_SHORTEST, _LONGEST = 0.05, 0.5  # s


@guarded
def sound(wave: Wave, rate: int, value: float, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Silence the share `value` of a wave (N, C)."""
    silent = round(value * len(wave))
    lengths = _lengths(silent, rate, rng)
    pauses = np.diff(np.sort(uniforms(len(lengths), rng)), prepend=0.0)
    starts = np.floor(np.cumsum(pauses) * (len(wave) - silent + 1)).astype(int) + np.cumsum(lengths) - lengths
    out = wave.copy()
    for start, length in zip(starts, lengths, strict=True):
        out[start : start + length] = 0
    return out, {"silent_share": silent / len(wave), "gaps": len(lengths)}


def _lengths(silent: int, rate: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of gaps in samples, which sum to `silent`."""
    most = int(silent / max(1, _SHORTEST * rate)) + 1
    lengths = np.rint((_SHORTEST + (_LONGEST - _SHORTEST) * uniforms(most, rng)) * rate).astype(np.int64)
    ends = np.minimum(np.cumsum(np.maximum(lengths, 1)), silent)
    gaps = np.diff(ends, prepend=0)
    return gaps[gaps > 0]
