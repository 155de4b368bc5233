"""Zoom blur: the mean of the frame and its copies zoomed by 1, 1 + d, 1 + 2 d, ...

A copy zoomed by z is the middle ceil(H / z) x ceil(W / z) of the frame, resized to that size times z, rounded, by bilinear
interpolation with the corners aligned, of which the top left H x W are kept. The factor 1 repeats the frame, which so counts
twice, as in the reference.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3, whose code takes square frames only; the rectangular form
and the factors, our spec, `corruptions.md` sections 1 and 2.5. A severity is (d, last factor less 1), in percent.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, compiled, fixed

SPEC = Corruption(
    "Zoom blur",
    family="blur",
    unit="step and largest enlargement in percent",
    severities={"default": ((1, 11), (1, 15), (2, 20), (2, 24), (3, 30))},
    source="ImageNet-C, arXiv 1903.12261",
)
Value = tuple[int, int]


_SPAN = 32  # subpixels done at once, over which a copy of 1.3 falls behind by three pixels, so that five taps hold all weights
_TAPS = 5
_LEFT = 3  # columns added on the left, where windows may begin
_STRIP = 4  # rows of the output done at once, for the weights to stay in the processor's cache
_HELD = 8  # resized rows that are kept of each copy: those of a strip
_COPIES = 3  # added up in one pass over a row
_LEVEL = 85  # parts of a level, so that the sum of three copies fits a uint16
_RUN = 320  # subpixels over which weights of rows are repeated, for their products to be single instructions


def _between(size: int, percent: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row (or column) of a copy: the first of the two of the frame it lies between, and how far, in parts of 65536.

    Shares are odd, so that no product of one with a level is whole (but of 0): between two equal levels, both products cut off,
    one part is lost exactly.
    """
    cropped = -(-100 * size // percent)
    resized = round(cropped * percent / 100)
    steps, whole = np.arange(size) * (cropped - 1), max(1, resized - 1)
    first = np.minimum(steps // whole, max(0, cropped - 2))
    share = 2 * np.minimum((steps - first * whole) * 32768 // whole, 32767) + 1
    return first + (size - cropped) // 2, share


def _windows(width: int, percent: int) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """For each span of subpixels where its window of the row starts, and the weights (taps, subpixels) in it."""
    first, share = (part.repeat(3) for part in _between(width, percent))
    lag = np.pad(first - np.arange(3 * width) // 3, (0, -3 * width % _SPAN), "edge")
    share = np.pad(share, (0, -3 * width % _SPAN))
    base = np.minimum.reduceat(lag, np.arange(0, len(lag), _SPAN))
    place, subpixel = lag - base.repeat(_SPAN), np.arange(len(lag))
    taps = np.zeros((_TAPS, len(lag)), np.uint16)
    taps[place, subpixel] = 65536 - share
    taps[place + 1, subpixel] = share
    return 3 * (base + _LEFT) + np.arange(0, len(lag), _SPAN), taps


@cache
def _copies(height: int, width: int, value: Value) -> tuple[NDArray[Any], ...]:
    """For all factors but 1: pairs of rows and their weights; where the rows of strips end; windows and their weights.

    The pairs are filled up to whole passes, with weights of 0.
    """
    step, last = value
    factors = range(100 + step, 101 + last, step)
    tops, down = map(np.stack, zip(*(_between(height, percent) for percent in factors), strict=True))
    starts, taps = map(np.stack, zip(*(_windows(width, percent) for percent in factors), strict=True))
    rest = ((0, -len(factors) % _COPIES), (0, 0), (0, 0))
    pairs = np.stack([tops, np.minimum(tops + 1, height - 1)], 1)
    strips = np.append(np.arange(_STRIP, height, _STRIP), height) - 1
    ends = np.concatenate([tops[:, :1], pairs[:, 1, strips] + 1], 1)
    shares = np.pad(np.stack([65536 - down, down], 1), rest).astype(np.uint16)
    return np.pad(pairs % _HELD, rest), shares, ends, starts.astype(np.uint64), taps


@cache
def _first(copies: int) -> NDArray[np.uint32]:
    """The frame and its copy of factor 1, in parts of a level, less one where an area of one colour must lose a level.

    The reference adds the frames in float32 and truncates, which does so for one level in four.
    """
    shares = (np.arange(256) / 255).astype(np.float32)
    total = np.zeros_like(shares)
    for _ in range(copies + 1):
        total += shares
    lower = ((shares + total) / np.float32(copies + 2) * np.float32(255)).astype(np.int32) < np.arange(256)
    return (2 * _LEVEL * np.arange(256) - lower + 2 * copies).astype(np.uint32)


@compiled
def _part(value: Any, share: Any) -> Any:
    """A product in parts of 65536, truncated; a single instruction."""
    return np.uint16(np.uint32(np.uint32(value) * np.uint32(share)) >> np.uint32(16))


@compiled
def _widened(frame: Frame, out: Any) -> None:
    """The frame in parts of a level, its first and last columns repeated."""
    height, width, _ = frame.shape
    first, stop = 3 * _LEFT, 3 * (_LEFT + width)
    for y in range(height):
        row, line, inside = frame[y].ravel(), out[y], out[y, first:stop]
        for x in range(stop - first):
            inside[x] = np.uint16(row[x]) * np.uint16(_LEVEL)
        for x in range(first):
            line[x] = inside[x % 3]
        for x in range(stop, len(line)):
            line[x] = line[x - 3]


@compiled
def _across(wide: Any, begin: int, end: int, starts: Any, taps: Any, lines: Any) -> None:
    """Rows of the frame, resized."""
    ta, tb, tc, td, te = taps[0], taps[1], taps[2], taps[3], taps[4]
    for y in range(begin, end):
        row, line = wide[y], lines[y % _HELD]
        for span in range(len(starts)):
            at, to = starts[span], np.uint64(_SPAN * span)
            for i in range(_SPAN):
                x, z = at + np.uint64(i), to + np.uint64(i)
                near = _part(row[x], ta[z]) + _part(row[x + np.uint64(3)], tb[z]) + _part(row[x + np.uint64(6)], tc[z])
                line[z] = near + _part(row[x + np.uint64(9)], td[z]) + _part(row[x + np.uint64(12)], te[z])


@compiled
def _repeated(shares: Any, k: int, y: int, out: Any) -> None:
    """Weights of the two rows of each of three copies."""
    a, b, c = shares[k, 0, y], shares[k + 1, 0, y], shares[k + 2, 0, y]
    d, e, f = shares[k, 1, y], shares[k + 1, 1, y], shares[k + 2, 1, y]
    for x in range(_RUN):
        out[x], out[x + _RUN], out[x + 2 * _RUN] = a, b, c
        out[x + 3 * _RUN], out[x + 4 * _RUN], out[x + 5 * _RUN] = d, e, f


@compiled
def _down(lines: Any, rows: Any, k: int, y: int, weights: Any, total: Any) -> None:
    """Adds a row of three copies, each between two."""
    line = weights[6 * _RUN :]
    for start in range(0, len(total), _RUN):
        a, d = lines[k, rows[k, 0, y]][start:], lines[k, rows[k, 1, y]][start:]
        b, e = lines[k + 1, rows[k + 1, 0, y]][start:], lines[k + 1, rows[k + 1, 1, y]][start:]
        c, f = lines[k + 2, rows[k + 2, 0, y]][start:], lines[k + 2, rows[k + 2, 1, y]][start:]
        part = total[start:]
        for x in range(_RUN):
            one = np.uint16(_part(a[x], weights[x]) + _part(d[x], weights[x + 3 * _RUN]))
            two = np.uint16(_part(b[x], weights[x + _RUN]) + _part(e[x], weights[x + 4 * _RUN]))
            line[x] = one + two + np.uint16(_part(c[x], weights[x + 2 * _RUN]) + _part(f[x], weights[x + 5 * _RUN]))
        for x in range(_RUN):
            part[x] += line[x]


@compiled
def _begin(frame: Frame, y: int, first: Any, total: Any) -> None:
    row = frame[y].ravel()
    for x in range(len(row)):
        total[x] = first[row[x]]


@compiled
def _finish(total: Any, scale: int, y: int, out: Frame) -> None:
    row = out[y].ravel()
    for x in range(len(row)):
        row[x] = np.int64(total[x]) * scale >> 40


@compiled
def _blur(frame: Frame, wide: Any, first: Any, rows: Any, shares: Any, ends: Any, starts: Any, taps: Any, out: Frame) -> None:
    height, width, _ = frame.shape
    size, copies = 3 * width, len(starts)
    lines = np.empty((len(rows), _HELD, size + -size % _RUN), np.uint16)
    total, weights = np.empty(size + -size % _RUN, np.uint32), np.empty(7 * _RUN, np.uint16)
    scale = (1 << 40) // (_LEVEL * (copies + 2)) + 1
    for y in range(height):
        if y % _STRIP == 0:
            for k in range(copies):
                _across(wide, ends[k, y // _STRIP], ends[k, y // _STRIP + 1], starts[k], taps[k], lines[k])
        _begin(frame, y, first, total)
        for k in range(0, len(rows), _COPIES):
            _repeated(shares, k, y, weights)
            _down(lines, rows, k, y, weights, total)
        _finish(total, scale, y, out)


def apply(frame: Frame, value: Value, drawn: None = None) -> Frame:
    """Average the zoomed copies."""
    height, width, _ = frame.shape
    still, out = fixed(frame), np.empty_like(frame)
    wide = np.empty((height, 3 * (_LEFT + width + _SPAN)), np.uint16)
    _widened(still, wide)
    copies = _copies(height, width, value)
    _blur(still, wide, _first(len(copies[3])), *copies, out)
    return out
