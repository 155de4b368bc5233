# ruff: noqa: NPY002
"""The eleven pixel corruptions written plainly: whole frames in float64, NumPy, SciPy and Pillow, one frame at a time.

This is how one would write them from the papers, and what `corruption_speed.py` compares with. Each takes a frame, the
severity's value and what is drawn for the frame (an angle, drops) or None; noise is drawn here, by NumPy's global generator.
"""

from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage


def _levels(shares):
    return (np.clip(shares, 0, 1) * 255).astype(np.uint8)


def gauss(frame, value, drawn):
    shares = frame / 255.0
    return _levels(shares + np.random.normal(scale=value, size=shares.shape))


def salt(frame, value, drawn):
    shares = frame / 255.0
    shares[np.random.random(shares.shape) < value] = 1
    return _levels(shares)


def pepper(frame, value, drawn):
    shares = frame / 255.0
    shares[np.random.random(shares.shape) < value] = 0
    return _levels(shares)


def impulse(frame, value, drawn):
    shares = frame / 255.0
    replaced = np.random.random(shares.shape) < value
    white = np.random.random(shares.shape) < 0.5
    shares[replaced & white] = 1
    shares[replaced & ~white] = 0
    return _levels(shares)


def shot(frame, value, drawn):
    shares = frame / 255.0
    return _levels(np.random.poisson(shares * value) / value)


def contrast(frame, value, drawn):
    shares = frame / 255.0
    means = shares.mean((0, 1))
    return _levels((shares - means) * value + means)


def jpeg(frame, value, drawn):
    data = BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=value)
    return np.array(Image.open(data))


def zoom(frame, value, drawn):
    shares = frame / 255.0
    height, width, _ = frame.shape
    step, last = value
    factors = [percent / 100 for percent in range(100, 101 + last, step)]
    total = shares.copy()
    for factor in factors:
        rows, columns = int(np.ceil(height / factor)), int(np.ceil(width / factor))
        top, left = (height - rows) // 2, (width - columns) // 2
        middle = shares[top : top + rows, left : left + columns]
        total += ndimage.zoom(middle, (factor, factor, 1), order=1)[:height, :width]
    return _levels(total / (len(factors) + 1))


def _disc(radius, smoothing):
    reach, support = (8, 3) if radius <= 8 else (radius, 5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= radius**2).astype(float)
    disc /= disc.sum()
    return ndimage.gaussian_filter(disc, smoothing, mode="mirror", radius=support // 2)


def defocus(frame, value, drawn):
    shares, kernel = frame / 255.0, _disc(*value)
    return _levels(np.stack([ndimage.correlate(shares[..., c], kernel, mode="mirror") for c in range(3)], axis=-1))


def motion(frame, value, angle):
    radius, sigma = value
    height, width, _ = frame.shape
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    pad = 2 * radius + 1
    padded = np.pad(frame.astype(float), ((pad, pad), (pad, pad), (0, 0)), "edge")
    total = np.zeros(frame.shape)
    for step, weight in zip(steps, weights, strict=True):
        down = pad + int(np.ceil(step * np.sin(np.deg2rad(angle)) - 0.5))
        right = pad + int(np.ceil(step * np.cos(np.deg2rad(angle)) - 0.5))
        total += weight * padded[down : down + height, right : right + width]
    return np.clip(total, 0, 255).astype(np.uint8)


def rain(frame, value, drops):
    _, length, darken = value
    height, width, _ = frame.shape
    length = min(length, height - 1)
    mask = np.zeros((height, width, 1))
    for x, y in drops.tolist():
        for row in range(y, min(y + length + 1, height)):
            column = x if row < y + length // 2 else x - 1
            if 0 <= column < width:
                mask[row, column] = 220
    bright = frame + np.trunc(mask * (1 - frame / 255.0) * (1 - frame.mean() / 255))
    blurred = np.rint(ndimage.uniform_filter(bright, (3, 3, 1), mode="mirror"))
    shares = (blurred * mask / 255 + frame * (1 - mask / 255)) / 255
    means = shares.mean((0, 1))
    return _levels((shares - means) * darken + means)
