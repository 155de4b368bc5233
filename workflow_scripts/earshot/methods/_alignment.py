"""ViTTA's two losses and its running target statistics, shared by the methods that build on it.

Source: Lin et al., "Video Test-Time Adaptation for Action Recognition", CVPR 2023, section 3; our spec, `tta.md` sections
2.4 to 2.7.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import Context, Moments, freeze_batch_statistics
from earshot.methods._entropy import affine_parameters
from earshot.moments import recorded

Targets = dict[str, Moments]
Distance = Literal["l1", "mse", "kl"]


class AlignmentHyper(BaseModel, extra="forbid"):
    """ViTTA's knobs; the defaults are those for TANet on UCF101."""

    lr: float = Field(5e-5, gt=0)
    rho: float = Field(0.1, gt=0, le=1, description="weight of a new clip in the moving averages")
    ema_init: Literal["zero", "source", "first_sample"] = Field(
        "zero", description="where the moving averages start; zero, as published, shrinks those of the first 1/rho clips"
    )
    distance: Distance = Field("l1", description="between target and source moments")
    lambda_align: float = Field(1.0, ge=0)
    lambda_consis: float = Field(0.1, ge=0)
    update: Literal["all", "affine"] = Field(
        "all", description="all parameters by SGD; affine: scales and shifts of normalisation layers by Adam"
    )
    adapt_dropout: Literal["reference", "off"] = Field(
        "reference", description="reference: dropout and stochastic depth stay on while adapting"
    )


# as published for Video Swin; other backbones take the defaults
PUBLISHED = {"video_swin": {"lr": 1e-5, "rho": 0.05, "lambda_consis": 0.05}}


class Alignment:
    """Exponential moving averages of target moments by layer, and their distance to the source's."""

    def __init__(self, model: nn.Module, hyper: AlignmentHyper, context: Context) -> None:
        if not context.statistics:
            raise ValueError("statistics alignment needs source statistics of at least one layer; none were given")
        self.source, self.distance = context.statistics, hyper.distance
        self.model: Any = Observed(model, list(self.source))
        self.captured = not context.cuda_graphs  # or still to be
        self.rho = 1.0 if context.episodic else hyper.rho  # where every clip starts afresh, its own moments are all there is
        self.committed: Mapping[str, Moments] | None = None
        if hyper.ema_init == "zero":
            self.committed = {n: (torch.zeros_like(m), torch.zeros_like(v)) for n, (m, v) in self.source.items()}
        elif hyper.ema_init == "source":
            self.committed = self.source

    def forward(self, views: Tensor) -> tuple[Tensor, Targets]:
        """Logits (V, K) of views (V, 3, T, H, W), and the averages blended with this pass's moments, not committed."""
        if not self.captured:
            self.model, self.captured = torch.cuda.make_graphed_callables(self.model, (views,)), True
        logits, *moments = self.model(views)
        seen = dict(zip(self.source, zip(moments[::2], moments[1::2], strict=True), strict=True))
        if self.committed is None:  # copies, since a replayed pass writes its moments where those of the last one were
            return logits, {name: (mean.clone(), var.clone()) for name, (mean, var) in seen.items()}
        blended = {
            name: (self._blend(seen[name][0], mean), self._blend(seen[name][1], var))
            for name, (mean, var) in self.committed.items()
        }
        return logits, blended

    def _blend(self, new: Tensor, old: Tensor) -> Tensor:
        return self.rho * new + (1 - self.rho) * old

    def loss(self, targets: Targets) -> Tensor:
        """Sum over layers of the distance between target and source moments."""
        return torch.stack([distance(moments, self.source[name], self.distance) for name, moments in targets.items()]).sum()

    def commit(self, targets: Targets) -> None:
        """Make blended averages the ones that the next clip starts from."""
        self.committed = {name: (mean.detach(), var.detach()) for name, (mean, var) in targets.items()}


class Observed(nn.Module):
    """A model whose pass also gives the moments of some layers, so that CUDA can capture it whole."""

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, views: Tensor) -> tuple[Tensor, ...]:
        """Logits (V, K), then the mean and the variance (D,) of each layer."""
        with recorded(self.model, self.layers) as seen:
            logits = self.model(views)
        return logits, *(moment for name in self.layers for moment in seen[name])


def distance(target: Moments, source: Moments, kind: Distance) -> Tensor:
    """How far the moments (D,) of one layer are apart: section 2.5.

    `l1` and `mse`: means over channels of absolute or squared differences, of variances plus of means; `kl`: sum over channels
    of the Kullback-Leibler divergence in nats of the source's Gaussian from the target's.
    """
    if kind == "kl":
        (mean, var), (mean_source, var_source) = target, source
        terms = 0.5 * (var / var_source).log() + (var_source + (mean_source - mean).square()) / (2 * var) - 0.5
        return terms.sum()
    differences = [(a - b).abs() if kind == "l1" else (a - b).square() for a, b in zip(target, source, strict=True)]
    return torch.stack([difference.mean() for difference in differences]).sum()


def consistency(logits: Tensor) -> Tensor:
    """Mean over views (V, K) of the L1 distance between each view's probabilities and their mean, which is not detached."""
    probabilities = logits.softmax(-1)
    return (probabilities - probabilities.mean(0)).abs().sum(-1).mean()


def prepare(model: nn.Module, hyper: AlignmentHyper) -> torch.optim.Optimizer:
    """Make the parameters trainable that `update` names, freeze running statistics, set dropout; returns the optimiser."""
    model.train(hyper.adapt_dropout == "reference")
    freeze_batch_statistics(model)
    if hyper.update == "affine":
        return torch.optim.Adam(affine_parameters(model).values(), lr=hyper.lr, betas=(0.9, 0.999))
    model.requires_grad_(True)
    return torch.optim.SGD(model.parameters(), lr=hyper.lr, momentum=0.9, weight_decay=5e-4, foreach=True)
