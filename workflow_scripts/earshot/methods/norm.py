"""NORM: normalise with the test clips' own statistics in place of the training clips'.

Source: Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", NeurIPS 2020, as
ViTTA evaluates it (our spec, `tta.md` section 3). No parameter adapts and there is no loss: BatchNorm layers normalise with
the batch's statistics, which also move their running ones. The prediction is that same pass; under `two_pass` it comes after
the whole list, with the running statistics. Models without BatchNorm have nothing to adapt.
"""

from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from torch import nn

from earshot.adaptation import Clip, Context, Outcome, logits_of
from earshot.methods._statistics import batch_norms

PREDICTS = "after"
NEEDS = ()
BATCHED = True
TWO_PASS = True


class Hyper(BaseModel, extra="forbid"):
    """How fast running statistics move; they are never reset."""

    momentum: float = Field(0.1, gt=0, le=1)


class Method:
    """Normalise each batch with its own statistics."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model = model.requires_grad_(False).eval()
        for layer in batch_norms(model):
            layer.train()
            layer.momentum = hyper.momentum

    @torch.no_grad()
    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Return logits (K,) of each clip, normalised with the statistics of the batch."""
        return [Outcome(row, steps=1) for row in logits_of(self.model, clips)]
