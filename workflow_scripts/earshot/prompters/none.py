"""No prompting: both frozen encoders as they are, and the mean of their tokens.

Source: the baseline "without DG-SCT" of Duan et al., "Cross-modal Prompts", NeurIPS 2023, which only names it: that vectors are
plain means is our reading.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from earshot.knobs import Knobs
from earshot.prompters._paired import NOTHING, PairedEncoder, import_adapters
from earshot.prompters._trunks import Encoders

RATE_HZ = 32_000
ENCODERS = "swin_htsat"


class Hyper(Knobs):
    """There is nothing to be set."""


def defaults(task: str) -> dict[str, Any]:
    """None for any task."""
    return {}


def build(encoders: Encoders, hyper: Hyper) -> PairedEncoder:
    """Both encoders, frozen."""
    return PairedEncoder(encoders)


def import_weights(state: Mapping[str, Tensor], model: PairedEncoder) -> dict[str, Tensor]:
    """What training changed of the encoders, which is nothing unless they are fine-tuned; raises WeightsError."""
    return import_adapters(state, model, NOTHING)
