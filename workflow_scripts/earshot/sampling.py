"""Which frames of a video form a clip.

Source: ViTTA (Lin et al., CVPR 2023), section 4 and its public code; our spec is `tta.md` section 2.6. All functions return
0-based frame numbers int64, clamped to [0, n-1]. The reference adds 1 to most of them (a habit from numbered image files)
before it clamps; `index_base=1` reproduces that where the reference does it.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
EvaluationStyle = Literal["uniform", "segments", "dense", "dense_interval"]
ViewStyle = Literal["uniform_equidist", "uniform", "uniform_rand", "dense_equidist", "dense", "dense_rand", "random"]

_DENSE_SPAN = 64  # frames that a dense clip of the reference spans
_INTERVAL = 2  # frames from one to the next in mmaction's dense clips


def evaluation(style: EvaluationStyle, n_frames: int, length: int, clips: int = 1, index_base: int = 0) -> Indices:
    """The clips that are predicted, (clips, length); their logits are averaged.

    `uniform` and `dense`: as the reference does for TANet; `segments` and `dense_interval`: as it does for Video Swin
    (mmaction), where nothing is added.
    """
    _refuse_empty(n_frames)
    if style == "uniform":
        return _uniform(n_frames, length, _starts(n_frames / length, clips, whole=False), index_base)
    if style == "dense":
        room = _room(n_frames, length)
        starts = np.array([room // 2]) if clips == 1 else _spread(room - 1, clips)
        return _dense(n_frames, length, starts, index_base)
    if style == "segments":
        if clips > 1:
            raise ValueError("`segments` is one clip of the whole video; for several take `dense_interval`")
        return _segments(n_frames, length)[None]
    return _dense_interval(n_frames, length, clips)


def views(style: ViewStyle, n_frames: int, length: int, count: int, rng: np.random.Generator, index_base: int = 0) -> Indices:
    """The views that a method adapts on, (count, length).

    `uniform_equidist`, the default of the reference, spreads starts evenly over the first segment: with two views, one takes
    the first and the other the last frame of each segment, and a video with fewer than twice as many frames as the clip gives
    equal views. `uniform` and `dense` take the same frames for all views. The three drawn ones are our reading: a start
    within the first segment, a start anywhere, any frames in order.
    """
    _refuse_empty(n_frames)
    tick, room = n_frames / length, _room(n_frames, length)
    if style == "random":
        drawn = [np.sort(rng.choice(n_frames, length, replace=n_frames < length)) for _ in range(count)]
        return np.stack(drawn).astype(np.int64)
    if style.startswith("uniform"):
        starts = {
            "uniform_equidist": lambda: _starts(tick, count, whole=True),
            "uniform": lambda: np.full(count, tick / 2),
            "uniform_rand": lambda: rng.integers(0, max(1, int(tick)), count),
        }[style]()
        return _uniform(n_frames, length, starts, index_base)
    starts = {
        "dense_equidist": lambda: _spread(room - 1, count),
        "dense": lambda: np.full(count, room // 2),
        "dense_rand": lambda: rng.integers(0, room, count),
    }[style]()
    return _dense(n_frames, length, starts, index_base)


def _refuse_empty(n_frames: int) -> None:
    if n_frames < 1:
        raise ValueError(f"cannot sample from a video of {n_frames} frames")


def _starts(tick: float, count: int, whole: bool) -> NDArray:
    """Starts in the first segment: its middle for one evaluation clip, else spread over its `whole` frames."""
    return _spread(tick - 1, count) if whole or count > 1 else np.array([tick / 2])


def _spread(last: float, count: int) -> NDArray:
    # an integer linspace as in the reference: for n < T the last start is -1 and wraps to the end of the video
    return np.floor(np.linspace(0, last, count)).astype(np.int64)


def _stride(length: int) -> int:
    return max(1, _DENSE_SPAN // length)


def _room(n_frames: int, length: int) -> int:
    """In how many places a dense clip may start."""
    return max(1, 1 + n_frames - _stride(length) * length)


def _uniform(n_frames: int, length: int, starts: NDArray, index_base: int) -> Indices:
    # astype truncates towards zero, as the reference does: it matters for a start of -1 only
    indices = (starts[:, None] + n_frames / length * np.arange(length)[None]).astype(np.int64) % n_frames
    return _clamp(indices, n_frames, index_base)


def _dense(n_frames: int, length: int, starts: NDArray, index_base: int) -> Indices:
    indices = (starts[:, None] + _stride(length) * np.arange(length)[None]) % n_frames
    return _clamp(indices, n_frames, index_base)


def _segments(n_frames: int, length: int) -> Indices:
    """The middle of each of `length` segments whose ends are rounded to even halves, as NumPy does."""
    ends = np.round((n_frames - 1) / length * np.arange(length + 1)).astype(np.int64)
    return _clamp((ends[:-1] + ends[1:]) // 2, n_frames, 0)


def _dense_interval(n_frames: int, length: int, clips: int) -> Indices:
    between = (n_frames - _INTERVAL * length + 1) / clips
    starts = (np.arange(clips) * between + between / 2).astype(np.int64) if between > 0 else np.zeros(clips, np.int64)
    return _clamp((starts[:, None] + _INTERVAL * np.arange(length)[None]) % n_frames, n_frames, 0)


def _clamp(indices: NDArray, n_frames: int, index_base: int) -> Indices:
    return np.clip(indices.astype(np.int64) + index_base, 0, n_frames - 1)
