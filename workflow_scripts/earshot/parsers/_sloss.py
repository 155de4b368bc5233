"""S-LOSS: audio-visual similarity by second, learnt from pseudo-labels and weighed by a trainable lambda (LINK).

Source: arXiv 2412.20872 as summarised in our spec, `avvp.md` section 4.2; the loss that lambda weighs is LEAP's (Zhou et al.,
ECCV 2024). For cosines s the weight is 1 up to -0.2, E = exp(|1 - mu|) between -0.2 and 0, and falls from E to 1 as s goes
from 0 to 1. Descent moves mu towards 1 always, where every weight is 1: lambda multiplies a loss that is not negative.
"""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from earshot.knobs import Section
from earshot.parsers import AUDIO, VISUAL, Batch

OPPOSED = -0.2  # cosine up to which the weight is 1


class Mu(Section):
    """The parameter of lambda."""

    mode: Literal["learnable", "fixed", "learnable_normalised"] = Field(
        "learnable", description="learnable_normalised (ours): lambda over its mean, so that mu cannot lower the loss by itself"
    )
    init: float = 0.0

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.mode != "fixed" and self.init == 1:
            raise ValueError("`mu: {init: 1}` never moves: the derivative of |1 - mu| is 0 there; start elsewhere, as at 0")
        return self


class Sloss(Section, populate_by_name=True):
    """The similarity loss and its weight."""

    enabled: bool = True
    weight: float = Field(1.0, ge=0)
    lambda_: Literal["piecewise", "constant"] = Field(
        "piecewise", alias="lambda", description="constant: 1, which is LEAP's loss alone"
    )
    form: Literal["piecewise", "ramp"] = Field(
        "piecewise", description="ramp (ours): from 1 at -0.2 straight to E at 0, without the jump"
    )
    mu: Mu = Mu()
    detach_s: bool = Field(True, description="weights are weights: no gradient through them into features")
    target: Literal["eiou", "leap_code"] = Field(
        "eiou", description="shared classes over all classes of two segments; or what LEAP's public code computes"
    )
    empty_pair: Literal["zero", "one", "ignore"] = Field("zero", description="of eiou, where neither segment has a class")
    pairs: Literal["all", "aligned"] = Field("all", description="every two segments of a clip, or those of the same second")
    features: Literal["encoder", "tsam", "plsim"] = Field("encoder", description="whose similarity is learnt")


def weight(s: Tensor, mu: Tensor, form: str = "piecewise") -> Tensor:
    """Lambda of cosines s (...): half-open pieces, so that -0.2 belongs to the first and 0 to the last."""
    peak = (1 - mu).abs().exp()
    rise = 1 + (peak - 1) * (s - OPPOSED) / -OPPOSED if form == "ramp" else peak.expand_as(s)
    return torch.where(s <= OPPOSED, torch.ones_like(s), torch.where(s < 0, rise, peak + (1 - peak) * s))


def targets(heard: Tensor, seen: Tensor, knobs: Sloss) -> tuple[Tensor, Tensor]:
    """Similarity (B, T, T) that pseudo-labels (B, T, C) ask of each heard and seen segment, and which pairs count."""
    shared = heard @ seen.transpose(1, 2)
    sizes = heard.sum(-1), seen.sum(-1)
    if knobs.target == "leap_code":
        most = torch.maximum(*(size.amax(-1) for size in sizes)).clamp(min=1e-8)[:, None, None]
        part = shared / most
        return part / (1 + part) + 0.01, torch.ones_like(shared)
    either = sizes[0][:, :, None] + sizes[1][:, None] - shared
    empty = either == 0
    overlap = torch.where(empty, float(knobs.empty_pair == "one"), shared / either.clamp(min=1))
    return overlap, (~empty if knobs.empty_pair == "ignore" else torch.ones_like(empty)).to(shared.dtype)


class Similarity(nn.Module):
    """The loss with its mu."""

    def __init__(self, knobs: Sloss) -> None:
        super().__init__()
        self.knobs = knobs
        self.mu = nn.Parameter(torch.tensor(knobs.mu.init), requires_grad=knobs.mu.mode != "fixed")

    def forward(self, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of features (B, T, 2, D), and the mean weight."""
        unit = nn.functional.normalize(features, dim=-1)
        cosine = unit[:, :, AUDIO] @ unit[:, :, VISUAL].transpose(1, 2)  # (B, T, T)
        wanted, counts = targets(batch.heard, batch.seen, self.knobs)
        found = cosine.relu() if self.knobs.target == "leap_code" else cosine
        errors, weights = (found - wanted).square(), self._weights(cosine)
        if self.knobs.pairs == "aligned":
            errors, weights, counts = (part.diagonal(dim1=1, dim2=2) for part in (errors, weights, counts))
        number = counts.sum().clamp(min=1)
        mean = (weights * counts).sum() / number
        if self.knobs.mu.mode == "learnable_normalised":
            weights = weights / mean.detach()
        return (weights * errors * counts).sum() / number, mean.detach()

    def _weights(self, cosine: Tensor) -> Tensor:
        if self.knobs.lambda_ == "constant":
            return torch.ones_like(cosine)
        return weight(cosine.detach() if self.knobs.detach_s else cosine, self.mu, self.knobs.form)
