"""Bit errors: bytes of the video's packets replaced by random ones, and what a tolerant decoder makes of them.

Source: Yi et al., "Benchmarking the Robustness of Spatial-Temporal Models Against Corruptions", NeurIPS 2021 (Mini
Kinetics-C), which uses ffmpeg's bitstream filter `noise`; our spec, `corruptions.md` section 6. The table gives n: each byte is
replaced with probability 1 / n, packet headers included; the container and its decoder set-up stay whole. How much of a frame
is lost depends on the source's codec and bit rate, so severities of videos of different size are not comparable. A frame that
does not decode is replaced by the one before it. See `earshot.damage` for the details.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "Bit errors",
    family="compression",
    unit="bytes per error",
    severities={"default": (100_000, 50_000, 30_000, 20_000, 10_000)},
    source="Mini Kinetics-C, arXiv 2110.06513",
    randomness="noise",
)


def decode(path: str | Path, value: int, rng: np.random.Generator) -> Iterator[Frame]:
    """Frames (H, W, 3) of a video with damaged packets, as many as the whole video has."""
    from earshot.damage import damaged_frames  # here, so that listing corruptions needs no PyAV

    return damaged_frames(path, value, rng)
