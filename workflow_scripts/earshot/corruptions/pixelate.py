"""Pixelation: a box-filtered reduction to int(c W) x int(c H) pixels, enlarged again by repetition.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C); our spec, `corruptions.md` section 6. The table gives c, a share of the width and height. Resizing is Pillow's, as
in the reference; its arithmetic is in integers.
"""

from typing import Any

import numpy as np
from PIL import Image

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame

SPEC = Corruption(
    "Pixelation",
    family="digital",
    unit="share of the width and height that is kept",
    severities={"default": (0.6, 0.5, 0.4, 0.3, 0.25)},
    source="ImageNet-C, arXiv 1903.12261",
)


def apply(frame: Frame, value: float, drawn: Any) -> Frame:
    """Reduce and enlarge a frame."""
    height, width = frame.shape[:2]
    small = Image.fromarray(frame).resize((max(1, int(width * value)), max(1, int(height * value))), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.NEAREST))
