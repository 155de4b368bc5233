"""Low contrast: floor8((x - m) c + m), m the mean of each channel over the frame.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3; our spec, `corruptions.md` sections 1 and 2.9. The factor c
has no unit. A table for each frame and channel.
"""

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, channel_sums, fixed, looked_up, shrunk

SPEC = Corruption(
    "Low contrast",
    family="photometric",
    unit="factor",
    severities={"default": (0.4, 0.3, 0.2, 0.1, 0.05), "mini_kinetics_c": (0.5, 0.4, 0.3, 0.2, 0.1)},
    source="ImageNet-C, arXiv 1903.12261",
)
_LEVELS = np.tile(np.arange(256) / 255, (3, 1))


def apply(frame: Frame, value: float, drawn: None = None) -> Frame:
    """Shrink the contrast by the factor `value`."""
    still, out = fixed(frame), np.empty_like(frame)
    means = channel_sums(still) / (255 * frame.shape[0] * frame.shape[1])
    looked_up(still, shrunk(means, value, _LEVELS).astype(np.uint8), out)
    return out
