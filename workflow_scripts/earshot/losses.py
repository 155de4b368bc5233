"""Losses that several heads share."""

from torch import Tensor

_CLAMP = 1e-7


def bce(scores: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats of scores that may leave [0, 1]: clamped out of place, so that decisions see them raw.

    Written out, since torch's own raises an error that names nothing where a diverged model gives NaN.
    """
    chances = scores.clamp(_CLAMP, 1 - _CLAMP)
    return -(target * chances.log() + (1 - target) * (-chances).log1p()).mean()
