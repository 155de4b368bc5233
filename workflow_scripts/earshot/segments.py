"""Clips cut into segments, as prompted encoders get them: one frame for each, its sound and, where there are any, its masks.

An array holds all clips of a dataset, row by row as in `feature_store`; a clip that cannot be used is a row of zeros whose
reason the table beside the array tells. Our spec is `dgsct.md`, sections 3, 4.1, 6.1 and 7.1. N clips of T segments, which
are the seconds of the published datasets.

Frames are resized without regard to their aspect, by bicubic interpolation of the numbers 0 to 255 and without smoothing, as
the published encoders' input is, and then rounded.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from earshot import contracts, feature_store, plugins, prepared
from earshot.config import overrides
from earshot.datasets import Parts
from earshot.errors import MediaError, SetupError
from earshot.frames import Frames
from earshot.loading import FrameCache, prefetched
from earshot.weights import use_threads

FrameRule = Literal["spread", "middles", "seconds"]
UNANNOTATED = 255  # in masks
_SCALE = 32_768  # of 16-bit samples
_TIMED = ("localisation", "parsing", "segmentation")  # tasks of the sets whose labels are of the first seconds of a file
_SLACK = 1.0  # s: by as much may a file be shorter or longer than what its labels are of
_TOLD = 500  # clips between two lines of progress


@dataclass(frozen=True)
class Dataset:
    """Whose clips are cut: the plug-in and its options, the folder of the files, and the table of clips."""

    plugin: str
    options: Mapping[str, Any]
    root: str
    clips: str

    @property
    def timed(self) -> bool:
        """Whether labels are of the first seconds of a file, not of all of it."""
        return plugins.load("datasets", self.plugin).SPEC.task in _TIMED

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table of clips."""
        return contracts.read(self.clips, contracts.CLIPS)

    def parts_of(self) -> prepared.PartsOf:
        """What gives the files of a clip's row."""
        module = plugins.load("datasets", self.plugin)
        found = prepared.parts_of(module, Path(self.root), overrides(module.Options, self.options, "datasets.<name>.options"))
        return found or _of_video


def _of_video(row: Mapping[str, Any]) -> Parts:
    return Parts()


# --- frames -----------------------------------------------------------------------------------------------------------


def write_frames(
    dataset: Dataset,
    segments: int,
    px: int,
    threads: int,
    out_array: str,
    out_index: str,
    rule: FrameRule = "spread",
    antialias: bool = False,
) -> None:
    """Write a frame of every segment of all clips, (N, T, px, px, 3) uint8; only these frames are decoded.

    Raises SetupError if no clip has frames.
    """
    use_threads(1)  # clips are worked on in parallel
    rows = dataset.rows()
    source = _Files(Path(dataset.root), dataset.parts_of())

    timed = dataset.timed

    def load(row: Mapping[str, Any]) -> NDArray[np.uint8]:
        return resized(_frames(source, row, segments, rule, timed), px, antialias)

    facts = {"made": "frames", "rule": rule, "antialias": antialias}
    nothing = f"no clip below '{dataset.root}' has frames"
    _write(rows, load, (segments, px, px, 3), "uint8", threads, facts, (out_array, out_index), nothing)


class _Files(Frames):
    """Frames of clips that are videos or folders of images."""

    def __init__(self, root: Path, parts_of: prepared.PartsOf) -> None:
        super().__init__(root)
        self.parts_of = parts_of

    def read(self, row: Mapping[str, Any], indices: Iterable[int]) -> dict[int, NDArray[np.uint8]]:
        return prepared.read_frames(self.root / row["video"], self.parts_of(row), indices)


def _frames(source: Frames, row: Mapping[str, Any], segments: int, rule: FrameRule, timed: bool) -> NDArray[np.uint8]:
    """The frames (T, H, W, 3) that stand for the segments of a clip, of its first T seconds if `timed`; raises MediaError."""
    first = round(row["start"] * row["fps"])
    count = min(row["frames"], round(row["end"] * row["fps"])) - first
    if timed:
        _refuse_short("its pictures", count / row["fps"], segments)
        count = round(segments * row["fps"]) if count / row["fps"] > segments + _SLACK else count
    if count < segments:
        raise MediaError(f"too few frames: {max(count, 0)} for {segments} segments")
    return FrameCache(0).frames(source, row, (first + picks(count, row["fps"], segments, rule)).tolist())


def _refuse_short(what: str, seconds: float, wanted: int) -> None:
    """Raise MediaError where the labels would be of other seconds."""
    if seconds < wanted - _SLACK:
        raise MediaError(f"cut short: {what} last {seconds:.1f} s, and its labels are of {wanted} s")


def picks(count: int, fps: float, segments: int, rule: FrameRule) -> NDArray[np.int64]:
    """The numbers (T,) of the frames that stand for the segments of a clip of `count` frames at `fps` Hz.

    `spread`: evenly from the first to the last, rounded down, as published for AVE and MUSIC-AVQA; `middles`: the middles of T
    equal parts; `seconds`: the middles of the first T seconds, the last frame where a clip is shorter, as published for LLP.
    T frames, as prepared folders have them, are one for each segment.
    """
    if count == segments:
        return np.arange(segments)
    if rule == "spread":
        return np.linspace(1, count, segments).astype(np.int64) - 1
    middles = np.arange(segments) + 0.5
    if rule == "middles":
        return np.floor(middles * count / segments).astype(np.int64)
    return np.minimum(np.round(middles * fps), count - 1).astype(np.int64)


def resized(frames: NDArray[np.uint8], px: int, antialias: bool) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) as squares (T, px, px, 3), whatever their aspect."""
    if frames.shape[1:3] == (px, px):
        return frames
    numbers = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    found = interpolate(numbers, (px, px), mode="bicubic", align_corners=False, antialias=antialias)
    return found.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


# --- sound ------------------------------------------------------------------------------------------------------------


def write_waves(dataset: Dataset, segments: int, rate: int, threads: int, out_array: str, out_index: str) -> None:
    """Write T seconds of the sound of all clips, mono at `rate` Hz, (N, T * rate) int16.

    The first T seconds, zeros where a clip is shorter; of a clip that is longer by more than a second, and whose labels are of
    all of it, as in MUSIC-AVQA, T seconds spread evenly from its first to its last, as the frames are. Raises SetupError if no
    clip has sound.
    """
    parts_of, timed = dataset.parts_of(), dataset.timed

    def load(row: Mapping[str, Any]) -> NDArray[np.int16]:
        wave = prepared.read_wave(Path(dataset.root) / row["video"], parts_of(row), rate)
        return _samples(wave, row, rate, segments, timed)

    nothing = f"no clip below '{dataset.root}' has sound"
    _write(dataset.rows(), load, (segments * rate,), "int16", threads, {"made": "waves"}, (out_array, out_index), nothing)


def _samples(wave: NDArray[np.float32], row: Mapping[str, Any], rate: int, seconds: int, timed: bool) -> NDArray[np.int16]:
    """What a clip's row spans of the sound of its file, as `seconds` of 16-bit samples, the first if `timed`.

    Raises MediaError.
    """
    if not len(wave):
        raise MediaError("no audio stream")
    span = wave[round(row["start"] * rate) : round(row["end"] * rate)]
    if not len(span):
        raise MediaError(f"the sound ends after {len(wave) / rate:.2f} s, before the clip starts")
    heard = len(span) / rate
    if timed:
        _refuse_short("its sounds", heard, seconds)
    elif heard < row["end"] - row["start"] - _SLACK:
        raise MediaError(f"cut short: its sounds last {heard:.1f} s of {row['end'] - row['start']:.1f} s")
    elif len(span) > (seconds + _SLACK) * rate:
        starts = np.round(np.linspace(0, len(span) - rate, seconds)).astype(np.int64)
        span = np.concatenate([span[start : start + rate] for start in starts])
    span = span[: seconds * rate]
    if not np.isfinite(span).all():
        raise MediaError("sound with samples that are not finite")
    whole = np.zeros(seconds * rate, np.int16)
    whole[: len(span)] = np.clip(np.rint(span * _SCALE), -_SCALE, _SCALE - 1)
    return whole


# --- masks ------------------------------------------------------------------------------------------------------------


def write_masks(
    root: str, clips: str, masks: str, segments: int, px: int, threads: int, out_array: str, out_index: str
) -> None:
    """Write the masks of all clips, (N, T, px, px) uint8: 1 where a pixel shows what sounds, 0 elsewhere.

    255 where a second is not annotated. Any pixel that is not black, or not of a palette's first colour, counts. Raises
    SetupError if no clip has masks.
    """
    of_clip: dict[str, list[dict[str, Any]]] = {}
    for mask in contracts.read(masks, contracts.MASKS):
        of_clip.setdefault(mask["clip_id"], []).append(mask)

    def load(row: Mapping[str, Any]) -> NDArray[np.uint8]:
        return _masks(Path(root), of_clip.get(row["clip_id"], []), (row["height"], row["width"]), segments, px)

    nothing = f"no clip has masks below '{root}'"
    rows = contracts.read(clips, contracts.CLIPS)
    _write(rows, load, (segments, px, px), "uint8", threads, {"made": "masks"}, (out_array, out_index), nothing)


def _masks(root: Path, masks: Sequence[Mapping[str, Any]], shape: tuple[int, int], segments: int, px: int) -> NDArray[np.uint8]:
    """The masks (T, px, px) of a clip whose frames are of `shape`; raises MediaError."""
    found = np.full((segments, px, px), UNANNOTATED, np.uint8)
    for mask in masks:
        if mask["second"] >= segments:
            raise MediaError(f"{mask['mask']} is of second {mask['second']} of a clip of {segments}")
        pixels = prepared.read_mask(root / mask["mask"])
        if pixels.shape != shape:
            sizes = (f"{width}x{height}" for height, width in (pixels.shape, shape))
            raise MediaError(f"{mask['mask']} is of size {' and the frames of '.join(sizes)}")
        found[mask["second"]] = _nearest(pixels, px)
    if not masks:
        raise MediaError("no second is annotated")
    return found


def _nearest(pixels: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    """Pixels (H, W) as a square (px, px), each the one nearest to its middle."""
    rows, columns = (((np.arange(px) + 0.5) * side / px).astype(np.int64) for side in pixels.shape)
    return pixels[rows][:, columns]


# --- all of them ------------------------------------------------------------------------------------------------------


def _write(
    rows: Sequence[Mapping[str, Any]],
    load: Callable[[Mapping[str, Any]], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: str,
    threads: int,
    facts: Mapping[str, Any],
    out: tuple[str, str],
    nothing: str,
) -> None:
    """Write what `load` gives of each row, or why it gives nothing."""
    _refuse_full_disk(len(rows) * int(np.prod(shape)) * np.dtype(dtype).itemsize, out[0])
    made = _told(prefetched((partial(_guarded, load, row) for row in rows), threads), len(rows), str(facts["made"]))
    feature_store.write(made, [row["clip_id"] for row in rows], shape, facts, *out, dtype=dtype, nothing=nothing)


def _refuse_full_disk(needed: int, path: str) -> None:
    """Raise SetupError before hours of decoding, where their result could not be kept."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SetupError(f"{path} will take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: make room, or set `data`")


def _guarded(load: Callable[[Mapping[str, Any]], NDArray[Any]], row: Mapping[str, Any]) -> NDArray[Any]:
    """What `load` gives; raises MediaError for whatever one file in thousands may hold."""
    if not row["available"]:
        raise MediaError(row["problem"] or "clip unavailable")
    try:
        return load(row)
    except MediaError:
        raise
    except ValueError as error:  # frames of several sizes
        raise MediaError(f"cannot be cut into segments: {str(error).partition(chr(10))[0]}") from error


def _told(made: Iterator[feature_store.Made], count: int, what: str) -> Iterator[feature_store.Made]:
    """The same, with a line in the log now and then."""
    for done, one in enumerate(made, 1):
        yield one
        if done % _TOLD == 0 or done == count:
            print(f"{what}: {done} of {count} clips", flush=True)
