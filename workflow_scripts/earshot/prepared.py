"""Clips as files: a video or, where a dataset is shared in that form, images of its frames and a file of its sound.

What is wrong with a file raises MediaError, as in `media`. Images are counted and their headers read when a dataset is
indexed, and decoded when they are used. Of images that are spread over some seconds, the frame rate is their mean number a
second.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from earshot import media
from earshot.datasets import Parts
from earshot.errors import MediaError

PartsOf = Callable[[Mapping[str, Any]], Parts]
_IMAGES = (".jpg", ".jpeg", ".png")
_NUMBER = re.compile(r"\d+$")
_OFF = 1.0  # s: by as much may samples last longer or shorter than their clip
_NO_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for damaged files


def parts_of(module: ModuleType, root: Path, options: BaseModel) -> PartsOf | None:
    """What gives the files of a clip's row; none for a dataset plug-in whose clips are all videos."""
    return partial(module.parts, root, options=options) if hasattr(module, "parts") else None


def numbered(folder: Path) -> tuple[Path, ...]:
    """The images of a folder by the number that ends their names, one for every number from the first to the last.

    A number that is missing on the way gives a path where there is no file: it is told when the clip is probed.
    """
    images = (path for path in folder.glob("*") if path.suffix.lower() in _IMAGES)
    found = {int(match[0]): path for path in sorted(images) if (match := _NUMBER.search(path.stem))}
    if not found:
        return ()
    return tuple(found.get(number) or _renumbered(found[min(found)], number) for number in range(min(found), max(found) + 1))


def _renumbered(path: Path, number: int) -> Path:
    width = len(_NUMBER.findall(path.stem)[0])
    return path.with_name(f"{path.stem[:-width]}{number:0{width}d}{path.suffix}")


def files(video: Path, parts: Parts) -> tuple[Path, ...]:
    """All files of a clip, frames before sound; not all of them need to exist."""
    from_video = parts.frames is None or parts.sound is None
    return (*((video,) if from_video else ()), *(parts.frames or ()), *((parts.sound,) if parts.sound else ()))


def probe(video: Path, parts: Parts) -> media.Probe:
    """A clip's facts, its frames decoded no further than needed; raises MediaError where it has no usable picture.

    Sound that is absent or unreadable is told in the remark, with an `audio_rate` of 0.
    """
    in_video = media.probe(video, listen=parts.sound is None) if parts.frames is None or parts.sound is None else None
    if parts.frames is None:
        assert in_video
        about = in_video
    else:
        width, height = _size(parts.frames)
        seconds, rate = (in_video.duration, in_video.audio_rate) if in_video else (parts.seconds, 0)
        level = in_video.level if in_video else math.nan
        about = media.Probe(len(parts.frames), len(parts.frames) / seconds, width, height, seconds, rate, 0, "", level)
    return replace(about, **_heard(about, parts.sound, parts.rate)) if parts.sound else about


def _size(frames: tuple[Path, ...]) -> tuple[int, int]:
    """Width and height of all images, by their headers."""
    if not frames:
        raise MediaError("missing: no image of a frame")
    sizes = {path: _header(path) for path in frames}
    first = sizes[frames[0]]
    for path, size in sizes.items():
        if size != first:
            raise MediaError(f"frames of several sizes: {first[0]}x{first[1]}, and {size[0]}x{size[1]} in {path.name}")
    return first


def _told(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _header(path: Path) -> tuple[int, int]:
    with _image(path) as image:
        return image.size


@contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    """An open image; what fails within the block is this file's fault."""
    if not path.is_file():
        raise MediaError(f"missing: no such file as {path.name}")
    try:
        with Image.open(path) as image:
            yield image
    except _NO_IMAGE as error:
        raise MediaError(f"undecodable: {path.name}: {_told(error)}") from error


def _heard(about: media.Probe, sound: Path, rate: int) -> dict[str, Any]:
    """Rate and level of a file of sound, or a remark that says why there is none."""
    try:
        if sound.suffix == ".npy":
            wave = np.asarray(_array(sound), np.float32)
        else:
            wave, rate = media.read_sound(sound)
    except MediaError as error:
        told = f"no sound: {sound.name}: {error}"
        return {"audio_rate": 0, "level": math.nan, "remark": "; ".join(filter(None, (about.remark, told)))}
    return {"audio_rate": rate, "level": media.level_dbfs(wave)}


def read_image(path: Path, mode: str) -> NDArray[np.uint8]:
    """An image as an array in a mode of Pillow's; raises MediaError."""
    with _image(path) as image:
        return np.asarray(image.convert(mode), np.uint8)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A mask (H, W): 1 where a pixel is not black or, with a palette, not of its first colour; raises MediaError."""
    with _image(path) as image:
        single = image.mode in ("1", "L", "P", "I", "I;16")
        pixels = np.asarray(image if single else image.convert("RGB"))
    return (pixels if single else pixels.max(axis=2)).astype(bool).astype(np.uint8)


def read_frames(video: Path, parts: Parts, indices: Iterable[int]) -> dict[int, NDArray[np.uint8]]:
    """The wanted frames (H, W, 3) of a clip by number, those beyond its end left out; raises MediaError."""
    if parts.frames is None:
        return media.read_frames(video, indices)
    wanted = {index: parts.frames[index] for index in indices if index < len(parts.frames)}
    if not wanted:
        raise MediaError("missing: no image of a frame")
    return {index: read_image(path, "RGB") for index, path in wanted.items()}


def read_wave(video: Path, parts: Parts, rate: int) -> media.Wave:
    """The sound (N,) of a clip at `rate` Hz, mono; empty where a file has no track. Raises MediaError."""
    if parts.sound is None:
        return media.read_wave(video, rate)
    if parts.sound.suffix != ".npy":
        wave = media.read_wave(parts.sound, rate)
        _refuse_other_length(parts, len(wave), rate)
        return wave
    wave = np.asarray(_array(parts.sound), np.float32)
    if not np.isfinite(wave).all():
        raise MediaError(f"{parts.sound.name} holds samples that are not finite")
    _refuse_other_length(parts, len(wave), parts.rate)
    if rate == parts.rate:
        return wave
    from scipy.signal import resample_poly  # a second of CPU, which most jobs that see videos would pay for nothing

    common = math.gcd(rate, parts.rate)
    return resample_poly(wave, rate // common, parts.rate // common).astype(np.float32)


def _refuse_other_length(parts: Parts, samples: int, rate: int) -> None:
    """Raise MediaError where a file of sound is not of the clip's seconds."""
    if parts.sound and parts.seconds and abs(samples / rate - parts.seconds) > _OFF:
        lasts = f"{samples} samples last {samples / rate:g} s at {rate} Hz"
        raise MediaError(f"{parts.sound.name}: {lasts}, and the clip {parts.seconds:g} s: correct the rate, or the file")


def _array(path: Path) -> NDArray[Any]:
    """Samples (N,) in a NumPy file, not read yet."""
    if not path.is_file():
        raise MediaError("missing: no such file")
    try:
        wave = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MediaError(f"{path.name} is no array of samples: {_told(error)}") from error
    if not isinstance(wave, np.ndarray) or wave.ndim != 1 or wave.dtype.kind != "f" or not wave.size:
        told = f"{wave.dtype} of shape {wave.shape}" if isinstance(wave, np.ndarray) else "several arrays"
        raise MediaError(f"{path.name} holds {told}, not samples (N,) of floats in [-1, 1]")
    return wave
