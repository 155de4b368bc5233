"""HAN: the hybrid attention network, learnt from weak labels alone, with smoothed labels for what is seen.

One layer that reads both modalities from its inputs (parallel). Features in the paper: VGGish, ResNet-152 and R(2+1)D-18.
Learning rates per step, times in epochs. Source: Tian et al., "Unified Multisensory Perception: Weakly-Supervised Audio-Visual
Video Parsing", ECCV 2020, sections 4 and 5; what its code does where the paper is silent, from our spec, section 2.
"""

from pydantic import Field
from torch import nn

from earshot.knobs import Knobs, Section
from earshot.losses import bce
from earshot.parsers import AUDIO, VISUAL, Batch, Losses, Output, Shape
from earshot.parsers._hybrid import Parser, import_weights
from earshot.parsers._knobs import Optim, Structure, Train

__all__ = ["Hyper", "build", "import_weights", "losses"]

PUBLISHED = "HAN"
PSEUDO_LABELS = False


class Smoothing(Section):
    """Label smoothing of the losses by modality: a target y becomes (1 - s) y + s / 2."""

    audio: float = Field(0.0, ge=0, lt=1)
    visual: float = Field(0.1, ge=0, lt=1)


class Hyper(Knobs):
    """The published settings; `use_motion: false` leaves R(2+1)D out."""

    structure: Structure = Structure(dim=512, heads=1, ff=512, layers=1)
    use_motion: bool = True
    smoothing: Smoothing = Smoothing()
    optim: Optim = Optim(name="adam", lr=3e-4, schedule="steps")
    train: Train = Train(epochs=40, batch=16, ties="later")


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """HAN with random weights."""
    return Parser(shape, hyper.structure, parallel=True, use_motion=hyper.use_motion)


def losses(output: Output, batch: Batch, model: nn.Module, hyper: Hyper) -> Losses:
    """Binary cross-entropy in nats of the scores of the whole clip, together and by modality, against weak labels."""
    smooth = hyper.smoothing
    audio, visual = ((1 - s) * batch.weak + s / 2 for s in (smooth.audio, smooth.visual))
    return Losses(
        {
            "video": bce(output.video, batch.weak),
            "video_heard": bce(output.by_modality[:, AUDIO], audio),
            "video_seen": bce(output.by_modality[:, VISUAL], visual),
        }
    )
