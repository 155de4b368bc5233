"""No prompting of CLIP and CLAP: both frozen as they are, and names of classes as they stand.

Source: the settings of Radford et al., ICML 2021, and Wu et al., ICASSP 2023, for zero-shot classification; a baseline of ours
for the few- and zero-shot runs of DG-SCT, whose publication has none.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from earshot.knobs import Knobs
from earshot.prompters._named import NamedPair, Reading
from earshot.prompters._paired import NOTHING, import_adapters
from earshot.prompters._trunks import Encoders

RATE_HZ = 32_000
ENCODERS = "clip_clap"


class Hyper(Knobs):
    """How names are read; no words are learnt before them."""

    words: Reading = Reading()


def defaults(task: str) -> dict[str, Any]:
    """None for any task."""
    return {}


def build(encoders: Encoders, hyper: Hyper) -> NamedPair:
    """Both encoders, frozen; `rename` must tell it the classes."""
    return NamedPair(encoders, hyper.words)


def import_weights(state: Mapping[str, Tensor], model: NamedPair) -> dict[str, Tensor]:
    """Nothing is trained; raises WeightsError for a file of modules."""
    return import_adapters(state, model, NOTHING)
