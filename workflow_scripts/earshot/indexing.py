"""From a dataset plug-in's list to `clips.parquet`: every listed file is probed, and what is wrong with it becomes a row."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from earshot import contracts, plugins, prepared, probing, questions
from earshot.config import overrides
from earshot.datasets import ClipRow, DatasetError, EventRow, Index, MaskRow, Parts, QuestionRow, name_of
from earshot.findings import find, split_hash, summary

_NONE: Mapping[str, str] = MappingProxyType({})
_LONGEST = 2_000  # characters of a remark in the facts of a table


def index_dataset(
    name: str,
    plugin: str,
    root: str,
    options: dict[str, Any],
    workers: int,
    clips: str,
    classes: str,
    events: str,
    asked: str | None = None,
    masks: str | None = None,
    findings: str | None = None,
    journal: str = "",
    downloaded: str = "",
) -> None:
    """Write the clips, classes and events of a dataset and, where they have a path, its questions (`asked`), masks, findings.

    `journal` is a file that keeps what probing found, so that a killed job goes on; `downloaded` the ledger that says why files
    could not be fetched. Raises DatasetError if the dataset's list cannot be used.
    """
    module = plugins.load("datasets", plugin)
    chosen = overrides(module.Options, options, f"datasets.{name}.options")
    listed = module.index(Path(root), chosen)
    _refuse_unlisted(listed)
    parts_of = prepared.parts_of(module, Path(root), chosen)
    rows = probe_all(listed, Path(root), plugin, workers, parts_of, journal, _gone(downloaded))
    wrong = find(rows, listed.classes, listed.audible)
    print(*listed.remarks, sep="\n")
    remarks = [remark if len(remark) <= _LONGEST else f"{remark[:_LONGEST]}… (all: in the log)" for remark in listed.remarks]
    facts = {
        "dataset": name, "plugin": plugin, "protocol": module.SPEC.protocol, "remarks": remarks,
        "expected": dict(listed.expected), "split_sha256": split_hash(listed, [row["clip_id"] for row in rows]),
        "summary": summary(rows, wrong),
    }  # fmt: skip
    contracts.write(rows, contracts.CLIPS, clips, facts)
    class_ids = {label: number for number, label in enumerate(listed.classes)}
    named = [{"class_id": i, "name": n, "prompt": readable(n)} for n, i in class_ids.items()]
    contracts.write(named, contracts.CLASSES, classes, facts)
    contracts.write([_event(event, class_ids) for event in listed.events], contracts.EVENTS, events, facts)
    if asked:
        words = questions.vocabulary(listed.questions, listed.words)
        contracts.write([_question(row, class_ids) for row in listed.questions], contracts.QUESTIONS, asked, {**facts, **words})
    if masks:
        shown = [{"clip_id": name_of(row), "second": row.second, "mask": row.mask} for row in listed.masks]
        contracts.write(shown, contracts.MASKS, masks, facts)
    if findings:
        contracts.write(wrong, contracts.FINDINGS, findings, facts)


def _gone(downloaded: str) -> dict[str, str]:
    """Path of a file below the root -> why it could not be fetched, from the ledger of a download."""
    if not downloaded:
        return {}
    files = json.loads(Path(downloaded).read_text(encoding="utf-8"))["files"]
    return {entry["to"]: entry["reason"] for entry in files.values() if entry["status"] == "unavailable"}


def _question(row: QuestionRow, class_ids: dict[str, int]) -> dict[str, Any]:
    return {
        "question_id": row.question,
        "clip_id": name_of(row),
        "split": row.split,
        "question": row.text,
        "kind": row.kind,
        "answer": class_ids[row.answer],
    }


def _event(event: EventRow, class_ids: dict[str, int]) -> dict[str, Any]:
    return {
        "clip_id": name_of(event),
        "modality": event.modality,
        "class_id": class_ids[event.label],
        "onset": event.onset,
        "offset": event.offset,
    }


def readable(name: str) -> str:
    """A class's name as words, for language models: `ApplyEyeMakeup` and `apply_eye_makeup` are `apply eye makeup`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return (parted if parted == name else parted.lower()).replace("_", " ")


def probe_all(
    listed: Index, root: Path, source: str, workers: int, parts_of: prepared.PartsOf | None = None, journal: str = "",
    gone: Mapping[str, str] = _NONE,
) -> list[dict[str, Any]]:  # fmt: skip
    """Probe every clip; a file that cannot be used gives a row with `available` false and the reason.

    `parts_of` gives the files of clips that are not, or not all, videos; `gone` says why files could not be fetched.
    """
    _refuse_doubles(listed.clips)
    class_ids = {label: number for number, label in enumerate(listed.classes)}
    rows = [_listed_row(clip, source, class_ids) for clip in listed.clips]
    targets = [(root / row["video"], parts_of(row) if parts_of else Parts()) for row in rows]
    found = probing.probe_files(targets, workers, journal)
    return [_completed(row, facts, gone) for row, facts in zip(rows, found, strict=True)]


def _refuse_doubles(clips: Sequence[ClipRow]) -> None:
    seen: dict[str, str] = {}
    for clip in clips:
        name = name_of(clip)
        if name in seen:
            raise DatasetError(f"two rows share the clip name '{name}': {seen[name]} and {clip.video}; rename or remove one")
        seen[name] = clip.video


def _refuse_unlisted(listed: Index) -> None:
    """Raise DatasetError for a question or a mask of a clip that is not there, or of an answer that is no class."""
    clips, answers = {name_of(clip) for clip in listed.clips}, set(listed.classes)
    rows: tuple[QuestionRow | MaskRow, ...] = (*listed.questions, *listed.masks)
    for row in rows:
        if name_of(row) not in clips:
            raise DatasetError(f"{row}: no clip of the list has the name '{name_of(row)}'; correct or remove the row")
    for asked in listed.questions:
        if asked.answer not in answers:
            raise DatasetError(f"question {asked.question}: '{asked.answer}' is none of the {len(answers)} answers; correct it")


def _listed_row(clip: ClipRow, source: str, class_ids: dict[str, int]) -> dict[str, Any]:
    return {
        "clip_id": name_of(clip), "video": clip.video, "split": clip.split, "source": source, "group": clip.group,
        "label": class_ids[clip.label] if clip.label else -1, "start": clip.start, "end": clip.end,
    }  # fmt: skip


def _completed(row: dict[str, Any], facts: dict[str, Any], gone: Mapping[str, str]) -> dict[str, Any]:
    end = row["end"] or facts["duration"]
    why = gone.get(row["video"], "")
    problem = f"gone: {why}" if why and not facts["available"] else facts["problem"]
    return {**row, **facts, "end": end, "problem": problem}
