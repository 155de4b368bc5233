"""Tent: entropy minimisation over the affine parameters of normalisation layers.

Source: Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021, section 3; defaults as ViTTA
evaluates it on video (our spec, `tta.md` section 3). BatchNorm layers normalise with the statistics of the clip's own frames
and keep updating their running statistics. Entropy in nats. The prediction is the forward pass *before* the update.
"""

from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import Clip, Context, Outcome, normalisation_layers

PREDICTS, NEEDS_AUDIO, NEEDS_STATISTICS = "before", False, False


class Hyper(BaseModel, extra="forbid"):
    """Adam's learning rate, steps a clip, and which clips are looked at: the evaluation clip or the augmented views."""

    lr: float = Field(1e-5, gt=0)
    steps: int = Field(1, ge=1)
    input: Literal["evaluation", "views"] = "evaluation"


class Method:
    """Minimise the entropy of the mean logits of each clip."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = model.requires_grad_(False).eval(), hyper
        for layer in normalisation_layers(model):
            layer.train().requires_grad_(True)
        affine = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(affine, lr=hyper.lr, betas=(0.9, 0.999))

    def adapt(self, clip: Clip) -> Outcome:
        """Take `steps` gradient steps on the clip's entropy; return the last logits (K,), before their step."""
        losses = []
        for _ in range(self.hyper.steps):
            logits = self.model(clip.views if self.hyper.input == "views" else clip.evaluation).mean(0)
            loss = entropy(logits)
            losses.append(float(loss.detach()))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return Outcome(logits.detach(), steps=self.hyper.steps, loss_first=losses[0], loss_last=losses[-1])


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy in nats of softmax(logits), taken over the last axis."""
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
