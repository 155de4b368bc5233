"""Spatter: drops of water or mud on the lens.

Our spec has only a sketch, and this is our own reading of it: a layer N(mean, sd^2) is blurred by sigma; where it is above the
threshold there is a drop. Its cover grows linearly from 0 at the threshold to 1 at one standard deviation of the blurred layer
above it, for mud, whose drops have softer edges, at two; it is multiplied by the intensity and is at most 1; the frame is
mixed with the drop's colour by that cover. Water is light and, with an intensity under 1, never opaque; mud is dark, and opaque
where thick. The reference shapes drops and edges otherwise, so **results are not comparable to published numbers for
spatter**; distances from the clean frame are of the same order.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C, extra corruptions), for the table; our spec, `corruptions.md` section 6. The table gives (mean, sd, sigma of the
blur in pixels, threshold, intensity, 1 for mud and 0 for water).
"""

from math import pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._fields import gaussian_field, smooth
from earshot.corruptions._kernels import Frame

Value = tuple[float, float, float, float, float, int]

SPEC = Corruption(
    "Spatter",
    family="weather",
    unit="(mean, standard deviation, blur in pixels, threshold, intensity, mud or water)",
    severities={
        "default": (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        )
    },
    source="ImageNet-C, arXiv 1903.12261; drops our own",
    randomness="layer",
)

_WATER, _MUD = (215, 228, 235), (92, 66, 42)


def draw(height: int, width: int, value: Value, rng: np.random.Generator) -> NDArray[np.int32]:
    """The drops' cover in 1/256: (H, W, 1)."""
    mean, sd, sigma, threshold, intensity, mud = value
    layer = smooth(gaussian_field(height, width, mean, sd, rng), sigma)
    left = sd / (2 * sqrt(pi) * sigma)  # what the blur leaves of the standard deviation
    edge = np.float32(left * (2 if mud else 1))
    cover = np.float32(intensity) * np.clip((layer - np.float32(threshold)) / edge, 0, 1)
    return np.rint(256 * np.minimum(cover, 1)).astype(np.int32)[..., None]


def apply(frame: Frame, value: Value, drawn: Any) -> Frame:
    """Cover a frame with drops."""
    colour = np.array(_MUD if value[5] else _WATER, np.int32)
    return (frame + (((colour - frame) * drawn) >> 8)).astype(np.uint8)
