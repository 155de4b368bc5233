"""The flexible adaptation cycle: how many updates a clip gets.

Source: arXiv 2506.12481 names changes in loss and consistency across views as the criteria; the rules are our reading (our
spec, `tta.md` section 7.5), so that every threshold is a knob.
"""

import math
from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from earshot.contracts import DIVERGED

_SLACK = 1e-4  # a loss near zero may rise by this much without counting as rising


class CycleHyper(BaseModel, extra="forbid"):
    """Knobs of the cycle."""

    n_min: int = Field(1, ge=1)
    n_max: int = Field(5, ge=1)
    tau_loss: float = Field(0.05, ge=0, description="relative change of the loss below which it has settled")
    tau_up: float = Field(0.2, ge=0, description="relative rise of the loss above which the last update is undone")
    stop_rule: Literal["and", "or", "loss", "agree"] = Field("and", description="what ends the cycle: settled loss, agreement")
    agree_rule: Literal["argmax", "jsd"] = "argmax"
    tau_js: float = Field(0.05, ge=0, description="nats")

    @property
    def may_undo(self) -> bool:
        """Whether an update can ever be taken back, so that a snapshot is needed."""
        return self.n_max > 1  # a loss that is not finite takes one back whatever `tau_up`


def verdict(n: int, losses: list[float], agree: bool, hyper: CycleHyper, finite: bool = True) -> str:
    """Why to stop after the forward pass at `n` updates: '', 'diverged', 'rising' or 'converged'.

    `losses` are the monitored losses at 0..n updates; `finite` says whether the whole loss is finite. 'diverged' and
    'rising' take the last update back.
    """
    if not (finite and math.isfinite(losses[-1])):
        return DIVERGED
    if n == 0 or n < hyper.n_min:
        return ""
    before, now = losses[-2], losses[-1]
    if now > (1 + hyper.tau_up) * before + _SLACK:
        return "rising"
    settled = abs(before - now) / max(abs(before), 1e-8) < hyper.tau_loss
    stop = {"and": settled and agree, "or": settled or agree, "loss": settled, "agree": agree}[hyper.stop_rule]
    return "converged" if stop else ""


def views_agree(logits: Tensor, hyper: CycleHyper) -> Tensor:
    """Whether views (V, K) agree: the same best class, or a small Jensen-Shannon divergence in nats."""
    if hyper.agree_rule == "argmax":
        return same_best(logits)
    return jensen_shannon(logits) <= hyper.tau_js


def same_best(logits: Tensor) -> Tensor:
    """Whether the best class is the same in all views (V, K)."""
    best = logits.argmax(-1)
    return (best == best[0]).all()


def jensen_shannon(logits: Tensor) -> Tensor:
    """Mean over views (V, K) of KL(view || mean of views), in nats."""
    log_p = logits.log_softmax(-1)
    log_mean = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - log_mean)).sum(-1).mean()
