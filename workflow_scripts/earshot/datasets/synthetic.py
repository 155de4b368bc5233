"""The demo set: twelve classes of drawn moving objects, their synthetic sounds, a sound bank and a small parsing set.

Everything is generated, nothing is downloaded; licence: MIT, like the project. `prepare` writes below the root

* `clips.csv` (`path,label,split,heard`) and `clips/`: H.264 video with AAC sound. `heard` says what the track really
  holds: the clip's class, another class, a sound of nothing seen, or `noise`, `silent` (digital silence), `none` (no
  audio stream). It is there to analyse results; a method must never see it;
* `sounds.csv` (`path,sound`) and `sounds/`: a sound bank to train an audio tagger on, its names worded differently;
* `parsing/`: 10 s videos with weak and dense labels in the file format of LLP, for the `parsing_folder` plug-in.

Every file depends only on the seed, its own name and its row in the lists; the lists are written last.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, Field

from earshot import media
from earshot.datasets import Dataset, Index
from earshot.datasets._scene import CLASSES, render
from earshot.datasets._sound import (
    RATE,
    SOUND_OF_CLASS,
    SOUNDS,
    UNRELATED,
    Wave,
    ambience,
    limited,
    perform,
    synthesize,
)
from earshot.datasets.folder import read_labels_csv
from earshot.files import write_text
from earshot.randomness import numpy_generator
from earshot.workers import over_items

SPEC = Dataset("Drawn objects with synthetic sounds", "classification", CLASSES, licence="MIT", citation="")

Kind = TypeVar("Kind")

_TRACKS = {"own": 0.85, "wrong": 0.07, "noise": 0.04, "silent": 0.02, "none": 0.02}
_STEREO = 0.15  # share of tracks in 44.1 kHz stereo
_EXCERPT = 2.0  # s
_PARSING = 10  # s
_PARSING_FPS = 8
_EVENTS = {1: 0.40, 2: 0.35, 3: 0.25}  # events in a parsing video
_MODES = {"aligned": 0.40, "heard": 0.20, "apart": 0.20, "seen": 0.20}


class Options(BaseModel, extra="forbid"):
    """Size of the set; counts are per class, per sound name or, for parsing, in all."""

    seed: int = Field(0, ge=0)
    classes: int = Field(len(CLASSES), ge=2, le=len(CLASSES), description="the first n classes")
    train: int = Field(24, ge=0)
    val: int = Field(4, ge=0)
    test: int = Field(10, ge=0)
    seconds: float = Field(2.0, ge=0.5, le=30)
    fps: float = Field(16, ge=4, le=60)
    size: int = Field(96, ge=32, le=512, multiple_of=2, description="px, height and width")
    sounds: int = Field(14, ge=0, description="excerpts per sound name")
    parsing_train: int = Field(24, ge=0)
    parsing_val: int = Field(0, ge=0, description="0: the parsing set has no validation list")
    parsing_test: int = Field(12, ge=0)


@dataclass(frozen=True)
class _Clip:
    path: str
    label: str
    split: str
    heard: str


@dataclass(frozen=True)
class _Event:
    """A class with its times heard and seen in whole seconds, half-open; empty if it is not."""

    label: str
    heard: tuple[int, ...]
    seen: tuple[int, ...]


@dataclass(frozen=True)
class _Video:
    name: str
    events: tuple[_Event, ...]


def index(root: Path, options: Options) -> Index:
    """List the classification clips; `prepare` must have run."""
    return Index(CLASSES[: options.classes], tuple(read_labels_csv(root / "clips.csv")))


def prepare(root: Path, options: Options, workers: int) -> None:
    """Write all files below `root`; running it again, also after it was killed, gives the same bytes."""
    clips, excerpts = _plan_clips(options), _plan_excerpts(options)
    videos = {split: _plan_videos(options, split) for split in ("train", "val", "test")}
    jobs: list[Callable[[], None]] = [partial(_write_video, root, options, v) for group in videos.values() for v in group]
    jobs += [partial(_write_clip, root, options, clip) for clip in clips]
    jobs += [partial(_write_excerpt, root, options, path, sound) for path, sound in excerpts]
    over_items(_call, jobs, workers, chunk=6)
    _write_parsing_lists(root / "parsing", videos)
    _write_csv(root / "sounds.csv", ("path", "sound"), excerpts)
    _write_csv(root / "clips.csv", ("path", "label", "split", "heard"), [(c.path, c.label, c.split, c.heard) for c in clips])


def _call(job: Callable[[], None]) -> None:
    job()


# --- what there is to write -------------------------------------------------------------------------------------------


def _allot(shares: Mapping[Kind, float], n: int, rng: np.random.Generator) -> list[Kind]:
    """`n` kinds in random order, their counts as close to the shares as whole numbers can be (largest remainders)."""
    kinds, exact = list(shares), n * np.array(list(shares.values()))
    counts = np.floor(exact + 1e-9).astype(int)
    for k in np.argsort(counts - exact, kind="stable")[: n - counts.sum()]:
        counts[k] += 1
    ordered = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    return [ordered[k] for k in rng.permutation(n)]


def _plan_clips(options: Options) -> list[_Clip]:
    clips, classes = [], CLASSES[: options.classes]
    for split, count in (("train", options.train), ("val", options.val), ("test", options.test)):
        tracks = iter(_allot(_TRACKS, count * len(classes), numpy_generator(options.seed, split, "tracks")))
        for number, label in enumerate(classes):
            for k in range(count):
                path = f"clips/{split}/{label}/{split}_{number:02d}_{k:03d}.mp4"
                clips.append(_Clip(path, label, split, _heard(next(tracks), label, classes, options.seed, path)))
    return clips


def _heard(track: str, label: str, classes: Sequence[str], seed: int, path: str) -> str:
    """What a track holds: a class, a sound of nothing seen, noise, silent or none."""
    if track == "own":
        return label
    if track != "wrong":
        return track
    rng = numpy_generator(seed, path, "heard")
    others = [name for name in classes if name != label]
    return str(rng.choice(others if rng.uniform() < 0.6 else UNRELATED))


def _plan_excerpts(options: Options) -> list[tuple[str, str]]:
    return [
        (f"sounds/sound_{number:02d}_{k:03d}.wav", sound) for number, sound in enumerate(SOUNDS) for k in range(options.sounds)
    ]


def _plan_videos(options: Options, split: str) -> list[_Video]:
    count = {"train": options.parsing_train, "val": options.parsing_val, "test": options.parsing_test}[split]
    rng = numpy_generator(options.seed, split, "events")
    sizes = _allot(_EVENTS, count, rng)
    modes = iter(_allot(_MODES, sum(sizes), rng))
    videos = []
    for k, size in enumerate(sizes):
        name = f"{split}_{k:04d}"
        own = numpy_generator(options.seed, name, "events")
        labels = own.choice(CLASSES[: options.classes], min(size, options.classes), replace=False)
        videos.append(_Video(name, tuple(_event(str(label), next(modes), own) for label in labels)))
    return videos


def _event(label: str, mode: str, rng: np.random.Generator) -> _Event:
    heard = _times(rng)
    seen = _times(rng)
    while seen == heard:
        seen = _times(rng)
    if mode == "aligned":
        return _Event(label, heard, heard)
    return _Event(label, () if mode == "seen" else heard, () if mode == "heard" else seen)


def _times(rng: np.random.Generator) -> tuple[int, ...]:
    length = int(rng.choice([2, 3, 4, 5, 6, 8, 10], p=[0.15, 0.2, 0.2, 0.15, 0.1, 0.1, 0.1]))
    onset = int(rng.integers(0, _PARSING - length + 1))
    return onset, onset + length


# --- writing it -------------------------------------------------------------------------------------------------------


def _write_clip(root: Path, options: Options, clip: _Clip) -> None:
    count = round(options.seconds * options.fps)
    look = numpy_generator(options.seed, clip.path, "picture")
    frames = render(((clip.label, 0, count),), count, options.fps, options.size, look)
    wave, rate = _track(clip, options.seconds, numpy_generator(options.seed, clip.path, "track"))
    media.write_video(root / clip.path, frames, options.fps, wave, rate)


def _track(clip: _Clip, seconds: float, rng: np.random.Generator) -> tuple[Wave | None, int]:
    """The sound track of a clip, (N,) or (N, 2), and its rate in Hz; None: no audio stream."""
    if clip.heard == "none":
        return None, RATE
    if clip.heard == "silent":
        return np.zeros(round(seconds * RATE), np.float32), RATE
    if clip.heard == "noise":
        wave = ambience(seconds, rng) * np.float32(10 ** (rng.uniform(-55, -42) / 20))
    else:
        wave = synthesize(str(rng.choice(SOUND_OF_CLASS.get(clip.heard, (clip.heard,)))), seconds, rng)
    return _as_stereo(wave, rng) if rng.uniform() < _STEREO else (wave, RATE)


def _as_stereo(wave: Wave, rng: np.random.Generator) -> tuple[Wave, int]:
    """The wave (N,) at 44.1 kHz, set somewhere between left and right: (M, 2)."""
    n, rate = len(wave), 44_100
    m = round(n * rate / RATE)
    finer = np.fft.irfft(np.fft.rfft(wave), m) * (m / n)
    side = rng.uniform(0.25, 0.75)
    return limited(np.stack([finer * (1 - side), finer * side], axis=1).astype(np.float32)), rate


def _write_excerpt(root: Path, options: Options, path: str, sound: str) -> None:
    media.write_wave(root / path, synthesize(sound, _EXCERPT, numpy_generator(options.seed, path)), RATE)


def _write_video(root: Path, options: Options, video: _Video) -> None:
    rng = numpy_generator(options.seed, video.name, "picture")
    seen = tuple((e.label, e.seen[0] * _PARSING_FPS, e.seen[1] * _PARSING_FPS) for e in video.events if e.seen)
    frames = render(seen, _PARSING * _PARSING_FPS, _PARSING_FPS, options.size, rng)
    wave = _mixed(video.events, numpy_generator(options.seed, video.name, "track"))
    media.write_video(root / "parsing" / "videos" / f"{video.name}.mp4", frames, _PARSING_FPS, wave, RATE)


def _mixed(events: Sequence[_Event], rng: np.random.Generator) -> Wave:
    """Events over a faint background, (N,) at 16 kHz."""
    wave = ambience(_PARSING, rng) * np.float32(10 ** (rng.uniform(-52, -40) / 20))
    for event in events:
        if event.heard:
            onset, offset = event.heard
            sound = perform(str(rng.choice(SOUND_OF_CLASS[event.label])), offset - onset, rng)
            wave[onset * RATE : offset * RATE] += sound * np.float32(10 ** (rng.uniform(-30, -18) / 20))
    return limited(wave)


def _write_parsing_lists(folder: Path, videos: Mapping[str, Sequence[_Video]]) -> None:
    for split, group in videos.items():
        weak = [(video.name, ",".join(event.label for event in video.events)) for video in group]
        path = folder / f"AVVP_{split}.csv"
        if split == "val" and not weak:
            path.unlink(missing_ok=True)  # of an earlier run with other options
        else:
            _write_csv(path, ("filename", "event_labels"), weak, tabs=True)
    header = ("filename", "onset", "offset", "event_labels")
    pairs = [(video.name, event) for split in ("val", "test") for video in videos[split] for event in video.events]
    heard = [(name, *event.heard, event.label) for name, event in pairs if event.heard]
    seen = [(name, *event.seen, event.label) for name, event in pairs if event.seen]
    _write_csv(folder / "AVVP_eval_audio.csv", header, heard, tabs=True)
    _write_csv(folder / "AVVP_eval_visual.csv", header, seen, tabs=True)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], tabs: bool = False) -> None:
    """Write a list as CSV, or as LLP has it: tab-separated with bare line feeds."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n") if tabs else csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
