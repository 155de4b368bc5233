"""Resize, crop, normalise: from decoded frames (T, H, W, 3) uint8 to model input (3, T, size, size) float32.

Source: ViTTA (Lin et al., CVPR 2023) and its public code; our spec is `tta.md` section 2.6.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

SCALES = (1.0, 0.875, 0.75, 0.66)
_CLOSE = 3  # px: a crop this close to the target size takes the target size


class Crop(NamedTuple):
    """A rectangle in pixels of the decoded frame."""

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


def random_crop(width: int, height: int, size: int, rng: np.random.Generator) -> Crop:
    """Draw a multi-scale crop: one of the size pairs, then one of the anchors, both uniformly."""
    pairs = crop_sizes(width, height, size)
    crop_width, crop_height = pairs[rng.integers(len(pairs))]
    crop_width, crop_height = min(crop_width, width), min(crop_height, height)
    anchors = crop_offsets(width, height, crop_width, crop_height)
    return Crop(crop_width, crop_height, *anchors[rng.integers(len(anchors))])


def augmented_view(frames: NDArray[np.uint8], crop: Crop, size: int) -> Tensor:
    """Cut the same rectangle from all frames and resize it: (3, T, size, size) uint8."""
    cut = frames[:, crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    return _resize(_channels_first(cut), size, size).transpose(0, 1)


def evaluation_view(frames: NDArray[np.uint8], resize: int, size: int) -> Tensor:
    """Resize the short side to `resize`, keep the aspect, cut the centre: (3, T, size, size) uint8."""
    height, width = frames.shape[1:3]
    short = min(height, width)
    resized = _resize(_channels_first(frames), int(height * resize / short), int(width * resize / short))
    return functional.center_crop(resized, [size, size]).transpose(0, 1)


def resize_and_crop(frame: NDArray[np.uint8], resize: int, size: int) -> NDArray[np.uint8]:
    """The same for one frame that stays a frame: (H, W, 3) to (size, size, 3) uint8."""
    view = evaluation_view(frame[None], resize, size)  # (3, 1, size, size)
    return np.ascontiguousarray(view[:, 0].permute(1, 2, 0).numpy())


def normalise(views: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Map uint8 (..., 3, T, H, W) to float32 with zero mean and unit variance by channel."""
    shape = (3, 1, 1, 1)
    centre = torch.tensor(mean, device=views.device).view(shape)
    return (views.float() / 255 - centre) / torch.tensor(std, device=views.device).view(shape)


def _channels_first(frames: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)


def _resize(frames: Tensor, height: int, width: int) -> Tensor:
    # antialiased bilinear, which equals Pillow's to within a level
    return functional.resize(frames, [height, width], interpolation=InterpolationMode.BILINEAR, antialias=True)
