"""From a dataset plug-in's list to `clips.parquet`: every listed file is probed, and what is wrong with it becomes a row."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from earshot import contracts, media, plugins
from earshot.config import overrides
from earshot.datasets import ClipRow, DatasetError, Index
from earshot.errors import MediaError
from earshot.files import sha256_of_file
from earshot.workers import over_items

_LONGEST = 2_000  # characters of a remark in the facts of a table


def index_dataset(
    name: str, plugin: str, root: str, options: dict[str, Any], workers: int, clips: str, classes: str, events: str
) -> None:
    """Write the clips, classes and events of a dataset; raises DatasetError if its list cannot be used."""
    module = plugins.load("datasets", plugin)
    listed = module.index(Path(root), overrides(module.Options, options, f"datasets.{name}.options"))
    rows = probe_all(listed, Path(root), plugin, workers)
    print(*listed.remarks, sep="\n")
    remarks = [remark if len(remark) <= _LONGEST else f"{remark[:_LONGEST]}… (all: in the log)" for remark in listed.remarks]
    facts = {"dataset": name, "plugin": plugin, "protocol": module.SPEC.protocol, "remarks": remarks}
    contracts.write(rows, contracts.CLIPS, clips, facts)
    class_ids = {label: number for number, label in enumerate(listed.classes)}
    named = [{"class_id": i, "name": n, "prompt": readable(n)} for n, i in class_ids.items()]
    contracts.write(named, contracts.CLASSES, classes, facts)
    contracts.write([_event(event, class_ids) for event in listed.events], contracts.EVENTS, events, facts)


def _event(event: Any, class_ids: dict[str, int]) -> dict[str, Any]:
    return {
        "clip_id": clip_id(event.video),
        "modality": event.modality,
        "class_id": class_ids[event.label],
        "onset": event.onset,
        "offset": event.offset,
    }


def readable(name: str) -> str:
    """A class's name as words, for language models: `ApplyEyeMakeup` and `apply_eye_makeup` are `apply eye makeup`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return (parted if parted == name else parted.lower()).replace("_", " ")


def clip_id(video: str) -> str:
    """A clip's name: its path below the root, without suffix."""
    return PurePosixPath(video).with_suffix("").as_posix()


def probe_all(listed: Index, root: Path, source: str, workers: int) -> list[dict[str, Any]]:
    """Probe every clip; a file that cannot be used gives a row with `available` false and the reason."""
    _refuse_doubles(listed.clips)
    class_ids = {label: number for number, label in enumerate(listed.classes)}
    probe_one = partial(_clip_row, root=root, source=source, class_ids=class_ids)
    return over_items(probe_one, listed.clips, workers, chunk=32)


def _refuse_doubles(clips: Sequence[ClipRow]) -> None:
    seen: dict[str, str] = {}
    for clip in clips:
        name = clip_id(clip.video)
        if name in seen:
            raise DatasetError(f"two rows share the clip name '{name}': {seen[name]} and {clip.video}; rename or remove one")
        seen[name] = clip.video


def _clip_row(clip: ClipRow, root: Path, source: str, class_ids: dict[str, int]) -> dict[str, Any]:
    path = root / clip.video
    row: dict[str, Any] = {
        "clip_id": clip_id(clip.video), "video": clip.video, "split": clip.split, "source": source,
        "label": class_ids[clip.label] if clip.label else -1, "start": clip.start, "end": clip.end,
    }  # fmt: skip
    try:
        facts = media.probe(path)
    except MediaError as error:
        nothing = {"frames": 0, "fps": 0.0, "width": 0, "height": 0, "audio_rate": 0}
        digest = sha256_of_file(path) if path.is_file() else ""
        return {**row, **nothing, "sha256": digest, "available": False, "problem": str(error)}
    return {
        **row,
        "end": clip.end or facts.duration,
        "frames": facts.frames, "fps": facts.fps, "width": facts.width, "height": facts.height,
        "audio_rate": facts.audio_rate, "sha256": sha256_of_file(path), "available": True, "problem": facts.remark,
    }  # fmt: skip
