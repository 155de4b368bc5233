"""Gaussian noise: floor8(x + n), n ~ N(0, sigma^2), independent by frame, pixel and channel.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C); table of UCF101-C as reconstructed in our spec, `corruptions.md` sections 1 and 2. Sigma is a share of the full
range; values are truncated, not rounded, as in the reference.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from earshot.corruptions import Corruption

SPEC = Corruption(
    "Gaussian noise",
    family="noise",
    unit="standard deviation as a share of the full range",
    severities={"ucf101c": (0.08, 0.12, 0.18, 0.26, 0.38)},
    source="ImageNet-C, arXiv 1903.12261",
    randomness="per_frame",
)


@cache
def _levels(sigma: float) -> NDArray[np.int16]:
    """Noise in levels for each 16-bit word: the floored quantiles of the normal law, so that truncation is exact."""
    quantiles = ndtri((np.arange(65536) + 0.5) / 65536)
    return np.floor(255 * sigma * quantiles).astype(np.int16)


def apply(frames: NDArray[np.uint8], value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add noise of standard deviation `value` to frames (T, H, W, 3)."""
    words = np.frombuffer(rng.bytes(2 * frames.size), np.uint16).reshape(frames.shape)
    return np.clip(frames + _levels(value)[words], 0, 255).astype(np.uint8)
