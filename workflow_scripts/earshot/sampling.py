"""Which frames of a video form a clip.

Source: ViTTA (Lin et al., CVPR 2023), section 4 and its public code; our spec is `tta.md` section 2.6. All functions return
0-based frame numbers (T,) int64, clamped to [0, n-1]. The reference adds 1 to most of them (a habit from numbered image
files) before it clamps; `index_base=1` reproduces that.
"""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def uniform(n_frames: int, length: int, index_base: int = 0) -> Indices:
    """The evaluation clip: the middle frame of each of `length` equal segments."""
    tick = n_frames / length
    return _clamp(np.floor(tick / 2 + tick * np.arange(length)), n_frames, index_base)


def uniform_equidistant(n_frames: int, length: int, views: int, index_base: int = 0) -> Indices:
    """The views of test-time adaptation (V, T): starts spread evenly over the first segment.

    With two views, one takes the first and the other the last frame of each segment; a video with fewer than twice as many
    frames as the clip gives equal views.
    """
    tick = n_frames / length
    # an integer linspace as in the reference: for n < T the last start is -1 and wraps to the end of the video
    starts = np.floor(np.linspace(0, tick - 1, views)).astype(np.int64)
    # astype truncates towards zero, as the reference does: it matters for that start of -1 only
    indices = (starts[:, None] + tick * np.arange(length)[None]).astype(np.int64) % n_frames
    return _clamp(indices, n_frames, index_base)


def _clamp(indices: NDArray, n_frames: int, index_base: int) -> Indices:
    if n_frames < 1:
        raise ValueError(f"cannot sample from a video of {n_frames} frames")
    return np.clip(indices.astype(np.int64) + index_base, 0, n_frames - 1)
