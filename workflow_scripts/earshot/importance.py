"""Importance of parameters: the diagonal of the Fisher information of a source model, on clean training clips.

Source: EATA (Niu et al., ICML 2022), section 4.2; our spec, `tta.md` section 3.1: the mean over batches of the squared gradient
of the cross-entropy, in nats, to the model's own predictions. It depends on the batch size, which is stored: the larger the
batch, the smaller the gradient of its mean.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from earshot import weights
from earshot.files import fingerprint, sha256_of_file
from earshot.loading import evaluation_batches
from earshot.methods._entropy import affine_parameters, normalise_by_batch
from earshot.randomness import numpy_generator
from earshot.source_models import SourceModel


def average(model: nn.Module, batches: Iterable[Tensor]) -> tuple[dict[str, Tensor], int]:
    """Mean squared gradients over batches (B, 3, T, H, W), by affine parameter; also returns the number of clips.

    The model is changed: it normalises with the statistics of batches, as it does while it adapts. Raises NotApplicable if
    it has no normalisation layer with a scale and a shift.
    """
    affine = affine_parameters(normalise_by_batch(model))
    sums = {name: torch.zeros_like(parameter) for name, parameter in affine.items()}
    clips = passes = 0
    for batch in batches:
        logits = model(batch)
        loss = nn.functional.cross_entropy(logits, logits.detach().argmax(-1))
        gradients = torch.autograd.grad(loss, list(affine.values()), materialize_grads=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total.add_(gradient.square())
        clips, passes = clips + len(batch), passes + 1
    if not clips:
        raise ValueError("importance needs at least one readable training clip; the training split has none")
    return {name: total / passes for name, total in sums.items()}, clips


def compute(source: SourceModel, most: int, batch: int, seed: int, out: str) -> None:
    """Write the importance of the affine parameters of a source model to its dataset.

    At most `most` clips of the training split count, the first of a permutation keyed by `seed`.
    """
    model, loader, rows = source.load()
    chosen = [rows[index] for index in numpy_generator("importance", seed).permutation(len(rows))[:most]]
    found, seen = average(model, evaluation_batches(loader, chosen, batch, source.runtime["loading_threads"]))
    listed = fingerprint([(row["clip_id"], row["sha256"]) for row in chosen])
    facts = {"clips": seen, "batch": batch, "seed": seed, "sampling": loader.style, **source.sampling, "clips_digest": listed}
    weights.save(out, found, {**facts, "weights": sha256_of_file(source.weights)})
