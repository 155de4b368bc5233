"""Gaussian blur, cut at four sigma, edges replicated; values truncated.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C, extra corruptions); our spec, `corruptions.md` section 6. The table gives sigma in pixels.
"""

from typing import Any

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._fields import smooth
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "Gaussian blur",
    family="blur",
    unit="standard deviation in pixels",
    severities={"default": (1, 2, 3, 4, 6)},
    source="ImageNet-C, arXiv 1903.12261",
)


def blurred(frame: Frame, sigma: float) -> Frame:
    """A frame (H, W, 3), blurred and truncated to bytes."""
    # a flat area's weighted sum may fall just short of its value, and truncation would take a whole level
    return (smooth(frame, sigma) + np.float32(1e-3)).astype(np.uint8)


def apply(frame: Frame, value: float, drawn: Any) -> Frame:
    """Blur with a standard deviation of `value` pixels."""
    return blurred(frame, value)
