"""SHOT-IM: confident and diverse predictions, and pseudo-labels from class centroids, under a frozen classifier.

Source: Liang et al., "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain
Adaptation", ICML 2020, as ViTTA evaluates it (our spec, `tta.md` section 3). Everything but the linear head adapts, by SGD.
Loss in nats: 0.001 times cross-entropy to the pseudo-labels, plus the mean entropy minus the entropy of the mean prediction,
which is zero for a batch of one clip. Under `two_pass`, as published, pseudo-labels come from the whole list before adaptation.
Online (our reading) a clip's label is the nearest of the centroids of the clips so far. The prediction comes *after* the
update, in evaluation mode.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional

from earshot.adaptation import NORMS, Clip, Context, Outcome, evaluate, layers_where, logits_of, per_clip, together

PREDICTS = "after"
NEEDS = ()
BATCHED = True
TWO_PASS = True


class Hyper(BaseModel, extra="forbid"):
    """Learning rate, weights of the losses, and the guard against classes without members."""

    lr: float = Field(5e-5, gt=0)
    cls_par: float = Field(0.001, ge=0, description="weight of the cross-entropy to pseudo-labels")
    ent_par: float = Field(1.0, ge=0, description="weight of the information maximisation")
    guard_empty_classes: bool = Field(True, description="false, as published: a class without members takes every clip")
    adapt_dropout: Literal["reference", "off"] = Field("reference", description="reference: dropout stays on while adapting")


class Method:
    """Adapt the encoder to each batch, then predict it."""

    def __init__(self, model: Any, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = model.requires_grad_(True), hyper
        model.head.requires_grad_(False)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=hyper.lr, momentum=0.9, foreach=True)
        self.features: list[Tensor] = []  # (B, D + 1) of every batch so far
        self.probabilities: list[Tensor] = []  # (B, K)
        self.whole_list = False
        self.waiting = torch.zeros(0, dtype=torch.long)  # labels of the rest of the list, in its order

    def look(self, clips: Sequence[Clip]) -> None:
        """Remember a batch of the list whose pseudo-labels will be made from all of it."""
        self._remember(clips)
        self.whole_list = True

    def succeed(self, lost: "Method") -> None:
        """Take over what was seen of the list from a method that has diverged."""
        self.features, self.probabilities = lost.features, lost.probabilities
        self.whole_list, self.waiting = lost.whole_list, lost.waiting

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """One step on the batch; return the logits (K,) after it of each clip."""
        labels = self._labels(clips)
        self._train()
        logits = logits_of(self.model, clips)
        loss = self.hyper.ent_par * information(logits) + self.hyper.cls_par * functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        told = loss.detach()
        return [Outcome(evaluate(self.model, clip.evaluation), steps=1, loss_first=told, loss_last=told) for clip in clips]

    def _train(self) -> None:
        self.model.train(self.hyper.adapt_dropout == "reference")
        for _, layer in layers_where(self.model, NORMS):
            layer.train()

    def _labels(self, clips: Sequence[Clip]) -> Tensor:
        """Pseudo-labels (B,) of a batch: from the whole list, once, or from the clips so far."""
        if not self.whole_list:
            self._remember(clips)
            return self._nearest()[-len(clips) :]
        if not len(self.waiting):
            self.waiting = self._nearest()
        labels, self.waiting = self.waiting[: len(clips)], self.waiting[len(clips) :]
        return labels

    @torch.no_grad()
    def _remember(self, clips: Sequence[Clip]) -> None:
        """Keep the features and predictions of a batch by the model as it is."""
        self.model.eval()
        features = per_clip(self.model.features(together(clips)), clips)
        self.probabilities.append(self.model.head(features).softmax(-1))
        self.features.append(functional.normalize(functional.pad(features, (0, 1), value=1.0)))

    def _nearest(self) -> Tensor:
        return pseudo_labels(torch.cat(self.features), torch.cat(self.probabilities), self.hyper.guard_empty_classes)


def pseudo_labels(features: Tensor, probabilities: Tensor, guard: bool = True) -> Tensor:
    """The class (N,) whose centroid is nearest by cosine: features (N, D + 1) of length 1, probabilities (N, K).

    Centroids are weighted by probabilities, then made anew from the labels. Without the guard a class that has no members, and
    so no direction, is the nearest to everything, as in the reference.
    """
    weights = probabilities
    if len(features) < 2:  # all centroids of a single clip point its way
        return probabilities.argmax(1)
    for _ in range(2):
        centroids = (weights.T @ features) / (1e-8 + weights.sum(0)[:, None])
        lengths = centroids.norm(dim=1)
        distances = 1 - features @ (centroids / lengths[:, None]).T
        empty = torch.full_like(distances, torch.inf if guard else -torch.inf)
        labels = torch.where(lengths[None] > 0, distances, empty).argmin(1)
        weights = functional.one_hot(labels, probabilities.shape[1]).to(features.dtype)
    return labels


def information(logits: Tensor) -> Tensor:
    """Mean entropy of predictions minus the entropy of their mean, in nats, of logits (B, K)."""
    p = logits.softmax(-1)
    return _entropy(p).mean() - _entropy(p.mean(0))


def _entropy(p: Tensor) -> Tensor:
    """In nats, with the reference's guard against log 0."""
    return -(p * (p + 1e-5).log()).sum(-1)
