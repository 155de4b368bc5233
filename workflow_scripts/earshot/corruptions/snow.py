"""Snow: streaks of flakes over a frame that is whitened.

A Gaussian layer N(mean, sd^2) is enlarged, values under a threshold become 0, and the rest is blurred along a line at an angle
U(-135, -45) degrees, with weights of a one-sided Gaussian. The frame becomes k x + (1 - k) max(x, 1.5 grey + 0.5), and the
layer and its half-turn are added.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C); our spec, `corruptions.md` sections 2.8 and 6. The table gives (mean, sd, enlargement, threshold, radius R of the
line in pixels, sigma of the line in pixels, k); the layer is in full ranges.
"""

from math import radians
from typing import Any

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._fields import enlarged, gaussian_field, streak, uniform
from earshot.corruptions._kernels import Frame, compiled

Value = tuple[float, float, float, float, int, float, float]

SPEC = Corruption(
    "Snow",
    family="weather",
    unit="(mean, standard deviation, enlargement, threshold, streak radius, streak sigma, share of the frame kept)",
    severities={
        "default": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        )
    },
    source="ImageNet-C, arXiv 1903.12261",
    randomness="layer",
)


@compiled
def _whiten(frame, flakes, kept, out):  # type: ignore[no-untyped-def]
    height, width = flakes.shape
    for y in range(height):
        for x in range(width):
            grey = np.int32(299) * frame[y, x, 0] + np.int32(587) * frame[y, x, 1] + np.int32(114) * frame[y, x, 2]
            white = np.int32(3) * grey + np.int32(255_000)  # 2000 (1.5 grey + 0.5)
            snow = np.int32(flakes[y, x]) + flakes[height - 1 - y, width - 1 - x]
            for c in range(3):
                own = np.int32(2000) * frame[y, x, c]
                out[y, x, c] = min((kept * own + (100 - kept) * max(own, white)) // 200_000 + snow, 255)


def draw(height: int, width: int, value: Value, rng: np.random.Generator) -> Frame:
    """The streaks of snow, in levels (H, W)."""
    mean, sd, factor, threshold, radius, sigma, _ = value
    layer = enlarged(gaussian_field(height, width, mean, sd, rng), factor)
    layer = np.floor(255 * np.where(layer < threshold, 0, np.minimum(layer, 1)).astype(np.float32))
    return streak(layer, radius, sigma, radians(uniform(-135, -45, rng))).astype(np.uint8)


def apply(frame: Frame, value: Value, drawn: Any) -> Frame:
    """Whiten a frame and add the snow."""
    out = np.empty_like(frame)
    _whiten(frame, drawn, np.int32(round(100 * value[6])), out)
    return out
