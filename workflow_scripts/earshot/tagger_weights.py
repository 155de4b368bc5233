"""From published weights of audio models to those that the workflow listens with: keys renamed, sounds named, origin told."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from earshot import contracts, label_spaces, plugins, weights
from earshot.backbones import WeightsError
from earshot.config import OF_DATASET, overrides
from earshot.importing import checkpoint_facts
from earshot.state_files import read_content, state_in


def import_weights(manifest: str, space: str, plugin: str, options: Mapping[str, Any], classes: str, out: str) -> None:
    """Write an audio model's weights with the names of its sounds.

    `space` names the label space of the checkpoint's head or, for a model that makes its head of names, the sounds that it is
    to listen for; `dataset` stands for the classes in the table `classes`. Raises WeightsError.
    """
    about = json.loads(Path(manifest).read_text(encoding="utf-8"))
    module = plugins.load("audio_models", plugin)
    chosen = overrides(module.Options, options, "audio_models.<name>.options")
    content = read_content(about["file"])
    state = state_in(content, about["file"])
    labels = _labels(module, content, space, classes, about)
    if hasattr(module, "head_from_text"):
        words = _in_words(space, labels, classes)
        state = {**state, **module.head_from_text(state, about["folder"], words, chosen)}
    state = module.import_weights(state, module.build(len(labels), chosen))
    weights.save(out, state, facts(plugin, chosen, labels, origin="imported", checkpoint=checkpoint_facts(about)))


def facts(plugin: str, options: Any, labels: Sequence[str], **more: Any) -> dict[str, Any]:
    """What weights of an audio model say of themselves."""
    space = label_spaces.identity(labels)
    return {"plugin": plugin, "options": options.model_dump(), "labels": list(labels), "label_space": space, **more}


def _labels(module: ModuleType, content: Any, space: str, classes: str, about: Mapping[str, Any]) -> list[str]:
    """The sounds in the order of the head: as the file tells them, if it does, else those of the label space."""
    if hasattr(module, "labels_in"):
        names = label_spaces.names_by_mid("audioset527")
        mids = module.labels_in(content)
        if unknown := [mid for mid in mids if mid not in names]:
            raise WeightsError(f"{about['origin']} names sounds that AudioSet's 527 do not hold: {', '.join(unknown[:5])}")
        return [names[mid] for mid in mids]
    if not space:
        raise WeightsError(
            f"{about['origin']}: the sounds of its outputs are not known, and another order gives scores that mean nothing; "
            f"say `classes:` in `checkpoints:`, one of {', '.join(label_spaces.available())}, or a CSV file of index,name"
        )
    labels = _of_dataset(classes, "name") if space == OF_DATASET else list(label_spaces.read(space).names)
    _check_config(Path(about["folder"]), labels, module, about)
    return labels


def _in_words(space: str, labels: list[str], classes: str) -> list[str]:
    """The sounds as sentences name them."""
    return _of_dataset(classes, "prompt") if space == OF_DATASET else labels


def _of_dataset(classes: str, column: str) -> list[str]:
    return [row[column] for row in contracts.read(classes, contracts.CLASSES)]


def _check_config(folder: Path, labels: Sequence[str], module: ModuleType, about: Mapping[str, Any]) -> None:
    """Hold the label space to the hub's config.json, if it lies beside the weights and names the outputs."""
    path = folder / "config.json"
    if hasattr(module, "head_from_text") or not path.is_file():
        return
    told = json.loads(path.read_text(encoding="utf-8")).get("id2label") or {}
    names = [_plain(told.get(str(number))) for number in range(len(told))]
    listed = [_plain(label) for label in labels]
    if names and names[0] != _plain("LABEL_0") and names != listed:
        both = zip(names, listed, strict=False)
        same = next((n for n, (name, label) in enumerate(both) if name != label), min(len(names), len(listed)))
        raise WeightsError(
            f"{about['origin']}: its config.json names {len(names)} outputs, which from number {same} on are not the "
            f"{len(listed)} that `classes:` stands for: name the right label space in `checkpoints:`"
        )


def _plain(name: Any) -> str:
    return label_spaces.plain(str(name))
