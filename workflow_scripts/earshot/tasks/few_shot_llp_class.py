"""Few- and zero-shot classification of clips with several classes, by the names that CLIP and CLAP find for their seconds.

Source: our spec, `dgsct.md` section 10. Few-shot training takes clips of one class; the published `accuracy` of a clip with
several asks for the first of them, whichever others are there as well. `accuracy_any` takes any of them.
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
TRUTH = ("weak",)
METRICS = ("accuracy", "accuracy_any")
SELECT_BY = "accuracy"
PUBLISHED = "few_zero_shot"


class Hyper(_few_shot.FewShot):
    """Published settings."""

    loss: _few_shot.OwnWeights = _few_shot.OwnWeights()


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights, which knows no classes."""
    return _few_shot.NamesHead(shape, hyper.head, by_segment=False)


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: Hyper, epoch: int) -> Losses:
    """Cross-entropies in nats, each weighted by itself; of the first class of a clip, and of none where it has none."""
    weak = batch.labels["weak"] > 0
    first = weak.int().argmax(dim=1).where(weak.any(dim=1), -1)
    return _few_shot.weighted_by_themselves(_few_shot.parts(output, first), hyper.loss, epoch)


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Whether a clip is named right; NaN for a clip without any class."""
    weak = truth["weak"] > 0
    nothing = np.where(weak.any(axis=1), 0.0, np.nan)
    among = np.take_along_axis(weak, scores.argmax(axis=-1)[:, None], axis=1)[:, 0]
    first = _few_shot.right(scores, weak.argmax(axis=1))
    return {"accuracy": first.astype(np.float64) + nothing, "accuracy_any": among.astype(np.float64) + nothing}
