"""Frost: clip(a I + b F), F a sheet of ice with needles.

The reference cuts F from photographs of frost, which must not be passed on. Ours is procedural: random values on a lattice,
interpolated and folded into ridges, (1 - |n|)^4 with n in -1..1, stretched into needles along three directions 60 degrees
apart, at four scales; the strongest direction counts at each pixel. A random piece of one fixed sheet is taken, mirrored or
not, made thicker and thinner by a random plasma, and given the tint of ice. **So results are not comparable to published
numbers for frost**; only the mean brightness and tint (about 144, 165, 177) are set to what the reference's statistics imply.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
(ImageNet-C), for the sum and its table; texture our own; our spec, `corruptions.md` section 6. The table gives (a, b), shares
of the frame and of the ice. Distance from the clean frame need not grow with severity.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._fields import Field, plasma, uniform_field
from earshot.corruptions._kernels import Frame, compiled, random_words
from earshot.randomness import numpy_generator

SPEC = Corruption(
    "Frost (procedural)",
    family="weather",
    unit="(share of the frame, share of the ice)",
    severities={"default": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))},
    source="ImageNet-C, arXiv 1903.12261; procedural ice in place of photographs",
    randomness="layer",
)

_DARK, _LIGHT = (76, 106, 124), (244, 252, 255)  # clear and white ice
_SIDE = 1024  # of the sheet in pixels, if the frame is no larger
_LATTICE = 256  # points along each side of the lattice, which repeats
_WIDTH, _LENGTH, _SCALES = 3.0, 20.0, 4  # the finest needles in pixels; each coarser scale doubles them


@compiled
def _ridge(lattice, along, across):  # type: ignore[no-untyped-def]
    column, row = np.int32(along), np.int32(across)
    a, b = along - np.float32(column), across - np.float32(row)
    last = len(lattice) - 1
    x, y, right, below = column & last, row & last, (column + 1) & last, (row + 1) & last
    above = lattice[y, x] + (lattice[y, right] - lattice[y, x]) * a
    under = lattice[below, x] + (lattice[below, right] - lattice[below, x]) * a
    fold = np.float32(1) - abs(above + (under - above) * b)
    return fold * fold * fold * fold


@compiled
def _needles(lattice, steps, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            strongest = np.float32(0)
            for direction in range(3):
                total, weight = np.float32(0), np.float32(0.5)
                for k in range(steps.shape[1]):
                    step = steps[direction, k]
                    along = step[0] * np.float32(x) + step[1] * np.float32(y) + step[4]
                    across = step[2] * np.float32(x) + step[3] * np.float32(y) + step[4]
                    total += weight * _ridge(lattice, along, across)
                    weight *= np.float32(0.75)
                strongest = max(strongest, total)
            out[y, x] = strongest


@cache
def _steps() -> Field:
    """By direction and scale: what a pixel along x and y adds to a place on the lattice, along and across; its start."""
    root = float(np.sqrt(0.75))
    steps = np.empty((3, _SCALES, 5), np.float32)
    for turn, (c, s) in enumerate(((1.0, 0.0), (0.5, root), (0.5, -root))):
        for scale in range(_SCALES):
            length, width = _LENGTH * 2**scale, _WIDTH * 2**scale
            # places stay positive for ten thousand pixels: cutting them to whole numbers then is the floor
            steps[turn, scale] = c / length, s / length, -s / width, c / width, 4096 + 17 * turn + 5 * scale
    return steps


@cache
def _sheet(side: int) -> Field:
    """The needles of a square sheet of ice, always the same one, as the reference's photographs are."""
    needles = np.empty((side, side), np.float32)
    _needles(uniform_field(_LATTICE, _LATTICE, numpy_generator("frost")), _steps(), needles)
    return needles


def _ice(height: int, width: int, rng: np.random.Generator) -> Field:
    """How white the ice is, 0..1: (H, W)."""
    side = max(_SIDE, height, width)
    top, left, mirror = (int(word) for word in random_words(3, rng))
    top, left = top * (side - height + 1) >> 16, left * (side - width + 1) >> 16
    needles = _sheet(side)[top : top + height, left : left + width][:, :: 1 if mirror & 1 else -1]
    return np.minimum(needles * (np.float32(0.15) + plasma(height, width, 0.5, rng)), 1)


def draw(height: int, width: int, value: tuple[float, float], rng: np.random.Generator) -> NDArray[np.int32]:
    """The ice that is added, in thousandths of a level: (H, W, 3)."""
    dark, light = (np.array(colour, np.float32) for colour in (_DARK, _LIGHT))
    ice = dark + (light - dark) * _ice(height, width, rng)[..., None]
    return (np.float32(1000 * value[1]) * ice).astype(np.int32)


def apply(frame: Frame, value: tuple[float, float], drawn: Any) -> Frame:
    """Mix a frame with ice."""
    return np.minimum((np.int32(round(1000 * value[0])) * frame + drawn) // 1000, 255).astype(np.uint8)
