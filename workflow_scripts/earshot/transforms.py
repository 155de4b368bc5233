"""Resize, crop, normalise: from decoded frames (T, H, W, 3) uint8 to model input (3, T, size, size) float32.

Source: ViTTA (Lin et al., CVPR 2023) and its public code; our spec is `tta.md` section 2.6. What a backbone expects is in its
`Backbone`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from earshot.backbones import Backbone

SCALES = (1.0, 0.875, 0.75, 0.66)
_CLOSE = 3  # px: a crop this close to the target size takes the target size
_AREA, _ASPECT, _ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10  # of a random resized crop


class Crop(NamedTuple):
    """A rectangle in pixels of the frame that it is cut from."""

    width: int
    height: int
    x: int
    y: int


def crop_sizes(width: int, height: int, size: int) -> list[tuple[int, int]]:
    """The (crop width, crop height) pairs that a multi-scale crop may take: neighbouring scales of the short side."""
    sides = [int(min(width, height) * scale) for scale in SCALES]
    sides = [size if abs(side - size) < _CLOSE else side for side in sides]
    near = range(len(sides))
    return [(sides[i], sides[j]) for i in near for j in near if abs(i - j) <= 1]


def crop_offsets(width: int, height: int, crop_width: int, crop_height: int) -> list[tuple[int, int]]:
    """The 13 anchors (x, y) of a multi-scale crop: corners, centre, edge middles and quarter points."""
    x, y = (width - crop_width) // 4, (height - crop_height) // 4
    grid = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    return [(column * x, row * y) for column, row in grid]


def multi_scale_crop(width: int, height: int, size: int, rng: np.random.Generator) -> Crop:
    """Draw one of the size pairs, then one of the anchors, both uniformly."""
    pairs = crop_sizes(width, height, size)
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    crop_width, crop_height = min(crop_width, width), min(crop_height, height)
    anchors = crop_offsets(width, height, crop_width, crop_height)
    return Crop(crop_width, crop_height, *anchors[rng.integers(len(anchors))])


def resized_crop(width: int, height: int, rng: np.random.Generator) -> Crop:
    """Draw a share of the area and an aspect ratio, ten times if need be, and a place; else the square in the centre."""
    for _ in range(_ATTEMPTS):
        area = rng.uniform(*_AREA) * width * height
        aspect = math.exp(rng.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            x, y = rng.integers(width - crop_width + 1), rng.integers(height - crop_height + 1)
            return Crop(crop_width, crop_height, int(x), int(y))
    side = min(width, height)
    return Crop(side, side, (width - side) // 2, (height - side) // 2)


def view_base(frames: NDArray[np.uint8], spec: Backbone) -> Tensor:
    """What views are cut from, (T, 3, H, W) uint8: the frames as they are, or resized, as the backbone asks."""
    return resized(frames, spec) if spec.crop == "resized" else _channels_first(frames)


def view_crops(width: int, height: int, spec: Backbone, generators: Sequence[np.random.Generator]) -> list[Crop]:
    """A crop for each view, (width, height) being that of `view_base`: one a view, or the first for all."""
    if spec.crop == "resized":
        return [resized_crop(width, height, generators[0])] * len(generators)
    return [multi_scale_crop(width, height, spec.size, rng) for rng in generators]


def cut(base: Tensor, crop: Crop, spec: Backbone) -> Tensor:
    """Cut the same rectangle from all frames (T, 3, H, W) and resize it: (3, T, size, size) uint8."""
    part = base[:, :, crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    return _resize(part, spec.size, spec.size, spec).transpose(0, 1)


def resized(frames: NDArray[np.uint8], spec: Backbone) -> Tensor:
    """Frames at the backbone's scale, (T, 3, h, w) uint8: short side `resize`, aspect kept, or a fixed height and width."""
    height, width = frames.shape[1:3]
    if isinstance(spec.resize, tuple):
        return _resize(_channels_first(frames), *spec.resize, spec)
    half = 0.5 if spec.rounding == "mmcv" else 0.0
    new_height, new_width = (int(side * spec.resize / min(height, width) + half) for side in (height, width))
    return _resize(_channels_first(frames), new_height, new_width, spec)


def evaluation_crops(base: Tensor, spec: Backbone, crops: int = 1) -> list[Tensor]:
    """Squares (3, T, size, size) of resized frames (T, 3, h, w): the centre or, for 3, both ends and the centre."""
    height, width = base.shape[2:]
    size = spec.size
    middle = round if spec.rounding == "torchvision" else int
    y, x = (middle((side - size) / 2) for side in (height, width))
    along = [(y, 0), (y, x), (y, width - size)] if width >= height else [(0, x), (y, x), (height - size, x)]
    return [
        base[:, :, top : top + size, left : left + size].transpose(0, 1) for top, left in (along if crops == 3 else [(y, x)])
    ]


def resize_and_crop(frame: NDArray[np.uint8], spec: Backbone) -> NDArray[np.uint8]:
    """The evaluation crop of one frame that stays a frame: (H, W, 3) to (size, size, 3) uint8."""
    view = evaluation_crops(resized(frame[None], spec), spec)[0]  # (3, 1, size, size)
    return np.ascontiguousarray(view[:, 0].permute(1, 2, 0).numpy())


def normalise(views: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Map uint8 (..., 3, T, H, W) to float32 with zero mean and unit variance by channel."""
    shape = (3, 1, 1, 1)
    centre = torch.tensor(mean, device=views.device).view(shape)
    return (views.float() / 255 - centre) / torch.tensor(std, device=views.device).view(shape)


def _channels_first(frames: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)


def _resize(frames: Tensor, height: int, width: int, spec: Backbone) -> Tensor:
    # antialiased bilinear equals Pillow's to within a level, and without antialiasing OpenCV's
    how = InterpolationMode(spec.interpolation)
    return functional.resize(frames, [height, width], interpolation=how, antialias=spec.antialias)
