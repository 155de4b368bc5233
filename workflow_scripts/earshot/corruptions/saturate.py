"""Saturation: that of HSV becomes a S + b, clipped; hue and value kept. Grey counts as a red of no saturation.

With M and m a pixel's largest and smallest bytes and S' the new saturation, the new bytes are
floor(M (1 - S' (M - I) / (M - m))).

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C, extra corruptions); also in Mini Kinetics-C (arXiv 2110.06513); our spec, `corruptions.md` section 6. The table
gives (a, b), without unit. It first takes colour away and then adds it, so severity 3 can be nearer to the clean frame than 2.
"""

from typing import Any

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, compiled

SPEC = Corruption(
    "Saturation",
    family="photometric",
    unit="(factor, offset) of the saturation of HSV",
    severities={"default": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))},
    source="ImageNet-C, arXiv 1903.12261",
)


@compiled
def _saturate(pixels, factor, offset, out):  # type: ignore[no-untyped-def]
    for i in range(len(pixels)):
        largest = np.int32(max(pixels[i, 0], pixels[i, 1], pixels[i, 2]))
        spread = largest - min(pixels[i, 0], pixels[i, 1], pixels[i, 2])
        wanted = min(factor * spread + offset * largest, 1000 * largest)  # 1000 M S'
        if spread:
            for c in range(3):
                out[i, c] = largest + (-wanted * (largest - pixels[i, c])) // (1000 * spread)
        else:
            out[i, 0] = largest
            out[i, 1] = out[i, 2] = largest + -wanted // 1000


def apply(frame: Frame, value: tuple[float, float], drawn: Any) -> Frame:
    """Change the saturation of each pixel to `value[0]` S + `value[1]`."""
    out = np.empty_like(frame)
    factor, offset = (np.int32(round(1000 * part)) for part in value)
    _saturate(frame.reshape(-1, 3), factor, offset, out.reshape(-1, 3))
    return out
