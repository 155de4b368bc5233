"""Frosted glass: a blur, pixels overwritten by near ones, and the blur again.

From the lower right to the upper left, each pixel farther than d from the border takes the value of the one at an offset
drawn from {-d..d-1} in each direction; the whole scan is repeated. Papers and our spec say that the two change places; in the
reference the second one keeps its value (it overwrites a view of the array before reading it), and only that meets the
reference's statistics. We do as the reference does.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C); our spec, `corruptions.md` section 6. The table gives (sigma of the blur in pixels, d in pixels, scans). It is
not monotone: severity 3 is farther from the clean frame than severity 4, and 2 can be nearer than 1.
"""

from typing import Any

import numpy as np

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, Words, compiled, random_words
from earshot.corruptions.gaussian_blur import blurred

SPEC = Corruption(
    "Glass blur",
    family="blur",
    unit="(blur in pixels, reach in pixels, scans)",
    severities={"default": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))},
    source="ImageNet-C, arXiv 1903.12261",
    randomness="noise",
)


@compiled
def _scramble(frame, reach, words):  # type: ignore[no-untyped-def]
    height, width = frame.shape[:2]
    side = 2 * reach
    for scan in range(len(words)):
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                offset = (np.int64(words[scan, y, x]) * side * side) >> 16
                other_y, other_x = y + offset // side - reach, x + offset % side - reach
                for c in range(3):
                    frame[y, x, c] = frame[other_y, other_x, c]


def draw(height: int, width: int, value: tuple[float, int, int], rng: np.random.Generator) -> Words:
    """A 16-bit word for each pixel and scan: (scans, H, W)."""
    return random_words(value[2] * height * width, rng).reshape(value[2], height, width)


def apply(frame: Frame, value: tuple[float, int, int], drawn: Any) -> Frame:
    """Blur, scramble and blur a frame."""
    sigma, reach, _ = value
    scrambled = blurred(frame, sigma)
    _scramble(scrambled, reach, drawn)
    return blurred(scrambled, sigma)
