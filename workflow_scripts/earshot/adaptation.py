"""Test-time adaptation: what a method sees and returns, and the stream of clips that it adapts to.

Our spec is `tta.md` section 1: from the source weights, one clip at a time, predict each clip with the model as the method
leaves it.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from earshot.errors import MediaError
from earshot.randomness import numpy_generator

NOT_APPLICABLE = math.nan
_DIAGNOSTICS = (
    "steps", "stop", "heard", "audio_class", "kappa", "alpha", "target_max", "loss_first", "loss_last", "agree",
)  # fmt: skip
Moments = tuple[Tensor, Tensor]  # mean and population variance (D,)


@dataclass(frozen=True)
class Evidence:
    """What an audio model heard: logits (A,), and whether there was anything to hear."""

    logits: Tensor
    heard: bool


@dataclass(frozen=True)
class Clip:
    """One clip as a method sees it: never its label. Views (V, 3, T, H, W), evaluation clip (1, 3, T, H, W)."""

    views: Tensor
    evaluation: Tensor
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Context:
    """What is known before the stream starts.

    `statistics` maps each aligned layer to the mean and variance (D,) of its output on clean training clips; `label_map`
    (A, K) holds weights in [0, 1] from audio classes to video classes; `episodic` says that every clip starts afresh.
    """

    statistics: Mapping[str, Moments] = field(default_factory=dict)
    label_map: Tensor | None = None
    episodic: bool = False


@dataclass(frozen=True)
class Outcome:
    """A method's prediction, logits (K,), and what it did; fields that do not apply keep their defaults."""

    logits: Tensor
    steps: int = 0
    stop: str = ""
    heard: bool = False
    audio_class: int = -1
    kappa: float = NOT_APPLICABLE
    alpha: float = NOT_APPLICABLE
    target_max: float = NOT_APPLICABLE
    loss_first: float = NOT_APPLICABLE
    loss_last: float = NOT_APPLICABLE
    agree: bool = False


class Adapter(Protocol):
    """What a plug-in's `Method` offers."""

    def adapt(self, clip: Clip) -> Outcome:
        """Adapt to one clip and predict it."""
        ...


def normalisation_layers(model: nn.Module) -> Iterator[nn.Module]:
    """All BatchNorm, LayerNorm and GroupNorm layers, in order."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
    return (layer for layer in model.modules() if isinstance(layer, kinds))


def freeze_batch_statistics(model: nn.Module) -> None:
    """Put every BatchNorm layer into evaluation mode: running statistics normalise and do not move."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            layer.eval()


@torch.no_grad()
def evaluate(model: nn.Module, clip: Tensor) -> Tensor:
    """Logits (K,) of one clip (1, 3, T, H, W), or the mean over views, in evaluation mode; restores the modes."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    logits = model(clip).mean(0)
    for layer, training in modes:
        layer.training = training
    return logits


def run_stream(
    plugin: ModuleType,
    hyper: Any,
    model: nn.Module,
    context: Context,
    clips: Iterable[Callable[[], Clip]],
) -> Iterator[tuple[Outcome | str, dict[str, float]]]:
    """Adapt to clips in order; yields an outcome, or why the clip could not be read, and times in ms.

    `model` holds the source weights and is left untouched: the method works on a copy. Each clip comes as a function that
    loads it, so that a clip that cannot be read costs only itself.
    """
    adapting = copy.deepcopy(model)
    method = plugin.Method(adapting, hyper, context)
    for load in clips:
        start = time.perf_counter()
        try:
            clip = load()
        except MediaError as error:
            yield str(error), {"decode": 0.0, "adapt": 0.0}
            continue
        loaded = time.perf_counter()
        if context.episodic:
            adapting = copy.deepcopy(model)
            method = plugin.Method(adapting, hyper, context)
        outcome = method.adapt(clip)
        done = time.perf_counter()
        times = {"decode": 1e3 * (loaded - start), "adapt": 1e3 * (done - loaded)}
        yield (outcome if bool(outcome.logits.isfinite().all()) else "non-finite logits"), times


def prediction_row(outcome: Outcome | str) -> dict[str, Any]:
    """The part of a predictions row that an outcome decides; a string is the reason why there is none."""
    if isinstance(outcome, str):
        nothing = dict.fromkeys(("confidence", "entropy"), NOT_APPLICABLE)
        empty = Outcome(torch.zeros(0))
        return {"available": False, "problem": outcome, "prediction": -1, "logits": [], **nothing, **_diagnostics(empty)}
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
    return {name: getattr(outcome, name) for name in _DIAGNOSTICS}


def stream_order(n: int, order: str, seed: int, dataset: str, corruption: str) -> list[int]:
    """The order in which `n` clips come: as listed, or a permutation keyed by (seed, dataset, corruption)."""
    if order == "listed":
        return list(range(n))
    return numpy_generator("stream", seed, dataset, corruption).permutation(n).tolist()
