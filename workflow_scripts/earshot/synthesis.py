"""The "-C" version of a dataset: every clip of the wanted splits, corrupted at one severity.

Decode, corrupt frame by frame, encode; frames never touch the disk. Each output has a manifest beside it, written last: a
clip whose manifest names the same inputs is not made again, so a killed job goes on where it was. One clip that fails
becomes a row with its reason and costs no other. If nothing is to be written (`materialise: false`), the table names the
clean videos and says how to corrupt them, and whoever reads it does so in memory.
"""

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from earshot import contracts, media
from earshot.corrupting import Corrupter, Recipe
from earshot.corruptions._kernels import squared_error
from earshot.errors import MediaError, SetupError
from earshot.files import atomic_path, fingerprint, sha256_of_file, write_json
from earshot.workers import over_items

Frame = NDArray[np.uint8]
_MEASURED = 4  # every n-th frame of what an encoder made is compared with the clean one
_UNEXPECTED = "unexpected"


@dataclass(frozen=True)
class Task:
    """A corrupted set: the recipe, and how and where its clips are written. `encoding` is that of the config."""

    recipe: Recipe
    encoding: Mapping[str, Any]
    materialise: bool
    position: str  # offline | online
    allow_hdr: bool
    beds: str  # folder of noise recordings, or empty
    code: str
    root: str  # of the clean clips
    out: str  # folder of the corrupted ones

    @property
    def kind(self) -> str:
        """How the plug-in works: on frames, as an encoder, on packets or on the sound."""
        module = self.recipe.module
        return next(name for name in ("apply", "codec", "decode", "sound") if hasattr(module, name))

    @property
    def writes(self) -> bool:
        """Whether files are written: always for what cannot be done frame by frame in memory."""
        return self.materialise or self.kind != "apply"

    def key(self, row: Mapping[str, Any]) -> str:
        """All that decides a corrupted clip."""
        beds = _recordings(self.beds) if self.kind == "sound" and self.beds else []
        return fingerprint([row["sha256"], row["clip_id"], asdict(self.recipe), dict(self.encoding), beds, self.code])

    def facts(self) -> dict[str, Any]:
        """What the table says about the set."""
        how = {"materialised": self.writes, "position": self.position, "encoding": dict(self.encoding) if self.writes else {}}
        return {**asdict(self.recipe), **how, "code": self.code, "ffmpeg": media.ffmpeg_version()}


@cache
def _recordings(folder: str) -> list[list[str]]:
    """Names and checksums of the noise recordings of a folder."""
    return [[path.name, sha256_of_file(path)] for path in sorted(Path(folder).glob("*.wav"))]


def task_of(plain: Mapping[str, Any], **more: Any) -> Task:
    """A task from plain values, as a rule hands them over."""
    return Task(**{**plain, **more, "recipe": Recipe(**plain["recipe"])})


def synthesize(clips: str, splits: Sequence[str], task: Task, workers: int, out: str, shard: tuple[int, int] = (0, 1)) -> None:
    """Corrupt the clips of `splits`, or every n-th of them for shard (k, n), and write the table of the corrupted clips.

    Raises RuntimeError if every clip failed for a reason that is not in its file.
    """
    rows = [row for row in contracts.read(clips, contracts.CLIPS) if row["split"] in splits][shard[0] :: shard[1]]
    task.recipe.warm()
    if task.writes:
        made = over_items(partial(corrupt_clip, task=task), rows, workers, chunk=1, named=task.recipe.corruption)
    else:
        made = [_as_listed(row, task) for row in rows]
    for row in made:
        if row["problem"]:
            print(f"{row['clip_id']}: {row['problem']}")
    _refuse_if_broken(rows, made)
    contracts.write(made, contracts.CORRUPTED_CLIPS, out, task.facts())


def _refuse_if_broken(rows: Sequence[Mapping[str, Any]], made: Sequence[Mapping[str, Any]]) -> None:
    """An error that no file explains, in every clip, is not one of the clips."""
    tried = [new for old, new in zip(rows, made, strict=True) if old["available"]]
    if tried and all(row["problem"].startswith(f"{row['corruption']}: {_UNEXPECTED} ") for row in tried):
        raise RuntimeError(f"none of {len(tried)} clips could be corrupted; {tried[0]['clip_id']}: {tried[0]['problem']}")


def gather(shards: Sequence[str], clips: str, out: str) -> None:
    """Write one table of all shards, its rows in the order of the clean table."""
    order = {row["clip_id"]: number for number, row in enumerate(contracts.read(clips, contracts.CLIPS))}
    rows = [row for shard in shards for row in contracts.read(shard, contracts.CORRUPTED_CLIPS)]
    facts = contracts.facts_of(shards[0])
    contracts.write(sorted(rows, key=lambda row: order[row["clip_id"]]), contracts.CORRUPTED_CLIPS, out, facts)


def _as_listed(row: dict[str, Any], task: Task) -> dict[str, Any]:
    recipe = task.recipe
    return {
        **row, "corruption": recipe.corruption, "severity": recipe.severity, "seed": recipe.seed,
        "psnr": float("nan"), "source": row["video"],
    }  # fmt: skip


def corrupt_clip(row: dict[str, Any], task: Task) -> dict[str, Any]:
    """Corrupt one clip; returns its row, with `available` false and the reason if that failed.

    Raises SetupError if what all clips need, such as a noise recording, is missing.
    """
    listed = _as_listed(row, task)
    if not row["available"]:
        return listed
    try:
        manifest = _finished(row, task) or _make(row, task)
    except SetupError:
        raise
    except Exception as error:
        for path in _written(row, task):
            path.unlink(missing_ok=True)
        if not isinstance(error, MediaError):
            traceback.print_exc()
        reason = str(error) if isinstance(error, MediaError) else f"{_UNEXPECTED} {type(error).__name__}: {error}"
        return {**listed, "available": False, "problem": f"{task.recipe.corruption}: {reason}"}
    facts = {name: manifest[name] for name in ("video", "sha256", "frames", "width", "height", "audio_rate", "psnr")}
    return {**listed, **facts}


def _written(row: Mapping[str, Any], task: Task) -> list[Path]:
    return [Path(task.out, f"{row['clip_id']}{suffix}") for suffix in (".json", ".mp4", ".mkv", ".mov", ".avi")]


def _finished(row: Mapping[str, Any], task: Task) -> dict[str, Any] | None:
    """The manifest of an output that is whole and was made from the same inputs, else None."""
    manifest_path = _written(row, task)[0]
    if not manifest_path.exists():
        return None
    manifest: dict[str, Any] = json.loads(manifest_path.read_text(encoding="utf-8"))
    video = Path(task.out, str(manifest.get("video")))
    whole = manifest.get("key") == task.key(row) and video.is_file() and manifest.get("sha256") == sha256_of_file(video)
    return manifest if whole else None


def _make(row: dict[str, Any], task: Task) -> dict[str, Any]:
    """Write a corrupted clip and its manifest."""
    path = Path(task.root, row["video"])
    with media.open_video(path, task.allow_hdr) as source:
        name = f"{row['clip_id']}{source.suffix(keeps_picture=task.kind == 'sound')}"
        with atomic_path(Path(task.out, name)) as temporary:
            done = _WAYS[task.kind](row, task, path, source, temporary)
            made = media.probe(temporary)
            if made.frames != row["frames"]:
                raise MediaError(f"{made.frames} frames came out of {row['frames']}")
            psnr = (
                done.pop("psnr")
                if "psnr" in done
                else _psnr(*(media.frame_blocks(p, every=_MEASURED) for p in (path, temporary)))
            )
    remarks = [*source.warnings, *_remarks(row, task, made)]
    manifest = {
        "key": task.key(row), "clip_id": row["clip_id"], "video": name, "source_sha256": row["sha256"], **asdict(task.recipe),
        "value": task.recipe.value, "sound_copied": "" if task.kind == "sound" else ", ".join(source.sound),
        "frames_in": row["frames"], "frames": made.frames, "width": made.width, "height": made.height, "fps": made.fps,
        "audio_rate": made.audio_rate, "psnr": psnr, "sha256": sha256_of_file(Path(task.out, name)),
        "ffmpeg": media.ffmpeg_version(), "warnings": remarks, **done,
    }  # fmt: skip
    write_json(_written(row, task)[0], manifest)
    return manifest


def _remarks(row: Mapping[str, Any], task: Task, made: media.Probe) -> Iterator[str]:
    if (made.width, made.height) != (row["width"], row["height"]):
        yield f"cut to {made.width}x{made.height}"
    limit = getattr(task.recipe.module, "limit", None)
    least = limit(task.recipe.value) if limit else 0
    if min(row["width"], row["height"]) < least:
        yield f"smaller than the {least} pixels that the corruption reaches over, which was therefore reduced"


def _by_frames(row: dict[str, Any], task: Task, path: Path, source: media.Source, out: Path) -> dict[str, Any]:
    corrupter = Corrupter(task.recipe, row["clip_id"], row["frames"], row["fps"])
    return _encoded(task, path, source, out, corrupter.stream)


def _by_packets(row: dict[str, Any], task: Task, path: Path, source: media.Source, out: Path) -> dict[str, Any]:
    recipe = task.recipe
    damaged = recipe.module.decode(path, recipe.value, recipe.generator(row["clip_id"], "packets"))
    return _encoded(task, path, source, out, lambda frames: zip(frames, damaged, strict=True))


def _encoded(task: Task, path: Path, source: media.Source, out: Path, corrupt: Any) -> dict[str, Any]:
    """Encode what `corrupt` makes of the clean frames, as pairs of clean and corrupted ones; both are measured on the way."""
    options = _options(task.encoding)
    digest, error, count = xxhash.xxh3_128(), 0, 0
    times: list[int] = []

    def clean() -> Iterator[Frame]:
        for frame, time in source.frames():
            times.append(time)
            yield frame

    def corrupted() -> Iterator[tuple[Frame, int]]:
        nonlocal error, count
        for number, (before, after) in enumerate(corrupt(clean())):
            digest.update(np.ascontiguousarray(after).data)
            error += squared_error(before, after)
            count += after.size
            yield after, times[number]

    media.encode_timed(out, corrupted(), source, path, options)
    facts = {"encoder": options, "frames_xxh3_128": digest.hexdigest()}
    return facts if task.recipe.corruption == "clean" else {**facts, "psnr": _decibels(error, count)}


def _options(encoding: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in encoding.items() if name != "codec"}
    return {**media.H264, **given} if encoding["codec"] == "h264" else dict(media.LOSSLESS)


def _by_encoder(row: dict[str, Any], task: Task, path: Path, source: media.Source, out: Path) -> dict[str, Any]:
    options = task.recipe.module.codec(task.recipe.value, source.bit_rate)
    media.transcode(path, out, **options)
    return {"encoder": options}


def _by_sound(row: dict[str, Any], task: Task, path: Path, source: media.Source, out: Path) -> dict[str, Any]:
    wave, rate = media.read_sound(path)
    recipe = task.recipe
    heard, facts = recipe.module.sound(wave, rate, recipe.value, recipe.generator(row["clip_id"], "sound"), task.beds)
    media.replace_sound(path, out, heard, rate)
    return {"encoder": {"vcodec": "copy"}, "sound": facts, "psnr": float("inf")}


_WAYS = {"apply": _by_frames, "decode": _by_packets, "codec": _by_encoder, "sound": _by_sound}


def _psnr(clean: Iterator[Frame], corrupted: Iterator[Frame]) -> float:
    """Peak signal-to-noise ratio in dB of decoded blocks (T, H, W, 3) against clean ones, on what both show."""
    error, count = 0, 0
    for a, b in zip(clean, corrupted, strict=False):
        n, height, width = np.minimum(a.shape[:3], b.shape[:3])
        error += squared_error(a[:n, :height, :width], b[:n, :height, :width])
        count += n * height * width * 3
    return _decibels(error, count)


def _decibels(error: int, count: int) -> float:
    return 10 * float(np.log10(255**2 * count / error)) if error else float("inf")
