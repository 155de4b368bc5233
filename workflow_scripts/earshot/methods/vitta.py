"""ViTTA: align the statistics of late normalisation layers with the source's, and views of a clip with each other.

Source: Lin et al., "Video Test-Time Adaptation for Action Recognition", CVPR 2023, section 3; defaults are those for TANet on
UCF101 (our spec, `tta.md` section 2.7). All parameters adapt, by SGD; losses in nats-free L1 units. The prediction is the
evaluation clip *after* the update.
"""

from typing import Literal

from pydantic import BaseModel, Field
from torch import nn

from earshot.adaptation import Clip, Context, Outcome, evaluate
from earshot.methods._alignment import Alignment, consistency, moving_average_weight, prepare, sgd

PREDICTS, NEEDS_AUDIO, NEEDS_STATISTICS = "after", False, True


class Hyper(BaseModel, extra="forbid"):
    """Learning rate, weight `rho` of a new clip in the moving averages, weights of the losses, steps a clip."""

    lr: float = Field(5e-5, gt=0)
    rho: float = Field(0.1, gt=0, le=1)
    ema_init: Literal["zero", "source"] = Field("zero", description="where the moving averages start; zero: as published")
    lambda_align: float = Field(1.0, ge=0)
    lambda_consis: float = Field(0.1, ge=0)
    steps: int = Field(1, ge=1)
    adapt_dropout: Literal["reference", "off"] = "reference"


class Method:
    """One gradient step (or `steps`) a clip on alignment and consistency."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = prepare(model, hyper.adapt_dropout), hyper
        self.alignment = Alignment(model, context.statistics, moving_average_weight(hyper.rho, context), hyper.ema_init)
        self.optimizer = sgd(model, hyper.lr)

    def adapt(self, clip: Clip) -> Outcome:
        """Update on the clip's views, then predict its evaluation clip: logits (K,)."""
        losses = []
        for _ in range(self.hyper.steps):
            logits, targets = self.alignment.forward(clip.views)
            align, consis = self.alignment.loss(targets), consistency(logits)
            loss = self.hyper.lambda_align * align + self.hyper.lambda_consis * consis
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.alignment.commit(targets)
            losses.append(float(loss.detach()))
        agree = bool((logits.argmax(-1) == logits[0].argmax()).all())
        return Outcome(
            evaluate(self.model, clip.evaluation),
            steps=self.hyper.steps,
            loss_first=losses[0],
            loss_last=losses[-1],
            agree=agree,
        )
