"""Localisation videos of ten seconds joined out of a user's short classified clips: an event of one class, and background.

Every video has one class in a contiguous run of pieces, each a clip of that class with its own sound. The other pieces show
a clip of any class with the sound of another class, with noise or with silence: a class may be seen there or heard, the
video's own as well, but never both, so that only the agreement of picture and sound tells where the event is. Clips are
drawn from the same split of the source; a clip may be in several videos of it.

`prepare` writes `videos/`, `events.csv` (`path,label,onset,offset` in seconds) and, last, `clips.csv` (`path,label,split`).
Same source, options and seed, same bytes. A source clip that cannot be used is left out and named in the log.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from earshot import media
from earshot.datasets import ClipRow, Dataset, DatasetError, EventRow, Index
from earshot.datasets._events import SECONDS, SPLITS, call, read_csv, write_csv
from earshot.datasets._sound import RATE, ambience, limited
from earshot.datasets.folder import hold_out, read_labels_csv
from earshot.errors import MediaError
from earshot.randomness import numpy_generator
from earshot.workers import over_items

SPEC = Dataset("Classified clips joined to videos", "localisation", None, licence="that of the clips", citation="")
SILENCE, NOISE = "silence", "noise"
_BACKGROUNDS = {"another": 0.6, NOISE: 0.2, SILENCE: 0.2}  # what is heard of a piece outside of the event
_SILENT = 1e-4  # of full scale; a track below it is taken for none
_NOISE_DB = (-55.0, -42.0)  # full scale


class Options(BaseModel, extra="forbid"):
    """Where the clips come from; how many videos of each class there are, and of what form."""

    source: str = Field("", description="CSV with the columns path, label, split; paths are relative to its folder")
    made_by: str = Field("", description="the dataset whose preparation writes that CSV, if any")
    heard: str = Field(
        "", description="a column that says what a clip's sound is of: others than its label are not heard; empty: no column"
    )
    classes: list[str] = Field(default_factory=list, description="class names in order; empty: the sorted labels")
    val_share: float = Field(0.0, ge=0, lt=1, description="share of the training clips that validation is made of, if none are")
    train: int = Field(8, ge=1, description="videos of each class")
    val: int = Field(2, ge=0)
    test: int = Field(4, ge=0)
    piece: Literal[1, 2, 5] = Field(2, description="s: how much of a clip is in a video; the clips are at least as long")
    fps: int = Field(8, ge=1, le=60)
    size: int = Field(128, ge=32, le=512, multiple_of=2, description="px, height and width")
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Piece:
    """A part of a video: which clip is seen, and which is heard, or `SILENCE` or `NOISE`; paths below the source's folder."""

    seen: str
    heard: str


@dataclass(frozen=True)
class Video:
    """A video to be made: its event lasts from `onset` to `offset`, in pieces."""

    path: str
    label: str
    split: str
    onset: int
    offset: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Pool:
    """Usable clips of a split by class: those that can be seen, and those of which is known that they sound like it."""

    seen: Mapping[str, Sequence[str]]
    heard: Mapping[str, Sequence[str]]


def index(root: Path, options: Options) -> Index:
    """List the videos and their events; `prepare` must have run."""
    clips = tuple(read_labels_csv(root / "clips.csv"))
    events = tuple(
        EventRow(row["path"], side, row["label"], float(row["onset"]), float(row["offset"]))
        for row in read_csv(root / "events.csv")
        for side in ("audio", "visual")
    )
    return Index(tuple(options.classes) or tuple(sorted({clip.label for clip in clips})), clips, events)


def prepare(root: Path, options: Options, workers: int) -> None:
    """Write all files below `root`; raises DatasetError where a class has no clip to take."""
    videos = planned(pools(options, workers), options)
    folder = Path(options.source).expanduser().parent
    over_items(call, [partial(_write, root, folder, video, options) for video in videos], workers, chunk=4)
    times = [(v.path, v.label, v.onset * options.piece, v.offset * options.piece) for v in videos]
    write_csv(root / "events.csv", ("path", "label", "onset", "offset"), times)
    write_csv(root / "clips.csv", ("path", "label", "split"), [(v.path, v.label, v.split) for v in videos])


# --- what there is to join --------------------------------------------------------------------------------------------


def pools(options: Options, workers: int) -> dict[str, Pool]:
    """The usable clips of the source by split; what cannot be used is named in the log."""
    if not options.source:
        raise DatasetError("joined: no clips to join; give the option `source` a CSV with the columns path, label, split")
    path = Path(options.source).expanduser()
    listed = read_labels_csv(path)
    wanted = set(options.classes) or {row.label for row in listed}
    rows = hold_out([row for row in listed if row.label in wanted], options.val_share)
    sounds = _sounds(path, options.heard)
    found = over_items(partial(_audible, path.parent, options.piece), [row.video for row in rows], workers, chunk=16)
    usable, loud = [], set()
    for row, audible in zip(rows, found, strict=True):
        if isinstance(audible, str):
            print(f"left out: {row.video}: {audible}")
            continue
        usable.append(row)
        if audible and (not sounds or sounds[row.video] == row.label):
            loud.add(row.video)
    return {split: _pool([row for row in usable if row.split == split], loud) for split in SPLITS}


def _pool(rows: Sequence[ClipRow], loud: set[str]) -> Pool:
    labels = sorted({row.label for row in rows})
    seen = {label: [row.video for row in rows if row.label == label] for label in labels}
    return Pool(seen, {label: [video for video in some if video in loud] for label, some in seen.items()})


def _sounds(path: Path, column: str) -> dict[str, str]:
    """What the sound of each clip is of, if a column says so."""
    if not column:
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if column not in (reader.fieldnames or ()):
            raise DatasetError(f"{path}: no column '{column}', which `heard` names; the header is {reader.fieldnames}")
        return {str(PurePosixPath(row["path"])): row[column] for row in reader}


def _audible(folder: Path, seconds: int, video: str) -> bool | str:
    """Whether a clip can be heard, or why it cannot be used."""
    try:
        about = media.probe(folder / video)
    except MediaError as error:
        return str(error)
    lasts = about.frames / max(about.fps, 1e-6)
    if lasts < seconds - 1 / max(about.fps, 1):
        return f"lasts {lasts:.2f} s, less than {seconds} s"
    return about.audio_rate > 0 and bool((np.abs(media.read_wave(folder / video, RATE)) > _SILENT).any())


def planned(of_split: Mapping[str, Pool], options: Options) -> list[Video]:
    """Every video and its pieces, which depend on the seed, the split, the class and the number; raises DatasetError."""
    counts = {"train": options.train, "val": options.val, "test": options.test}
    classes = options.classes or sorted({label for pool in of_split.values() for label in pool.seen})
    if len(classes) < 2:
        raise DatasetError(f"{options.source}: background is made of other classes, and there are {len(classes)} in all")
    videos = []
    for split, count in ((split, count) for split, count in counts.items() if count):
        _refuse_gaps(of_split[split], classes, split, options.source)
        for number in range(len(classes)):
            videos += [_planned(of_split[split], classes, number, split, k, options) for k in range(count)]
    return videos


def _refuse_gaps(pool: Pool, classes: Sequence[str], split: str, source: str) -> None:
    if absent := [label for label in classes if not pool.heard.get(label)]:
        raise DatasetError(
            f"{source}: no usable clip of '{absent[0]}' with its own sound is in '{split}'; set `{split}: 0` or a `val_share`, "
            "or `classes` without it"
        )


def _planned(pool: Pool, classes: Sequence[str], number: int, split: str, k: int, options: Options) -> Video:
    label, pieces = classes[number], SECONDS // options.piece
    rng = numpy_generator("joined", options.seed, split, label, k)
    length = int(rng.integers(1, pieces + 1))
    onset = int(rng.integers(0, pieces - length + 1))
    own = [str(clip) for clip in rng.choice(pool.heard[label], length, replace=length > len(pool.heard[label]))]
    around = [_background(pool, classes, rng) for _ in range(pieces - length)]
    joined = (*around[:onset], *(Piece(clip, clip) for clip in own), *around[onset:])
    return Video(f"videos/{split}_{number:02d}_{k:03d}.mp4", label, split, onset, onset + length, joined)


def _background(pool: Pool, classes: Sequence[str], rng: np.random.Generator) -> Piece:
    """A clip that is seen, with the sound of another class, noise or silence."""
    seen, heard = (str(label) for label in rng.choice(list(classes), 2, replace=False))
    sound = str(rng.choice(list(_BACKGROUNDS), p=list(_BACKGROUNDS.values())))
    shown = str(rng.choice(pool.seen[seen]))
    return Piece(shown, str(rng.choice(pool.heard[heard])) if sound == "another" else sound)


# --- writing it -------------------------------------------------------------------------------------------------------


def _write(root: Path, folder: Path, video: Video, options: Options) -> None:
    rng = numpy_generator("joined", options.seed, video.path, "noise")
    frames = np.concatenate([_picture(folder / piece.seen, options) for piece in video.pieces])
    wave = np.concatenate([_sound(folder, piece.heard, options.piece, rng) for piece in video.pieces])
    media.write_video(root / video.path, frames, options.fps, limited(wave), RATE)


def _picture(path: Path, options: Options) -> media.Frames:
    """The first seconds of a clip as squares (n, size, size, 3), of each time the frame that is shown then."""
    about = media.probe(path)
    times = (np.arange(options.piece * options.fps) + 0.5) / options.fps
    wanted = np.minimum((times * about.fps).astype(int), about.frames - 1)
    found = media.read_frames(path, wanted.tolist())
    last, side = max(found), (options.size, options.size)
    return np.stack(
        [np.asarray(Image.fromarray(found[min(n, last)]).resize(side, Image.Resampling.BICUBIC)) for n in wanted.tolist()]
    )


def _sound(folder: Path, heard: str, seconds: int, rng: np.random.Generator) -> media.Wave:
    """The sound (n,) of a piece."""
    whole = np.zeros(seconds * RATE, np.float32)
    if heard == NOISE:
        whole += ambience(seconds, rng) * np.float32(10 ** (rng.uniform(*_NOISE_DB) / 20))
    elif heard != SILENCE:
        wave = media.read_wave(folder / heard, RATE)[: len(whole)]
        whole[: len(wave)] = wave
    return whole
