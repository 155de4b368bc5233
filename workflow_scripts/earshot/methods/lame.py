"""LAME: correct the source model's answers so that clips with similar features get similar ones; nothing is trained.

Source: Boudiaf et al., "Parameter-free Online Test-time Adaptation", CVPR 2022; defaults as published (our spec, `tta.md`
section 3.1). The answers Y of a batch maximise their likelihood under the source model plus the agreement of neighbours, by
iterating Y = softmax(log p + K Y), where K holds affinities of features of length 1. The logits are log Y, in nats. The clips
correct each other within one batch only: a batch of one gets the source model's answer as it is.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from earshot.adaptation import Clip, Context, Outcome, per_clip, together

PREDICTS = "none"
NEEDS = ()
BATCHED = True
TWO_PASS = False
_TINY = 1e-10  # added to probabilities before their logarithm, as published


class Hyper(BaseModel, extra="forbid"):
    """What makes clips neighbours, and how long answers are corrected."""

    affinity: Literal["rbf", "knn", "linear"] = Field(
        "rbf", description="of features: Gaussian in their distance; 1 for the nearest and 0 for others; their cosine"
    )
    neighbours: int = Field(
        5, ge=1, description="knn: how many; rbf: the mean distance to the n-th nearest, the clip itself included, is the width"
    )
    steps: int = Field(100, ge=1)
    tolerance: float = Field(1e-8, ge=0, description="relative change of the energy at which the iteration stops")


class Method:
    """Correct the source model's answers to a batch."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model: Any = model.requires_grad_(False).eval()
        self.hyper = hyper

    @torch.no_grad()
    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Return the corrected log-probabilities (K,) of each clip."""
        each = self.model.features(together(clips))
        features, logits = per_clip(each, clips), per_clip(self.model.head(each), clips)
        if len(clips) == 1:
            return [Outcome(logits[0])]
        # on the CPU, where each look at the energy costs nothing
        answers = corrected(logits.softmax(-1).cpu(), affinities(features.cpu(), self.hyper), self.hyper)
        return [Outcome(row) for row in answers.clamp(min=torch.finfo(answers.dtype).tiny).log()]


def affinities(features: Tensor, hyper: Hyper) -> Tensor:
    """Affinities (B, B) of the clips of a batch by their features (B, D)."""
    features = normalize(features, dim=-1)
    if hyper.affinity == "linear":
        return features @ features.T
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.topk(min(hyper.neighbours + (hyper.affinity == "knn"), len(features)), largest=False)
    if hyper.affinity == "knn":
        return one_hot(nearest.indices[:, 1:], len(features)).sum(1).to(features.dtype)
    width = nearest.values[:, -1].mean().clamp(min=1e-8)
    return (-0.5 * (distances / width).square()).exp()


def corrected(probabilities: Tensor, affinity: Tensor, hyper: Hyper) -> Tensor:
    """Corrected probabilities (B, K) of a batch, by its affinities (B, B)."""
    unary = -(probabilities + _TINY).log()
    answers, old = (-unary).softmax(-1), float("nan")
    for _ in range(hyper.steps):
        pairwise = affinity @ answers
        answers = (pairwise - unary).softmax(-1)
        energy = float(((unary - pairwise) * answers + torch.xlogy(answers, answers)).sum())
        if abs(energy - old) <= hyper.tolerance * abs(old):
            break
        old = energy
    return answers
