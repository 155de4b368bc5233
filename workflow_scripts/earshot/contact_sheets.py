"""Contact sheets: what a corruption does to one clip, severities across and time down, so that a reader can judge by eye."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from earshot import contracts, media
from earshot.errors import MediaError
from earshot.files import atomic_path, write_json
from earshot.frames import Frames
from earshot.synthesis import Task, corrupt_clip, task_of

Frame = NDArray[np.uint8]
_TIMES = (0.25, 0.5, 0.75)  # of the clip
_WIDTH, _GAP = 132, 3  # pixels of a picture, and between two
_SEVERITIES = range(1, 6)


def draw(clips: Sequence[str], tasks: Mapping[str, Sequence[Mapping[str, Any]]], split: str, out: str) -> None:
    """Write one JPEG for each dataset and corruption, and `sheets.json` that lists them.

    `tasks` are those of `synthesis`, by dataset, in the order of `clips`. A dataset without a clip that can be read has none.
    """
    sheets = []
    for table, (dataset, wanted) in zip(clips, tasks.items(), strict=True):
        rows = [row for row in contracts.read(table, contracts.CLIPS) if row["available"] and row["split"] == split]
        for plain in wanted if rows else ():
            task = task_of(plain, code="", out="")
            try:
                picture = sheet(rows[0], task)
            except MediaError as error:
                print(f"{dataset}, {task.recipe.corruption}: {error}")
                continue
            name = f"{dataset}-{task.recipe.corruption}.jpg"
            with atomic_path(Path(out, name)) as temporary:
                Image.fromarray(picture).save(temporary, quality=88)
            spec = task.recipe.module.SPEC
            values = [spec.value(task.recipe.preset, severity) for severity in _SEVERITIES]
            sheets.append({
                "file": name, "dataset": dataset, "corruption": task.recipe.corruption, "title": spec.title, "unit": spec.unit,
                "values": values, "clip_id": rows[0]["clip_id"], "source": spec.source,
            })  # fmt: skip
    write_json(Path(out, "sheets.json"), sheets)


def sheet(row: Mapping[str, Any], task: Task) -> Frame:
    """Pictures (H, W, 3): a row for each of three moments of a clip; clean in the first column, then severities 1 to 5."""
    numbers = [int(row["frames"] * time) for time in _TIMES]
    columns: list[Mapping[int, Frame]] = [media.read_frames(Path(task.root, row["video"]), numbers)]
    columns += [_corrupted(dict(row), replace(task, recipe=replace(task.recipe, severity=s)), numbers) for s in _SEVERITIES]
    return _grid([[_thumbnail(column[number]) for column in columns] for number in numbers])


def _corrupted(row: dict[str, Any], task: Task, numbers: Sequence[int]) -> Mapping[int, Frame]:
    if task.kind == "apply":
        return Frames(Path(task.root), task.recipe).read(row, numbers)
    with TemporaryDirectory() as folder:
        made = corrupt_clip(row, replace(task, out=folder))
        if not made["available"]:
            raise MediaError(made["problem"])
        return media.read_frames(Path(folder, made["video"]), numbers)


def _thumbnail(frame: Frame) -> Frame:
    """Scaled by nearest pixel where it is enlarged, so that noise stays what it is, and smoothly where it is shrunk."""
    image = Image.fromarray(frame)
    how = Image.Resampling.BOX if image.width > _WIDTH else Image.Resampling.NEAREST
    return np.asarray(image.resize((_WIDTH, max(1, round(_WIDTH * image.height / image.width))), how))


def _grid(lines: Sequence[Sequence[Frame]]) -> Frame:
    gap = ((0, _GAP), (0, _GAP), (0, 0))
    padded = [np.concatenate([np.pad(cell, gap, constant_values=255) for cell in line], axis=1) for line in lines]
    return np.concatenate(padded)[:-_GAP, :-_GAP]
