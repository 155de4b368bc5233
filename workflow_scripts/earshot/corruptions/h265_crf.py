"""H.265 at a coarse constant rate factor.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021 (Mini
Kinetics-C); our spec, `corruptions.md` sections 6 and 9. The table gives libx265's constant rate factor, 0 to 51; its default
preset.
"""

from earshot.corruptions import Corruption
from earshot.corruptions._codecs import X265

SPEC = Corruption(
    "H.265 at coarse quality",
    family="compression",
    unit="constant rate factor",
    severities={"default": (27, 33, 39, 45, 51)},
    source="Mini Kinetics-C, arXiv 2110.06513",
)


def codec(value: int, bit_rate: int) -> dict[str, object]:
    """Options of ffmpeg's encoder; the source's bit rate does not matter."""
    return {**X265, "crf": value}
