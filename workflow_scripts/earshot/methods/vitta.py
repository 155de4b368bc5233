"""ViTTA: align the statistics of late normalisation layers with the source's, and views of a clip with each other.

Source: Lin et al., "Video Test-Time Adaptation for Action Recognition", CVPR 2023, section 3; the defaults are those for TANet
on UCF101, with Video Swin's own (our spec, `tta.md` section 2.7). All parameters adapt, by SGD, or scales and shifts alone.
Loss: L1 distances of moments, summed over layers, and of views' probabilities; unitless. The prediction is the evaluation
clip *after* the update.
"""

from collections.abc import Sequence

from pydantic import Field
from torch import nn

from earshot.adaptation import Clip, Context, Outcome, evaluate
from earshot.methods._alignment import PUBLISHED, Alignment, AlignmentHyper, consistency, prepare
from earshot.methods._cycle import same_best

PREDICTS = "after"
NEEDS = ("views", "statistics")
BATCHED = False
TWO_PASS = False
FOR_BACKBONE = PUBLISHED


class Hyper(AlignmentHyper, extra="forbid"):
    """ViTTA's knobs and the steps a clip."""

    steps: int = Field(1, ge=1)


class Method:
    """One gradient step (or `steps`) a clip on alignment and consistency."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = model, hyper
        self.optimizer = prepare(model, hyper)
        self.alignment = Alignment(model, hyper, context)

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Update on the clip's views, then predict its evaluation clip: logits (K,)."""
        (clip,) = clips
        losses = []
        for _ in range(self.hyper.steps):
            logits, targets = self.alignment.forward(clip.views)
            align, consis = self.alignment.loss(targets), consistency(logits)
            loss = self.hyper.lambda_align * align + self.hyper.lambda_consis * consis
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.alignment.commit(targets)
            losses.append(loss.detach())
        outcome = Outcome(
            evaluate(self.model, clip.evaluation),
            steps=self.hyper.steps,
            loss_first=losses[0],
            loss_last=losses[-1],
            agree=same_best(logits),
        )
        return [outcome]
