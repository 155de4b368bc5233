"""What the kernels of several corruptions share: compiled loops over the bytes of a frame, and raw random words.

Loops are compiled by Numba and kept in its cache, so that only the first run on a machine waits for the compiler.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Words = NDArray[np.uint16]

compiled: Any = njit(cache=True, nogil=True, boundscheck=False)


def random_words(count: int, rng: np.random.Generator) -> Words:
    """`count` uniform 16-bit words, from the raw output of the bit generator, which no release of NumPy may change."""
    return rng.bit_generator.random_raw(-(-count // 4)).view(np.uint16)[:count]


@compiled
def _squared_error(a: Frame, b: Frame) -> Any:
    total = np.int64(0)
    for y in range(len(a)):
        first, second, row = a[y], b[y], np.uint32(0)  # a row of up to 66,000 squares fits
        for x in range(len(first)):
            difference = np.int32(first[x]) - np.int32(second[x])
            row = np.uint32(row + np.uint32(difference * difference))
        total += row
    return total


def fixed(frame: Frame) -> Frame:
    """A read-only view. Numba compiles for each kind of array, so every kernel is given frames of one kind."""
    view = frame.view()
    view.flags.writeable = False
    return view


def squared_error(a: Frame, b: Frame) -> int:
    """Sum over all bytes of two frames or blocks of equal shape of the squared difference."""
    rows = (fixed(np.ascontiguousarray(x).reshape(-1, x.shape[-2] * x.shape[-1])) for x in (a, b))
    return int(_squared_error(*rows))


def noise_words(height: int, width: int, value: object, rng: np.random.Generator) -> Words:
    """The `draw` of the noises: one word for each subpixel, whatever the severity."""
    return random_words(3 * height * width, rng)


@compiled
def replaced(pixels: Frame, words: Words, below: int, first: int, within: int, second: int, out: Frame) -> None:
    """Subpixels whose word is less than `below` become `first`, else those less than `within` become `second`."""
    low, high, one, two = np.uint16(below), np.uint16(within), np.uint8(first), np.uint8(second)
    for i in range(len(pixels)):
        kept = two if words[i] < high else pixels[i]
        out[i] = one if words[i] < low else kept


@compiled
def channel_sums(frame: Frame) -> NDArray[np.int64]:
    """Sums of the three channels, exact."""
    height, width, _ = frame.shape
    columns, sums = np.zeros(3 * width, np.uint32), np.zeros(3, np.int64)
    for y in range(height):
        row = frame[y].ravel()
        for x in range(3 * width):
            columns[x] += row[x]
    for x in range(width):
        for c in range(3):
            sums[c] += columns[3 * x + c]
    return sums


@compiled
def looked_up(frame: Frame, tables: Frame, out: Frame) -> None:
    """Each channel through its table of `tables` (3, 256)."""
    height, width, _ = frame.shape
    for y in range(height):
        for x in range(width):
            out[y, x, 0] = tables[0, frame[y, x, 0]]
            out[y, x, 1] = tables[1, frame[y, x, 1]]
            out[y, x, 2] = tables[2, frame[y, x, 2]]


def shrunk(means: NDArray[np.float64], factor: float, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The contrast of `levels` (3, N), shares of the full range, shrunk by a factor towards the channels' means; in 0..255."""
    return np.clip((levels - means[:, None]) * factor + means[:, None], 0, 1) * 255
