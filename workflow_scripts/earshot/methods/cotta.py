"""CoTTA: learn from a slow teacher that averages over augmentations, and forget at random, back to the source.

Source: Wang et al., "Continual Test-Time Domain Adaptation", CVPR 2022; defaults as published for ImageNet-C (our spec,
`tta.md` section 3.1). All parameters adapt, by SGD with Nesterov momentum, to a symmetric cross-entropy, in nats, between the
student's and the teacher's answers. The teacher's parameters are a moving average of the student's; where the source model is
unsure of the batch, the teacher's answer is its mean over augmented clips. After each step every weight returns to its source
value with a small probability. BatchNorm layers normalise with the statistics of the batch; dropout is off. The prediction is
that teacher's answer, *before* the update.
"""

import copy
from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import Clip, Context, Outcome, logits_of, per_clip, together
from earshot.methods._augment import augmented
from earshot.methods._entropy import normalise_by_batch
from earshot.methods._teacher import follow

PREDICTS = "before"
NEEDS = ()
BATCHED = True
TWO_PASS = False


class Hyper(BaseModel, extra="forbid"):
    """Optimiser, how slow the teacher is, when it looks at augmented clips, and how much is forgotten."""

    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, gt=0, lt=1, description="of Nesterov's kind")
    teacher: float = Field(0.999, ge=0, lt=1, description="weight of the old teacher in its moving average")
    confidence: float = Field(0.1, ge=0, le=1, description="mean confidence of the source below which the teacher augments")
    augmentations: int = Field(32, ge=1)
    restore: float = Field(0.001, ge=0, le=1, description="probability with which a weight returns to the source")


class Method:
    """Teach each batch to a student, and follow it slowly."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.student, self.hyper, self.context = normalise_by_batch(model.requires_grad_(False)), hyper, context
        self.model, self.anchor = copy.deepcopy(model), copy.deepcopy(model)  # the teacher predicts
        model.requires_grad_(True)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=hyper.lr, momentum=hyper.momentum, nesterov=True)

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Take one step towards the teacher, whose logits (K,) from before it are returned."""
        answers = self._taught(clips)
        loss = symmetric_cross_entropy(logits_of(self.student, clips), answers).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        follow(self.model, self.student, self.hyper.teacher)
        self._forget()
        return [Outcome(row, steps=1, loss_first=loss.detach(), loss_last=loss.detach()) for row in answers]

    @torch.no_grad()
    def _taught(self, clips: Sequence[Clip]) -> Tensor:
        """The teacher's logits (B, K)."""
        confidence = logits_of(self.anchor, clips).softmax(-1).amax(-1).mean()
        if not bool(confidence < self.hyper.confidence):
            return logits_of(self.model, clips)
        plain, context = together(clips), self.context
        draws = (augmented(plain, context.mean, context.std) for _ in range(self.hyper.augmentations))
        return torch.stack([per_clip(self.model(draw), clips) for draw in draws]).mean(0)

    @torch.no_grad()
    def _forget(self) -> None:
        for parameter, source in zip(self.student.parameters(), self.anchor.parameters(), strict=True):
            parameter.copy_(torch.where(torch.rand_like(parameter) < self.hyper.restore, source, parameter))


def symmetric_cross_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean (B,) of the cross-entropies, in nats, of each model's logits (B, K) to the other's probabilities."""
    forth = (teacher.softmax(-1) * student.log_softmax(-1)).sum(-1)
    back = (student.softmax(-1) * teacher.log_softmax(-1)).sum(-1)
    return -(forth + back) / 2
