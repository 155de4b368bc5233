"""Features that are made up: noise, and for each class a direction of its own where the class is.

For running everything on lists whose videos and feature files are not at hand; the shapes are those of real features. Where
a clip has dense events, they say where its classes are; where it has weak labels alone, it is drawn whether each class is
heard, seen or both, and when, so that something is left to be found. What is drawn depends on seed, clip and class.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from earshot.extractors import ClassVectors, Extractor, Wanted
from earshot.parsers import SEGMENTS
from earshot.randomness import numpy_generator


class Options(BaseModel, extra="forbid"):
    """Size, seed and strength."""

    dim: int = Field(768, ge=1, description="D: 768 as CLAP and CLIP, 2048 as ResNet-152, 512 as R(2+1)D, 128 as VGGish")
    seed: int = 0
    signal: float = Field(0.0, ge=0, description="length of a class's direction, that of the noise being 1; 0: noise alone")


def spec(options: Options) -> Extractor:
    """Vectors of `dim` numbers."""
    return Extractor("made up", options.dim, "this workflow")


def make(
    modality: str, clip_id: str, events: Sequence[Mapping[str, Any]], names: Sequence[str], options: Options
) -> NDArray[np.float32]:
    """Features (10, D) of a clip, of which `events` are the rows in the table of events."""
    keys = ("synthetic features", modality, options.seed, options.dim, clip_id)
    noise = numpy_generator(*keys).standard_normal((SEGMENTS, options.dim)) / np.sqrt(options.dim)
    active = placed(modality, clip_id, events, names, options.seed)
    return (noise + options.signal * (active @ directions(modality, names, options))).astype(np.float32)


def placed(
    modality: str, clip_id: str, events: Sequence[Mapping[str, Any]], names: Sequence[str], seed: int
) -> NDArray[np.float64]:
    """Where classes are heard or seen, (10, C) of 0 and 1."""
    active = np.zeros((SEGMENTS, len(names)))
    weak = all(event["modality"] == "weak" for event in events)
    for event in events:
        if weak:
            when = drawn(seed, clip_id, names[event["class_id"]]).get(modality, slice(0))
        else:
            when = slice(int(event["onset"]), int(event["offset"])) if event["modality"] == modality else slice(0)
        active[when, event["class_id"]] = 1
    return active


def directions(modality: str, names: Sequence[str], options: Options) -> NDArray[np.float64]:
    """A direction (C, D) of length 1 for each class."""
    return _directions(modality, tuple(names), options.seed, options.dim)


@lru_cache(maxsize=4)  # the same for all clips
def _directions(modality: str, names: tuple[str, ...], seed: int, dim: int) -> NDArray[np.float64]:
    keys = ("synthetic directions", modality, seed, dim)
    rows = np.stack([numpy_generator(*keys, name).standard_normal(dim) for name in names])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def class_vectors(modality: str, wanted: Wanted, options: Options) -> ClassVectors:
    """The classes' directions; scores are cosines."""
    rows = torch.from_numpy(directions(modality, wanted.names, options)).float()
    return ClassVectors.of_texts(rows, 1.0, {})


def drawn(seed: int, clip_id: str, name: str) -> dict[str, slice]:
    """Where a weakly labelled class is heard and seen: seconds by modality, at least one of them."""
    rng = numpy_generator("synthetic events", seed, clip_id, name)
    kinds = (("audio", "visual"), ("audio",), ("visual",))[rng.choice(3, p=[0.5, 0.3, 0.2])]
    return {modality: _seconds(rng) for modality in kinds}


def _seconds(rng: np.random.Generator) -> slice:
    length = int(rng.integers(2, SEGMENTS + 1))
    onset = int(rng.integers(0, SEGMENTS - length + 1))
    return slice(onset, onset + length)
