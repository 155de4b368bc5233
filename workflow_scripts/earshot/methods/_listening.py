"""From audio logits to a pseudo-label over video classes.

Source: the audio-assisted pseudo-labels of arXiv 2506.12481; the formulas are our reading (our spec, `tta.md` sections 7.3
and 7.4), so that every constant is a knob.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from earshot.adaptation import Context, Evidence

_TINY = 1e-12
_LEAST = 1e-30  # a probability whose logarithm is still finite


class ListeningHyper(BaseModel, extra="forbid"):
    """Knobs of the mapped audio distribution and of its combination with vision."""

    audio_activation: Literal["sigmoid", "softmax"] | None = Field(
        None, description="what makes probabilities of audio logits; none: what the audio model says, sigmoid for most"
    )
    k_a: int = Field(5, ge=1, description="how many audio classes are listened to")
    tau_a: float = Field(0.1, ge=0, le=1, description="least probability of an audio class")
    gamma: float = Field(1.0, ge=0, description="1: an audio class shares its mass among its video classes; 0: no sharing")
    eps_s: float = Field(1e-3, ge=0, description="least mapped mass for the sound to be used")
    kappa_min: float = Field(0.2, ge=0, le=1, description="least share of the heard mass that maps to anything")
    alpha_max: float = Field(0.5, ge=0, le=1, description="largest weight of the sound")
    eta: float = Field(0.01, gt=0, description="floor that keeps unmapped classes possible")
    combine: Literal["product", "linear", "mask"] = "product"
    temperature: float = Field(0.5, gt=0, description="Ts: sharpening of the pseudo-label")


class Heard(NamedTuple):
    """The mapped audio distribution `q` (K,), None if the sound is not used, and the covered share `kappa` of its mass."""

    q: Tensor | None
    kappa: float

    @property
    def best(self) -> int:
        """The video class that the sound favours; -1 if it is not used."""
        return int(self.q.argmax()) if self.q is not None else -1


def listened(evidence: Evidence | None, context: Context, hyper: ListeningHyper) -> Heard:
    """What a clip's evidence says of its class; raises ValueError if the cell has no label map."""
    if context.label_map is None:
        raise ValueError("a method that listens needs a label map: set `audio_model` in the experiment")
    if evidence is None:
        return Heard(None, 0.0)
    return mapped_audio(evidence.logits, evidence.heard, context.label_map, hyper, context.audio_activation)


def mapped_audio(logits: Tensor, heard: bool, label_map: Tensor, hyper: ListeningHyper, activation: str = "sigmoid") -> Heard:
    """Map audio logits (A,) through a label map (A, K) to a distribution over video classes (K,), or to nothing.

    `activation` is the audio model's own, which holds where `hyper` names none.
    """
    p = logits.sigmoid() if (hyper.audio_activation or activation) == "sigmoid" else logits.softmax(0)
    top = p.topk(min(hyper.k_a, len(p))).indices
    top = top[p[top] >= hyper.tau_a]
    kept = torch.zeros_like(p).index_copy(0, top, p[top])
    row_sums = label_map.sum(1)
    spread = label_map / row_sums.clamp(min=1).pow(hyper.gamma)[:, None]
    scores = kept @ spread
    kappa = float(kept[row_sums > 0].sum() / (kept.sum() + _TINY))
    usable = heard and len(top) > 0 and float(scores.sum()) >= hyper.eps_s and kappa >= hyper.kappa_min
    return Heard(scores / scores.sum() if usable else None, kappa)


def pseudo_label(visual: Tensor, heard: Heard, hyper: ListeningHyper) -> tuple[Tensor, float]:
    """Combine visual probabilities (K,) with the mapped audio distribution: the pseudo-label (K,) and the sound's weight."""
    alpha = hyper.alpha_max * heard.kappa if heard.q is not None else 0.0
    if heard.q is None:
        q = visual
    else:
        audio = heard.q.to(visual.device)
        if hyper.combine == "product":
            q = visual.pow(1 - alpha) * (hyper.eta + audio).pow(alpha)
        elif hyper.combine == "linear":
            q = (1 - alpha) * visual + alpha * audio
        else:
            q = visual * (hyper.eta + (audio > 0).to(visual.dtype))
    q = (q / q.sum()).pow(1 / hyper.temperature)
    return q / q.sum(), alpha


def fused(logits: Tensor, heard: Heard, hyper: ListeningHyper) -> tuple[Tensor, float]:
    """Logits (K,) of the pseudo-label of one prediction, logits (K,), and the sound's weight."""
    q, alpha = pseudo_label(logits.softmax(0), heard, hyper)
    return q.clamp(min=_LEAST).log(), alpha
