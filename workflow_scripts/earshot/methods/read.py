"""READ: trust confident answers and keep the classes balanced, by the attention of the last block alone.

Source: Yang et al., "Test-time Adaption against Multi-modal Reliability Bias", ICLR 2024, which adapts the attention that
fuses sound and picture in an audio-visual model (our spec, `tta.md` section 3.1). The backbones here have no such block, so by
our reading the queries, keys and values of the last attention block of the last stage adapt, and in convolutional networks,
which have none, the scales and shifts of the last stage's normalisation layers, where BatchNorm layers normalise with the
statistics of the batch. One step of Adam on a confidence loss less a balance term: with p the largest probability of a clip,
the mean of p (1 - ln p + ln gamma), less the entropy, in nats, of softmax(sum of the batch's probabilities), which is almost
constant in small batches. The prediction is a second forward pass, *after* the update.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from earshot.adaptation import NORMS, Clip, Context, NotApplicable, Outcome, logits_of
from earshot.methods._entropy import entropy, normalise_by_batch

PREDICTS = "after"
NEEDS = ()
BATCHED = True
TWO_PASS = False
_PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj", "query", "key", "value")  # what backbones call them


class Hyper(BaseModel, extra="forbid"):
    """Learning rate, the confidence loss's constant, and steps a batch."""

    lr: float = Field(1e-4, gt=0)
    gamma: float = Field(math.exp(-1), gt=0, description="confidence above which the loss asks for more; e^-1: published")
    balance: float = Field(1.0, ge=0, description="weight of the balance term")
    steps: int = Field(1, ge=1)


class Method:
    """Adapt the last attention block to each batch, then predict it."""

    def __init__(self, model: nn.Module, hyper: Hyper, context: Context) -> None:
        self.model, self.hyper = normalise_by_batch(model), hyper
        self.optimizer = torch.optim.Adam(trainable(model, context.last_stage), lr=hyper.lr, betas=(0.9, 0.999))

    def adapt(self, clips: Sequence[Clip]) -> list[Outcome]:
        """Take `steps` steps on the batch, then return its logits (K,)."""
        losses = []
        for _ in range(self.hyper.steps):
            logits = logits_of(self.model, clips)
            loss = confidence_loss(logits, self.hyper.gamma) - self.hyper.balance * balance(logits)
            losses.append(loss.detach())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with torch.no_grad():
            logits = logits_of(self.model, clips)
        return [Outcome(row, steps=self.hyper.steps, loss_first=losses[0], loss_last=losses[-1]) for row in logits]


def trainable(model: nn.Module, last_stage: Sequence[str]) -> list[nn.Parameter]:
    """The parameters that adapt, sought below the modules `last_stage`, or everywhere if it is empty; no others are trainable.

    Raises NotApplicable if there are none.
    """
    model.requires_grad_(False)
    below = tuple(f"{name}." for name in last_stage) or ("",)
    inside = {name: layer for name, layer in model.named_modules() if f"{name}.".startswith(below)}
    projections = {
        name: layer
        for name, layer in inside.items()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in _PROJECTIONS
    }
    blocks = [name.rpartition(".")[0] for name in projections]
    last: list[nn.Module] = [layer for layer, block in zip(projections.values(), blocks, strict=True) if block == blocks[-1]]
    layers = last or [layer for layer in inside.values() if isinstance(layer, NORMS)]
    found = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    if not found:
        raise NotApplicable("the last stage has neither attention nor a normalisation layer with a scale and a shift")
    for parameter in found:
        parameter.requires_grad_(True)
    return found


def confidence_loss(logits: Tensor, gamma: float) -> Tensor:
    """READ's loss of the confidence of each clip, averaged over the batch (B, K)."""
    log_best = logits.log_softmax(-1).amax(-1)
    return (log_best.exp() * (1 - log_best + math.log(gamma))).mean()


def balance(logits: Tensor) -> Tensor:
    """Entropy in nats of the softmax of the batch's (B, K) summed probabilities, which is READ's balance term."""
    return entropy(logits.softmax(-1).sum(0))
