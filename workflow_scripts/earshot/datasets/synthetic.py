"""The demo set: twelve classes of drawn moving objects, their synthetic sounds, a sound bank and a small parsing set.

Everything is generated, nothing is downloaded; licence: MIT, like the project. `prepare` writes below the root

* `clips.csv` (`path,label,split,heard`) and `clips/`: H.264 video with AAC sound. `heard` says what the track really
  holds: the clip's class, another class, a sound of nothing seen, or `noise`, `silent` (digital silence), `none` (no
  audio stream). It is there to analyse results; a method must never see it;
* `sounds.csv` (`path,sound`) and `sounds/`: a sound bank to train an audio tagger on, its names worded differently;
* `parsing/`: 10 s videos with weak and dense labels in the file format of LLP, for the `parsing_folder` plug-in.

The option `kind` asks for a set for prompting instead: see `_localisation`, `_segmentation` and `_answering`.

Every file depends only on the seed, its own name and its row in the lists; the lists are written last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from earshot import media
from earshot.datasets import Dataset, Index, Parts, _answering, _localisation, _segmentation
from earshot.datasets._events import SECONDS, Event, Size, allot, call, mixed, seen_frames, times, write_csv
from earshot.datasets._scene import CLASSES, render
from earshot.datasets._sound import (
    RATE,
    SOUND_OF_CLASS,
    SOUNDS,
    UNRELATED,
    Wave,
    ambience,
    limited,
    synthesize,
)
from earshot.datasets.folder import read_labels_csv
from earshot.randomness import numpy_generator
from earshot.workers import over_items

SPEC = Dataset("Drawn objects with synthetic sounds", "classification", CLASSES, licence="MIT", citation="")

_TRACKS = {"own": 0.85, "wrong": 0.07, "noise": 0.04, "silent": 0.02, "none": 0.02}
_STEREO = 0.15  # share of tracks in 44.1 kHz stereo
_EXCERPT = 2.0  # s
_PARSING_FPS = 8
_EVENTS = {1: 0.40, 2: 0.35, 3: 0.25}  # events in a parsing video
_MODES = {"aligned": 0.40, "heard": 0.20, "apart": 0.20, "seen": 0.20}
_SETS: dict[str, Any] = {"localisation": _localisation, "segmentation": _segmentation, "answering": _answering}
_CLASSIFICATION = frozenset({"seconds", "sounds", "parsing_train", "parsing_val", "parsing_test"})  # options of that kind


class Options(BaseModel, extra="forbid"):
    """Kind and size of the set; counts are per class, per sound name or, for parsing, in all.

    The sets for prompting have a length of their own, neither sounds nor parsing videos, and `train`, `val` and `test` videos
    times the number of classes.
    """

    kind: Literal["classification", "localisation", "segmentation", "answering"] = "classification"
    seed: int = Field(0, ge=0)
    classes: int = Field(
        len(CLASSES), ge=2, le=len(CLASSES), description="the first n classes; all: of those that suit the kind"
    )
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

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        """Refuse what would be passed over in silence."""
        if self.kind == "classification":
            return self
        if surplus := sorted(self.model_fields_set & _CLASSIFICATION):
            raise ValueError(f"`kind: {self.kind}` has no {', '.join(f'`{name}`' for name in surplus)}: leave it out")
        if "classes" in self.model_fields_set and self.classes > len(_SETS[self.kind].AVAILABLE):
            raise ValueError(f"`kind: {self.kind}` has {len(_SETS[self.kind].AVAILABLE)} `classes`, not {self.classes}")
        return self

    def of_set(self) -> Size:
        """The size of a set for prompting."""
        counts = {"train": self.train, "val": self.val, "test": self.test}
        return Size(self.seed, _SETS[self.kind].AVAILABLE[: self.classes], counts, self.fps, self.size)


@dataclass(frozen=True)
class _Clip:
    path: str
    label: str
    split: str
    heard: str


@dataclass(frozen=True)
class _Video:
    name: str
    events: tuple[Event, ...]


def index(root: Path, options: Options) -> Index:
    """List the clips, and for prompting what is known of them; `prepare` must have run."""
    if options.kind in _SETS:
        return _SETS[options.kind].index(root, options.of_set())
    return Index(CLASSES[: options.classes], tuple(read_labels_csv(root / "clips.csv")))


def parts(root: Path, row: Mapping[str, Any], options: Options) -> Parts:
    """The frames of a clip where masks belong to them, else none."""
    return _segmentation.parts(root, row["video"]) if options.kind == "segmentation" else Parts()


def prepare(root: Path, options: Options, workers: int) -> None:
    """Write all files below `root`; running it again, also after it was killed, gives the same bytes."""
    if options.kind in _SETS:
        return _SETS[options.kind].prepare(root, options.of_set(), workers)
    clips, excerpts = _plan_clips(options), _plan_excerpts(options)
    videos = {split: _plan_videos(options, split) for split in ("train", "val", "test")}
    jobs: list[Callable[[], None]] = [partial(_write_video, root, options, v) for group in videos.values() for v in group]
    jobs += [partial(_write_clip, root, options, clip) for clip in clips]
    jobs += [partial(_write_excerpt, root, options, path, sound) for path, sound in excerpts]
    over_items(call, jobs, workers, chunk=6)
    _write_parsing_lists(root / "parsing", videos)
    write_csv(root / "sounds.csv", ("path", "sound"), excerpts)
    write_csv(root / "clips.csv", ("path", "label", "split", "heard"), [(c.path, c.label, c.split, c.heard) for c in clips])


# --- what there is to write -------------------------------------------------------------------------------------------


def _plan_clips(options: Options) -> list[_Clip]:
    clips, classes = [], CLASSES[: options.classes]
    for split, count in (("train", options.train), ("val", options.val), ("test", options.test)):
        tracks = iter(allot(_TRACKS, count * len(classes), numpy_generator(options.seed, split, "tracks")))
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
    sizes = allot(_EVENTS, count, rng)
    modes = iter(allot(_MODES, sum(sizes), rng))
    videos = []
    for k, size in enumerate(sizes):
        name = f"{split}_{k:04d}"
        own = numpy_generator(options.seed, name, "events")
        labels = own.choice(CLASSES[: options.classes], min(size, options.classes), replace=False)
        videos.append(_Video(name, tuple(_event(str(label), next(modes), own) for label in labels)))
    return videos


def _event(label: str, mode: str, rng: np.random.Generator) -> Event:
    heard = times(rng)
    seen = times(rng)
    while seen == heard:
        seen = times(rng)
    if mode == "aligned":
        return Event(label, heard, heard)
    return Event(label, () if mode == "seen" else heard, () if mode == "heard" else seen)


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
    frames = render(seen_frames(video.events, _PARSING_FPS), SECONDS * _PARSING_FPS, _PARSING_FPS, options.size, rng)
    wave = mixed(video.events, numpy_generator(options.seed, video.name, "track"))
    media.write_video(root / "parsing" / "videos" / f"{video.name}.mp4", frames, _PARSING_FPS, wave, RATE)


def _write_parsing_lists(folder: Path, videos: Mapping[str, Sequence[_Video]]) -> None:
    for split, group in videos.items():
        weak = [(video.name, ",".join(event.label for event in video.events)) for video in group]
        path = folder / f"AVVP_{split}.csv"
        if split == "val" and not weak:
            path.unlink(missing_ok=True)  # of an earlier run with other options
        else:
            write_csv(path, ("filename", "event_labels"), weak, tabs=True)
    header = ("filename", "onset", "offset", "event_labels")
    pairs = [(video.name, event) for split in ("val", "test") for video in videos[split] for event in video.events]
    heard = [(name, *event.heard, event.label) for name, event in pairs if event.heard]
    seen = [(name, *event.seen, event.label) for name, event in pairs if event.seen]
    write_csv(folder / "AVVP_eval_audio.csv", header, heard, tabs=True)
    write_csv(folder / "AVVP_eval_visual.csv", header, seen, tabs=True)
