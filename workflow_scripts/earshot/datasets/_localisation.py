"""Generated videos of 10 s for localisation: one class is seen and heard together in one run of seconds, as in AVE.

Before and after the run there is nothing but background, or another class is only seen, or only heard, or one is seen while
another is heard. So one modality alone tells the event in some videos, and misleads in others. `prepare` writes `videos/`,
`events.csv` (`path,modality,label,onset,offset`: of the video's class, in seconds) and `clips.csv` (`path,label,split`).
"""

from functools import partial
from pathlib import Path

import numpy as np

from earshot import media
from earshot.datasets import EventRow, Index
from earshot.datasets._events import SECONDS, SPLITS, Event, Size, call, mixed, read_csv, seen_frames, times, write_csv
from earshot.datasets._scene import CLASSES, render
from earshot.datasets._sound import RATE
from earshot.datasets.folder import read_labels_csv
from earshot.randomness import numpy_generator
from earshot.workers import over_items

AVAILABLE = CLASSES
_BACKGROUNDS = ("nothing", "seen", "heard", "apart")


def index(root: Path, size: Size) -> Index:
    """The videos, each with the event of its class; raises DatasetError for a list that cannot be used."""
    events = [
        EventRow(row["path"], row["modality"], row["label"], float(row["onset"]), float(row["offset"]))
        for row in read_csv(root / "events.csv")
    ]
    return Index(size.classes, tuple(read_labels_csv(root / "clips.csv")), tuple(events))


def prepare(root: Path, size: Size, workers: int) -> None:
    """Write all files below `root`; running it again gives the same bytes."""
    named = [(f"videos/{split}_{k:04d}.mp4", label, split) for split in SPLITS for k, label in enumerate(size.labels(split))]
    videos = {path: _plan(path, label, size) for path, label, _ in named}
    over_items(call, [partial(_write, root, size, path, events) for path, events in videos.items()], workers, chunk=4)
    own = [(path, next(event for event in videos[path] if event.heard == event.seen)) for path, _, _ in named]
    rows = [(path, side, event.label, *event.heard) for path, event in own for side in ("audio", "visual")]
    write_csv(root / "events.csv", ("path", "modality", "label", "onset", "offset"), rows)
    write_csv(root / "clips.csv", ("path", "label", "split"), named)


def _plan(path: str, label: str, size: Size) -> list[Event]:
    """The event and what is around it, in random order: their places in the picture tell nothing."""
    rng = numpy_generator(size.seed, "localisation", path, "events")
    onset, offset = times(rng)
    others = [name for name in size.classes if name != label]
    around = [_background(span, others, rng) for span in ((0, onset), (offset, SECONDS)) if span[0] < span[1]]
    events = [Event(label, (onset, offset), (onset, offset)), *(event for part in around for event in part)]
    return [events[k] for k in rng.permutation(len(events))]


def _background(span: tuple[int, int], others: list[str], rng: np.random.Generator) -> list[Event]:
    """What is seen or heard in a span of seconds, if anything, but never both of the same class."""
    kind = str(rng.choice(_BACKGROUNDS))
    seen, heard = (str(name) for name in rng.choice(others, 2, replace=len(others) < 2))
    if kind == "apart" and seen == heard:
        kind = "seen"
    return [Event(seen, (), span)] * (kind in ("seen", "apart")) + [Event(heard, span, ())] * (kind in ("heard", "apart"))


def _write(root: Path, size: Size, path: str, events: list[Event]) -> None:
    look = numpy_generator(size.seed, "localisation", path, "picture")
    frames = render(seen_frames(events, size.fps), round(SECONDS * size.fps), size.fps, size.px, look)
    wave = mixed(events, numpy_generator(size.seed, "localisation", path, "track"))
    media.write_video(root / path, frames, size.fps, wave, RATE)
