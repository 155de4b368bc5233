"""An audio tagger of this workflow: what its last layer sees of each second, and what it says of it.

A second on its own is put into the model's window, as the model fills windows with short sounds. The features are the inputs
of the last linear layer, whose outputs are the model's logits, so that its sounds can label seconds through a label map.
Source: none; the models are those of `audio_models`, each with its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from earshot import contracts, hearing
from earshot.errors import SetupError
from earshot.extractors import ClassVectors, Extractor, Wanted, _sound
from earshot.files import sha256_of_file
from earshot.weights import facts_of

MODALITY = "audio"
FILES = ""
WEIGHTS = "tagger"


class Options(BaseModel, extra="forbid"):
    """Nothing to set: the weights say which model it is."""


def spec(options: Options) -> Extractor:
    """As many numbers as the last layer has inputs."""
    return Extractor("audio tagger", 0, "this workflow")


class _Encoder:
    def __init__(self, path: Path, device: str) -> None:
        self.spec, self.model = hearing.load(path, device)
        self.head = _head(self.model, path)
        self.dim = self.head.in_features
        self.origin = _origin(path)

    def read(self, path: Path) -> NDArray[Any]:
        """The ten seconds (10, N) at the model's rate."""
        return _sound.seconds(_sound.read(path, self.spec.rate_hz))

    def embed(self, inputs: Sequence[NDArray[Any]]) -> Tensor:
        """One video at a time: its seconds are a batch."""
        return torch.stack([self._one(seconds) for seconds in inputs])

    def _one(self, seconds: NDArray[Any]) -> Tensor:
        """The features (10, D) of a video; windows of one second are averaged."""
        windows = [window for second in seconds for window in hearing.windows(second, self.spec)]
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            hearing.listen(self.model, [wave for wave, _ in windows], [length for _, length in windows])
        finally:
            hook.remove()
        if len(seen) != 1 or seen[0].shape != (len(windows), self.dim):
            raise SetupError("the last linear layer of this audio model is not applied once to each window: take another model")
        return seen[0].float().cpu().unflatten(0, (len(seconds), -1)).mean(1)


def load(weights: Path, options: Options, device: str) -> _Encoder:
    """The tagger with its weights; raises SetupError for one without a linear layer at its end."""
    return _Encoder(weights, device)


def class_vectors(weights: Path, wanted: Wanted, options: Options) -> ClassVectors:
    """The tagger's sounds by class, as the label map has them; its scores are the model's probabilities. Raises SetupError."""
    spec, model = hearing.load(weights, "cpu")
    members, facts = _members(wanted, weights)
    return ClassVectors.of_head(_head(model, weights), members, spec.activation, {**facts, "weights": _origin(weights)})


def _head(model: nn.Module, path: Path) -> nn.Linear:
    """The last linear layer, which must have an output for each sound."""
    facts = facts_of(path)
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    fitting = [layer for layer in linear if layer.out_features == len(facts["labels"])]
    if not fitting:
        raise SetupError(f"audio model '{facts['plugin']}' has no linear layer that scores its sounds: take another one")
    return fitting[-1]


def _origin(path: Path) -> dict[str, str]:
    facts = facts_of(path)
    return {"plugin": facts["plugin"], "origin": facts["origin"], "sha256": sha256_of_file(path)}


def _members(wanted: Wanted, path: Path) -> tuple[Tensor, dict[str, Any]]:
    """Which sounds speak for which class, (C, A), by a label map made for this model."""
    if wanted.label_map is None:
        raise SetupError("the sounds of a tagger label classes through a label map: name one for this dataset in `label_maps:`")
    facts, mapped = facts_of(path), contracts.facts_of(wanted.label_map)
    if mapped["label_space"] != facts["label_space"]:
        raise SetupError(
            f"{wanted.label_map} maps the sounds of label space {mapped['label_space']}, but the tagger's are "
            f"{facts['label_space']}: make a label map for this tagger"
        )
    rows = [row for row in contracts.read(wanted.label_map, contracts.LABEL_MAP) if row["video_class"] >= 0]
    if unknown := sorted({row["video_name"] for row in rows} - set(wanted.names)):
        raise SetupError(f"{wanted.label_map} maps to classes that this dataset lacks: {', '.join(unknown[:5])}")
    members = torch.zeros(len(wanted.names), len(facts["labels"]), dtype=torch.bool)
    for row in rows:
        members[wanted.names.index(row["video_name"]), row["audio_class"]] = True
    return members, {"label_map": mapped["file_sha256"]}
