"""Defocus blur: correlation with a disc, its rim smoothed.

The disc of radius R is 1 where i^2 + j^2 <= R^2 on a grid of -8..8, or -R..R if R is larger; divided by its sum, then smoothed
by a Gaussian of standard deviation a on a support of 3 x 3, or 5 x 5 for the larger grid, the grid's border reflected. (So the
kernel of radius 8 sums to 1.013, as in the reference.) Frames are reflected about their first and last rows and columns.

Source: Hendrycks and Dietterich, ICLR 2019 (ImageNet-C), section 3; our spec, `corruptions.md` sections 1 and 2.6. R and a in
pixels. In frames of R or fewer rows or columns R is clamped.

The sum over the disc is that of the row above, plus the rim that enters and less the rim that leaves; it is then smoothed down
and along the row. From radius 7 on the reflection at the grid's border adds runs of pixels at the four tips of the disc. That
these too are smoothed is left out; it would move less than a 1000th of the kernel by one pixel. All weights are whole numbers.
"""

from functools import cache
from math import isqrt
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, fixed

SPEC = Corruption(
    "Defocus blur",
    family="blur",
    unit="radius and smoothing in pixels",
    severities={"default": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))},
    source="ImageNet-C, arXiv 1903.12261",
)
Value = tuple[int, float]
_ALONG, _DOWN = 28, 14  # bits of the weights along rows and columns; with 9 of the levels 51, so sums are exact in float64
_LEVEL = 2.0 ** -(_ALONG + _DOWN)
_TIE = 2.0 ** (_ALONG + _DOWN) // 1000  # so that an area of one colour does not lose a level to the rounding of the weights
_STRIP = 960  # subpixels of a row done at once, for the rows under the disc to stay in the processor's cache

# additions fused with multiplications change nothing, as all sums are exact
exact: Any = njit(cache=True, nogil=True, boundscheck=False, fastmath={"contract"})


def _bell(smoothing: float, support: int) -> NDArray[np.float64]:
    """Weights of the smoothing."""
    bell = np.exp(-0.5 * (np.arange(-support, support + 1) / smoothing) ** 2)
    return bell / bell.sum()


def kernel(radius: int, smoothing: float) -> NDArray[np.float64]:
    """The two-dimensional kernel."""
    reach, support = (8, 1) if radius <= 8 else (radius, 2)
    i = np.arange(-reach, reach + 1)
    disc = (i[:, None] ** 2 + i**2 <= radius**2).astype(float)
    area = disc.sum()
    for axis in (0, 1):
        padded = np.pad(disc, [(support, support) if a == axis else (0, 0) for a in (0, 1)], "reflect")
        disc = sum(w * np.take(padded, range(k, k + len(i)), axis) for k, w in enumerate(_bell(smoothing, support)))
    return disc / area


def _parts(bell: NDArray[np.float64], one: float) -> NDArray[np.float64]:
    """The smoothing's weights in whole parts, from the middle to two pixels off; the middle takes what rounding leaves over."""
    parts = np.rint(np.append(bell[len(bell) // 2 :] * one, 0)[:3])
    parts[0] = round(one) - 2 * parts[1:].sum()
    return parts


@cache
def _disc(value: Value) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """What enters and leaves by column from the middle, in rows down; parts along rows, over the disc's area too, and down."""
    radius, smoothing = value
    heights = np.array([isqrt(radius**2 - i**2) for i in range(radius + 1)])
    area, bell = 2 * (2 * heights + 1).sum() - 2 * radius - 1, _bell(smoothing, 1 if radius <= 8 else 2)
    rim = np.pad([heights, -1 - heights], ((0, 0), (0, radius % 2)))  # columns but the middle are done in twos
    return rim, _parts(bell, 2**_ALONG / area), _parts(bell, 2**_DOWN)


@cache
def _tips(value: Value) -> tuple[tuple[int, int, int], float]:
    """How far off the runs are (0: none), half their length, and whether a pixel beyond each is taken away; their weight."""
    radius, heights = value[0], _disc(value)[0][0]
    if radius < 7:
        return (0, 0, 0), 0.0
    reach, cut = max(radius, 8), int(radius > 7)
    run = int(heights[reach - 1])
    return (reach, run, cut), float(round((kernel(*value).sum() - 1) / (4 * (2 * run + 1 - cut)) * 2 ** (_ALONG + _DOWN)))


@exact
def _widened(frame: Frame, columns: Any, margin: int, out: Any) -> None:
    """The frame and, in `margin` columns on each side, those of its columns that `columns` says."""
    height, width, _ = frame.shape
    for y in range(height):
        row, line, inside = frame[y].ravel(), out[y], out[y, 3 * margin :]
        for x in range(len(row)):
            inside[x] = row[x]
        for x in range(margin):
            for c in range(3):
                line[3 * x + c] = row[3 * columns[x] + c]
                inside[3 * (width + x) + c] = row[3 * columns[margin + width + x] + c]


@exact
def _grown(wide: Any, rows: Any, y: int, left: int, rim: Any, change: Any, sums: Any, place: int) -> None:
    """The sums over the disc, from those of the row above."""
    size = len(change)
    a, b = wide[rows[y + rim[0, 0]], left:], wide[rows[y + rim[1, 0]], left:]
    for x in range(size):
        change[x] = a[x] - b[x]
    for i in range(1, rim.shape[1], 2):
        above, below, near, far = rows[y + rim[0, i]], rows[y + rim[1, i]], left - 3 * i, left + 3 * i
        a, b, c, d = wide[above, near:], wide[above, far:], wide[below, near:], wide[below, far:]
        above, below, near, far = rows[y + rim[0, i + 1]], rows[y + rim[1, i + 1]], near - 3, far + 3
        e, f, g, h = wide[above, near:], wide[above, far:], wide[below, near:], wide[below, far:]
        for x in range(size):
            change[x] += ((a[x] + b[x]) - (c[x] + d[x])) + ((e[x] + f[x]) - (g[x] + h[x]))
    before, total = sums[(place - 1) % 5], sums[place % 5]
    for x in range(size):
        total[x] = before[x] + change[x]


@exact
def _smoothed(lines: Any, y: int, parts: Any, out: Any) -> None:
    """Line y of the last five, smoothed downwards."""
    p, q, r, s, t = lines[(y - 2) % 5], lines[(y - 1) % 5], lines[y % 5], lines[(y + 1) % 5], lines[(y + 2) % 5]
    a, b, c = parts[0], parts[1], parts[2]
    for x in range(len(out)):
        out[x] = a * r[x] + b * np.int32(q[x] + s[x]) + c * np.int32(p[x] + t[x])


@exact
def _levels(sums: Any, parts: Any, tips: Any, part: float, line: Any, left: int, y: int, out: Frame) -> None:
    """Levels from sums, smoothed along the row, and of the tips."""
    a, b, c = parts[0], parts[1], parts[2]
    p, q, r, s, t, row = sums, sums[3:], sums[6:], sums[9:], sums[12:], out[y].ravel()[left:]
    for x in range(len(line)):
        total = a * r[x] + b * (q[x] + s[x]) + c * (p[x] + t[x]) + part * tips[x]
        line[x] = np.int32((total + _TIE) * _LEVEL)
    for x in range(len(line)):
        row[x] = min(line[x], np.int32(255))


@exact
def _runs(wide: Any, left: int, run: Any, out: Any) -> None:
    """Sums over runs along rows."""
    for y in range(len(out)):
        total, middle = out[y], wide[y, left:]
        for x in range(len(total)):
            total[x] = middle[x]
        for i in range(1, run[1] + 1):
            before, after = wide[y, left - 3 * i :], wide[y, left + 3 * i :]
            for x in range(len(total)):
                total[x] += before[x] + after[x]


@exact
def _ends(wide: Any, rows: Any, y: int, left: int, run: Any, runs: Any, column: Any, out: Any) -> None:
    """The four runs at the tips; `column` has the sums over runs down, until now of the row above."""
    reach, half, cut = run
    near, far = left - 3 * reach, left + 3 * reach + 3
    a, b = wide[rows[y + half], near:], wide[rows[y - 1 - half], near:]
    for x in range(len(column)):
        column[x] += a[x] - b[x]
    a, b, c, d = column, column[6 * reach :], runs[rows[y - reach], 6:], runs[rows[y + reach], 6:]
    e, f = wide[rows[y], near - 3 :], wide[rows[y], far:]
    g, h = wide[rows[y - reach - 1], left:], wide[rows[y + reach + 1], left:]
    for x in range(len(out)):
        out[x] = (a[x] + b[x]) + (c[x] + d[x]) - np.int16(cut) * ((e[x] + f[x]) + (g[x] + h[x]))


@exact
def _strip(wide: Any, rows: Any, radius: int, left: int, size: int, disc: Any, tips: Any, out: Frame) -> None:
    (rim, along, down), (run, part), height = disc, tips, len(out)
    start, first = left + 3 * radius, 3 * radius + 3  # where the first sum and the frame's first row are
    sums, change, smooth = np.zeros((5, size + 12), np.int32), np.empty(size + 12, np.int16), np.empty(size + 12)
    ends, column, line = np.zeros(size, np.int16), np.zeros(size + 6 * run[0], np.int16), np.empty(size, np.int32)
    runs = np.empty((height if run[0] else 0, size + 12), np.int16)
    _runs(wide, start, run, runs)
    for y in range(-2 * radius - 2, height + 2):
        _grown(wide, rows, first + y, start, rim, change, sums, y)
        if run[0]:
            _ends(wide, rows, first + y - 2, start + 6, run, runs, column, ends)
        if y >= 2:
            _smoothed(sums, y - 2, down, smooth)
            _levels(smooth, along, ends, part, line, left, y - 2, out)


@exact
def _blur(wide: Any, rows: Any, radius: int, disc: Any, tips: Any, out: Frame) -> None:
    size = 3 * out.shape[1]
    for left in range(0, size, _STRIP):
        _strip(wide, rows, radius, left, min(_STRIP, size - left), disc, tips, out)


def _reflected(size: int, reach: int) -> NDArray[np.int64]:
    """Numbers -reach to size - 1 + reach, folded back into 0 to size - 1 without repeating the ends."""
    period = max(1, 2 * (size - 1))
    folded = np.arange(-reach, size + reach) % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros(size + 2 * reach, np.int64)


def apply(frame: Frame, value: Value, drawn: None = None) -> Frame:
    """Blur with a disc."""
    height, width, _ = frame.shape
    clamped = (min(value[0], min(height, width) - 1), value[1])
    margin = clamped[0] + 2
    wide = np.zeros((height + 1, 3 * (width + 2 * margin)), np.int16)
    _widened(fixed(frame), _reflected(width, margin), margin, wide)
    # above the rows that are looked at are as many black ones as the disc has, so that the sums start at 0
    rows = np.append(np.full(2 * clamped[0] + 1, height), _reflected(height, margin))
    out = np.empty_like(frame)
    _blur(wide, rows, clamped[0], _disc(clamped), _tips(clamped), out)
    return out


def limit(value: Value) -> int:
    """Rows and columns that a frame must have at least for its radius."""
    return value[0] + 1
