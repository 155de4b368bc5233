"""Tent: entropy minimisation over the affine parameters of normalisation layers.

Source: Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021, section 3; defaults as ViTTA
evaluates it on video (our spec, `tta.md` section 3; the image setting, section 3.1, is SGD with lr 2.5e-4). The scales and
shifts of all normalisation layers adapt; BatchNorm layers normalise with the statistics of the batch and keep updating their
running statistics. Loss: the mean entropy, in nats, of each clip's mean logits. The prediction is the forward pass *before*
the update.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import nn

from earshot.adaptation import NORMS, Clip, Context, Outcome, layers_where, logits_of
from earshot.methods._entropy import affine_parameters, entropy

PREDICTS = "before"
NEEDS = ()
BATCHED = True
TWO_PASS = True


class Hyper(BaseModel, extra="forbid"):
    """Optimiser (Adam, or SGD with Nesterov momentum 0.9), learning rate, and steps a batch."""

    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(1e-5, gt=0)
    steps: int = Field(1, ge=1)


class Method:
    """Minimise the entropy of each batch of clips."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = model.eval(), hyper
        affine = list(affine_parameters(model).values())
        for _, layer in layers_where(model, NORMS):
            layer.train()
        self.optimizer: torch.optim.Optimizer
        if hyper.optimizer == "adam":
            self.optimizer = torch.optim.Adam(affine, lr=hyper.lr, betas=(0.9, 0.999))
        else:
            self.optimizer = torch.optim.SGD(affine, lr=hyper.lr, momentum=0.9, nesterov=True)

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Take `steps` gradient steps on the batch's entropy; return the last logits (K,), before their step."""
        losses = []
        for _ in range(self.hyper.steps):
            logits = logits_of(self.model, clips)
            loss = entropy(logits).mean()
            losses.append(loss.detach())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        n, first, last = self.hyper.steps, losses[0], losses[-1]
        return [Outcome(row, steps=n, loss_first=first, loss_last=last) for row in logits.detach()]
