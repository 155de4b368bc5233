"""Source statistics: mean and variance by channel of normalisation layers' outputs on clean training clips.

Source: ViTTA (Lin et al., CVPR 2023), section 3.1; our spec, `tta.md` section 2.3. The variance is the clip-weighted mean of
the variances of batches, not the pooled one, so it depends on the batch size, which is stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from earshot import contracts, plugins, published_statistics, weights
from earshot.adaptation import Moments
from earshot.files import fingerprint, sha256_of_file
from earshot.loading import evaluation_batches
from earshot.moments import recorded
from earshot.source_models import SourceModel


@torch.no_grad()
def average(model: nn.Module, layers: Sequence[str], batches: Iterable[Tensor]) -> tuple[dict[str, Moments], int]:
    """Clip-weighted average of the moments (D,) of each batch (B, 3, T, H, W); also returns the number of clips."""
    model.eval()
    sums: dict[str, list[Tensor]] = {}
    clips = 0
    for batch in batches:
        with recorded(model, layers) as seen:
            model(batch)
        clips += len(batch)
        for name, moments in seen.items():
            weighted = [len(batch) * moment for moment in moments]
            sums[name] = [a + b for a, b in zip(sums[name], weighted, strict=True)] if name in sums else weighted
    if not clips:
        raise ValueError("source statistics need at least one readable training clip; the training split has none")
    return {name: (mean / clips, var / clips) for name, (mean, var) in sums.items()}, clips


def compute(source: SourceModel, batch: int, out: str) -> None:
    """Write the statistics of a source model on the training split of its dataset."""
    module = plugins.load("backbones", source.backbone["plugin"])
    model, loader, rows = source.load()
    batches = evaluation_batches(loader, rows, batch, source.runtime["loading_threads"])
    found, seen = average(model, module.candidate_layers(model), batches)
    listed = fingerprint([(row["clip_id"], row["sha256"]) for row in rows])
    size = {"frames": loader.spec.frames, "size": loader.spec.size}
    how = {"clips": seen, "batch": batch, **size, "sampling": loader.style, **source.sampling}
    _write(found, module, model, {**how, "weights": sha256_of_file(source.weights), "clips_digest": listed}, out)


def import_published(mean: str, var: str, backbone: Mapping[str, Any], classes: str, out: str) -> None:
    """Write ViTTA's published source statistics, two `.npy` lists in the order of layers, by the layers' names."""
    module = plugins.load("backbones", backbone["plugin"])
    with torch.device("meta"):  # only names and widths are wanted
        model = weights.build(**backbone, n_classes=len(contracts.read(classes, contracts.CLASSES)))
    widths = {name: len(cast(Tensor, model.get_submodule(name).weight)) for name in module.candidate_layers(model)}
    found = published_statistics.read(mean, var, widths)
    _write(found, module, model, {"published": [sha256_of_file(path) for path in (mean, var)]}, out)


def _write(found: Mapping[str, Moments], module: ModuleType, model: nn.Module, facts: Mapping[str, Any], out: str) -> None:
    tensors = {f"{name}.{kind}": t for name, pair in found.items() for kind, t in zip(("mean", "var"), pair, strict=True)}
    weights.save(out, tensors, {**facts, "layers": list(found), "aligned": module.aligned_layers(model)})


def load_aligned(path: str | Path, device: str) -> dict[str, Moments]:
    """The moments of the layers that alignment works on."""
    tensors = load_file(path, device=device)
    aligned = weights.facts_of(path)["aligned"]
    absent = [name for name in aligned if f"{name}.mean" not in tensors]
    if absent:
        raise ValueError(f"{path}: no statistics for the layers {', '.join(absent)}")
    return {name: (tensors[f"{name}.mean"], tensors[f"{name}.var"]) for name in aligned}
