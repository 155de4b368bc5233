"""Motion blur, along a line in each frame or along time.

Default, along a line: weights exp(-i^2 / (2 sigma^2)), i = 0..2R, summing to 1, on the frame shifted by i pixels at an
angle of -45 to 45 degrees, edges repeated. Preset `ame`, along time: the truncated mean of the frames i - c to i + c - 1,
numbers clamped to the clip, so that it keeps its length (the reference drops c frames at each end).

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3; Yi et al., NeurIPS 2021 (Mini Kinetics-C) along time; our
spec, `corruptions.md` sections 1 and 2.8. R and sigma in pixels, c in frames. In frames of fewer than 2R + 1 rows or columns R
is clamped.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, fixed

SPEC = Corruption(
    "Motion blur",
    family="blur",
    unit="radius and standard deviation in pixels; ame: frames",
    severities={"default": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), "ame": (3, 5, 7, 9, 11)},
    source="ImageNet-C, arXiv 1903.12261; Mini Kinetics-C, arXiv 2110.06513",
    randomness="layer",
)
Value = tuple[int, float] | int
_TAPS = 8  # added in one pass over a row, so that the sums are loaded less often
_ONE = 65536  # the weights' sum; times 255 it is less than 2^24, so float32 sums are exact

# additions fused with multiplications change nothing, as all sums are exact
exact: Any = njit(cache=True, nogil=True, boundscheck=False, fastmath={"contract"})


def sources(number: int, count: int, fps: float, value: Value) -> list[int] | None:
    """Numbers of the frames that are averaged for frame `number` of `count`; None for the blur along a line."""
    if not isinstance(value, int):
        return None
    return [min(max(i, 0), count - 1) for i in range(number - value, number + value)]


def combine(frames: Sequence[Frame], value: Value) -> Frame:
    """The truncated mean."""
    total = np.zeros(frames[0].shape, np.uint16)
    for frame in frames:
        total += frame
    return (total // len(frames)).astype(np.uint8)


def draw(height: int, width: int, value: Value, rng: np.random.Generator) -> float | None:
    """An angle of -45 to 45 degrees."""
    if isinstance(value, int):
        return None
    return int(rng.bit_generator.random_raw() >> 11) * 90 / 2**53 - 45


def weights(radius: int, sigma: float) -> NDArray[np.float64]:
    """Weights along the line."""
    bell = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    return bell / bell.sum()


@cache
def _shares(radius: int, sigma: float) -> NDArray[np.int64]:
    """The weights in whole parts, by largest remainder."""
    exact = weights(radius, sigma) * _ONE
    shares = np.floor(exact).astype(np.int64)
    shares[np.argsort(shares - exact, kind="stable")[: _ONE - shares.sum()]] += 1
    return shares


def _line(angle: float, shares: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and columns to look down and right, and weights; taps on one pixel added up, filled up to whole passes."""
    slope = np.array([[math.sin(math.radians(angle))], [math.cos(math.radians(angle))]])
    places = np.ceil(np.arange(len(shares)) * slope - 0.5).astype(np.int64)
    changed = (places[:, 1:] != places[:, :-1]).any(0)
    first = np.append(0, np.flatnonzero(changed) + 1)
    line, taps = np.zeros((2, len(first) + -len(first) % _TAPS), np.int64), np.add.reduceat(shares, first).astype(np.float32)
    line[:, : len(first)] = places[:, first]
    return line, np.append(taps, np.zeros(-len(first) % _TAPS, np.float32))


@exact
def _widened(frame: Frame, begin: int, end: int, held: Any) -> None:
    """Rows of the frame, their last columns repeated."""
    for y in range(begin, end):
        row, line = frame[y].ravel(), held[y & (len(held) - 1)]
        for x in range(len(row)):
            line[x] = row[x]
        for x in range(len(row), len(line)):
            line[x] = line[x - 3]


@exact
def _blur(frame: Frame, held: Any, down: Any, right: Any, taps: Any, out: Frame) -> None:
    height, width, _ = out.shape
    size, last = 3 * width, height - 1
    sums, mask, reach = np.empty(size, np.float32), len(held) - 1, max(down) + 1
    _widened(frame, 0, min(reach - 1, height), held)
    for y in range(height):
        _widened(frame, min(y + reach - 1, height), min(y + reach, height), held)
        sums[:] = 0
        for t in range(0, len(taps), _TAPS):
            a = held[min(max(y + down[t], 0), last) & mask, 3 * right[t] :]
            b = held[min(max(y + down[t + 1], 0), last) & mask, 3 * right[t + 1] :]
            c = held[min(max(y + down[t + 2], 0), last) & mask, 3 * right[t + 2] :]
            d = held[min(max(y + down[t + 3], 0), last) & mask, 3 * right[t + 3] :]
            e = held[min(max(y + down[t + 4], 0), last) & mask, 3 * right[t + 4] :]
            f = held[min(max(y + down[t + 5], 0), last) & mask, 3 * right[t + 5] :]
            g = held[min(max(y + down[t + 6], 0), last) & mask, 3 * right[t + 6] :]
            h = held[min(max(y + down[t + 7], 0), last) & mask, 3 * right[t + 7] :]
            wa, wb, wc, wd = taps[t], taps[t + 1], taps[t + 2], taps[t + 3]
            we, wf, wg, wh = taps[t + 4], taps[t + 5], taps[t + 6], taps[t + 7]
            for x in range(size):
                near = wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x]
                sums[x] += near + (we * e[x] + wf * f[x] + wg * g[x] + wh * h[x])
        row = out[y].ravel()
        for x in range(size):
            row[x] = np.int32(sums[x]) >> 16


def apply(frame: Frame, value: Value, drawn: float | None = None) -> Frame:
    """Blur along a line at the angle `drawn`, in degrees; along time, a frame on its own stays as it is."""
    if isinstance(value, int):
        return frame
    height, width, _ = frame.shape
    (down, right), taps = _line(drawn or 0.0, _shares(min(value[0], (min(height, width) - 1) // 2), value[1]))
    held = np.empty((1 << int(np.ptp(down)).bit_length(), 3 * (width + right.max())), np.float32)
    out = np.empty_like(frame)
    _blur(fixed(frame), held, down, right, taps, out)
    return out


def limit(value: Value) -> int:
    """Rows and columns that a frame must have at least for its radius."""
    return 0 if isinstance(value, int) else 2 * value[0] + 1
