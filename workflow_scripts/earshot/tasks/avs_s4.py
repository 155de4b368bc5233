"""Segmentation of a single sounding object (AVSBench S4): the first frame of a training clip is annotated.

Source: Zhou et al., ECCV 2022, as DG-SCT uses it (our spec, `dgsct.md` section 7). As published the audio encoder is trained
with everything else (`finetune: [audio]`), and the epoch is chosen on the test split.
"""

from torch import nn

from earshot.tasks import Shape
from earshot.tasks._avs import Head, SegmentationKnobs, Segmenter, import_weights, losses, per_item, predict
from earshot.tasks._knobs import Optim, Train

__all__ = ["Hyper", "build", "import_weights", "losses", "per_item", "predict"]

SEGMENTS = 5
FRAME_PX = 224
TRUTH = ("masks",)
METRICS = ("M_J", "M_F")
SELECT_BY = "M_J"
PUBLISHED = "avs"


class Hyper(SegmentationKnobs):
    """Published settings of DG-SCT."""

    optim: Optim = Optim(lr=3e-4)
    train: Train = Train(epochs=15, batch=8, finetune=("audio",))
    head: Head = Head(gamma=0.05)


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights."""
    return Segmenter(shape, hyper)
