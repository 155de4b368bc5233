"""Fog: floor8((x + a P) M / (M + a)), with M the largest value in the frame and P diamond-square plasma.

P is built on a square with a side of the next power of two, scaled to 0..1 there, and cut to the frame. A level's steps are
r U(-r, r), with the roughness r divided by b at each level; steps thus shrink by b^2, which the reference's statistics confirm.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C), which draws P for each frame; Mini Kinetics-C (arXiv 2110.06513) draws one for a clip; our spec, `corruptions.md`
section 6. The table gives (a, b): fog in units of the full range, and the smoothness of its clouds.
"""

from typing import Any

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._fields import Field, plasma
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "Fog",
    family="weather",
    unit="(amount in full ranges, smoothness)",
    severities={"default": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))},
    source="ImageNet-C, arXiv 1903.12261",
    randomness="layer",
)


def draw(height: int, width: int, value: tuple[float, float], rng: np.random.Generator) -> Field:
    """The fog that is added, in levels: (H, W, 1)."""
    amount, smoothness = value
    return np.float32(255 * amount) * plasma(height, width, 1 / smoothness**2, rng)[..., None]


def apply(frame: Frame, value: tuple[float, float], drawn: Any) -> Frame:
    """Add fog, and scale so that the frame's largest value stays the largest possible."""
    largest = int(frame.max())
    scale = np.float32(largest / (largest + 255 * value[0]))
    return ((frame + drawn) * scale).astype(np.uint8)
