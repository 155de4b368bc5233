"""RoTTA: learn from a slow teacher on a memory of test clips that is balanced by class, for streams whose classes come in runs.

Source: Yuan et al., "Robust Test-Time Adaptation in Dynamic Scenarios", CVPR 2023; defaults as published (our spec, `tta.md`
section 3.1). The scales and shifts of normalisation layers adapt, by Adam, once every `every` clips: cross-entropy, in nats,
of the student on augmented clips of the memory to the teacher on the clips themselves, weighted by their youth. BatchNorm
layers normalise with running statistics that such an update moves a little towards the memory's ("robust"); on backbones
without BatchNorm, LayerNorm layers alone adapt and there are no such statistics. The teacher's parameters are a moving average
of the student's; dropout is off. The prediction is the teacher's, in evaluation mode, *before* an update. The reference passes
the whole memory at once, which for clips of video is out of reach of most devices: ours goes through it in passes of
`clips_at_once`, which changes nothing but under BatchNorm, where each pass has its own statistics and a smaller weight.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import BATCH_NORMS, NOT_APPLICABLE, Clip, Context, Outcome, layers_where, logits_of, per_clip, together
from earshot.methods._augment import augmented
from earshot.methods._entropy import affine_parameters, entropy
from earshot.methods._memory import Item, Memory
from earshot.methods._teacher import follow

PREDICTS = "before"
NEEDS = ()
BATCHED = True
TWO_PASS = False


class Hyper(BaseModel, extra="forbid"):
    """Optimiser, memory, and how slowly statistics and teacher move."""

    lr: float = Field(1e-3, gt=0)
    capacity: int = Field(64, ge=1, description="clips in the memory")
    every: int = Field(64, ge=1, description="clips from one update to the next")
    weight_of_age: float = Field(1.0, ge=0, description="in the choice of the clips that leave the memory")
    weight_of_uncertainty: float = Field(1.0, ge=0)
    alpha: float = Field(0.05, ge=0, le=1, description="weight of the memory's statistics in BatchNorm layers")
    nu: float = Field(1e-3, gt=0, le=1, description="weight of the student in the teacher's moving average")
    clips_at_once: int = Field(8, ge=1, description="clips of the memory in one pass")


class Robust(nn.Module):
    """A BatchNorm layer that normalises with running statistics; where `weight_of_batch` is set, they move first."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        self.register_buffer("running_mean", layer.running_mean)
        self.register_buffer("running_var", layer.running_var)
        self.weight_of_batch = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, D, ...) by channel; gradients flow through the batch's share of the statistics."""
        mean, var = self.running_mean, self.running_var
        if self.weight_of_batch:
            new_var, new_mean = torch.var_mean(x.float(), dim=[0, *range(2, x.dim())], correction=0)
            mean, var = mean.lerp(new_mean, self.weight_of_batch), var.lerp(new_var, self.weight_of_batch)
            self.running_mean, self.running_var = mean.detach(), var.detach()
        scale = torch.rsqrt(var + self.eps)
        shift = -mean * scale
        if self.weight is not None:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = (-1, *[1] * (x.dim() - 2))
        return x * scale.view(shape).to(x.dtype) + shift.view(shape).to(x.dtype)


class Method:
    """Remember clips, and learn from them now and then."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.student, self.hyper, self.context = model.eval(), hyper, context
        affine = list(affine_parameters(model).values())
        for name, layer in list(layers_where(model, BATCH_NORMS)):
            model.set_submodule(name, Robust(layer))
        self.model = copy.deepcopy(model).requires_grad_(False)  # the teacher predicts
        self.optimizer = torch.optim.Adam(affine, lr=hyper.lr, betas=(0.9, 0.999))
        self.memory: Memory[Clip] | None = None
        self.seen = 0

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Return the teacher's logits (K,), remember the clips, and learn from the memory when it is time."""
        with torch.no_grad():
            logits = logits_of(self.model, clips)
        if self.memory is None:
            weights = self.hyper.weight_of_age, self.hyper.weight_of_uncertainty
            self.memory = Memory(self.hyper.capacity, logits.shape[-1], *weights)
        certainty = zip(logits.argmax(-1).tolist(), entropy(logits).tolist(), strict=True)
        outcomes = []
        for clip, row, (prediction, uncertainty) in zip(clips, logits, certainty, strict=True):
            self.memory.add(clip, prediction, uncertainty)
            self.seen += 1
            due = self.seen % self.hyper.every == 0
            loss = self._learn(self.memory.items()) if due else NOT_APPLICABLE
            outcomes.append(Outcome(row, steps=int(due), loss_first=loss, loss_last=loss))
        return outcomes

    def _learn(self, items: Sequence[Item[Clip]]) -> Tensor:
        """One update of the student on the memory, and of the teacher by the student; returns the loss."""
        passes = [items[start : start + self.hyper.clips_at_once] for start in range(0, len(items), self.hyper.clips_at_once)]
        losses = []
        self.optimizer.zero_grad()
        # so much a pass that all of them move the statistics as far as one
        with _moving(1 - (1 - self.hyper.alpha) ** (1 / len(passes)), self.model, self.student):
            for some in passes:
                loss = self._loss(some) / len(items)
                loss.backward()
                losses.append(loss.detach())
        self.optimizer.step()
        follow(self.model, self.student, 1 - self.hyper.nu)
        return torch.stack(losses).sum()

    def _loss(self, items: Sequence[Item[Clip]]) -> Tensor:
        """Cross-entropy of the student to the teacher, weighted by the youth of the items and summed over them."""
        clips, context = [item.what for item in items], self.context
        plain = together(clips)
        with torch.no_grad():
            target = per_clip(self.model(plain), clips).softmax(-1)
        logits = per_clip(self.student(augmented(plain, context.mean, context.std)), clips)
        weights = logits.new_tensor([timeliness(item.age / self.hyper.capacity) for item in items])
        return -(weights * (target * logits.log_softmax(-1)).sum(-1)).sum()


@contextmanager
def _moving(weight: float, *models: nn.Module) -> Iterator[None]:
    """Let the statistics of robust layers move by `weight` a pass."""
    layers = [layer for model in models for layer in model.modules() if isinstance(layer, Robust)]
    for layer in layers:
        layer.weight_of_batch = weight
    try:
        yield
    finally:
        for layer in layers:
            layer.weight_of_batch = 0.0


def timeliness(age: float) -> float:
    """The weight of an item of this age, in units of the memory's capacity: 1/2 for a new one, less for older ones."""
    return math.exp(-age) / (1 + math.exp(-age))
