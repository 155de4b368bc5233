"""Scores of segmentation, M_J and M_F (Zhou et al., "Audio-Visual Segmentation", ECCV 2022), from counts of pixels.

M_J is the mean over frames of the intersection over union of what is said with a probability above 0.5; of a frame without
any sounding object it is the share of pixels that are rightly left out. M_F is the largest value, over 255 thresholds, of the
F-measure with beta^2 = 0.3 that is averaged over the frames with a sounding object. The order of mean and maximum makes M_F
depend on which frames are taken together: here those of one clip, as published for validation.

What is kept of a frame are counts (`COUNTS` of them), from which the scores of any set of frames follow.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NOT_ANNOTATED = 255
THRESHOLDS = 255
COUNTS = 4 + 2 * THRESHOLDS  # pixels, true, hits and said above 0.5; hits and said from each threshold on
_BETA2 = 0.3


def counts(logits: Tensor, masks: Tensor) -> Tensor:
    """Counts (..., COUNTS) float32 of frames, from logits and masks (..., H, W); what is not annotated does not count.

    Whole numbers of pixels, exact up to 2**24 of them. Raises ValueError for masks of another size than the logits.
    """
    if logits.shape != masks.shape:
        raise ValueError(f"predicted masks {tuple(logits.shape)} and true ones {tuple(masks.shape)} differ in size")
    chances, truth = logits.float().sigmoid().flatten(-2), masks.flatten(-2)
    known, true = (truth != NOT_ANNOTATED).float(), (truth == 1).float()
    said = (chances > 0.5).float() * known
    whole = torch.stack([part.sum(dim=-1) for part in (known, true, true * said, said)], dim=-1)
    # in single precision the last threshold, 1 - 1e-10, is 1
    thresholds = torch.linspace(0, 1 - 1e-10, THRESHOLDS, device=logits.device)
    reached = torch.bucketize(chances, thresholds, right=True)
    return torch.cat([whole, _from_each_on(reached, true), _from_each_on(reached, known)], dim=-1)


def _from_each_on(reached: Tensor, of: Tensor) -> Tensor:
    """How many pixels `of` (..., P) reach each threshold (..., THRESHOLDS), from how many thresholds each pixel reaches."""
    by_number = of.new_zeros(*of.shape[:-1], THRESHOLDS + 1).scatter_add_(-1, reached, of)
    return by_number.flip(-1).cumsum(dim=-1).flip(-1)[..., 1:]


def m_j(kept: NDArray[Any]) -> NDArray[np.float64]:
    """M_J in [0, 1] (...) of frames taken together, from their counts (..., F, COUNTS); NaN where none is annotated."""
    pixels, true, hits, said = np.moveaxis(np.asarray(kept, np.float64)[..., :4], -1, 0)
    over, under = np.where(true > 0, hits, pixels - said), np.where(true > 0, true + said - hits, pixels)
    each = np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)
    return _mean(each, ~np.isnan(each))


def m_f(kept: NDArray[Any]) -> NDArray[np.float64]:
    """M_F in [0, 1] (...) of frames taken together, from their counts (..., F, COUNTS); NaN where nothing sounds."""
    parts = np.asarray(kept, np.float64)
    true, (hits, said) = parts[..., 1:2], np.split(parts[..., 4:], 2, axis=-1)
    below = _BETA2 * true + said
    curves = np.divide((1 + _BETA2) * hits, below, out=np.zeros_like(hits), where=below > 0)
    return _mean(np.moveaxis(curves, -2, -1), np.swapaxes(true > 0, -2, -1)).max(axis=-1)


def _mean(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the last axis of what is counted; NaN where nothing is."""
    number = np.broadcast_to(counted, values.shape).sum(axis=-1)
    total = np.where(counted, values, 0).sum(axis=-1)
    return np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
