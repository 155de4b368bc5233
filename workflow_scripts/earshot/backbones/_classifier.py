"""What backbones share: an encoder with a linear head, and strict import of published key layouts."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from earshot.adaptation import layers_where
from earshot.backbones import WeightsError

Rule = tuple[str, str | Callable[[re.Match[str]], str]]  # a pattern that starts a key, and what takes its place


class VideoClassifier(nn.Module):
    """Logits of a linear head on the features of an encoder that maps clips (V, 3, T, H, W) to (V, D)."""

    def __init__(self, encoder: nn.Module, n_features: int, n_classes: int, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(n_features, n_classes, bias=bias)

        self.precision = "fp32"

    def features(self, clips: Tensor) -> Tensor:
        """Map (V, 3, T, H, W) to (V, D) in float32, before dropout."""
        return encoded(self.encoder, clips, self.precision)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (V, 3, T, H, W) to logits (V, K)."""
        return self.head(self.dropout(self.features(clips)))


def encoded(encoder: nn.Module, clips: Tensor, precision: str) -> Tensor:
    """What an encoder makes of clips, in float32; with `precision` bf16 it computes under autocast."""
    if precision != "bf16":
        return encoder(clips)
    with torch.autocast(clips.device.type, dtype=torch.bfloat16):
        return encoder(clips).float()


def last_quarter(layers: Sequence[str]) -> list[str]:
    """The last quarter of a transformer's blocks, and its last layer, from the names of its LayerNorm layers."""
    blocks = list(dict.fromkeys(found[0] for name in layers if (found := re.match(r".+\.\d+(?=\.)", name))))
    return [*blocks[-math.ceil(len(blocks) / 4) :], layers[-1]]


def second_half(layers: Sequence[str]) -> list[str]:
    """The LayerNorm layers of the second half of a transformer's blocks and the last one, by analogy with Video Swin."""
    return list(layers[len(layers) // 2 :])


def fit(state: Mapping[str, Tensor], model: nn.Module, rules: Sequence[Rule], dropped: str = "") -> dict[str, Tensor]:
    """Rename the keys of a checkpoint to those of `model`, and hold them to it.

    `module.` in front is taken off; the first of `rules` whose pattern matches the start of a key renames it; keys that
    match `dropped` are left out, since the model makes them itself. Keys that are the model's own already stay as they are.
    Raises WeightsError that lists missing keys, surplus keys, tensors of another shape and keys that two tensors claim.
    Counters of batches, which old files lack, are not missed.
    """
    expected = model.state_dict()
    plain = {re.sub(r"^(module\.)+", "", key): value for key, value in state.items()}
    kept = {key: value for key, value in plain.items() if not _is_made(key, dropped)}
    names = {key: key if key in expected else _renamed(key, rules) for key in kept}
    twice = [key for key, n in Counter(names.values()).items() if n > 1]
    found = {names[key]: value for key, value in kept.items()}
    made = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked") or _is_made(key, dropped)}
    missing = sorted(set(expected) - set(made) - set(found))
    surplus = sorted(set(found) - set(expected))
    shapes = [
        f"{key}: {tuple(value.shape)}, not {tuple(expected[key].shape)}"
        for key, value in found.items()
        if key in expected and value.shape != expected[key].shape
    ]
    wrong = {"missing": missing, "surplus": surplus, "shapes": shapes, "given twice": twice}
    if any(wrong.values()):
        raise WeightsError(f"weights do not fit: {'; '.join(f'{name} {_told(keys)}' for name, keys in wrong.items())}")
    counters = {key: torch.zeros_like(v) if key.endswith("num_batches_tracked") else v for key, v in made.items()}
    return {**counters, **{key: value.to(expected[key].dtype) for key, value in found.items()}}  # some are stored as halves


def layers_of(model: nn.Module, kinds: type | tuple[type, ...]) -> list[str]:
    """Names of all layers of some kinds, in the order of `named_modules`."""
    return [name for name, _ in layers_where(model, kinds)]


def _is_made(key: str, dropped: str) -> bool:
    return bool(dropped and re.search(dropped, key))


def _renamed(key: str, rules: Sequence[Rule]) -> str:
    for pattern, instead in rules:
        renamed, n = re.subn(rf"^(?:{pattern})", instead, key)
        if n:
            return renamed
    return key


def _told(keys: Sequence[str]) -> str:
    return ", ".join(keys) if keys else "none"
