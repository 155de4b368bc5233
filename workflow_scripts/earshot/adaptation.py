"""Test-time adaptation: what a method sees and returns.

Our spec is `tta.md` section 1: from the source weights, along a stream of clips, predict each clip with the model as the
method leaves it. `earshot.streams` runs the stream.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

NOT_APPLICABLE = math.nan
Moments = tuple[Tensor, Tensor]  # mean and population variance (D,)


class NotApplicable(ValueError):
    """A method has nothing to adapt in a backbone; the message says what is lacking. Tables show a dash."""


@dataclass(frozen=True)
class Evidence:
    """What an audio model heard: logits (A,), and whether there was anything to hear."""

    logits: Tensor
    heard: bool


@dataclass(frozen=True)
class Clip:
    """One clip as a method sees it: never its label.

    `evaluation` holds the clips (E, 3, T, H, W) whose mean logits are the prediction; `views` the augmented views
    (V, 3, T, H, W), none (V = 0) for a method that needs none; `redraw(n)` gives the n-th other draw of views.
    """

    views: Tensor
    evaluation: Tensor
    evidence: Evidence | None = None
    redraw: Callable[[int], Tensor] | None = None


@dataclass(frozen=True)
class Context:
    """What is known before the stream starts.

    `statistics` maps each aligned layer to the mean and variance (D,) of its output on clean training clips; `importance`
    each affine parameter to its Fisher information on them; `label_map` (A, K) holds weights in [0, 1] from audio classes to
    video classes, and `audio_activation` makes probabilities of audio logits; `last_stage` names the modules of the
    backbone's last stage, `mean` and `std` its pixels by channel. `episodic` says that every clip starts afresh, `two_pass`
    that the whole list is adapted to before it is predicted, and `clips` how many there are; `cuda_graphs` that the views'
    pass, forward and backward, is captured once and replayed.
    """

    statistics: Mapping[str, Moments] = field(default_factory=dict)
    label_map: Tensor | None = None
    audio_activation: str = "sigmoid"
    episodic: bool = False
    two_pass: bool = False
    clips: int = 0
    importance: Mapping[str, Tensor] = field(default_factory=dict)
    last_stage: Sequence[str] = ()
    cuda_graphs: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Outcome:
    """A method's prediction, logits (K,), and what it did; fields that do not apply keep their defaults.

    Numbers may be scalar tensors: they are read once the clip is done, so that a step never waits for the device.
    """

    logits: Tensor
    steps: int = 0
    stop: str = ""
    heard: bool = False
    audio_class: int = -1
    kappa: float | Tensor = NOT_APPLICABLE
    alpha: float | Tensor = NOT_APPLICABLE
    target_max: float | Tensor = NOT_APPLICABLE
    loss_first: float | Tensor = NOT_APPLICABLE
    loss_last: float | Tensor = NOT_APPLICABLE
    agree: bool | Tensor = False


class Adapter(Protocol):
    """What a plug-in's `Method` offers. `model` is what predicts; without further ado, in evaluation mode."""

    model: nn.Module

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Adapt to a batch of clips and predict each of them; a method that takes no batches is given one clip."""
        ...


def layers_where(model: nn.Module, kinds: type | tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Names and layers of some kinds, in order."""
    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, kinds))


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)


def freeze_batch_statistics(model: nn.Module) -> None:
    """Put every BatchNorm layer into evaluation mode: running statistics normalise and do not move."""
    for _, layer in layers_where(model, BATCH_NORMS):
        layer.eval()


def logits_of(model: nn.Module, clips: Sequence[Clip]) -> Tensor:
    """Logits (B, K) of the evaluation clips of a batch, in one pass and in the model's present mode."""
    return per_clip(model(together(clips)), clips)


def together(clips: Sequence[Clip]) -> Tensor:
    """The evaluation clips of a batch, one after the other: (B * E, 3, T, H, W)."""
    return clips[0].evaluation if len(clips) == 1 else torch.cat([clip.evaluation for clip in clips])


def per_clip(values: Tensor, clips: Sequence[Clip]) -> Tensor:
    """Means (B, ...) over the evaluation clips of each clip of a batch: values (B * E, ...)."""
    return values.unflatten(0, (len(clips), -1)).mean(1)


@torch.no_grad()
def evaluate(model: nn.Module, clip: Tensor) -> Tensor:
    """Logits (K,) of one clip (1, 3, T, H, W), or the mean over views, in evaluation mode; restores the modes."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    logits = model(clip).mean(0)
    for layer, training in modes:
        layer.training = training
    return logits


_FLOATS = ("kappa", "alpha", "target_max", "loss_first", "loss_last")
_EMPTY = Outcome(torch.zeros(0))


def prediction_row(outcome: Outcome | str) -> dict[str, Any]:
    """The part of a predictions row that an outcome decides; a string is the reason why there is none."""
    if isinstance(outcome, str):
        nothing = dict.fromkeys(("confidence", "entropy"), NOT_APPLICABLE)
        return {"available": False, "problem": outcome, "prediction": -1, "logits": [], **nothing, **_diagnostics(_EMPTY)}
    logits = outcome.logits.double().cpu()
    log_probabilities = logits.log_softmax(0)
    best = int(logits.argmax())
    return {
        "available": True,
        "problem": "",
        "prediction": best,
        "confidence": float(log_probabilities[best].exp()),
        "entropy": float(-(log_probabilities.exp() * log_probabilities).nansum()),
        "logits": outcome.logits.float().cpu().tolist(),
        **_diagnostics(outcome),
    }


def _diagnostics(outcome: Outcome) -> dict[str, Any]:
    plain = {name: getattr(outcome, name) for name in ("steps", "stop", "heard", "audio_class")}
    return {**plain, **{name: float(getattr(outcome, name)) for name in _FLOATS}, "agree": bool(outcome.agree)}
