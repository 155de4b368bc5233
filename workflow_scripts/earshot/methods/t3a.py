"""T3A: a classifier of class means, which confident test clips adjust.

Source: Iwasawa and Matsuo, "Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization", NeurIPS 2021
(our spec, `tta.md` section 3). No parameter adapts and there is no loss: a memory holds, for each class, the features of the
clips predicted as that class with the least entropy, beginning with the row of the linear head; logits are products of the
features with the normalised means of the memory. The prediction comes *after* the clip has entered the memory.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional

from earshot.adaptation import Clip, Context, Outcome, per_clip, together
from earshot.methods._entropy import entropy

PREDICTS = "after"
NEEDS = ()
BATCHED = True
TWO_PASS = False


class Hyper(BaseModel, extra="forbid"):
    """The size of the memory; the reference names no default."""

    filter_k: Literal[-1] | Annotated[int, Field(ge=1)] = Field(20, description="supports kept for each class; -1: all")


class Method:
    """Keep supports, predict by their means."""

    def __init__(self, model: Any, hyper: Hyper, context: Context) -> None:
        self.model, self.k = model.requires_grad_(False).eval(), hyper.filter_k
        self.supports: Tensor = model.head.weight.detach().clone()  # (S, D)
        logits = model.head(self.supports)
        self.labels, self.entropies = logits.argmax(-1), entropy(logits)

    @torch.no_grad()
    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Add the batch's features to the memory and predict them: logits (K,) of each clip."""
        features = per_clip(self.model.features(together(clips)), clips)  # (B, D)
        logits = self.model.head(features)
        self.supports = torch.cat([self.supports, features])
        self.labels = torch.cat([self.labels, logits.argmax(-1)])
        self.entropies = torch.cat([self.entropies, entropy(logits)])
        if self.k >= 0:
            self._prune()
        members = functional.one_hot(self.labels, logits.shape[-1]).to(features.dtype)  # (S, K)
        centres = functional.normalize(functional.normalize(self.supports).T @ members, dim=0)  # (D, K)
        return [Outcome(row, steps=1) for row in features @ centres]

    def _prune(self) -> None:
        """Keep the `k` supports of least entropy for each class, the earlier one on a tie."""
        by_entropy = self.entropies.argsort(stable=True)
        order = by_entropy[self.labels[by_entropy].argsort(stable=True)]  # by class, then by entropy
        labels = self.labels[order]
        first = torch.searchsorted(labels, labels)  # where the run of each class begins
        rank = torch.arange(len(labels), device=labels.device) - first
        kept = order[rank < self.k].sort().values
        self.supports, self.labels, self.entropies = self.supports[kept], self.labels[kept], self.entropies[kept]
