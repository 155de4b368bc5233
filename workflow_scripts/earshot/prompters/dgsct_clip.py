"""DG-SCT between CLIP and CLAP, with learnt words before the names of classes: few- and zero-shot.

Source: Duan et al., "Cross-modal Prompts", NeurIPS 2023, in the settings of its public code as summarised in our spec,
`dgsct.md` sections 2.4 and 10. The learnt words are CoOp's: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV
2022. Zero-shot runs are published with `channel_weight: 0.3, spatial_weight: 0.01`. Key layout: the authors'
(`audio_adapter_blocks_p1.*` and so on, `prompt_learner.ctx`).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from earshot.backbones import WeightsError
from earshot.prompters._guidance import DEAD, Guidance, GuidanceHyper
from earshot.prompters._latent import Place
from earshot.prompters._named import NamedPair, Words
from earshot.prompters._paired import import_adapters
from earshot.prompters._trunks import Encoders

RATE_HZ = 32_000
ENCODERS = "clip_clap"
PUBLISHED = "DG-SCT"

_CONTEXT = "prompt_learner.ctx"


class Hyper(GuidanceHyper):
    """Settings of the modules and the words; the defaults are those of few-shot AVE."""

    tokens: int = Field(2, ge=1, description="latent tokens")
    channel_weight: float = Field(0.2, ge=0, description="alpha: of the channels' attention, and what it takes of the tokens")
    temporal_weight: float = Field(0.01, ge=0, description="gamma: of the segments' gate; 0: there is none")
    words: Words = Words()


def defaults(task: str) -> dict[str, Any]:
    """The published settings of a task where they are not those of few-shot AVE."""
    return {"temporal_weight": 0.05} if task in ("few_shot_ave_class", "few_shot_llp_class") else {}


def build(encoders: Encoders, hyper: Hyper) -> NamedPair:
    """Both encoders, frozen, with four modules at each position; `rename` must tell it the classes."""

    def make(own: Place, other: Place, visual: bool) -> Guidance:
        return Guidance(own, other, hyper, hyper.visual_gate if visual else hyper.audio_gate)

    return NamedPair(encoders, hyper.words, make)


def import_weights(state: Mapping[str, Tensor], model: NamedPair) -> dict[str, Tensor]:
    """The modules and learnt words of a published checkpoint; raises WeightsError."""
    found = import_adapters(state, model, DEAD)
    key = next((name for name in state if name.endswith(_CONTEXT)), None)
    if key is None or state[key].shape != found["context"].shape:
        told = "none" if key is None else str(tuple(state[key].shape))
        raise WeightsError(f"learnt words of shape {tuple(found['context'].shape)} must lie under `{_CONTEXT}`; found {told}")
    return {**found, "context": state[key]}
