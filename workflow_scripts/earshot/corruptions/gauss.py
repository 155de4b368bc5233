"""Gaussian noise: floor8(x + n), n ~ N(0, sigma^2), independent by frame, pixel and channel.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C), section 3; our spec, `corruptions.md` sections 1 and 2.1. Sigma is a share of the full range (.08 is 20.4 levels).
Values are truncated, not rounded, as in the reference, so the mean sits half a level low.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, Words, compiled, fixed, noise_words

SPEC = Corruption(
    "Gaussian noise",
    family="noise",
    unit="standard deviation as a share of the full range",
    severities={"default": (0.08, 0.12, 0.18, 0.26, 0.38)},
    source="ImageNet-C, arXiv 1903.12261",
    randomness="noise",
)
draw = noise_words


@cache
def _levels(sigma: float) -> NDArray[np.int16]:
    """Noise in levels for each 16-bit word: the floored quantiles of the normal law, so that truncation is exact."""
    quantiles = ndtri((np.arange(65536) + 0.5) / 65536)
    return np.floor(255 * sigma * quantiles).astype(np.int16)


@compiled
def _add(pixels: Frame, words: Words, levels: NDArray[np.int16], out: Frame) -> None:
    for i in range(len(pixels)):
        level = np.int16(pixels[i]) + levels[words[i]]
        out[i] = np.uint8(min(max(level, 0), 255))


def apply(frame: Frame, value: float, drawn: Words) -> Frame:
    """Add noise of standard deviation `value`."""
    out = np.empty_like(frame)
    _add(fixed(frame).ravel(), drawn, _levels(value), out.ravel())
    return out
