"""EATA: entropy minimisation on reliable and non-redundant clips, held back where parameters matter to the source task.

Source: Niu et al., "Efficient Test-Time Model Adaptation without Forgetting", ICML 2022; defaults as published for ImageNet-C
(our spec, `tta.md` section 3.1). The scales and shifts of all normalisation layers adapt, by SGD with Nesterov momentum;
BatchNorm layers normalise with the statistics of the batch. Loss: the mean over kept clips of their entropy in nats, weighted
by exp(limit - entropy), plus `fisher_alpha` times the squared distance from the source weighted by each parameter's Fisher
information, which `earshot.importance` computes; without it this is ETA. A clip is kept if its entropy is below
`margin * ln(K)` and its probabilities do not resemble the mean of those kept before; if none is, nothing is updated. The
prediction is the forward pass *before* the update.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import NOT_APPLICABLE, Clip, Context, Outcome, logits_of
from earshot.methods._entropy import affine_parameters, entropy, normalise_by_batch

PREDICTS = "before"
NEEDS = ("importance",)
BATCHED = True
TWO_PASS = False


class Hyper(BaseModel, extra="forbid"):
    """Optimiser, which clips are kept, and how strongly important parameters are held."""

    lr: float = Field(2.5e-4, gt=0)
    momentum: float = Field(0.9, gt=0, lt=1, description="of Nesterov's kind")
    margin: float = Field(0.4, gt=0, description="entropy below which a clip is reliable, in units of ln(K)")
    redundancy: float = Field(
        0.05, gt=0, le=1, description="cosine to the mean of kept probabilities from which on a clip is redundant"
    )
    memory: float = Field(0.9, ge=0, lt=1, description="weight of the old mean when kept probabilities come in")
    fisher_alpha: float = Field(2000.0, ge=0, description="weight of the distance from the source; 0: ETA")


class Method:
    """Minimise the entropy of those clips of each batch that are worth it."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = normalise_by_batch(model), hyper
        affine = affine_parameters(model)
        self.optimizer = torch.optim.SGD(affine.values(), lr=hyper.lr, momentum=hyper.momentum, nesterov=True)
        weighed = affine if hyper.fisher_alpha and context.importance else {}
        absent = [name for name in weighed if name not in context.importance]
        if absent:
            raise ValueError(f"the importance of {', '.join(absent)} is not known: it was computed for another model")
        self.held = [(now, now.detach().clone(), context.importance[name]) for name, now in weighed.items()]
        self.mean: Tensor | None = None  # of the probabilities (K,) of kept clips

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Take one gradient step on the kept clips of the batch; return all logits (K,), before the step."""
        logits = logits_of(self.model, clips)
        limit = self.hyper.margin * math.log(logits.shape[-1])
        entropies = entropy(logits)
        kept = self._kept(logits.detach().softmax(-1), entropies.detach() < limit)
        flags = kept.tolist()
        loss = self._step(entropies[kept], limit) if any(flags) else NOT_APPLICABLE
        return [
            Outcome(row, steps=int(flag), stop="" if flag else "filtered", loss_first=loss, loss_last=loss)
            for row, flag in zip(logits.detach(), flags, strict=True)
        ]

    def _kept(self, probabilities: Tensor, reliable: Tensor) -> Tensor:
        """Which of the reliable clips (B,) are not redundant; their probabilities (B, K) move the mean."""
        kept = reliable
        if self.mean is not None:
            resemblance = nn.functional.cosine_similarity(self.mean[None], probabilities)
            kept = reliable & (resemblance.abs() < self.hyper.redundancy)
        if bool(kept.any()):
            new, old = probabilities[kept].mean(0), self.hyper.memory
            self.mean = new if self.mean is None else old * self.mean + (1 - old) * new
        return kept

    def _step(self, entropies: Tensor, limit: float) -> Tensor:
        """Update on the entropies of the kept clips; returns the loss."""
        loss = (entropies * (limit - entropies.detach()).exp()).mean()
        if self.held:
            distances = [(weight * (now - source).square()).sum() for now, source, weight in self.held]
            loss = loss + self.hyper.fisher_alpha * torch.stack(distances).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
