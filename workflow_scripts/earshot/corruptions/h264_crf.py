"""H.264 at a coarse constant rate factor.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021 (Mini
Kinetics-C); our spec, `corruptions.md` sections 6 and 9. The table gives libx264's constant rate factor, 0 (lossless) to 51;
its default preset, one thread, since its bytes depend on their number.
"""

from earshot.corruptions import Corruption
from earshot.corruptions._codecs import X264

SPEC = Corruption(
    "H.264 at coarse quality",
    family="compression",
    unit="constant rate factor",
    severities={"default": (23, 30, 37, 44, 51)},
    source="Mini Kinetics-C, arXiv 2110.06513",
)


def codec(value: int, bit_rate: int) -> dict[str, object]:
    """Options of ffmpeg's encoder; the source's bit rate does not matter."""
    return {**X264, "crf": value}
