"""A corruption at work on the frames of one clip, the same for a stream that is encoded and for single frames in memory.

Every frame has a generator of its own, keyed by (seed, clip, corruption, severity, frame number), so a frame comes out the
same in whatever company and order it is asked for.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot import plugins
from earshot.randomness import numpy_generator

Frame = NDArray[np.uint8]
_EVERY = 60.0  # seconds between two lines of progress within a clip


@dataclass(frozen=True)
class Recipe:
    """What decides a corrupted clip, apart from the clip and from how it is encoded."""

    corruption: str
    severity: int  # 1 to 5; 0 for `clean`
    preset: str
    temporal: str  # per_frame | per_clip
    seed: int

    @property
    def module(self) -> Any:
        """The plug-in."""
        return plugins.load("corruptions", self.corruption)

    @property
    def value(self) -> Any:
        """The parameter of the plug-in at this severity."""
        return self.module.SPEC.value(self.preset, self.severity)

    def generator(self, clip_id: str, what: int | str) -> np.random.Generator:
        """The generator of a frame by its number, or of what is drawn once for a clip by another name."""
        return numpy_generator(self.seed, clip_id, self.corruption, self.severity, what, bits=128)

    def warm(self) -> None:
        """Compile the kernel, or load it compiled, so that processes forked from here have it."""
        if hasattr(self.module, "apply") and self.severity:
            Corrupter(self, "", 1, 25.0).frame(0, np.zeros((32, 32, 3), np.uint8))


class Corrupter:
    """Corrupts frames (H, W, 3) uint8 of one clip of `count` frames at `fps`, by a plug-in that works on frames."""

    def __init__(self, recipe: Recipe, clip_id: str, count: int, fps: float) -> None:
        self.recipe, self.clip_id, self.count, self.fps = recipe, clip_id, count, fps
        self.module, self.value = recipe.module, recipe.value
        self.fixed = recipe.temporal == "per_clip" and self.module.SPEC.randomness == "layer"
        self.layer: Any = None

    def _along_time(self, number: int) -> Sequence[int] | None:
        sources = getattr(self.module, "sources", None)
        found: Sequence[int] | None = sources(number, self.count, self.fps, self.value) if sources else None
        return found

    def needs(self, number: int) -> Sequence[int]:
        """Numbers of the clean frames that corrupted frame `number` is made of, in order."""
        return self._along_time(number) or [number]

    def frame(self, number: int, frame: Frame) -> Frame:
        """Corrupt frame `number` by itself."""
        drawn = None
        if hasattr(self.module, "draw"):
            if self.fixed:
                self.layer = self._drawn(frame, "clip") if self.layer is None else self.layer
            drawn = self.layer if self.fixed else self._drawn(frame, number)
        out: Frame = self.module.apply(frame, self.value, drawn)
        return out

    def _drawn(self, frame: Frame, what: int | str) -> Any:
        return self.module.draw(*frame.shape[:2], self.value, self.recipe.generator(self.clip_id, what))

    def _made(self, number: int, clean: Mapping[int, Frame]) -> Frame:
        sources = self._along_time(number)
        if not sources:
            return self.frame(number, clean[number])
        out: Frame = self.module.combine([clean[source] for source in sources], self.value)
        return out

    def pick(self, numbers: Iterable[int], read: Callable[[Iterable[int]], Mapping[int, Frame]]) -> dict[int, Frame]:
        """Only the frames of these numbers, given how to read clean ones; a number that cannot be read is left out."""
        wanted = sorted(set(numbers))
        clean = read(sorted({source for number in wanted for source in self.needs(number)}))
        return {number: self._made(number, clean) for number in wanted if set(self.needs(number)) <= set(clean)}

    def stream(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Frame]]:
        """All frames in order, each with its clean one: (clean, corrupted); holds no more of them than the corruption needs."""
        start = said = time.monotonic()
        held: dict[int, Frame] = {}
        waiting: deque[int] = deque()
        for number, frame in enumerate(frames):
            held[number] = frame
            waiting.append(number)
            while waiting and max(self.needs(waiting[0])) <= number:
                yield self._pair(waiting.popleft(), held)
            if (now := time.monotonic()) - said > _EVERY:
                said = now
                print(f"{self.clip_id}: frame {number + 1} of {self.count}, {number / (now - start):.1f} a second", flush=True)
        last = max(held, default=-1)
        for number in waiting:  # the file ended before the frame count said
            held |= {source: held[last] for source in self.needs(number) if source > last}
            yield self._pair(number, held)

    def _pair(self, number: int, held: dict[int, Frame]) -> tuple[Frame, Frame]:
        pair = held[number], self._made(number, held)
        if number + 1 < self.count:
            oldest = min(min(self.needs(number + 1)), number + 1)
            for done in [key for key in held if key < oldest]:
                del held[done]
        return pair
