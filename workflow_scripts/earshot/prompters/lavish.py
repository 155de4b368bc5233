"""LAVisH: adapters with latent tokens in all blocks of one frozen Swin-V2, which sees frames and images of sound alike.

Source: Lin et al., "Vision Transformers are Parameter-Efficient Audio-Visual Learners", CVPR 2023, section 3, in the settings
of its public code for event localisation. Key layout: the authors' (`audio_adapter_blocks_p1.*` and so on). Images of sound
have time along their rows, which is our reading.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from earshot.prompters._latent import LatentAdapter, LatentHyper, Place
from earshot.prompters._paired import import_adapters
from earshot.prompters._shared import SharedEncoder
from earshot.prompters._trunks import Encoders

RATE_HZ = 16_000
ENCODERS = "swin_swin"
PUBLISHED = "LAVisH"

_DEAD = re.compile(r"\.(gate_tk|conv_adapter\.\w+|fc\.\w+)$")


class Hyper(LatentHyper):
    """Settings of the adapters."""


def defaults(task: str) -> dict[str, Any]:
    """The same for all tasks."""
    return {}


def build(encoders: Encoders, hyper: Hyper) -> SharedEncoder:
    """The encoder, frozen, with four adapters beside each block."""

    def make(own: Place, other: Place, visual: bool) -> LatentAdapter:
        return LatentAdapter(own.width, hyper, hyper.visual_gate if visual else hyper.audio_gate)

    return SharedEncoder(encoders, make)


def import_weights(state: Mapping[str, Tensor], model: SharedEncoder) -> dict[str, Tensor]:
    """The adapters of a published checkpoint; raises WeightsError."""
    return import_adapters(state, model, _DEAD)
