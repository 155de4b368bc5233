"""Source statistics: mean and variance by channel of normalisation layers' outputs on clean training clips.

Source: ViTTA (Lin et al., CVPR 2023), section 3.1; our spec, `tta.md` section 2.3. The variance is the clip-weighted mean of
the variances of batches, not the pooled one, so it depends on the batch size, which is stored.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from earshot import contracts, plugins, weights
from earshot.adaptation import Moments
from earshot.errors import MediaError
from earshot.frames import Frames
from earshot.loading import ClipLoader, FrameCache
from earshot.moments import recorded


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


def compute(
    clips: str, classes: str, weights_path: str, root: str, plugin: str, runtime: dict[str, Any], batch: int, out: str
) -> None:
    """Write the source statistics of a backbone on the training split of a dataset."""
    weights.use_threads(runtime["training_threads"])
    device = weights.pick_device(runtime["device"])
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    module = plugins.load("backbones", plugin)
    model = weights.load_backbone(weights_path, plugin, names, device)
    loader = ClipLoader(module.SPEC, Frames(Path(root)), FrameCache(0), device, views=1)
    rows = [r for r in contracts.read(clips, contracts.CLIPS) if r["split"] == "train" and r["available"]]
    layers = module.candidate_layers(model)
    found, seen = average(model, layers, _batches(loader, rows, batch))
    tensors = {f"{name}.{kind}": t for name, pair in found.items() for kind, t in zip(("mean", "var"), pair, strict=True)}
    weights.save(out, tensors, {"layers": layers, "clips": seen, "batch": batch, "aligned": module.aligned_layers(model)})


def _batches(loader: ClipLoader, rows: Sequence[dict[str, Any]], size: int) -> Iterable[Tensor]:
    held = []
    for row in rows:
        try:
            held.append(loader.evaluation(row))
        except MediaError as error:
            print(f"left out of the statistics: {row['clip_id']}: {error}")
        if len(held) == size:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)


def load_aligned(path: str | Path, device: str) -> dict[str, Moments]:
    """The moments of the layers that alignment works on."""
    tensors = load_file(path, device=device)
    aligned = weights.facts_of(path)["aligned"]
    absent = [name for name in aligned if f"{name}.mean" not in tensors]
    if absent:
        raise ValueError(f"{path}: no statistics for the layers {', '.join(absent)}")
    return {name: (tensors[f"{name}.mean"], tensors[f"{name}.var"]) for name in aligned}
