"""The "-C" version of a dataset: every clip of the wanted splits, corrupted at one severity.

Decode, corrupt block by block, encode; frames never touch the disk. Each output has a manifest beside it, written last: a
clip whose manifest names the same inputs is not made again, so a killed job goes on where it was. One clip that fails
becomes a row with its reason and costs no other.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earshot import contracts, media, plugins
from earshot.errors import MediaError
from earshot.files import atomic_path, fingerprint, sha256_of_file, write_json
from earshot.randomness import numpy_generator
from earshot.workers import over_items

Frames = NDArray[np.uint8]


class Task(NamedTuple):
    """What decides a corrupted clip, apart from the clip."""

    corruption: str
    severity: int
    preset: str
    seed: int
    code: str
    root: str  # of the clean clips
    out: str  # folder of the corrupted ones


def synthesize(clips: str, splits: Sequence[str], task: Task, workers: int, out: str) -> None:
    """Corrupt the clips of `splits` and write the table of the corrupted clips."""
    module = plugins.load("corruptions", task.corruption)
    module.SPEC.severities[task.preset]  # an unknown preset fails here and not in a worker
    rows = [row for row in contracts.read(clips, contracts.CLIPS) if row["split"] in splits]
    work = partial(corrupt_clip, task=task)
    made = over_items(work, rows, workers, chunk=4)
    for row in made:
        if row["problem"]:
            print(f"{row['clip_id']}: {row['problem']}")
    facts = {"corruption": task.corruption, "severity": task.severity, "preset": task.preset, "seed": task.seed}
    contracts.write(made, contracts.CORRUPTED_CLIPS, out, {**facts, "code": task.code, "ffmpeg": media.ffmpeg_version()})


def corrupt_clip(row: dict[str, Any], task: Task) -> dict[str, Any]:
    """Corrupt one clip; returns its row, with `available` false and the reason if that failed."""
    base = {**row, "corruption": task.corruption, "severity": task.severity, "seed": task.seed, "psnr": float("nan")}
    if not row["available"]:
        return {**base, "source": row["video"]}
    video = f"{row['clip_id']}.mp4"
    target, manifest_path = Path(task.out) / video, Path(task.out) / f"{row['clip_id']}.json"
    key = fingerprint([row["sha256"], row["clip_id"], *task[:5]])
    manifest = _finished(target, manifest_path, key)
    try:
        manifest = manifest or _make(row, task, target, manifest_path, key)
    except MediaError as error:
        target.unlink(missing_ok=True)
        return {**base, "source": row["video"], "available": False, "problem": f"{task.corruption}: {error}"}
    facts = {name: manifest[name] for name in ("sha256", "frames", "width", "height", "psnr")}
    return {**base, **facts, "video": video, "source": row["video"]}


def _finished(target: Path, manifest_path: Path, key: str) -> dict[str, Any] | None:
    """The manifest of an output that is whole and was made from the same inputs, else None."""
    if not (target.exists() and manifest_path.exists()):
        return None
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    return manifest if manifest.get("key") == key and manifest.get("sha256") == sha256_of_file(target) else None


def _make(row: dict[str, Any], task: Task, target: Path, manifest_path: Path, key: str) -> dict[str, Any]:
    module = plugins.load("corruptions", task.corruption)
    value = module.SPEC.severities[task.preset][task.severity - 1]
    source = Path(task.root) / row["video"]
    with atomic_path(target) as temporary:
        if hasattr(module, "codec"):
            options = module.codec(value, media.probe(source).bit_rate)
            media.transcode(source, temporary, **options)
        else:
            if row["problem"] == "variable frame rate":
                raise MediaError("variable frame rate: its time stamps would be lost; re-encode it at a constant rate")
            options = media.H264
            media.encode_blocks(temporary, _corrupted(source, module, value, row["clip_id"], task), row["fps"], source)
        made = media.probe(temporary)
        if made.frames != row["frames"]:
            raise MediaError(f"{made.frames} frames came out of {row['frames']}")
        psnr = _psnr(source, temporary)
    manifest = {
        "key": key, "clip_id": row["clip_id"], "source_sha256": row["sha256"], "corruption": task.corruption,
        "severity": task.severity, "preset": task.preset, "seed": task.seed, "value": value, "encoder": options,
        "frames": made.frames, "width": made.width, "height": made.height, "fps": made.fps, "audio_rate": made.audio_rate,
        "psnr": psnr, "sha256": sha256_of_file(target), "ffmpeg": media.ffmpeg_version(),
    }  # fmt: skip
    write_json(manifest_path, manifest)
    return manifest


def _corrupted(source: Path, module: Any, value: Any, clip: str, task: Task) -> Iterator[Frames]:
    """Blocks of corrupted frames; each frame has a generator of its own, keyed by its number."""
    number = 0
    for block in media.frame_blocks(source):
        out = np.empty_like(block)
        for i, frame in enumerate(block):
            rng = numpy_generator(task.seed, clip, task.corruption, task.severity, number)
            out[i] = module.apply(frame[None], value, rng)[0]
            number += 1
        yield out


def _psnr(clean: Path, corrupted: Path) -> float:
    """Peak signal-to-noise ratio in dB of the encoded corrupted video against the clean one, over all pixels."""
    total, count = 0.0, 0
    for a, b in zip(media.frame_blocks(clean), media.frame_blocks(corrupted), strict=False):
        height, width = min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2])
        n = min(len(a), len(b))
        difference = a[:n, :height, :width].astype(np.int32) - b[:n, :height, :width]
        total += float(np.square(difference).sum())
        count += difference.size
    return 10 * float(np.log10(255**2 * count / total)) if total else float("inf")
