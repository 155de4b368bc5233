"""H.265 at a starved average bit rate: the file's total bit rate, divided.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021 (Mini
Kinetics-C); our spec, `corruptions.md` sections 2.11 and 9. Bit rates in bit/s, the sound included in the total.
"""

from earshot.corruptions import Corruption
from earshot.corruptions._codecs import X265, held_to

SPEC = Corruption(
    "H.265 at low bit rate",
    family="compression",
    unit="divisor of the bit rate",
    severities={"default": (2, 4, 8, 16, 32)},
    source="Mini Kinetics-C, arXiv 2110.06513",
)


def codec(value: int, bit_rate: int) -> dict[str, object]:
    """Options of ffmpeg's encoder for a source of `bit_rate`."""
    return {**X265, **held_to(max(1, bit_rate // value))}
