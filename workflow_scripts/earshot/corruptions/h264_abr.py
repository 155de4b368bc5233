"""H.264 at a starved average bit rate: the file's total bit rate, divided.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021 (Mini
Kinetics-C); our spec, `corruptions.md` sections 2.11, 6 and 9. The table gives the divisor; bit rates in bit/s, the sound
included in the total. libx264's default preset, one thread, since its bytes depend on their number.
"""

from earshot.corruptions import Corruption
from earshot.corruptions._codecs import X264, held_to

SPEC = Corruption(
    "H.264 at low bit rate",
    family="compression",
    unit="divisor of the bit rate",
    severities={"default": (2, 4, 8, 16, 32)},
    source="Mini Kinetics-C, arXiv 2110.06513",
)


def codec(value: int, bit_rate: int) -> dict[str, object]:
    """Options of ffmpeg's encoder for a source of `bit_rate`."""
    return {**X264, **held_to(max(1_000, bit_rate // value))}  # libx264 counts in kbit/s and refuses 0
