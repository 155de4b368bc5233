"""Lower frame rate: the number of frames and their times stay, but only the frames of a coarser time grid are shown.

Output frame i shows the last input frame at or before the last tick, at or before frame i, of a clock of `value` ticks a
second. A video that is no faster than the clock stays as it is.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021; our spec,
`corruptions.md` section 6. The reference makes videos with fewer frames; ours keep their count, so that the benchmark samples
the same times. The table gives frames per second: Mini SSV2-C's, and Mini Kinetics-C's as preset `mini_kinetics_c`.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Any

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "Low frame rate",
    family="temporal",
    unit="frames per second",
    severities={"default": (10, 8, 6, 4, 2), "mini_kinetics_c": (20, 16, 12, 9, 6)},
    source="Mini SSV2-C and Mini Kinetics-C, arXiv 2110.06513",
)


def sources(number: int, count: int, fps: float, value: float) -> list[int]:
    """The one input frame that output frame `number` shows."""
    if fps <= value:
        return [number]
    rate = Fraction(fps).limit_denominator(1001 * 120)  # in floats a frame on a tick could fall before it
    ticks = floor(number * Fraction(value) / rate)
    return [floor(ticks * rate / Fraction(value))]


def combine(frames: Sequence[Frame], value: float) -> Frame:
    """The one frame."""
    return frames[0].copy()


def apply(frame: Frame, value: float, drawn: Any) -> Frame:
    """A frame alone stays as it is."""
    return frame.copy()
