"""LAVisH* of DG-SCT's tables: LAVisH's latent tokens between two different encoders, Swin-V2 for frames and HTS-AT for sound.

Source: Duan et al., "Cross-modal Prompts", NeurIPS 2023, table 1, which gives results but no code. Our reading: the positions
and the alignment of DG-SCT's modules, without attention to channels, regions and segments; vectors are plain means.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from earshot.prompters._guidance import DEAD, Aligned
from earshot.prompters._latent import LatentHyper, Place
from earshot.prompters._paired import PairedEncoder, import_adapters
from earshot.prompters._trunks import Encoders

RATE_HZ = 32_000
ENCODERS = "swin_htsat"
PUBLISHED = "LAVisH*"


class Hyper(LatentHyper):
    """LAVisH's settings."""

    align: Literal["conv", "bicubic"] = Field("conv", description="how the other's tokens become as many as the own")


def defaults(task: str) -> dict[str, Any]:
    """The same for all tasks."""
    return {}


def build(encoders: Encoders, hyper: Hyper) -> PairedEncoder:
    """Both encoders, frozen, with four adapters at each position."""

    def make(own: Place, other: Place, visual: bool) -> Aligned:
        return Aligned(own, other, hyper, hyper.visual_gate if visual else hyper.audio_gate, hyper.align)

    return PairedEncoder(encoders, make)


def import_weights(state: Mapping[str, Tensor], model: PairedEncoder) -> dict[str, Tensor]:
    """The adapters of a state dict in DG-SCT's layout; raises WeightsError."""
    return import_adapters(state, model, DEAD)
