"""Brightness: the value of HSV raised by c and clipped; hue and saturation kept.

With M the largest of a pixel's three bytes, the new ones are floor(I min(M + 255 c, 255) / M); black becomes grey.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C); also in Mini Kinetics-C (arXiv 2110.06513); our spec, `corruptions.md` section 6. The table gives c as a share of
the full range.
"""

from functools import cache
from typing import Any

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, compiled

SPEC = Corruption(
    "Brightness",
    family="photometric",
    unit="added to the value of HSV, as a share of the full range",
    severities={"default": (0.1, 0.2, 0.3, 0.4, 0.5)},
    source="ImageNet-C, arXiv 1903.12261",
)


@cache
def _table(c: float) -> Frame:
    """The new byte for each largest byte of a pixel (rows) and byte (columns)."""
    largest, byte = np.arange(256)[:, None], np.arange(256)
    raised = np.minimum(1000 * largest + round(255_000 * c), 255_000)
    table = raised * byte // np.maximum(1000 * largest, 1)
    table[0] = raised[0] // 1000
    return np.minimum(table, 255).astype(np.uint8)  # a byte above the largest never occurs


@compiled
def _look_up(pixels, table, out):  # type: ignore[no-untyped-def]
    for i in range(len(pixels)):
        row = table[max(pixels[i, 0], pixels[i, 1], pixels[i, 2])]
        for c in range(3):
            out[i, c] = row[pixels[i, c]]


def apply(frame: Frame, value: float, drawn: Any) -> Frame:
    """Raise the value of each pixel by `value`."""
    out = np.empty_like(frame)
    _look_up(frame.reshape(-1, 3), _table(value), out.reshape(-1, 3))
    return out
