"""From rows of `clips.parquet` to model input: each needed frame is decoded once and kept while memory allows."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from earshot import sampling, transforms
from earshot.adaptation import Clip, Evidence
from earshot.backbones import Backbone
from earshot.errors import MediaError
from earshot.frames import Frame, Frames, frames_of
from earshot.randomness import numpy_generator

Loaded = TypeVar("Loaded")
_LOST = 2  # frames that a decoder may drop at the end of a stream before the file counts as truncated


class FrameCache:
    """Frames by clip, up to a size in MB; what does not fit is read again when it is asked for."""

    def __init__(self, megabytes: int) -> None:
        self.left = megabytes * 1_000_000
        self.held: dict[str, dict[int, Frame]] = {}
        self.lock = threading.Lock()

    def frames(self, source: Frames, row: Mapping[str, Any], indices: Sequence[int], ahead: bool = False) -> Frame:
        """The frames (T, H, W, 3) of a clip at `indices`; raises MediaError if the file cannot give them.

        `ahead`: all frames are decoded at once if there is room for them, because others will be asked for later. What is
        held changes no frame and no error.
        """
        found = self.held.get(row["clip_id"])
        if found is None or not set(indices) <= set(found):
            whole = ahead and found is None and self._take(3 * row["frames"] * row["width"] * row["height"])
            found = _decode(source, row, range(row["frames"]) if whole else indices)
            if whole or (row["clip_id"] not in self.held and self._take(sum(frame.nbytes for frame in found.values()))):
                self.held[row["clip_id"]] = found
        last = max(found)
        if max(indices) - last > _LOST:
            raise MediaError(f"truncated: frame {max(indices)} is missing, and so are the {_LOST} before it")
        return np.stack([found[min(index, last)] for index in indices])

    def _take(self, size: int) -> bool:
        """Claim room for `size` bytes, if there is as much."""
        with self.lock:  # clips are loaded by several threads
            fits = size <= self.left
            self.left -= size if fits else 0
        return fits


def _decode(source: Frames, row: Mapping[str, Any], indices: Sequence[int]) -> dict[int, Frame]:
    """Read frames; where the last one is missing, also those before it that may stand in for it."""
    found = source.read(row, indices)
    last = max(indices)
    if last not in found:
        found |= source.read(row, [*indices, *(number for number in range(last - _LOST, last) if number >= 0)])
    return found


@dataclass(frozen=True)
class Sampling:
    """How clips are sampled from a video: see `earshot.sampling`. `evaluation` None is the backbone's own way."""

    views: int = 2
    view_style: sampling.ViewStyle = "uniform_equidist"
    evaluation: sampling.EvaluationStyle | None = None
    clips: int = 1
    crops: int = 1
    index_base: int = 0

    @classmethod
    def of(cls, protocol: Mapping[str, Any]) -> "Sampling":
        """From the `protocol:` section of the config."""
        return cls(
            protocol["views"],
            protocol["view_sampling"],
            protocol["evaluation_sampling"],
            protocol["evaluation_clips"],
            protocol["evaluation_crops"],
            protocol["index_base"],
        )


def prefetched(loads: Iterable[Callable[[], Loaded]], threads: int) -> Iterator[Loaded | MediaError]:
    """What each load gives, or why it cannot be read, in the order given; with `threads`, some are made ahead.

    Decoding and resizing leave Python's lock alone, so threads do what processes would, without copies.
    """

    def result(load: Callable[[], Loaded]) -> Loaded | MediaError:
        try:
            return load()
        except MediaError as error:
            return error

    if threads < 2:
        yield from map(result, loads)
        return
    waiting = iter(loads)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(result, load) for load in islice(waiting, 2 * threads))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(result, load) for load in islice(waiting, 1))


class ClipLoader:
    """Builds what a method sees of a clip: its evaluation clips and its augmented views, from frames decoded once."""

    def __init__(self, spec: Backbone, source: Frames, cache: FrameCache, device: str, how: Sampling | None = None) -> None:
        self.spec, self.source, self.cache, self.device = spec, source, cache, device
        self.how = how or Sampling()
        self.style = self.how.evaluation or spec.sampling
        if source.before:  # the frames are cut to size before they are corrupted
            self.spec = replace(spec, resize=spec.size)

    @classmethod
    def of_corrupted(
        cls, table: str, root: str, spec: Backbone, cache: FrameCache, device: str, how: Sampling | None = None
    ) -> "ClipLoader":
        """For the clips of a table of corrupted ones; `root` is the folder of the clean ones."""
        return cls(spec, frames_of(table, root, partial(transforms.resize_and_crop, spec=spec)), cache, device, how)

    def load(self, row: Mapping[str, Any], seed: int, evidence: Evidence | None = None, views: bool = True) -> Clip:
        """The clip of a row of `clips.parquet`; its views depend only on (seed, clip id, view).

        Without `views` none are made, but their frames are read all the same: whether a clip can be read must not depend on the
        method, and the next one finds them in the cache.
        """
        middle, spread = self._evaluation_indices(row["frames"]), self._view_indices(row, seed)
        frames, (at_middle, at_spread) = self._frames(row, [middle, spread])
        if not views:
            evaluation = self._normalised(self._evaluation(frames, at_middle))
            return Clip(evaluation[:0], evaluation, evidence)
        base = transforms.view_base(frames, self.spec)
        made = self._views(base, at_spread, "view", seed, row["clip_id"])
        scaled = base if self.spec.crop == "resized" else None
        evaluation = self._normalised(self._evaluation(frames, at_middle, scaled))
        return Clip(self._normalised(made), evaluation, evidence, partial(self._redrawn, row, seed))

    def _redrawn(self, row: Mapping[str, Any], seed: int, draw: int) -> Tensor:
        """Another draw of the views of a clip, normalised."""
        frames, (places,) = self._frames(row, [self._view_indices(row, seed, draw)])
        base = transforms.view_base(frames, self.spec)
        return self._normalised(self._views(base, places, "view", seed, row["clip_id"], draw))

    def _views(self, base: Tensor, places: sampling.Indices, *keys: object) -> Tensor:
        """Views (V, 3, T, size, size) uint8 of frames at `places` (V, T), whose crops are keyed by `keys` and the view."""
        generators = [numpy_generator(*keys, view) for view in range(len(places))]
        crops = transforms.view_crops(base.shape[3], base.shape[2], self.spec, generators)
        return torch.stack([transforms.cut(base[picks], crop, self.spec) for picks, crop in zip(places, crops, strict=True)])

    def evaluation(self, row: Mapping[str, Any]) -> Tensor:
        """The evaluation clips alone: (clips x crops, 3, T, size, size)."""
        frames, (places,) = self._frames(row, [self._evaluation_indices(row["frames"])])
        return self._normalised(self._evaluation(frames, places))

    def view(self, row: Mapping[str, Any], picks: Sequence[int], rng: np.random.Generator, flip: bool = False) -> Tensor:
        """One augmented view (3, T, size, size) of given frames, mirrored if `flip` and a coin says so; for training."""
        frames = self.cache.frames(self.source, row, picks, ahead=True)
        base = transforms.view_base(frames, self.spec)
        crop = transforms.view_crops(base.shape[3], base.shape[2], self.spec, [rng])[0]
        view = transforms.cut(base, crop, self.spec)
        return self._normalised(view.flip(-1) if flip and rng.random() < 0.5 else view)

    def _evaluation_indices(self, n: int) -> sampling.Indices:
        how = self.how
        return sampling.evaluation(self.style, n, self.spec.frames, how.clips, how.index_base)

    def _view_indices(self, row: Mapping[str, Any], seed: int, *draw: int) -> sampling.Indices:
        rng, how = numpy_generator("frames", seed, row["clip_id"], *draw), self.how
        return sampling.views(how.view_style, row["frames"], self.spec.frames, how.views, rng, how.index_base)

    def _frames(self, row: Mapping[str, Any], wanted: Sequence[sampling.Indices]) -> tuple[Frame, list[sampling.Indices]]:
        """Each frame that any of `wanted` asks for, once, and the places of each there."""
        union = np.unique(np.concatenate([indices.ravel() for indices in wanted]))
        frames = self.cache.frames(self.source, row, union.tolist())
        return frames, [np.searchsorted(union, indices) for indices in wanted]

    def _evaluation(self, frames: Frame, places: sampling.Indices, scaled: Tensor | None = None) -> Tensor:
        """Evaluation clips (clips x crops, 3, T, size, size) uint8 of frames, whose resized form may be known."""
        used, at = np.unique(places, return_inverse=True)
        base = transforms.resized(frames[used], self.spec) if scaled is None else scaled[used]
        crops = transforms.evaluation_crops(base, self.spec, self.how.crops)
        return torch.stack([crop[:, picks] for picks in at.reshape(places.shape) for crop in crops])

    def _normalised(self, views: Tensor) -> Tensor:
        return transforms.normalise(views.to(self.device), self.spec.mean, self.spec.std)


def evaluation_batches(loader: ClipLoader, rows: Sequence[Mapping[str, Any]], size: int, threads: int) -> Iterator[Tensor]:
    """Batches (B, 3, T, H, W) of the evaluation clips of rows; a clip that cannot be read is named in the log and left out."""
    held: list[Tensor] = []
    loads = (partial(loader.evaluation, row) for row in rows)
    for row, clip in zip(rows, prefetched(loads, threads), strict=True):
        if isinstance(clip, MediaError):
            print(f"left out: {row['clip_id']}: {clip}")
        else:
            held.append(clip)
        if len(held) == size:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)
