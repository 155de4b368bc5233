"""Extractors: from videos, or from files that others made of them, to features of ten seconds, one file each. A plug-in has

* `MODALITY`, a literal: `audio` or `visual`;
* `FILES`, a literal: the folder of its published files below their root; empty: none are published;
* `WEIGHTS`, a literal: what it makes features of videos with: `checkpoint`, the manifest that `fetch_checkpoint` writes;
  `tagger` or `backbone`, weights that the workflow wrote; empty: it reads files only;
* perhaps `BACKBONES`, a literal: backbones that it works with, whose code is its own as well;
* `Options`, a pydantic model of what may vary;
* `spec(options) -> Extractor`: what its features are;

one with `FILES` also

* `pooled(array) -> array`, from a published file's shape to (10, D);

one with `WEIGHTS`

* `load(weights, options, device) -> Encoder`;

one with neither

* `make(clip_id, events, names, options) -> array`: features (10, D) of a clip, out of its rows in the table of events;

and one that can say which classes are there, for pseudo-labels,

* `class_vectors(weights, wanted, options) -> ClassVectors`.

Axes: B clips, D features, C classes of the dataset, A outputs of a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Extractor:
    """What an extractor makes: `dim` is D, 0 if its weights decide; `published` is the shape in a published file, if any."""

    title: str
    dim: int
    source: str
    published: tuple[int, ...] = ()


class Encoder(Protocol):
    """A model that makes features (10, `dim`) of videos; `origin` says what results tell of its weights."""

    dim: int
    origin: Mapping[str, Any]

    def read(self, path: Path) -> NDArray[Any]:
        """What the model needs of a video, decoded and cut to size on the CPU; raises MediaError. Threads may share it."""
        ...

    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """Features (B, 10, D) float32, on the CPU, of B videos as `read` gives them."""
        ...


@dataclass(frozen=True)
class Wanted:
    """The classes that pseudo-labels are about: names, a caption each, and, for taggers, the map of sounds to them."""

    names: tuple[str, ...]
    captions: tuple[str, ...]
    label_map: Path | None = None


@dataclass(frozen=True)
class ClassVectors:
    """What scores the classes of a dataset on features x (D,).

    A model has outputs by `weight` (A, D) and `bias` (A,): `scale` times the cosine of x and a row if `activation` is none,
    else the probability of x @ weight.T + bias. `members` (C, A) says which outputs speak for a class: the largest counts,
    and a class without any is never labelled. `background` (D,) is a caption of what is none of the classes.
    """

    weight: Tensor
    bias: Tensor
    members: Tensor
    activation: Literal["none", "softmax", "sigmoid"]
    scale: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)
    background: Tensor | None = None

    @classmethod
    def of_texts(cls, rows: Tensor, scale: float, facts: Mapping[str, Any], background: Tensor | None = None) -> "ClassVectors":
        """From an embedded caption (C, D) of each class and, if there is one, (D,) of what is none of them."""
        return cls(rows, torch.zeros(len(rows)), torch.eye(len(rows), dtype=torch.bool), "none", scale, facts, background)

    @classmethod
    def of_head(
        cls, head: nn.Linear, members: Tensor, activation: Literal["softmax", "sigmoid"], facts: Mapping[str, Any]
    ) -> "ClassVectors":
        """From the last layer of a model with outputs of its own."""
        bias = torch.zeros(head.out_features) if head.bias is None else head.bias.detach().cpu()
        return cls(head.weight.detach().cpu(), bias, members, activation, facts=facts)

    @property
    def table(self) -> Tensor:
        """A vector (C, D) of length 1 for each class, the mean of its outputs' rows; zeros for a class without any."""
        rows = functional.normalize(self.weight.double(), dim=1)
        return functional.normalize(self.members.double() @ rows, dim=1).float()

    @property
    def texts(self) -> Tensor:
        """`table` and, as a last row, what stands for no class, if the model has words for that: (C, D) or (C + 1, D)."""
        if self.background is None:
            return self.table
        return torch.cat([self.table, functional.normalize(self.background.double(), dim=0).float()[None]])
