"""DG-SCT: modules by which sound and sight guide each other's channels, regions and segments inside two frozen encoders.

Source: Duan et al., "Cross-modal Prompts: Adapting Large Pre-trained Models for Audio-Visual Downstream Tasks", NeurIPS 2023,
in the settings of its public code and launch scripts, which differ from task to task. At the published size it trains 188.5
million parameters beside 223 million frozen ones. Key layout: the authors' (`audio_adapter_blocks_p1.*` and so on).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from earshot.prompters._guidance import DEAD, Guidance, GuidanceHyper
from earshot.prompters._latent import Place
from earshot.prompters._paired import PairedEncoder, import_adapters
from earshot.prompters._trunks import Encoders

RATE_HZ = 32_000
ENCODERS = "swin_htsat"
PUBLISHED = "DG-SCT"

_SEGMENTATION = {
    "tokens_init": "zeros", "use_bn": False, "audio_gate": False, "norm_before": False, "gate_then_norm": True, "mixup": True,
}  # fmt: skip
_TASKS: dict[str, dict[str, Any]] = {
    "ave": {},
    "avvp": {"mixup": True},
    "avqa": {"groups": 4, "tokens": 2, "tokens_init": "zeros", "use_bn": False, "audio_gate": False, "mixup": True},
    "avs_s4": {**_SEGMENTATION, "align": "bicubic"},
    "avs_ms3": {**_SEGMENTATION, "reduction": 2, "channel_weight": 0.2, "spatial_weight": 0.1},
}


class Hyper(GuidanceHyper):
    """Settings of the modules; the defaults are those of AVE."""

    mixup: bool = Field(False, description="of spectrograms, in training with `trunk_mode: reference` only")


def defaults(task: str) -> dict[str, Any]:
    """The published settings of a task where they are not those of AVE."""
    return dict(_TASKS.get(task, {}))


def build(encoders: Encoders, hyper: Hyper) -> PairedEncoder:
    """Both encoders, frozen, with four modules at each position."""

    def make(own: Place, other: Place, visual: bool) -> Guidance:
        return Guidance(own, other, hyper, hyper.visual_gate if visual else hyper.audio_gate)

    pair = PairedEncoder(encoders, make)
    pair.mixup = hyper.mixup
    return pair


def import_weights(state: Mapping[str, Tensor], model: PairedEncoder) -> dict[str, Tensor]:
    """The modules of a published checkpoint; raises WeightsError."""
    return import_adapters(state, model, DEAD)
