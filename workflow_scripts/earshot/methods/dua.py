"""DUA: move running statistics of normalisation layers by augmented copies of one clip at a time.

Source: Mirza et al., "The Norm Must Go On: Dynamic Unsupervised Domain Adaptation by Normalization", CVPR 2022, as ViTTA
evaluates it (our spec, `tta.md` section 3). No parameter adapts and there is no loss: one pass over 16 copies of the clip
(multi-scale crop, flip, quarter turns) moves the running statistics of BatchNorm layers. The prediction is the evaluation clip
*after* it, in evaluation mode. The reference adapts to the first 1 % of the list and reports the best of all evaluations on
the test set; ours reports the last, and online it adapts to every clip unless `share` says otherwise. Copies are cut from the
evaluation clip, not from the original frames, and every copy is turned by its own angle. Models without BatchNorm have nothing
to adapt.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from torch import nn

from earshot.adaptation import Clip, Context, Outcome, evaluate
from earshot.methods._augment import geometric_copies
from earshot.methods._statistics import batch_norms

PREDICTS = "after"
NEEDS = ()
BATCHED = False
TWO_PASS = True


class Hyper(BaseModel, extra="forbid"):
    """Copies a clip, and how far and for how many clips the statistics move."""

    copies: int = Field(16, ge=2)
    momentum: float = Field(0.1, gt=0, le=1)
    decay: float = Field(
        1.0, gt=0, le=1, description="of the momentum from clip to clip; the paper has one, the reference none"
    )
    floor: float = Field(0.005, ge=0, le=1, description="below which the momentum does not decay")
    share: float | None = Field(
        None, gt=0, le=1, description="of the stream that is adapted to; none: 1 % under two_pass, else 1"
    )


class Method:
    """Move the running statistics, then predict."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = model.requires_grad_(False).eval(), hyper
        self.layers, self.momentum = batch_norms(model), hyper.momentum
        share = hyper.share or (0.01 if context.two_pass else 1.0)
        self.left = math.ceil(share * context.clips) if share < 1 else math.inf

    def succeed(self, lost: "Method") -> None:
        """Go on in the list where a method has diverged."""
        self.left = lost.left

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Move the statistics if this clip is among those adapted to; return the logits (K,)."""
        (clip,) = clips
        moves = self.left > 0
        if moves:
            self._move(clip)
            self.left -= 1
        return [Outcome(evaluate(self.model, clip.evaluation), steps=int(moves))]

    @torch.no_grad()
    def _move(self, clip: Clip) -> None:
        for layer in self.layers:
            layer.train()
            layer.momentum = self.momentum
        self.model(geometric_copies(clip.evaluation[:1], self.hyper.copies))
        for layer in self.layers:
            layer.eval()
        self.momentum = max(self.momentum * self.hyper.decay, min(self.hyper.floor, self.momentum))
