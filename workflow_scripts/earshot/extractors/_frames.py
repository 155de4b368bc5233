"""Which frames of a video stand for its ten seconds, and their size.

Our spec is `avvp.md` section 1.2: frames are picked evenly, both ends included, among those that a video shows at 8 Hz. The
published features come from clips of ten seconds; a video that is longer or shorter is taken as a whole, so that its tenths
stand for the seconds. Where the frame rate varies, the times are those of the mean rate.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from earshot import media
from earshot.backbones import Backbone
from earshot.frames import Frames
from earshot.loading import FrameCache
from earshot.parsers import SEGMENTS
from earshot.sampling import Indices
from earshot.transforms import resized

Rule = Literal["endpoints", "centres"]


class FrameOptions(BaseModel, extra="forbid"):
    """How frames are picked and made smaller."""

    fps: float = Field(8.0, gt=0, description="Hz: the rate at which the frames are shown that the picks are among")
    resize_antialias: bool = Field(True, description="false: as torchvision resized tensors before 0.17")


def picks(n_frames: int, fps: float, count: int, rate: float, rule: Rule = "endpoints") -> Indices:
    """The numbers (count,) of frames of a video of `n_frames` at `fps` Hz, picked among those that it shows at `rate` Hz.

    `endpoints`: evenly from the first to the last, rounded to even halves as NumPy does; `centres`: the middles of `count`
    equal parts. Of each time the frame nearest to it.
    """
    shown = max(1, round(n_frames / fps * rate))
    if rule == "endpoints":
        places = np.round(np.linspace(0, shown - 1, count))
    else:
        places = np.floor((np.arange(count) + 0.5) * shown / count)
    return np.minimum(np.floor(places * fps / rate + 0.5), n_frames - 1).astype(np.int64)


def length(path: Path) -> tuple[int, float]:
    """The number of frames of a video and its rate in Hz, ten seconds' worth where a file tells none; raises MediaError."""
    about = media.probe(path)
    return about.frames, about.fps or about.frames / SEGMENTS


def read(path: Path, wanted: Indices) -> NDArray[np.uint8]:
    """The frames (T, H, W, 3) of these numbers, where the last two of a file may be missing; raises MediaError."""
    row = {"clip_id": path.name, "video": path.name}
    return FrameCache(0).frames(Frames(path.parent), row, wanted.tolist())


def squares(frames: NDArray[np.uint8], size: int, antialias: bool) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) as squares (T, 3, size, size), whatever their aspect ratio."""
    spec = Backbone("", len(frames), (size, size), size, "", antialias=antialias)
    return resized(frames, spec).numpy()
