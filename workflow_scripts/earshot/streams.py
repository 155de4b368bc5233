"""Streams of clips: their order, their batches, and a method that is led along them.

Our spec is `tta.md` sections 1 and 3. Under `online` what a method learns stays from clip to clip; under `episodic` every clip
starts afresh; under `two_pass`, as the reference evaluates its baselines, a method first adapts to the whole list and then
predicts all of it. Whatever a method does, no clip goes without a row: where its logits are not finite, the source model
answers, the method begins anew, and the row says `diverged`.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from earshot.adaptation import Adapter, Clip, Context, Outcome, evaluate
from earshot.contracts import DIVERGED
from earshot.errors import MediaError
from earshot.loading import prefetched
from earshot.randomness import numpy_generator

Result = tuple[Outcome | str, dict[str, float]]  # an outcome or why there is none, and times in ms


@dataclass(frozen=True)
class Arrival:
    """One clip of a stream: how to load it, the seed of what is random meanwhile, and which clips it may share a batch with."""

    load: Callable[[], Clip]
    seed: int = 0
    group: str = ""


class _Loaded:
    """A clip that came, or why it could not, and how long that took in ms."""

    def __init__(self, arrival: Arrival) -> None:
        start = time.perf_counter()
        self.seed, self.group = arrival.seed, arrival.group
        self.clip: Clip | str
        try:
            self.clip = arrival.load()
        except MediaError as error:
            self.clip = str(error)
        self.time = 1e3 * (time.perf_counter() - start)


class _Led:
    """A method with the copy of the source model that it adapts."""

    def __init__(self, plugin: ModuleType, hyper: Any, model: nn.Module, context: Context) -> None:
        self.plugin, self.hyper, self.source, self.context = plugin, hyper, model, context
        self.begin()

    def begin(self) -> None:
        """Start from the source weights, with nothing learnt."""
        self.method: Adapter = self.plugin.Method(copy.deepcopy(self.source), self.hyper, self.context)

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome | str]:
        """Adapt to a batch; where the method's logits are not finite, the source model's take their place."""
        outcomes = self.method.adapt(clips)
        kept = torch.stack([outcome.logits.isfinite().all() for outcome in outcomes]).tolist()  # read from the device at once
        if not all(kept):
            diverged = self.method
            self.begin()
            if hasattr(self.method, "succeed"):
                self.method.succeed(diverged)
        return [o if finite else self._recovered(o, c) for o, c, finite in zip(outcomes, clips, kept, strict=True)]

    def predict(self, outcome: Outcome, clip: Clip) -> Outcome | str:
        """The outcome with logits (K,) of the model as it is, in evaluation mode; of the source if they are not finite."""
        logits = evaluate(self.method.model, clip.evaluation)
        return replace(outcome, logits=logits) if _finite(logits) else self._recovered(outcome, clip)

    def _recovered(self, outcome: Outcome, clip: Clip) -> Outcome | str:
        logits = evaluate(self.source, clip.evaluation)
        return replace(outcome, logits=logits, steps=0, stop=DIVERGED) if _finite(logits) else "non-finite logits"


def run_stream(
    plugin: ModuleType, hyper: Any, model: nn.Module, context: Context, arrivals: Sequence[Arrival], batch: int = 1,
    threads: int = 1,
) -> Iterator[Result]:  # fmt: skip
    """Lead a method along a stream; yields one result for each arrival, in order.

    `model` holds the source weights and is left untouched: the method works on a copy. A clip that cannot be read costs
    only itself. Methods that take batches are given `batch` clips at a time, the others one; `threads` clips are loaded
    ahead. Raises NotApplicable if the backbone has nothing that the method adapts.
    """
    led = _Led(plugin, hyper, model, context)
    batches = partial(_batches, arrivals, batch if plugin.BATCHED else 1, threads)
    if not (context.two_pass and plugin.TWO_PASS):
        for loaded in batches():
            yield from _adapted(led, loaded)
        return
    start = time.perf_counter()
    if hasattr(led.method, "look"):
        for loaded in batches():
            led.method.look([one.clip for one in loaded if isinstance(one.clip, Clip)])
    looked = 1e3 * (time.perf_counter() - start) / max(1, len(arrivals))
    first = [result for loaded in batches() for result in _adapted(led, loaded)]
    second = (one for loaded in batches() for one in loaded)
    for (outcome, times), again in zip(first, second, strict=True):
        yield _predicted(led, outcome, {**times, "adapt": times["adapt"] + looked}, again)


def _batches(arrivals: Sequence[Arrival], size: int, threads: int) -> Iterator[list[_Loaded]]:
    held: list[_Loaded] = []
    for loaded in prefetched([partial(_Loaded, arrival) for arrival in arrivals], threads):
        assert isinstance(loaded, _Loaded)  # which takes errors in itself
        if held and held[0].group != loaded.group:
            yield held
            held = []
        held.append(loaded)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def _adapted(led: _Led, loaded: Sequence[_Loaded]) -> Iterator[Result]:
    """Results of one batch; the time of a batch is shared by its clips."""
    clips = [one.clip for one in loaded if isinstance(one.clip, Clip)]
    start = time.perf_counter()
    outcomes: list[Outcome | str] = []
    if clips:
        if led.context.episodic:
            led.begin()
        # dropout takes no generator of its own, so torch's is set before each batch, keyed as everything else
        torch.manual_seed(loaded[0].seed)
        outcomes = led.adapt(clips)
    spent = 1e3 * (time.perf_counter() - start) / max(1, len(clips))
    waiting = iter(outcomes)
    for one in loaded:
        if isinstance(one.clip, str):
            yield one.clip, {"decode": one.time, "adapt": 0.0}
        else:
            yield next(waiting), {"decode": one.time, "adapt": spent}


def _predicted(led: _Led, outcome: Outcome | str, times: dict[str, float], loaded: _Loaded) -> Result:
    """The second pass over a clip: what was done in the first, with the logits of the model as it is now."""
    if isinstance(outcome, str) or isinstance(loaded.clip, str):
        return outcome if isinstance(outcome, str) else str(loaded.clip), times
    start = time.perf_counter()
    answer = led.predict(outcome, loaded.clip)
    spent = 1e3 * (time.perf_counter() - start)
    return answer, {"decode": times["decode"] + loaded.time, "adapt": times["adapt"] + spent}


def _finite(logits: Tensor) -> bool:
    return bool(logits.isfinite().all())


def stream_order(n: int, order: str, seed: int, dataset: str, corruption: str) -> list[int]:
    """The order in which `n` clips come: as listed, or a permutation keyed by (seed, dataset, corruption)."""
    if order == "listed":
        return list(range(n))
    return numpy_generator("stream", seed, dataset, corruption).permutation(n).tolist()


def mixed_choice(conditions: int, seed: int, clip_id: str) -> int:
    """Which of the corruptions a clip comes with in a mixed stream, keyed by (seed, clip id): ViTTA, section 4.4."""
    return int(numpy_generator("mixed", seed, clip_id).integers(conditions))
