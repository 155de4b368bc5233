"""What layers and blurs of several corruptions share: random fields from raw words, weighted sums, diamond-square plasma.

Arithmetic is in single precision with a fixed order of operations, and what comes from a mathematical library is rounded to a
coarse grid first, so that equal seeds give equal layers on any machine.
"""

from functools import cache
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from earshot.corruptions._kernels import Words, compiled, random_words

Field = NDArray[np.float32]

_GRID = 2.0**24  # libraries' exp and quantiles may differ in the last bits: keep no more than these


@cache
def normal_quantiles() -> NDArray[np.float64]:
    """The standard normal quantile in the middle of each of 65536 equally likely cells, in order."""
    return np.rint(ndtri((np.arange(65536) + 0.5) / 65536) * _GRID) / _GRID


def gaussian_field(height: int, width: int, mean: float, sd: float, rng: np.random.Generator) -> Field:
    """Independent normal values (H, W)."""
    words = random_words(height * width, rng).reshape(height, width)
    return (mean + sd * normal_quantiles()).astype(np.float32)[words]


def uniform_field(height: int, width: int, rng: np.random.Generator) -> Field:
    """Independent values (H, W), uniform in (-1, 1)."""
    words = random_words(height * width, rng).reshape(height, width)
    return (words.astype(np.float32) - np.float32(32767.5)) / np.float32(32768)


def uniform(low: float, high: float, rng: np.random.Generator) -> float:
    """One value, uniform in (low, high)."""
    return low + (high - low) * (int(random_words(1, rng)[0]) + 0.5) / 65536


@compiled
def _weighted_sum(padded, weights, rows, columns, out):  # type: ignore[no-untyped-def]
    for y in range(out.shape[0]):
        line = out[y]
        line[:] = 0
        for k in range(len(weights)):
            weight = weights[k]
            source = padded[y + rows[k], columns[k] : columns[k] + len(line)]
            for x in range(len(line)):
                line[x] += weight * source[x]


def weighted_sum(padded: Field, weights: Field, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Field:
    """The sum of `weights[k]` times `padded` seen from row `rows[k]`, column `columns[k]`; as large as fits."""
    out = np.empty((padded.shape[0] - rows.max(), padded.shape[1] - columns.max()), np.float32)
    _weighted_sum(np.ascontiguousarray(padded), weights, rows, columns, out)
    return out


def gaussian_weights(distances: NDArray[np.int64], sigma: float) -> Field:
    """Weights of the normal law at whole `distances`, of sum 1."""
    weights = np.exp(-0.5 * (distances / sigma) ** 2)
    return (np.rint(weights / weights.sum() * _GRID) / _GRID).astype(np.float32)


def smooth(field: NDArray, sigma: float | tuple[float, float], truncate: float = 4.0, border: str = "edge") -> Field:
    """Gaussian blur of (H, W) or (H, W, C), `sigma` in pixels along rows and columns, cut at `truncate` sigma.

    `border` is a mode of `numpy.pad`.
    """
    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    height, width = field.shape[:2]
    channels = field.size // (height * width)
    flat = np.asarray(field, np.float32).reshape(height, width * channels)
    radius = int(truncate * down + 0.5)
    taps = np.arange(2 * radius + 1)
    flat = np.pad(flat, ((radius, radius), (0, 0)), border)  # type: ignore[call-overload]
    flat = weighted_sum(flat, gaussian_weights(taps - radius, down), taps, 0 * taps)
    radius = int(truncate * across + 0.5)
    taps = np.arange(2 * radius + 1)
    cube = np.pad(flat.reshape(height, width, channels), ((0, 0), (radius, radius), (0, 0)), border)  # type: ignore[call-overload]
    flat = cube.reshape(height, -1)
    return weighted_sum(flat, gaussian_weights(taps - radius, across), 0 * taps, channels * taps).reshape(field.shape)


def streak(field: Field, radius: int, sigma: float, angle: float) -> Field:
    """Directional blur of (H, W): a one-sided Gaussian line of 2 `radius` + 1 taps at `angle` radians, edges replicated."""
    taps = np.arange(2 * radius + 1)
    reach = 2 * radius + 1
    rows = reach + np.ceil(taps * np.sin(angle) - 0.5).astype(np.int64)
    columns = reach + np.ceil(taps * np.cos(angle) - 0.5).astype(np.int64)
    padded = np.pad(field, reach, "edge")
    height, width = field.shape
    out = weighted_sum(padded, gaussian_weights(taps, sigma), rows, columns)
    return out[:height, :width]


def enlarged(field: Field, factor: float) -> Field:
    """The middle of (H, W), magnified to (H, W): bilinear, corners on corners."""
    for _ in range(2):
        size = field.shape[0]
        kept = ceil(size / factor)
        made = max(round(kept * factor), size)
        at = np.arange(size) * ((kept - 1) / max(made - 1, 1)) + (size - kept) // 2
        low = at.astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        share = (at - low).astype(np.float32)[:, None]
        field = (field[low] * (1 - share) + field[high] * share).T
    return field


@compiled
def _diamond_square(words, decay, field):  # type: ignore[no-untyped-def]
    size = len(field)
    last = size - 1  # the field is a torus, and size a power of two
    step, reach, drawn = size, np.float32(1), 0
    field[0, 0] = 0
    while step > 1:
        half = step // 2
        for y in range(0, size, step):
            for x in range(0, size, step):
                right, below = (x + step) & last, (y + step) & last
                mean = (field[y, x] + field[y, right] + field[below, x] + field[below, right]) * np.float32(0.25)
                field[y + half, x + half] = mean + reach * (np.float32(words[drawn]) - np.float32(32767.5))
                drawn += 1
        for y in range(0, size, half):
            for x in range(half if y % step == 0 else 0, size, step):
                left, right, above, below = (x - half) & last, (x + half) & last, (y - half) & last, (y + half) & last
                mean = (field[y, left] + field[y, right] + field[above, x] + field[below, x]) * np.float32(0.25)
                field[y, x] = mean + reach * (np.float32(words[drawn]) - np.float32(32767.5))
                drawn += 1
        step = half
        reach *= decay


def plasma(height: int, width: int, decay: float, rng: np.random.Generator) -> Field:
    """Diamond-square plasma in 0..1, cut from a square with a side of the next power of two.

    Each level's steps are `decay` times as large as those of the level above.
    """
    size = 1 << (max(height, width) - 1).bit_length()
    if size == 1:
        return np.zeros((1, 1), np.float32)
    field = np.empty((size, size), np.float32)
    words: Words = random_words(size * size, rng)
    _diamond_square(words, np.float32(decay), field)
    field -= field.min()
    return (field / max(field.max(), np.float32(1e-6)))[:height, :width]
