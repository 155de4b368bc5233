"""Speckle noise: floor8(x + x n), n ~ N(0, c^2), independent by frame, pixel and channel.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C, extra corruptions); our spec, `corruptions.md` section 6. The table gives c, the noise as a share of the pixel's
own brightness; preset `ucf101_p` is the milder table of UCF101-P (Schiappa et al., CVPR 2023).
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._fields import normal_quantiles
from earshot.corruptions._kernels import Frame, Words, compiled, random_words

SPEC = Corruption(
    "Speckle noise",
    family="noise",
    unit="standard deviation as a share of the pixel's value",
    severities={"default": (0.15, 0.2, 0.35, 0.45, 0.6), "ucf101_p": (0.15, 0.2, 0.25, 0.3, 0.35)},
    source="ImageNet-C, arXiv 1903.12261",
    randomness="noise",
)


@cache
def _factors(c: float) -> NDArray[np.int32]:
    """65536 (1 + c z) for each 16-bit word, z the word's normal quantile."""
    return np.rint(65536 * (1 + c * normal_quantiles())).astype(np.int32)


@compiled
def _multiply(frame, factors, words, out):  # type: ignore[no-untyped-def]
    for i in range(len(frame)):
        out[i] = min(max((frame[i] * factors[words[i]]) >> 16, 0), 255)


def draw(height: int, width: int, value: float, rng: np.random.Generator) -> Words:
    """A 16-bit word for each of the frame's bytes."""
    return random_words(height * width * 3, rng)


def apply(frame: Frame, value: float, drawn: Any) -> Frame:
    """Multiply each byte by 1 + n."""
    out = np.empty_like(frame)
    _multiply(frame.reshape(-1), _factors(value), drawn, out.reshape(-1))
    return out
