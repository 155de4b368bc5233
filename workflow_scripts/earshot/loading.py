"""From rows of `clips.parquet` to model input: each needed frame is decoded once and kept while memory allows."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earshot import sampling, transforms
from earshot.adaptation import Clip, Evidence
from earshot.backbones import Backbone
from earshot.errors import MediaError
from earshot.frames import Frame, Frames, frames_of
from earshot.randomness import numpy_generator

_LOST = 2  # frames that a decoder may drop at the end of a stream before the file counts as truncated


class FrameCache:
    """Frames by clip, up to a size in MB; what does not fit is read again when it is asked for."""

    def __init__(self, megabytes: int) -> None:
        self.left = megabytes * 1_000_000
        self.held: dict[str, dict[int, Frame]] = {}

    def frames(self, source: Frames, row: Mapping[str, Any], indices: Sequence[int]) -> Frame:
        """The frames (T, H, W, 3) of a clip at `indices`; raises MediaError if the file cannot give them."""
        name = row["clip_id"]
        found = self.held.get(name)
        if found is None or not set(indices) <= set(found):
            found = _complete(source.read(row, indices), indices)
            size = sum(frame.nbytes for frame in found.values())
            if name not in self.held and size <= self.left:
                self.held[name] = found
                self.left -= size
        return np.stack([found[index] for index in indices])


def _complete(found: dict[int, Frame], indices: Sequence[int]) -> dict[int, Frame]:
    last, wanted = max(found), max(indices)
    if wanted - last > _LOST:
        raise MediaError(f"truncated: frame {wanted} is missing, the last one that decodes is {last}")
    return {index: found[min(index, last)] for index in set(indices)}


class ClipLoader:
    """Builds what a method sees of a clip: its evaluation clip and its augmented views, as one batch of decoded frames."""

    def __init__(self, spec: Backbone, source: Frames, cache: FrameCache, device: str, views: int, index_base: int = 0) -> None:
        self.spec, self.source, self.cache, self.device = spec, source, cache, device
        self.views, self.index_base = views, index_base

    @classmethod
    def of_corrupted(
        cls, table: str, root: str, spec: Backbone, cache: FrameCache, device: str, views: int, index_base: int
    ) -> "ClipLoader":
        """For the clips of a table of corrupted ones; `root` is the folder of the clean ones."""
        before = partial(transforms.resize_and_crop, resize=spec.resize, size=spec.size)
        return cls(spec, frames_of(table, root, before), cache, device, views, index_base)

    def load(self, row: Mapping[str, Any], seed: int, evidence: Evidence | None = None) -> Clip:
        """The clip of a row of `clips.parquet`; views depend only on (seed, clip id, view)."""
        spec, n = self.spec, row["frames"]
        middle = sampling.uniform(n, spec.frames, self.index_base)
        spread = sampling.uniform_equidistant(n, spec.frames, self.views, self.index_base)
        wanted, place = np.unique(np.concatenate([middle, spread.ravel()]), return_inverse=True)
        frames = self.cache.frames(self.source, row, wanted.tolist())
        height, width = frames.shape[1:3]
        views = []
        for view, picks in enumerate(place[spec.frames :].reshape(self.views, spec.frames)):
            crop = transforms.random_crop(width, height, spec.size, numpy_generator("view", seed, row["clip_id"], view))
            views.append(transforms.augmented_view(frames[picks], crop, spec.size))
        evaluation = self._evaluation(frames[place[: spec.frames]])
        return Clip(self._normalised(torch.stack(views)), self._normalised(evaluation[None]), evidence)

    def evaluation(self, row: Mapping[str, Any]) -> Tensor:
        """The evaluation clip alone: (1, 3, T, size, size)."""
        picks = sampling.uniform(row["frames"], self.spec.frames, self.index_base)
        wanted, place = np.unique(picks, return_inverse=True)
        frames = self.cache.frames(self.source, row, wanted.tolist())[place]
        return self._normalised(self._evaluation(frames)[None])

    def _evaluation(self, frames: Frame) -> Tensor:
        """The centre of the frames; they are it already if they were cut before they were corrupted."""
        resize = self.spec.size if self.source.before else self.spec.resize
        return transforms.evaluation_view(frames, resize, self.spec.size)

    def _normalised(self, views: Tensor) -> Tensor:
        return transforms.normalise(views.to(self.device), self.spec.mean, self.spec.std)
