"""Salt noise: each subpixel becomes 255 with probability p, independently of the others and of the other channels.

Source: our spec, `corruptions.md` sections 1 and 2.2. ImageNet-C has salt and pepper together only; its amounts are the default
(an inference, the table of UCF101-C is not published), 10 % a severity is the preset `ame`. p is a share of the subpixels.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, Words, fixed, noise_words, replaced

SPEC = Corruption(
    "Salt noise",
    family="noise",
    unit="share of the subpixels",
    severities={"default": (0.03, 0.06, 0.09, 0.17, 0.27), "ame": (0.1, 0.2, 0.3, 0.4, 0.5)},
    source="amounts of ImageNet-C, arXiv 1903.12261",
    randomness="noise",
)
draw = noise_words


def apply(frame: Frame, value: float, drawn: Words) -> Frame:
    """Turn a share `value` of the subpixels white."""
    out = np.empty_like(frame)
    replaced(fixed(frame).ravel(), drawn, round(65536 * value), 255, 0, 0, out.ravel())
    return out
