"""Few- and zero-shot localisation: each second is given the name of a class, or of background, by CLIP and CLAP.

Source: our spec, `dgsct.md` section 10. Zero-shot runs train on another set (`train_on`, `shots: 0`) with
`head: {fusion: share}` and, as published, `head: {background: training}`: no second is then ever taken for background. The
published runs choose the epoch on the test split.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from earshot.tasks import Batch, Losses, Shape, _few_shot
from earshot.tasks._few_shot import import_weights, predict

__all__ = ["Hyper", "build", "import_weights", "losses", "per_item", "predict"]

SEGMENTS = 10
FRAME_PX = 224
TRUTH = ("segments",)
METRICS = ("accuracy",)
SELECT_BY = "accuracy"
PUBLISHED = "few_zero_shot"


class Hyper(_few_shot.FewShot):
    """Published settings."""

    loss: _few_shot.EpochWeights = _few_shot.EpochWeights()


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights, which knows no classes."""
    return _few_shot.NamesHead(shape, hyper.head, by_segment=True)


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: Hyper, epoch: int) -> Losses:
    """Cross-entropies in nats, weighted by epoch; seconds of background do not count where it has no name."""
    return _few_shot.weighted_by_epoch(_few_shot.parts(output, batch.labels["segments"]), hyper.loss, epoch)


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """The share of a clip's seconds that are named right."""
    return {"accuracy": _few_shot.right(scores, truth["segments"]).mean(axis=1)}
