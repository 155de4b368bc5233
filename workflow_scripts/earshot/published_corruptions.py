"""Corrupted files that others published, taken in the place of our own: every clip is paired with its clean one by stem.

The rows keep the order of the published list, in which streams were evaluated: `protocol: {order: listed}` follows it. Label,
sound and split are the clean clip's, since published files were encoded again and may have lost their track.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from earshot import contracts, media, plugins
from earshot.config import overrides
from earshot.datasets import DatasetError
from earshot.errors import MediaError
from earshot.files import sha256_of_file
from earshot.workers import over_items

SEVERITY = 5  # the only one that was published
_NOTHING = {"frames": 0, "duration": 0.0, "fps": 0.0, "width": 0, "height": 0, "sha256": ""}


def take(
    clips: str, splits: Sequence[str], corruption: str, published: Mapping[str, Any], workers: int, code: str, out: str
) -> None:
    """Write the table of the corrupted clips of `splits`; one without a published file that can be read has its reason.

    `published` has the name, plugin, root and options of the dataset of corrupted files. Raises DatasetError if none of them
    belongs to a clip.
    """
    module = plugins.load("datasets", published["plugin"])
    options = overrides(module.Options, dict(published["options"]), f"datasets.{published['name']}.options")
    root = Path(published["root"])
    named = module.published(root, options, corruption)
    files = {stem: path for path, stem in named}
    if len(files) < len(named):
        print(f"{corruption}: {len(named) - len(files)} rows of the list name a clip again, and are not used")
    wanted = [row for row in contracts.read(clips, contracts.CLIPS) if row["split"] in splits]
    by_stem = _by_stem(wanted, clips)
    listed = [by_stem[stem] for stem in files if stem in by_stem]
    if not listed:
        raise DatasetError(
            f"{root}: none of {len(files)} published files under '{corruption}' has the stem of one of {len(wanted)} clips; "
            "check that both are of the same dataset and split"
        )
    print(f"{corruption}: {len(files)} published files, {len(files) - len(listed)} of them of no clip of {', '.join(splits)}")
    rest = [row for row in wanted if _stem(row) not in files]
    work = partial(_row, files=files, root=root, folder=Path(out).parent, corruption=corruption)
    rows = over_items(work, [*listed, *rest], workers, chunk=8, named=corruption)
    facts = {
        "corruption": corruption, "severity": SEVERITY, "preset": "published", "temporal": "", "seed": 0, "materialised": True,
        "position": "offline", "encoding": {}, "code": code, "published": published["name"],
    }  # fmt: skip
    contracts.write(rows, contracts.CORRUPTED_CLIPS, out, facts)


def _stem(row: Mapping[str, Any]) -> str:
    return PurePosixPath(row["clip_id"]).name


def _by_stem(rows: Sequence[dict[str, Any]], clips: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        other = found.setdefault(_stem(row), row)
        if other is not row:
            raise DatasetError(f"{clips}: '{other['clip_id']}' and '{row['clip_id']}' would share a published file")
    return found


def _row(row: dict[str, Any], files: Mapping[str, str], root: Path, folder: Path, corruption: str) -> dict[str, Any]:
    made = {**row, "corruption": corruption, "severity": SEVERITY, "seed": 0, "psnr": float("nan"), "source": row["video"]}
    if not row["available"]:
        return made
    if _stem(row) not in files:
        return {**made, **_NOTHING, "available": False, "problem": "not among the published files"}
    path = root / files[_stem(row)]
    try:
        facts = media.probe(path)
    except MediaError as error:
        return {**made, **_NOTHING, "available": False, "problem": f"published file: {error}"}
    return {
        **made,
        "video": Path(os.path.relpath(path, folder)).as_posix(),
        "frames": facts.frames, "duration": facts.duration, "fps": facts.fps, "width": facts.width, "height": facts.height,
        "sha256": sha256_of_file(path), "problem": _cut(row, facts.frames),
    }  # fmt: skip


def _cut(row: Mapping[str, Any], frames: int) -> str:
    """A remark where the published file has another number of frames than the clean one."""
    return "" if frames == row["frames"] else f"{frames} frames, and the clean clip {row['frames']}"
