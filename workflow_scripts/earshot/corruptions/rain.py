"""Rain: bright streaks over a darkened frame.

Drops of length L start at x, y and run down to y + L, their lower half one column to the left. Where a drop passes, the
frame is brightened, blurred by a box of 3 x 3 and mixed in at 220/255; then the contrast shrinks by a factor. A slant t, drawn
once for a frame, only moves the range of x, as in the reference.

Source: Yi et al., NeurIPS 2021 (Mini Kinetics-C); our spec, `corruptions.md` sections 1 and 2.10. A severity is (pixels of the
frame for each drop, length in pixels, factor). Drops longer than the frame is high are cut to its height less one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.corruptions import Corruption
from earshot.corruptions._kernels import Frame, channel_sums, compiled, fixed, looked_up, shrunk

SPEC = Corruption(
    "Rain",
    family="weather",
    unit="pixels for each drop, length in pixels, darkening factor",
    severities={"default": ((770, 10, 0.8), (770, 30, 0.8), (770, 60, 0.7), (500, 60, 0.6), (400, 80, 0.5))},
    source="Mini Kinetics-C, arXiv 2110.06513",
    randomness="layer",
)
Value = tuple[int, int, float]
_OPACITY = 220
_LEVELS = np.arange(256)
_SHARES = np.tile(np.arange(256) / 255, (3, 1))


def _below(words: NDArray[np.uint64], limit: int) -> NDArray[np.int64]:
    """Whole numbers 0 to limit - 1 from 32-bit words; a limit of some thousands makes the odds uneven by 1e-6 at most."""
    return (words * np.uint64(max(1, limit)) >> np.uint64(32)).astype(np.int64)


def draw(height: int, width: int, value: Value, rng: np.random.Generator) -> NDArray[np.int64]:
    """Starting points (N, 2) of the drops: x, which may lie left of the frame, and y."""
    area, length, _ = value
    words = rng.bit_generator.random_raw(1 + height * width // area)
    slant = int(_below(words[:1] >> np.uint64(32), 20)[0]) - 10
    left = min(slant, 0)
    x = left + _below(words[1:] >> np.uint64(32), width - abs(slant) if slant > 0 else width - slant)
    y = _below(words[1:] & np.uint64(0xFFFFFFFF), height - min(length, height - 1))
    return np.stack([x, y], axis=1)


@compiled
def _covered(drops: NDArray[np.int64], length: int, height: int, width: int) -> NDArray[np.int64]:
    """Row and column of the pixels under a drop, each once."""
    mask = np.zeros((height, width), np.uint8)
    found = np.empty((min(len(drops) * (length + 1), height * width), 2), np.int64)
    count = 0
    for i in range(len(drops)):
        for step in range(length + 1):
            x, y = drops[i, 0] - (step >= length // 2), drops[i, 1] + step
            if 0 <= x < width and 0 <= y < height and mask[y, x] == 0:
                mask[y, x] = 1
                found[count, 0], found[count, 1] = y, x
                count += 1
    return found[:count]


@compiled
def _mirrored(i: int, size: int) -> int:
    """A number one step outside 0..size-1 reflected about the first or last."""
    return min(1, size - 1) if i < 0 else max(0, size - 2) if i == size else i


@compiled
def _mix(frame: Frame, places: NDArray[np.int64], brightened: Frame, sums: NDArray[np.int64]) -> NDArray[np.int32]:
    """Mixed values (places, 3) times 255, 220 parts of the drop and 35 of the frame; `sums` of the channels, too, follow."""
    height, width, _ = frame.shape
    bright = frame.copy()
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        for c in range(3):
            bright[y, x, c] = brightened[frame[y, x, c]]
    mixed = np.empty((len(places), 3), np.int32)
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        above, below = _mirrored(y - 1, height), _mirrored(y + 1, height)
        before, after = _mirrored(x - 1, width), _mirrored(x + 1, width)
        for c in range(3):
            box = bright[above, before, c] + bright[above, x, c] + bright[above, after, c]
            box += bright[y, before, c] + bright[y, x, c] + bright[y, after, c]
            box += bright[below, before, c] + bright[below, x, c] + bright[below, after, c]
            mixed[i, c] = _OPACITY * ((box + 4) // 9) + (255 - _OPACITY) * np.int64(frame[y, x, c])
            sums[c] += mixed[i, c] - 255 * np.int64(frame[y, x, c])
    return mixed


@compiled
def _place(mixed: NDArray[np.int32], places: NDArray[np.int64], means: Any, factor: float, out: Frame) -> None:
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        for c in range(3):
            share = (mixed[i, c] / 255 / 255 - means[c]) * factor + means[c]
            out[y, x, c] = np.uint8(min(max(share, 0.0), 1.0) * 255)


def apply(frame: Frame, value: Value, drawn: NDArray[np.int64]) -> Frame:
    """Let drops fall from the places `drawn`."""
    height, width, _ = frame.shape
    still, out = fixed(frame), np.empty_like(frame)
    sums = channel_sums(still)
    dark = 1 - sums.sum() / frame.size / 255
    brightened = (_LEVELS + (_OPACITY * (1 - _LEVELS / 255) * dark).astype(np.int64)).astype(np.uint8)
    places = _covered(drawn, min(value[1], height - 1), height, width)
    sums *= 255
    mixed = _mix(still, places, brightened, sums)
    means = sums / (255 * 255 * height * width)
    looked_up(still, shrunk(means, value[2], _SHARES).astype(np.uint8), out)
    _place(mixed, places, means, value[2], out)
    return out


def limit(value: Value) -> int:
    """Rows that a frame must have at least for the length of its drops."""
    return value[1] + 1
