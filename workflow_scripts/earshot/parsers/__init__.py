"""Audio-visual video parsers: from features of ten seconds to what is heard and seen in each, one file each. A plug-in defines

* `Hyper`, a pydantic model with the paper's values as defaults. It has `optim` and `train` (see `_knobs`);
* `build(shape, hyper) -> nn.Module` that maps a `Batch` to an `Output`;
* `losses(output, batch, model, hyper) -> Losses`;
* `import_weights(state, model) -> state_dict`, from published key layouts to the keys of `model`, strict;
* perhaps `PUBLISHED`, a literal: its name in published tables;
* perhaps `PSEUDO_LABELS = False`, a literal, if it learns from weak labels alone;
* perhaps `shown(hyper) -> str`, if it also looks at pseudo-labels: where they come from at evaluation; empty: it does not.

Axes: B clips, T segments of one second, D features, C classes; modality 0 is audio and 1 visual.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

SEGMENTS = 10  # of one second: the task's (LLP, ECCV 2020)
AUDIO, VISUAL = 0, 1


@dataclass(frozen=True)
class Shape:
    """What a parser is built for: the sizes D of the features, 0 where a feature set has none, and the number of classes.

    `texts` are the vectors of classes (C, E) by modality, for parsers that read pseudo-labels as words.
    """

    audio: int
    visual: int
    motion: int
    classes: int
    texts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Clips: features (B, T, D), weak labels (B, C), and pseudo-labels (B, T, C) in {0, 1}.

    `heard` and `seen` are the pseudo-labels that losses learn from, masked by the weak labels. `shown` are those (B, T, 2, C)
    that a parser may look at, which at evaluation must not come from weak labels; None: it has to do without.
    """

    audio: Tensor
    visual: Tensor
    motion: Tensor | None
    weak: Tensor
    heard: Tensor
    seen: Tensor
    shown: Tensor | None = None

    def to(self, device: str) -> "Batch":
        """The same clips on a device."""
        parts: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        moved: dict[str, Any] = {name: part if part is None else part.to(device) for name, part in parts.items()}
        return Batch(**moved)


@dataclass(frozen=True)
class Output:
    """What a parser says: class logits (B, T, 2, C), scores of the whole clip, (B, C) and by modality (B, 2, C).

    The scores of the whole clip may exceed 1: the weights that they are summed with sum to at most 2. `encoded` are the
    features (B, T, 2, D) behind the logits, and `named` others that losses read, by name.
    """

    logits: Tensor
    video: Tensor
    by_modality: Tensor
    encoded: Tensor
    named: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Losses:
    """Weighted terms in nats by name, whose sum is minimised, and other scalars worth following from epoch to epoch."""

    terms: Mapping[str, Tensor]
    told: Mapping[str, Tensor] = field(default_factory=dict)
