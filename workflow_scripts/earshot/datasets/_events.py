"""What the generated sets share: events in whole seconds, the sound of several of them, and lists on disk."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from earshot.datasets._sound import RATE, SOUND_OF_CLASS, Wave, ambience, limited, perform
from earshot.files import write_text

Kind = TypeVar("Kind")

SECONDS = 10  # of a video
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Size:
    """What a set is made of: its class names, its videos by split, and frames of `px` x `px`."""

    seed: int
    classes: tuple[str, ...]
    counts: Mapping[str, int]  # videos of each class
    fps: float
    px: int

    def labels(self, split: str) -> list[str]:
        """The class of every video of a split."""
        return [label for label in self.classes for _ in range(self.counts[split])]


@dataclass(frozen=True)
class Event:
    """A class with its times heard and seen in whole seconds, half-open; empty if it is not."""

    label: str
    heard: tuple[int, ...]
    seen: tuple[int, ...]


def call(job: Callable[[], None]) -> None:
    """Do a job: what worker processes are given."""
    job()


def allot(shares: Mapping[Kind, float], n: int, rng: np.random.Generator) -> list[Kind]:
    """`n` kinds in random order, their counts as close to the shares as whole numbers can be (largest remainders)."""
    kinds, exact = list(shares), n * np.array(list(shares.values()))
    counts = np.floor(exact + 1e-9).astype(int)
    for k in np.argsort(counts - exact, kind="stable")[: n - counts.sum()]:
        counts[k] += 1
    ordered = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [ordered[k] for k in rng.permutation(n)]


def times(rng: np.random.Generator) -> tuple[int, int]:
    """Onset and offset of an event of 2 s and more in a video."""
    length = int(rng.choice([2, 3, 4, 5, 6, 8, 10], p=[0.15, 0.2, 0.2, 0.15, 0.1, 0.1, 0.1]))
    onset = int(rng.integers(0, SECONDS - length + 1))
    return onset, onset + length


def seen_frames(events: Sequence[Event], fps: float) -> tuple[tuple[str, int, int], ...]:
    """What `_scene.render` draws of events: class, first frame, frame after the last."""
    return tuple((e.label, round(e.seen[0] * fps), round(e.seen[1] * fps)) for e in events if e.seen)


def mixed(events: Sequence[Event], rng: np.random.Generator, seconds: int = SECONDS) -> Wave:
    """Events over a faint background, (N,) at 16 kHz."""
    wave = ambience(seconds, rng) * np.float32(10 ** (rng.uniform(-52, -40) / 20))
    for event in events:
        if event.heard:
            onset, offset = event.heard
            sound = perform(str(rng.choice(SOUND_OF_CLASS[event.label])), offset - onset, rng)
            wave[onset * RATE : offset * RATE] += sound * np.float32(10 ** (rng.uniform(-30, -18) / 20))
    return limited(wave)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], tabs: bool = False) -> None:
    """Write a list as CSV, or as LLP has it: tab-separated with bare line feeds."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n") if tabs else csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a list that `write_csv` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
