"""H.265 at a coarse constant rate factor.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021 (Mini
Kinetics-C); our spec, `corruptions.md` sections 6 and 9. The table gives libx265's constant rate factor, 0 to 51; its default
preset.
"""

from earshot.corruptions import Corruption

SPEC = Corruption(
    "H.265 at coarse quality",
    family="compression",
    unit="constant rate factor",
    severities={"default": (27, 33, 39, 45, 51)},
    source="Mini Kinetics-C, arXiv 2110.06513",
)


def codec(value: int, bit_rate: int) -> dict[str, object]:
    """Options of ffmpeg's encoder; the source's bit rate does not matter."""
    return {
        "vcodec": "libx265",
        "crf": value,
        # as for `h265_abr`: frame threads can change libx265's bytes from run to run
        "x265-params": "frame-threads=1:wpp=0:log-level=error",
        "pix_fmt": "yuv420p",
        "tag:v": "hvc1",
    }
