"""ViTTA's two losses and its running target statistics, shared by the methods that build on it.

Source: Lin et al., "Video Test-Time Adaptation for Action Recognition", CVPR 2023, section 3; our spec, `tta.md` sections
2.4 and 2.5.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from earshot.adaptation import Context, Moments, freeze_batch_statistics
from earshot.moments import recorded

Targets = dict[str, Moments]


class Alignment:
    """Exponential moving averages of target moments by layer, and their distance to the source's."""

    def __init__(self, model: nn.Module, source: Mapping[str, Moments], rho: float, ema_init: str = "zero") -> None:
        if not source:
            raise ValueError("statistics alignment needs source statistics of at least one layer; none were given")
        self.model, self.rho, self.source = model, rho, source
        self.committed: Targets = dict(source)
        if ema_init == "zero":  # the reference's choice, which shrinks the estimates of the first 1/rho clips
            self.committed = {n: (torch.zeros_like(m), torch.zeros_like(v)) for n, (m, v) in source.items()}

    def forward(self, views: Tensor) -> tuple[Tensor, Targets]:
        """Logits (V, K) of views (V, 3, T, H, W), and the averages blended with this pass's moments, not committed."""
        with recorded(self.model, list(self.source)) as seen:
            logits = self.model(views)
        blended = {
            name: (self._blend(seen[name][0], mean), self._blend(seen[name][1], var))
            for name, (mean, var) in self.committed.items()
        }
        return logits, blended

    def _blend(self, new: Tensor, old: Tensor) -> Tensor:
        return self.rho * new + (1 - self.rho) * old

    def loss(self, targets: Targets) -> Tensor:
        """Sum over layers of the mean absolute differences of variances and of means."""
        terms = [
            (target - source).abs().mean()
            for name, moments in targets.items()
            for target, source in zip(moments, self.source[name], strict=True)
        ]
        return torch.stack(terms).sum()

    def commit(self, targets: Targets) -> None:
        """Make blended averages the ones that the next clip starts from."""
        self.committed = {name: (mean.detach(), var.detach()) for name, (mean, var) in targets.items()}


def consistency(logits: Tensor) -> Tensor:
    """Mean over views (V, K) of the L1 distance between each view's probabilities and their mean, which is not detached."""
    probabilities = logits.softmax(-1)
    return (probabilities - probabilities.mean(0)).abs().sum(-1).mean()


def prepare(model: nn.Module, adapt_dropout: str) -> nn.Module:
    """Make all parameters trainable, freeze running statistics, and leave dropout on (`reference`) or off."""
    model.requires_grad_(True)
    model.train(adapt_dropout == "reference")
    freeze_batch_statistics(model)
    return model


def sgd(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """ViTTA's optimiser, over all parameters."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, foreach=True)


def moving_average_weight(rho: float, context: Context) -> float:
    """The weight of a new clip in the averages: 1 where every clip starts afresh."""
    return 1.0 if context.episodic else rho
