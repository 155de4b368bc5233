"""Elastic deformation: each pixel is fetched, bilinearly, from a smoothly and randomly displaced place.

The variant without an affine jump. Displacements along rows and columns are independent: uniform noise within 0.5 % of the
height, blurred by a Gaussian of 1 % of the frame's height and width (cut at three sigma), times alpha. Borders are mirrored.

Source: the package imagecorruptions 1.1.2 (Michaelis et al., "Benchmarking Robustness in Object Detection: Autonomous Driving
when Winter is Coming", arXiv 1907.07484), after Hendrycks and Dietterich (ImageNet-C), whose own variant differs; our spec,
`corruptions.md` section 6, which has no table: these parameters are recalled, and meet the reference's statistics at all five
severities. The table gives alpha, without unit; the displacement's standard deviation is then about alpha / 14
pixels, for frames of any size.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._fields import smooth, uniform_field
from earshot.corruptions._kernels import Frame, compiled

SPEC = Corruption(
    "Elastic deformation",
    family="digital",
    unit="factor on the displacement",
    severities={"default": (12.5, 16.25, 21.25, 25, 30)},
    source="imagecorruptions, arXiv 1907.07484",
    randomness="layer",
)


@compiled
def _mirrored(place, size):  # type: ignore[no-untyped-def]
    if place < 0:
        place = -1 - place
    if place >= size:
        place = 2 * size - 1 - place
    return min(max(place, 0), size - 1)


@compiled
def _fetch(frame, moves, out):  # type: ignore[no-untyped-def]
    height, width = frame.shape[:2]
    for y in range(height):
        for x in range(width):
            place_y, place_x = 256 * y + moves[0, y, x], 256 * x + moves[1, y, x]
            top, bottom = _mirrored(place_y >> 8, height), _mirrored((place_y >> 8) + 1, height)
            left, right = _mirrored(place_x >> 8, width), _mirrored((place_x >> 8) + 1, width)
            low, aside = place_y & 255, place_x & 255
            for c in range(3):
                above = frame[top, left, c] * (256 - aside) + frame[top, right, c] * aside
                below = frame[bottom, left, c] * (256 - aside) + frame[bottom, right, c] * aside
                out[y, x, c] = (above * (256 - low) + below * low) >> 16


def draw(height: int, width: int, value: float, rng: np.random.Generator) -> NDArray[np.int32]:
    """Displacements along rows and columns, in 1/256 pixel: (2, H, W)."""
    sigma = 0.01 * height, 0.01 * width
    fields = [smooth(uniform_field(height, width, rng), sigma, truncate=3, border="symmetric") for _ in range(2)]
    return np.rint(np.float32(256 * value * 0.005 * height) * np.stack(fields)).astype(np.int32)


def apply(frame: Frame, value: float, drawn: Any) -> Frame:
    """Fetch each pixel from its displaced place."""
    out = np.empty_like(frame)
    _fetch(frame, drawn, out)
    return out
