"""Contrast: floor8((x - m) c + m), m the mean of each channel over the frame.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C); our spec, `corruptions.md` section 2.9. The factor c has no unit.
Deterministic: a look-up table for each frame and channel.
"""

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption

SPEC = Corruption(
    "Low contrast",
    family="photometric",
    unit="factor",
    severities={"ucf101c": (0.4, 0.3, 0.2, 0.1, 0.05)},
    source="ImageNet-C, arXiv 1903.12261",
)


def apply(frames: NDArray[np.uint8], value: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink the contrast of frames (T, H, W, 3) by the factor `value`."""
    levels = np.arange(256) / 255
    means = (frames / 255).mean((1, 2))  # (T, 3)
    tables = (np.clip((levels - means[..., None]) * value + means[..., None], 0, 1) * 255).astype(np.uint8)  # (T, 3, 256)
    frame_numbers = np.arange(len(frames))[:, None, None, None]
    return tables[frame_numbers, np.arange(3), frames]
