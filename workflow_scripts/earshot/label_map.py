"""The map from audio classes to video classes: read from a reviewed file, checked against both vocabularies.

Our spec is `tta.md` section 7.2: weights in [0, 1]; audio classes that map to nothing and video classes that nothing maps to
are legal and counted. The map is made from names alone, never from clips.
"""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from earshot import contracts
from earshot.files import sha256_of_file


class LabelMapError(ValueError):
    """A label map that cannot be used."""


class _Target(BaseModel, extra="forbid"):
    label: str
    weight: float = Field(1.0, ge=0, le=1)


class _Row(BaseModel, extra="forbid"):
    audio_label: str
    video_labels: list[_Target]


class ReviewedMap(BaseModel, extra="forbid"):
    """A reviewed map with its provenance."""

    dataset: str
    audio_model_labels: str
    origin: str
    model: str
    prompt_sha256: str
    reviewed_by: str
    date: str
    note: str
    rows: list[_Row]


def write(reviewed: str, audio_labels: list[str], space: str, classes: str, out: str) -> None:
    """Check a reviewed map against both vocabularies and write it as a table."""
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    reviewed_map = read(reviewed)
    rows, dropped = to_rows(reviewed_map, audio_labels, names)
    for pair in dropped:
        print(f"dropped: {pair}")
    reached = {row["video_name"] for row in rows}
    facts = reviewed_map.model_dump(exclude={"rows"})
    contracts.write(rows, contracts.LABEL_MAP, out, {
        **facts, "label_space": space, "file_sha256": sha256_of_file(reviewed), "dropped": dropped,
        "unreached_video_classes": [name for name in names if name not in reached], "audio_labels": audio_labels,
    })  # fmt: skip


def read(path: str | Path) -> ReviewedMap:
    """Read a reviewed map; raises LabelMapError that says what is wrong with it."""
    try:
        return ReviewedMap.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabelMapError(f"no label map at {path}: write one, or name another in `label_maps:`") from None
    except (ValidationError, json.JSONDecodeError) as error:
        raise LabelMapError(f"{path} is no label map: {error}") from None


def to_rows(reviewed: ReviewedMap, audio_labels: list[str], names: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the table in the order of the audio labels, and the labels that neither vocabulary knows."""
    given = {row.audio_label: row.video_labels for row in reviewed.rows}
    if len(given) < len(reviewed.rows):
        raise LabelMapError("the label map lists an audio label more than once")
    if not set(given) & set(audio_labels):
        raise LabelMapError(f"the label map shares no audio label with the audio model's ({', '.join(audio_labels[:5])}, …)")
    dropped = [f"audio label '{label}'" for label in given if label not in audio_labels]
    rows = []
    for audio_class, audio_name in enumerate(audio_labels):
        targets = []
        for target in given.get(audio_name, []):
            if target.label in names and target.weight > 0:
                targets.append((names.index(target.label), target.label, target.weight))
            elif target.label not in names:
                dropped.append(f"video label '{target.label}' of '{audio_name}'")
        for video_class, video_name, weight in targets or [(-1, "", 0.0)]:
            rows.append({
                "audio_class": audio_class, "audio_name": audio_name, "video_class": video_class, "video_name": video_name,
                "weight": weight, "origin": reviewed.origin, "prompt_sha256": reviewed.prompt_sha256,
            })  # fmt: skip
    return rows, dropped


def matrix(path: str | Path, n_video: int) -> tuple[Tensor, str]:
    """The map as weights (A, K), and the audio label space that it belongs to."""
    rows = contracts.read(path, contracts.LABEL_MAP)
    facts = contracts.facts_of(path)
    weights = torch.zeros(len(facts["audio_labels"]), n_video)
    for row in rows:
        if row["video_class"] >= 0:
            weights[row["audio_class"], row["video_class"]] = row["weight"]
    return weights, facts["label_space"]
