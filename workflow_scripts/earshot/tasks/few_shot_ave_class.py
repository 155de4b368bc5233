"""Few- and zero-shot classification of clips with one class, by the names that CLIP and CLAP find for their seconds.

Source: our spec, `dgsct.md` section 10. The published script adds 1 / epoch in the wrong place (`loss: {bracket: published}`)
and chooses the epoch on the test split.
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
TRUTH = ("label",)
METRICS = ("accuracy",)
SELECT_BY = "accuracy"
PUBLISHED = "few_zero_shot"


class Hyper(_few_shot.FewShot):
    """Published settings, but for the misplaced bracket."""

    loss: _few_shot.OwnWeights = _few_shot.OwnWeights()


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights, which knows no classes."""
    return _few_shot.NamesHead(shape, hyper.head, by_segment=False)


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: Hyper, epoch: int) -> Losses:
    """Cross-entropies in nats, each weighted by itself."""
    return _few_shot.weighted_by_themselves(_few_shot.parts(output, batch.labels["label"]), hyper.loss, epoch)


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Whether a clip is named right."""
    return {"accuracy": _few_shot.right(scores, truth["label"]).astype(np.float64)}
