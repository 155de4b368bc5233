"""Tasks for prompted encoders: a head on what they give, its losses, and what of it is scored; one file each. A plug-in defines

* `Hyper`, a pydantic model (`knobs.Knobs`) with the published values; its groups include `optim` and `train`;
* `SEGMENTS` and `FRAME_PX`, literals: how many segments a clip has, and the side of the frames that the loader gives;
* `TRUTH`, a literal: which labels a batch holds, of `LABELS`;
* `METRICS`, a literal: names of its scores in the order of a table; `SELECT_BY`, a literal: the one that chooses the epoch;
* `PUBLISHED`, a literal: the table of published numbers beside which its results stand;
* `build(shape, hyper) -> nn.Module` whose `forward(encoded, batch)` gives named tensors (a mapping);
* `losses(output, batch, hyper, epoch) -> Losses`; epochs count from 1;
* `predict(output, batch) -> Tensor` (B, ...) float32: what is kept of each clip or question, of one shape for a task and set;
* `per_item(scores, truth) -> dict` from what was kept (N, ...) and the labels of N items (NumPy, the names of `TRUTH`) to the
  score (N,) of every item by metric, in [0, 1]; NaN where a metric does not apply to an item;
* `import_weights(state, head) -> state_dict`, from published key layouts to the keys of `head`, strict.

Axes: B clips (or questions), T segments, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

LABELS = {
    "segments": "(B, T) int64: class of each segment; C where there is only background",
    "label": "(B,) int64: class of the clip",
    "weak": "(B, C) float32: classes that are somewhere in the clip",
    "dense": "(B, 2, C, T) bool: what is heard and seen in each second; known for evaluation only",
    "motion": "(B, T, D) float32: R(2+1)D features",
    "masks": "(B, T, H, W) uint8: 1 sounding object, 0 none, 255 not annotated",
    "question": "(B, 14) int64: word numbers; 0 is padding",
    "answer": "(B,) int64: class of the answer",
    "kind": "(B,) int64: place of the question's type in `questions.KINDS`",
    "negatives": "(B, T, H, W, 3) uint8: frames of other clips",
}


@dataclass(frozen=True)
class Shape:
    """What a head is built for: channels C of both pooled vectors; channels and grid sides of the visual stages.

    `words` is the size of the vocabulary of questions with its padding, `motion` that of motion features; 0: there are none.
    """

    visual: int
    audio: int
    levels: tuple[int, ...]
    grids: tuple[int, ...]
    classes: tuple[str, ...]
    words: int = 0
    motion: int = 0


@dataclass(frozen=True)
class Batch:
    """Clips: frames (B, T, H, W, 3) uint8, waves (B, S) float32 in [-1, 1], and the labels that the task asks for, by name."""

    frames: Tensor
    waves: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: str) -> "Batch":
        """The same clips on a device."""
        return Batch(self.frames.to(device), self.waves.to(device), {k: v.to(device) for k, v in self.labels.items()})


@dataclass(frozen=True)
class Losses:
    """Weighted terms by name, whose sum is minimised, and other scalars worth following from epoch to epoch."""

    terms: Mapping[str, Tensor]
    told: Mapping[str, Any] = field(default_factory=dict)
