"""Clipping of the sound, as by an overdriven microphone: samples beyond a threshold are held at it, y = clip(a, -t, t).

The threshold is the quantile of |a| over all channels beyond which the wanted share lies of the samples that are not zero;
digital silence cannot be cut, and counting it would clip a clip with long pauses to nothing. The level is not restored.
Source: ours.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._sound import Facts, Wave, guarded

SPEC = Corruption(
    "Clipping of the sound",
    family="sound",
    unit="share of the non-zero samples that are cut",
    severities={"default": (0.01, 0.05, 0.10, 0.20, 0.40)},
    source="ours",
)


@guarded
def sound(wave: Wave, rate: int, value: float, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Cut the share `value` of a wave's samples (N, C)."""
    level = np.abs(wave)
    sounding = level[level > 0]
    threshold = np.float32(np.quantile(sounding, 1 - value)) if sounding.size else np.float32(1)
    facts = {"threshold": float(threshold), "cut_share": float(np.mean(level > threshold))}
    return np.clip(wave, -threshold, threshold), facts
