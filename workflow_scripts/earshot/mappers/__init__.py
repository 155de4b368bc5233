"""Mappers: from the names of sounds to the names of video classes that they speak for, one file each. A plug-in defines

* `Options`, a pydantic model of its settings;
* `Mapper(question, options)` with

  * `identity`: what decides its answers besides the question, as plain values; `model` and `prompt` are told in the map;
  * `most_requests(sounds) -> int`: how often a server may be asked at most, for so many sounds; 0 if none is;
  * `ask(sounds) -> Iterator[Exchange]`: ask for those sounds; each exchange is kept before the next one is begun.

A map written by hand needs no mapper: name its JSON file in `label_maps:`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from earshot.label_map import Row, Target

_LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class Question:
    """Which of a dataset's video classes does each sound of an audio model speak for? `readable` are the classes in words."""

    dataset: str
    sounds: tuple[str, ...]
    classes: tuple[str, ...]
    readable: tuple[str, ...]


@dataclass(frozen=True)
class Exchange:
    """One request and its answer: the rows that were taken from it, and what was wrong with the rest."""

    rows: list[Row]
    request: Any = None
    answer: Any = None
    problems: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)  # names in accepted rows that no vocabulary knows
    tokens: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0


class MapperError(RuntimeError):
    """A mapper that cannot answer; the message says what to do, and holds no credentials."""


def rows_of(question: Question, sounds: Sequence[str], scores: np.ndarray, top: int, least: float, spread: float) -> list[Row]:
    """Rows from scores (sounds, classes): the best `top` classes of each sound whose score is above `least`.

    The weight of one is 1 - exp(-(its score - least) / spread); weights below 0.05 are left out.
    """
    rows = []
    for sound, line in zip(sounds, scores, strict=True):
        order = np.argsort(-line, kind="stable")[:top]
        weights = 1 - np.exp(-np.maximum(line[order] - least, 0) / spread)
        kept = [(int(c), float(w)) for c, w in zip(order, weights, strict=True) if w >= _LEAST_WEIGHT]
        targets = [Target(label=question.classes[c], weight=round(w, 4)) for c, w in kept]
        rows.append(Row(audio_label=sound, video_labels=targets))
    return rows


def called(model: str) -> str:
    """How results call a model: by its name on the hub, `owner/name`, or that of its file or folder, wherever that lies."""
    return model if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not model.endswith(".gguf") else Path(model).name


def place(model: str) -> str:
    """The path of a model on this machine, or its name on the hub as it is."""
    return str(Path(model).expanduser())
