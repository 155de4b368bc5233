"""The map from audio classes to video classes: a file that people read and edit, checked against both vocabularies.

Our spec is `tta.md` section 7.2: weights in [0, 1]; audio classes that map to nothing and video classes that nothing maps to
are legal and counted. The map is made from names alone, never from clips.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from earshot import contracts
from earshot.files import fingerprint, sha256_of_file
from earshot.label_spaces import identity


class LabelMapError(ValueError):
    """A label map that cannot be used."""


class Target(BaseModel, extra="forbid"):
    """A video class that an audio class speaks for."""

    label: str
    weight: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)


class Row(BaseModel, extra="forbid"):
    """An audio class and the video classes that it speaks for."""

    audio_label: str
    video_labels: list[Target]


class Made(BaseModel, extra="forbid"):
    """How a map was made by the workflow: for what question, at what cost, and what its rows were then."""

    key: str = Field(description="fingerprint of the question: vocabularies, provider, model, prompt")
    rows_sha256: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    dropped: list[str] = Field(description="names in answers that neither vocabulary knows")


class MapFile(BaseModel, extra="forbid"):
    """A label map with its provenance; `made` is absent from one that is written by hand."""

    dataset: str
    audio_model_labels: str
    origin: str
    model: str
    prompt_sha256: str
    reviewed_by: str
    date: str
    note: str
    rows: list[Row]
    made: Made | None = None

    @property
    def edited(self) -> bool:
        """Whether the rows are others than those that the workflow made."""
        return self.made is not None and self.made.rows_sha256 != rows_sha256(self.rows)


def rows_sha256(rows: Sequence[Row]) -> str:
    """Fingerprint of rows, by which an edit is noticed."""
    return fingerprint([row.model_dump() for row in rows])


def write(path: str, audio_labels: list[str], classes: str, out: str) -> None:
    """Check a map against both vocabularies and write it as a table."""
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    file = read(path)
    rows, dropped = to_rows(file, audio_labels, names)
    for pair in dropped:
        print(f"dropped: {pair}")
    reached = {row["video_name"] for row in rows}
    facts = {
        **file.model_dump(exclude={"rows"}),
        "label_space": identity(audio_labels),
        "file_sha256": sha256_of_file(path),
        "dropped": dropped + (file.made.dropped if file.made else []),
        "unreached_video_classes": [name for name in names if name not in reached],
        "audio_labels": audio_labels,
    }
    contracts.write(rows, contracts.LABEL_MAP, out, facts)


def read(path: str | Path) -> MapFile:
    """Read a label map; raises LabelMapError that says what is wrong with it."""
    try:
        return MapFile.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabelMapError(f"no label map at {path}: write one, or name another in `label_maps:`") from None
    except ValueError as error:  # also of JSON, and of bytes that are no UTF-8
        raise LabelMapError(f"{path} is no label map: {error}") from None


def to_rows(file: MapFile, audio_labels: list[str], names: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the table in the order of the audio labels, and the labels that neither vocabulary knows."""
    given = {row.audio_label: row.video_labels for row in file.rows}
    if len(given) < len(file.rows):
        raise LabelMapError("the label map lists an audio label more than once")
    if not set(given) & set(audio_labels):
        raise LabelMapError(f"the label map shares no audio label with the audio model's ({', '.join(audio_labels[:5])}, …)")
    for row in file.rows:
        if len({target.label for target in row.video_labels}) < len(row.video_labels):
            raise LabelMapError(f"the label map gives '{row.audio_label}' a video label more than once")
    dropped = [f"audio label '{label}'" for label in given if label not in audio_labels]
    origin = f"{file.origin}, edited" if file.edited else file.origin
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
                "weight": weight, "origin": origin, "prompt_sha256": file.prompt_sha256,
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
