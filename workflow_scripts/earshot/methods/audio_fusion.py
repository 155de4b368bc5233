"""Audio fusion: the source model's prediction combined with what the clip sounds like; nothing adapts.

Source: our spec, `tta.md` section 7.6: the row that tells how much of a gain by sound is fusion and how much adaptation. The
logits are the logarithm of the pseudo-label that `audio_assisted` would adapt to, made of the evaluation clip.
"""

from collections.abc import Sequence

from torch import nn

from earshot.adaptation import Clip, Context, Outcome, evaluate
from earshot.methods._listening import ListeningHyper, fused, listened

PREDICTS = "none"
NEEDS = ("audio",)
BATCHED = True
TWO_PASS = False


class Hyper(ListeningHyper, extra="forbid"):
    """The knobs of the pseudo-label."""


class Method:
    """Predict with the source model and the sound."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper, self.context = model.requires_grad_(False).eval(), hyper, context

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Return fused logits (K,) of each clip."""
        return [self._fuse(clip) for clip in clips]

    def _fuse(self, clip: Clip) -> Outcome:
        heard = listened(clip.evidence, self.context, self.hyper)
        logits, alpha = fused(evaluate(self.model, clip.evaluation), heard, self.hyper)
        return Outcome(logits, heard=heard.q is not None, audio_class=heard.best, kappa=heard.kappa, alpha=alpha)
