"""Impulse noise: with probability p a subpixel is replaced, by 255 or by 0 at even odds.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3; our spec, `corruptions.md` sections 1, 2.3 and 9 (the
reference's draws cannot be repeated bit for bit, only in law). p is a share of the subpixels; channels are independent. One
16-bit word decides both.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, Words, fixed, noise_words, replaced

SPEC = Corruption(
    "Impulse noise",
    family="noise",
    unit="share of the subpixels",
    severities={"default": (0.03, 0.06, 0.09, 0.17, 0.27)},
    source="ImageNet-C, arXiv 1903.12261",
    randomness="noise",
)
draw = noise_words


def apply(frame: Frame, value: float, drawn: Words) -> Frame:
    """Replace a share `value` of the subpixels."""
    out = np.empty_like(frame)
    half = round(32768 * value)
    replaced(fixed(frame).ravel(), drawn, half, 255, 2 * half, 0, out.ravel())
    return out
