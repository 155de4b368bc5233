"""Random changes of normalised clips: augmentations for teachers and students, and geometric copies for DUA.

Sources: Wang et al., "Continual Test-Time Domain Adaptation" (CoTTA), CVPR 2022, and Yuan et al., "Robust Test-Time Adaptation
in Dynamic Scenarios" (RoTTA), CVPR 2023: colour jitter, a small affine map, blur, flip and noise of pictures in [0, 1]; their
public code draws them for each picture, ours for each clip, so that all frames of a clip change alike. Mirza et al., "The Norm
Must Go On" (DUA), CVPR 2022, as ViTTA runs it: crops, flips and quarter turns. Our spec: `tta.md` sections 3, 3.1 and 8. Random
numbers come from torch's generator on the CPU, whatever the device of the clips.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms.v2 import functional

from earshot.transforms import crop_offsets, crop_sizes

_BRIGHTNESS, _CONTRAST, _SATURATION = (0.6, 1.4), (0.7, 1.3), (0.5, 1.5)
_HUE, _GAMMA = (-0.06, 0.06), (0.7, 1.3)  # of a turn of the colour circle; exponent
_TURN, _SHIFT, _ZOOM = (-15.0, 15.0), (-1 / 16, 1 / 16), (0.9, 1.1)  # degrees, share of the side, factor
_KERNEL, _BLUR = 5, (0.001, 0.5)  # px
_NOISE = 0.005  # standard deviation, of pictures in [0, 1]


def augmented(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Clips (N, 3, T, H, W), each changed at random by one draw for all its frames, and normalised as before.

    `mean` and `std` by channel lead back to [0, 1], beyond which nothing reaches.
    """
    centre, spread = (torch.tensor(values, device=clips.device, dtype=clips.dtype).view(3, 1, 1, 1) for values in (mean, std))
    return torch.stack([(_changed((clip * spread + centre).clamp(0, 1)) - centre) / spread for clip in clips])


def _changed(clip: Tensor) -> Tensor:
    """One clip (3, T, H, W) in [0, 1], changed by one draw."""
    frames = _jittered(clip.transpose(0, 1))
    frames = _moved(frames, _uniform(*_TURN), _uniform(*_SHIFT), _uniform(*_SHIFT), _uniform(*_ZOOM))
    frames = functional.gaussian_blur(frames, [_KERNEL, _KERNEL], [_uniform(*_BLUR)])
    if _uniform(0, 1) < 0.5:
        frames = frames.flip(-1)
    noise = torch.randn(frames.shape[1:]).to(frames)
    return (frames + _NOISE * noise).clamp(0, 1).transpose(0, 1)


def _jittered(frames: Tensor) -> Tensor:
    """Colours changed in five ways, in a random order: frames (T, 3, H, W)."""
    ways: list[tuple[Callable[[Tensor, float], Tensor], tuple[float, float]]] = [
        (functional.adjust_brightness, _BRIGHTNESS),
        (functional.adjust_contrast, _CONTRAST),
        (functional.adjust_saturation, _SATURATION),
        (functional.adjust_hue, _HUE),
        (functional.adjust_gamma, _GAMMA),
    ]
    for index in torch.randperm(len(ways)).tolist():
        change, limits = ways[index]
        frames = change(frames, _uniform(*limits))
    return frames


def _moved(frames: Tensor, degrees: float, right: float, down: float, zoom: float) -> Tensor:
    """Frames (T, 3, H, W) turned, shifted and scaled about the centre; what comes in at a border is the border's colour."""
    cos, sin = math.cos(math.radians(degrees)) / zoom, math.sin(math.radians(degrees)) / zoom
    aspect = frames.shape[3] / frames.shape[2]  # the grid's units are half a side, the turn's are pixels
    across = [cos, -sin / aspect, -2 * right]
    along = [sin * aspect, cos, -2 * down]
    grid = affine_grid(torch.tensor([[across, along]]), [1, *frames.shape[1:]], align_corners=False).to(frames)
    return grid_sample(frames, grid.expand(len(frames), -1, -1, -1), padding_mode="border", align_corners=False)


def geometric_copies(clip: Tensor, n: int) -> Tensor:
    """`n` copies (n, 3, T, H, W) of one clip (1, 3, T, H, W), each cropped, mirrored and turned by its own draw.

    A crop takes one of the scales 1, 0.875, 0.75 and 0.66 of the short side for its width and a neighbouring one for its
    height, and one of 13 anchors; a coin decides on mirroring, and the turn is 0, 90, 180 or 270 degrees.
    """
    return torch.stack([_copy(clip[0].transpose(0, 1)).transpose(0, 1) for _ in range(n)])


def _copy(frames: Tensor) -> Tensor:
    """One copy of frames (T, 3, H, W)."""
    height, width = frames.shape[2:]
    crop_width, crop_height = _one_of(crop_sizes(width, height, min(width, height)))
    x, y = _one_of(crop_offsets(width, height, crop_width, crop_height))
    frames = frames[:, :, y : y + crop_height, x : x + crop_width]
    if _uniform(0, 1) < 0.5:
        frames = frames.flip(-1)
    frames = frames.rot90(int(torch.randint(4, ())), (2, 3))
    return functional.resize(frames, [height, width], antialias=True)


def _one_of(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return pairs[int(torch.randint(len(pairs), ()))]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
