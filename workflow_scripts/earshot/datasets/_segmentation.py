"""Generated videos of 5 s for segmentation: one of two or three objects sounds, as in AVSBench S4, and a mask shows it.

All are seen all the time, so that only the sound tells which one is meant; its label is the class of the video. `prepare`
writes `videos/`; `frames/` and `masks/`, one PNG for the middle of each second, which are meant to be used together, as no
codec changed them; `masks.csv` (`path,second,mask`) and `clips.csv` (`path,label,split`). Classes without one solid outline
are left out.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from earshot import media
from earshot.datasets import Index, MaskRow, Parts
from earshot.datasets._events import SPLITS, Event, Size, call, mixed, read_csv, seen_frames, write_csv
from earshot.datasets._scene import OUTLINED, render_with_outlines
from earshot.datasets._sound import RATE
from earshot.datasets.folder import read_labels_csv
from earshot.files import atomic_path
from earshot.randomness import numpy_generator
from earshot.workers import over_items

AVAILABLE = OUTLINED
_SECONDS = 5
_LEAST = 0.03  # of the picture that the object covers where it is seen

Frames = NDArray[np.uint8]


def index(root: Path, size: Size) -> Index:
    """The videos and their masks; raises DatasetError for a list that cannot be used."""
    masks = [MaskRow(row["path"], int(row["second"]), row["mask"]) for row in read_csv(root / "masks.csv")]
    return Index(size.classes, tuple(read_labels_csv(root / "clips.csv")), masks=tuple(masks))


def prepare(root: Path, size: Size, workers: int) -> None:
    """Write all files below `root`; running it again gives the same bytes."""
    named = [(f"videos/{split}_{k:04d}.mp4", label, split) for split in SPLITS for k, label in enumerate(size.labels(split))]
    over_items(call, [partial(_write, root, size, path, label) for path, label, _ in named], workers, chunk=4)
    rows = [(path, second, mask) for path, _, _ in named for second, mask in enumerate(_files("masks", path))]
    write_csv(root / "masks.csv", ("path", "second", "mask"), rows)
    write_csv(root / "clips.csv", ("path", "label", "split"), named)


def parts(root: Path, video: str) -> Parts:
    """The frames that the masks are of; the sound is the video's."""
    return Parts(tuple(root / name for name in _files("frames", video)), seconds=_SECONDS)


def _files(folder: str, video: str) -> list[str]:
    return [f"{folder}/{Path(video).stem}_{second}.png" for second in range(_SECONDS)]


def _write(root: Path, size: Size, path: str, label: str) -> None:
    rng = numpy_generator(size.seed, "segmentation", path)
    middles = [int((second + 0.5) * size.fps) for second in range(_SECONDS)]
    frames, masks, events = _drawn(size, label, middles, rng)
    media.write_video(root / path, frames, size.fps, mixed(events, rng, _SECONDS), RATE)
    for folder, pictures in (("frames", frames[middles]), ("masks", masks)):
        for name, picture in zip(_files(folder, path), pictures, strict=True):
            with atomic_path(root / name) as temporary:
                Image.fromarray(picture).save(temporary)


def _drawn(size: Size, label: str, middles: list[int], rng: np.random.Generator) -> tuple[Frames, Frames, list[Event]]:
    """The picture (T, H, W, 3), masks (5, H, W) of the object that sounds, and the events; redrawn where it is hidden."""
    while True:
        events = _plan(label, size, rng)
        seen, count = seen_frames(events, size.fps), round(_SECONDS * size.fps)
        frames, outlines = render_with_outlines(seen, count, size.fps, size.px, rng, middles)
        own = outlines[[event.label for event in events].index(label)]
        if own.mean((1, 2)).min() > _LEAST:
            return frames, own.astype(np.uint8) * 255, events


def _plan(label: str, size: Size, rng: np.random.Generator) -> list[Event]:
    """The object that sounds among one or two that do not, in random order."""
    others = [name for name in size.classes if name != label]
    silent = rng.choice(others, min(int(rng.integers(1, 3)), len(others)), replace=False)
    whole = (0, _SECONDS)
    events = [Event(label, whole, whole), *(Event(str(name), (), whole) for name in silent)]
    return [events[k] for k in rng.permutation(len(events))]
