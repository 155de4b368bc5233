"""Offset of the sound against the picture: it comes late by a time in s, after silence, and keeps the clip's length.

What is pushed beyond the end is lost, so an offset beyond the clip leaves silence. The time is rounded to a whole sample.
Source: ours; people notice sound that is late by 0.1 s or so (ITU-R BT.1359), well below severity 1.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._sound import Facts, Wave, guarded

SPEC = Corruption(
    "Offset of the sound",
    family="sound",
    unit="delay of the sound in s",
    severities={"default": (0.25, 0.5, 1.0, 2.0, 4.0)},
    source="ours",
)


@guarded
def sound(wave: Wave, rate: int, value: float, rng: np.random.Generator, beds: str) -> tuple[Wave, Facts]:
    """Delay a wave (N, C) by `value` s."""
    late = round(value * rate)
    out = np.zeros_like(wave)
    out[late:] = wave[: max(0, len(wave) - late)]
    return out, {"offset_s": late / rate}
