"""Source: the model as it was trained, without adaptation; what every method is compared with.

Our spec: `tta.md` section 3. Nothing adapts; logits are unitless.
"""

from collections.abc import Sequence

from pydantic import BaseModel
from torch import nn

from earshot.adaptation import Clip, Context, Outcome, evaluate

PREDICTS = "none"
NEEDS = ()
BATCHED = True
TWO_PASS = False


class Hyper(BaseModel, extra="forbid"):
    """No knobs."""


class Method:
    """Predict the evaluation clips with the source model."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model = model.requires_grad_(False).eval()

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Return the source model's logits (K,) of each clip."""
        return [Outcome(evaluate(self.model, clip.evaluation)) for clip in clips]
