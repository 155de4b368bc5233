"""From published weights to the weights of a dataset's classifier: keys renamed, classes matched, origin recorded."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from earshot import checkpoints, contracts, label_spaces, plugins, weights
from earshot.backbones import WeightsError
from earshot.config import OF_DATASET
from earshot.files import write_json
from earshot.state_files import read_state

_HEAD = "head."
_HEADS = re.compile(r"(module\.)*(new_fc|cls_head\.fc_cls|fc|head(\.1)?|classifier(\.1)?)\.weight$")  # published layouts


def fetch(checkpoint: Mapping[str, Any], folder: str, offline: bool, out: str) -> None:
    """Make a checkpoint's files available; write where they are, where they are from, and their checksum."""
    write_json(out, checkpoints.fetch(dict(checkpoint), Path(folder), offline))


def import_weights(
    manifest: str, space: str, plugin: str, options: Mapping[str, Any], classes: str, seed: int, out: str
) -> None:
    """Write a backbone's weights for the classes of a dataset; without a manifest they are random, and say so.

    `space` names the label space of the checkpoint: a list of the library, a CSV file, or `dataset`.
    """
    rows = contracts.read(classes, contracts.CLASSES)
    names = [row["name"] for row in rows]
    module = plugins.load("backbones", plugin)
    facts = {"backbone": plugin, "options": dict(options), "classes": names, "label_space": label_spaces.identity(names)}
    if not manifest:
        state = weights.build(plugin, options, len(names), seed).state_dict()
        return weights.save(out, state, {**facts, "origin": "random", "seed": seed})
    about, published = read_published(manifest)
    chosen = weights.options_of(module, options)
    if head_rows(published) is None:
        state = _with_text(published, module, chosen, about, [row["prompt"] for row in rows])
    else:
        places, listed = classes_in(space, names, about["origin"])
        state = _with_classes(published, module, chosen, about["origin"], places, len(listed))
        facts["checkpoint_label_space"] = label_spaces.identity(listed)
    weights.save(out, state, {**facts, "origin": "imported", "checkpoint": checkpoint_facts(about)})


def initial(model: nn.Module, manifest: str, plugin: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Load a checkpoint's encoder into `model`, whose head stays as it is; returns what is told of the checkpoint."""
    about, published = read_published(manifest)
    module = plugins.load("backbones", plugin)
    fresh = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(_HEAD)}
    rows = head_rows(published)
    if rows is None:
        state = module.import_weights({**published, **fresh}, model)
    else:
        state = module.import_weights(published, module.build(rows, weights.options_of(module, options)))
    model.load_state_dict({**state, **fresh})
    return checkpoint_facts(about)


def head_rows(state: Mapping[str, Tensor]) -> int | None:
    """How many classes a checkpoint's last layer has; None if it holds no such layer."""
    found = [tensor for name, tensor in state.items() if _HEADS.match(name)]
    return len(found[0]) if found else None


def checkpoint_facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What results say of a checkpoint: nothing that differs from machine to machine."""
    return {name: manifest[name] for name in ("origin", "sha256")}


def read_published(manifest: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a manifest says of a checkpoint, and the state dict in its file."""
    about = json.loads(Path(manifest).read_text(encoding="utf-8"))
    return about, read_state(about["file"])


def _with_text(
    published: Mapping[str, Tensor], module: ModuleType, options: Any, about: Mapping[str, Any], prompts: Sequence[str]
) -> dict[str, Tensor]:
    """Zero-shot: the head is made from the names of the classes."""
    if not hasattr(module, "head_from_text"):
        raise WeightsError(
            f"{about['origin']} has no layer of classes, and this backbone makes none from text: train one with `fit: head`"
        )
    head = module.head_from_text(published, about["folder"], prompts, options)
    return module.import_weights({**published, **head}, module.build(len(prompts), options))


def _with_classes(
    published: Mapping[str, Tensor], module: ModuleType, options: Any, origin: str, places: list[int], listed: int
) -> dict[str, Tensor]:
    """The rows of the checkpoint's head at `places`, of the `listed` classes of its label space.

    Softmax over the logits that are left is the softmax over all of them, renormalised.
    """
    rows = head_rows(published) or 0
    if listed != rows:
        raise WeightsError(
            f"{origin} has a layer of {rows} classes, but its `classes:` stands for {listed}; correct it in `checkpoints:`, or "
            "train a new head with `fit: head`"
        )
    state = module.import_weights(published, module.build(rows, options))
    if places == list(range(rows)):
        return state
    return {name: tensor[places] if name.startswith(_HEAD) else tensor for name, tensor in state.items()}


def classes_in(space: str, names: Sequence[str], origin: str) -> tuple[list[int], Sequence[str]]:
    """The row of each class in the checkpoint's label space, and the names in that."""
    if not space:
        raise WeightsError(
            f"{origin}: its label space is not known, and classes in another order give results that mean nothing; "
            f"say `classes:` in `checkpoints:`, one of {', '.join(label_spaces.available())}, a CSV file of index,name, or "
            f"`{OF_DATASET}` if they are the dataset's in its order"
        )
    if space == OF_DATASET:
        return list(range(len(names))), names
    try:
        found = label_spaces.read(space)
        return found.positions(names), found.names
    except label_spaces.LabelSpaceError as error:
        raise WeightsError(f"{origin}: {error}; or train a new head with `fit: head`") from None
