"""Prompters: small trainable modules that let two frozen encoders, of frames and of sound, guide each other. A plug-in defines

* `Hyper`, a pydantic model (`knobs.Knobs`) with the paper's values as defaults;
* `RATE_HZ`, a literal: the rate of the waves that its encoders hear;
* `ENCODERS`, a literal: the kind of encoder pair that it is made for (`swin_htsat`, `swin_swin`, `clip_clap`);
* perhaps `PUBLISHED`, a literal: its name in published tables;
* `defaults(task) -> dict`: knobs that differ from those of `Hyper` where the publication used others for a task;
* `build(encoders, hyper) -> Prompter`, whose trainable parameters are those with `requires_grad`;
* `import_weights(state, model) -> state_dict`, from published key layouts to the trainable keys of `model`, strict.

Encoders that read the names of classes (`clip_clap`) are told them by `rename(classes)` of what `build` gives, whose weights do
not depend on them. `Encoded.named` then holds `clip_text` and `clap_text` (C + 1, E), a row for each name and the last for
background, and the scales of both, `clip_scale` and `clap_scale`, as stored.

Axes: B clips, T segments of one second, N = B T, L tokens, C channels, H and W pixels, S samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Widths(NamedTuple):
    """What a pair of encoders gives: channels of the last stage, and channels and side of the grid of every visual stage."""

    visual: int
    audio: int
    levels: tuple[int, ...]
    grids: tuple[int, ...]


@dataclass(frozen=True)
class Encoded:
    """N segments. `visual_map` and `audio_map` (N, L) are the weights of the tokens in the pooled vectors, summing to 1.

    `visual` (N, L, C) is normalised, `audio` is not, but where both share one encoder; `levels` are the visual tokens after
    every stage (N, L_i, C_i), the last normalised; `negatives` (N, L, C) are tokens of other frames from the plain frozen
    encoder, for tasks that ask for them. `named` holds what only some pairs give, such as vectors of class names.
    """

    visual: Tensor
    audio: Tensor
    visual_pooled: Tensor
    audio_pooled: Tensor
    visual_map: Tensor
    audio_map: Tensor
    levels: tuple[Tensor, ...]
    negatives: Tensor | None = None
    named: Mapping[str, Tensor] = field(default_factory=dict)


class Prompter(Protocol):
    """A pair of frozen encoders with trainable modules between them; an `nn.Module`."""

    widths: Widths
    checkpointing: bool  # whether what is inside positions is computed again instead of kept
    forward: Callable[..., Encoded]  # (frames, sound): what `look` and `listen` give

    def look(self, frames: Tensor) -> Tensor:
        """Frames (N, H, W, 3) uint8 as the visual encoder takes them."""

    def listen(self, waves: Tensor, segments: int) -> Tensor:
        """Waves (B, S) in [-1, 1] of whole clips as the audio encoder takes their B*T segments."""

    def plain(self, frames: Tensor) -> Tensor:
        """Tokens (N, L, C) of frames as `look` gives them, from the frozen visual encoder without any module."""

    def set_trunk_mode(self, mode: str) -> None:
        """`eval`, or `reference`: frozen encoders are in training mode whenever the rest is."""

    def finetune(self, sides: Sequence[str]) -> None:
        """Train encoders, of `visual` and `audio`, as a whole."""

    def estimate(self, clips: int, segments: int, checkpointing: bool = False) -> Any:
        """What a training step needs (`_estimate.Estimate`), known before anything is allocated."""

    def state(self) -> Mapping[str, Any]:
        """The tensors that training changes, and no others."""
