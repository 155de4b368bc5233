"""SAR: entropy minimisation towards flat minima, on reliable clips only, and back to the source before it collapses.

Source: Niu et al., "Towards Stable Test-Time Adaptation in Dynamic Wild World", ICLR 2023; defaults as published for
ImageNet-C (our spec, `tta.md` section 3.1). The scales and shifts of normalisation layers adapt, except those of the
backbone's last stage, by SGD with momentum; BatchNorm layers normalise with the statistics of the batch. Loss: the mean
entropy, in nats, of the clips below `margin * ln(K)`, taken where the gradient points to within `radius` (sharpness-aware
minimisation), of those that are still below it there. If no clip is left in either place there is no update; the reference
then lets its momentum go on. If a moving average of the second loss falls below `recovery`, everything is reset to the
source. The prediction is the forward pass *before* the update.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import NOT_APPLICABLE, Clip, Context, Outcome, logits_of
from earshot.methods._entropy import affine_parameters, entropy, normalise_by_batch

PREDICTS = "before"
NEEDS = ()
BATCHED = True
TWO_PASS = False
FOR_BACKBONE = {  # the rate published for transformers
    backbone: {"lr": 1e-3} for backbone in ("video_swin", "videomae", "mvit_v2_s", "clip_linear", "clip_zero_shot")
}
_TINY = 1e-12


class Hyper(BaseModel, extra="forbid"):
    """Optimiser, which clips are kept, how far the loss looks around, and when to start again."""

    lr: float = Field(2.5e-4, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    margin: float = Field(0.4, gt=0, description="entropy below which a clip is reliable, in units of ln(K)")
    radius: float = Field(0.05, gt=0, description="of sharpness-aware minimisation, in the norm of all adapted parameters")
    memory: float = Field(0.9, ge=0, lt=1, description="weight of the old value in the moving average of the second loss")
    recovery: float = Field(0.2, ge=0, description="moving average, in nats, below which everything is reset; 0: never")


class Method:
    """Minimise the entropy of the reliable clips of each batch and its sharpness."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = normalise_by_batch(model), hyper
        self.affine = list(affine_parameters(model, but=context.last_stage).values())
        self.changing = [*self.affine, *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
        self.source = [tensor.detach().clone() for tensor in self.changing]
        self._begin()

    def _begin(self) -> None:
        self.optimizer = torch.optim.SGD(self.affine, lr=self.hyper.lr, momentum=self.hyper.momentum)
        self.average: float | None = None

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Take one step on the reliable clips of the batch; return all logits (K,), before the step."""
        logits = logits_of(self.model, clips)
        limit = self.hyper.margin * math.log(logits.shape[-1])
        entropies = entropy(logits)
        kept = entropies.detach() < limit
        first: Tensor | float = NOT_APPLICABLE
        last, recovered = NOT_APPLICABLE, False
        if bool(kept.any()):
            loss = entropies[kept].mean()
            first = loss.detach()
            kept, last = self._step(clips, loss, kept, limit)
            recovered = self._recovered(last)
        return [
            Outcome(row, steps=int(flag and not recovered), stop=_stop(flag, recovered), loss_first=first, loss_last=last)
            for row, flag in zip(logits.detach(), kept.tolist(), strict=True)
        ]

    def _step(self, clips: Sequence[Clip], loss: Tensor, kept: Tensor, limit: float) -> tuple[Tensor, float]:
        """Update by the gradient at the worst place nearby; returns which clips (B,) it is of, and the loss there."""
        self.optimizer.zero_grad()
        loss.backward()
        held = self._go_uphill()
        entropies = entropy(logits_of(self.model, clips))
        kept = kept & (entropies.detach() < limit)
        second = entropies[kept].mean() if bool(kept.any()) else None
        self.optimizer.zero_grad()
        if second is not None:
            second.backward()
        _put_back(self.affine, held)
        self.optimizer.step()  # without gradients it does nothing
        return kept, NOT_APPLICABLE if second is None else float(second.detach())

    @torch.no_grad()
    def _go_uphill(self) -> list[Tensor]:
        """Move the parameters by `radius` along their gradients; returns what they were."""
        held = [parameter.clone() for parameter in self.affine]
        pairs = [(parameter, parameter.grad) for parameter in self.affine if parameter.grad is not None]
        norm = torch.stack([gradient.norm() for _, gradient in pairs]).norm()
        for parameter, gradient in pairs:
            parameter.add_(gradient * (self.hyper.radius / (norm + _TINY)))
        return held

    def _recovered(self, loss: float) -> bool:
        """Follow the second loss by its moving average; where that is too low, start again from the source."""
        if not math.isnan(loss):
            old = self.hyper.memory
            self.average = loss if self.average is None else old * self.average + (1 - old) * loss
        if self.average is None or self.average >= self.hyper.recovery:
            return False
        _put_back(self.changing, self.source)
        self._begin()
        return True


def _stop(kept: bool, recovered: bool) -> str:
    return "recovered" if recovered else "" if kept else "filtered"


@torch.no_grad()
def _put_back(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
