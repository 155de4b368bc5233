"""What the VALOR family shares: its knobs, and its losses against weak labels and pseudo-labels.

Source: Lai et al., "Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event Parser", NeurIPS 2023; what its
code does where the paper is silent, from our spec, `avvp.md` section 3.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from earshot.knobs import Knobs, Section
from earshot.losses import bce
from earshot.parsers import AUDIO, VISUAL, Batch, Losses, Output, Shape
from earshot.parsers._hybrid import Parser, segment_bce
from earshot.parsers._knobs import Optim, Structure, Train


class Weights(Section):
    """Weights of the losses. Those of the whole clip by modality are LINK's; VALOR has none."""

    w_video: float = Field(1.0, ge=0)
    w_video_a: float = Field(0.0, ge=0)
    w_video_v: float = Field(0.0, ge=0)
    w_heard: float = Field(1.0, ge=0, description="of the pseudo-labels of what is heard, by second")
    w_seen: float = Field(1.0, ge=0, description="of the pseudo-labels of what is seen, by second")
    video_modality_target: Literal["pseudo_any", "weak", "weak_smoothed"] = Field(
        "pseudo_any", description="of w_video_a and w_video_v: any second's pseudo-label (LEAP's code), or HAN's targets"
    )


class ValorKnobs(Knobs):
    """What a member of the family may be told; each has defaults of its own."""

    structure: Structure
    use_motion: bool = Field(True, description="false leaves R(2+1)D out")
    loss: Weights = Weights()
    optim: Optim
    train: Train = Train(epochs=60, batch=64)


def adamw(lr: float, lr_min: float) -> Optim:
    """The family's optimiser: warm-up over ten epochs, then a cosine."""
    return Optim(name="adamw", lr=lr, lr_min=lr_min, betas=(0.5, 0.999), weight_decay=1e-3, clip=1.0, schedule="cosine")


def build(shape: Shape, hyper: ValorKnobs) -> nn.Module:
    """The parser with random weights."""
    return Parser(shape, hyper.structure, use_motion=hyper.use_motion)


def losses(output: Output, batch: Batch, model: nn.Module, hyper: ValorKnobs) -> Losses:
    """Binary cross-entropy in nats of the whole clip against weak labels, and by second against pseudo-labels."""
    return Losses(label_losses(output, batch, hyper.loss))


def label_losses(output: Output, batch: Batch, weights: Weights) -> dict[str, Tensor]:
    """The weighted terms; those by modality only where they weigh anything."""
    heard, seen = segment_bce(output, batch)
    terms = {
        "video": weights.w_video * bce(output.video, batch.weak),
        "heard": weights.w_heard * heard,
        "seen": weights.w_seen * seen,
    }
    targets = _modality_targets(batch, weights.video_modality_target)
    sides = (("video_heard", weights.w_video_a, AUDIO), ("video_seen", weights.w_video_v, VISUAL))
    for name, weight, side in sides:
        if weight:
            terms[name] = weight * bce(output.by_modality[:, side], targets[side])
    return terms


def _modality_targets(batch: Batch, kind: str) -> tuple[Tensor, Tensor]:
    """Targets (B, C) of what is heard and of what is seen anywhere in a clip."""
    if kind == "pseudo_any":
        return batch.heard.amax(dim=1), batch.seen.amax(dim=1)
    return batch.weak, batch.weak if kind == "weak" else 0.9 * batch.weak + 0.05
