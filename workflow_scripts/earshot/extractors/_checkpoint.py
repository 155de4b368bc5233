"""Published weights, as the manifest that `fetch_checkpoint` writes tells where they are."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from earshot import importing, weights
from earshot.extractors import ClassVectors, Wanted


def backbone(manifest: Path, plugin: str, options: dict[str, Any], device: str) -> tuple[nn.Module, dict[str, str]]:
    """A backbone with a checkpoint's encoder, ready for use, and what results tell of the checkpoint; its head is random."""
    model = weights.build(plugin, options, 1)
    origin = importing.initial(model, str(manifest), plugin, options)
    return weights.placed(model, device).eval(), origin


def of_captions(head: Tensor, wanted: Wanted, about: dict[str, Any]) -> ClassVectors:
    """Class vectors from rows (C + 1, D) of embedded captions, the last of the background, all as long as logits are scaled."""
    facts = {"captions": list(wanted.captions), "weights": importing.checkpoint_facts(about)}
    lengths = head.double().norm(dim=1, keepdim=True)
    rows = (head / lengths).float()
    return ClassVectors.of_texts(rows[:-1], float(lengths.mean()), facts, background=rows[-1])
