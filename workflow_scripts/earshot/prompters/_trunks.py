"""Pairs of frozen encoders that prompters are put between: Swin-V2 for frames, and HTS-AT for sound.

The encoders are the libraries' own, timm's and transformers', with their names of parameters. `large` are the published ones;
`small` are for clips that a processor core can train on in an hour, `tiny` in minutes, and `mini` are those of tests. Sources:
Liu et al., "Swin Transformer V2", CVPR 2022 (Swin-V2-L, 192 px, window 12); Chen et al., "HTS-AT", ICASSP 2022.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from timm.models import swin_transformer_v2
from torch import Tensor, nn
from transformers import ClapAudioConfig, ClapAudioModel

from earshot.audio_models import _htsat
from earshot.audio_models._logmel import FrontEnd, check_matrices
from earshot.backbones import WeightsError
from earshot.backbones._classifier import fit

RATE_HZ = 32_000
FRONT_END = FrontEnd(RATE_HZ, window=1024, hop=320, low_hz=50, high_hz=14_000)
KINDS = ("swin_htsat", "swin_swin")


class Swin(NamedTuple):
    """A Swin-V2: side of its frames in pixels, channels of the first stage, blocks and heads by stage, side of windows."""

    px: int
    width: int
    blocks: tuple[int, ...]
    heads: tuple[int, ...]
    window: int


class Htsat(NamedTuple):
    """An HTS-AT: mel bins, side of the folded spectrogram, the rest as of `Swin`; how often a second may be repeated."""

    mel_bins: int
    side: int
    width: int
    blocks: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    tiles: int


SIZES = {
    "large": (Swin(192, 192, (2, 2, 18, 2), (6, 12, 24, 48), 12), Htsat(64, 256, 96, (2, 2, 6, 2), (4, 8, 16, 32), 8, 10)),
    "small": (Swin(64, 32, (2, 2, 6, 2), (1, 2, 4, 8), 4), Htsat(32, 64, 32, (2, 2, 2, 2), (1, 2, 4, 8), 2, 1)),
    "tiny": (Swin(64, 16, (1, 1, 2, 1), (1, 1, 2, 4), 4), Htsat(32, 64, 16, (1, 1, 1, 1), (1, 1, 2, 4), 2, 1)),
    "mini": (Swin(64, 16, (2, 2, 18, 2), (2, 2, 4, 4), 4), Htsat(32, 64, 16, (2, 2, 6, 2), (2, 2, 4, 4), 2, 1)),
}


@dataclass
class Encoders:
    """A pair of encoders of a size; `audio` is none where both streams share the visual one."""

    visual: nn.Module
    audio: nn.Module | None
    size: str


def build_encoders(kind: str, size: str) -> Encoders:
    """A pair with random weights; raises ValueError for a kind or a size that there is not."""
    if kind not in KINDS:
        raise ValueError(f"no encoders of kind '{kind}' here; there are {', '.join(KINDS)}")
    swin, htsat = shape_of(size)
    return Encoders(_visual(swin), _audio(htsat) if kind == "swin_htsat" else None, size)


def shape_of(size: str) -> tuple[Swin, Htsat]:
    """What encoders of a size look like; raises ValueError for one that there is not."""
    if size not in SIZES:
        raise ValueError(f"no encoders of size '{size}'; there are {', '.join(SIZES)}")
    return SIZES[size]


def _visual(shape: Swin) -> nn.Module:
    return swin_transformer_v2.SwinTransformerV2(
        img_size=shape.px,
        embed_dim=shape.width,
        depths=shape.blocks,
        num_heads=shape.heads,
        window_size=shape.window,
        num_classes=0,
    )


def _audio(shape: Htsat) -> nn.Module:
    config = ClapAudioConfig(
        num_mel_bins=shape.mel_bins,
        spec_size=shape.side,
        window_size=shape.window,
        patch_embeds_hidden_size=shape.width,
        hidden_size=8 * shape.width,
        depths=list(shape.blocks),
        num_attention_heads=list(shape.heads),
        enable_fusion=False,
        hidden_dropout_prob=0.0,
        drop_path_rate=0.0,  # the library would drop one of both residuals only
    )
    return ClapAudioModel(config)


# --- published weights ------------------------------------------------------------------------------------------------


def import_encoder(encoders: Encoders, side: str, state: Mapping[str, Tensor]) -> None:
    """Load a published file into the `visual` or the `audio` encoder, strictly; raises WeightsError that says what is wrong.

    Visual: timm's keys, old and new, or Swin-V2's own, after `swin.` as well. Audio: HTS-AT's own (`sed_model.`, `htsat.` or
    nothing in front), LAION-CLAP's (`audio_branch.`), and transformers' ClapModel (`audio_model.`).
    """
    plain = {re.sub(r"^(module\.)+", "", key): value for key, value in state.items()}
    model: Any = getattr(encoders, side)
    if model is None:
        raise WeightsError(f"these encoders share one: a file for their '{side}' side has no place; leave it out")
    model.load_state_dict(_visual_state(plain, model) if side == "visual" else _audio_state(plain, model))


def _visual_state(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """In timm's present layout; the classifier is left out."""
    inner = _after(state, ("swin.", ""), "patch_embed.proj.weight", "Swin-V2")
    kept = {key: value for key, value in inner.items() if not key.startswith("head.")}
    return fit(swin_transformer_v2.checkpoint_filter_fn(kept, model), model, ())


_FUSION = r"patch_embed\.(mel_conv2d|fusion_model)\."  # of CLAP, for sounds of more than 10 s


def _audio_state(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """In transformers' layout; heads, fixed matrices and the parts for longer sounds are left out."""
    if any(key.startswith("audio_model.") for key in state):
        inner = _after(state, ("audio_model.",), "audio_encoder.patch_embed.proj.weight", "transformers' CLAP")
        return fit(inner, model, (), dropped=rf"^audio_encoder\.{_FUSION}|relative_position_index$")
    inner = _after(state, ("sed_model.", "htsat.", "audio_branch.", ""), "patch_embed.proj.weight", "HTS-AT")
    if not any(key.startswith("audio_branch.") for key in state):  # CLAP's is made for another rate, and used at this one
        check_matrices(inner, FRONT_END)
    dropped = rf"{_htsat.unused('')}|^tscam_conv\.|^{_FUSION}"
    return fit(_htsat.split(inner), model, _htsat.rules("", "audio_encoder."), dropped=dropped)


def _after(state: Mapping[str, Tensor], prefixes: tuple[str, ...], key: str, what: str) -> dict[str, Tensor]:
    """What comes after the first of some prefixes that a file has `key` under; raises WeightsError if there is none."""
    found = next((one for one in prefixes if one + key in state), None)
    if found is None:
        some = ", ".join(list(state)[:4]) or "nothing"
        raise WeightsError(f"this is no file of {what}: it has no {' or '.join(one + key for one in prefixes)}, but {some}")
    return {name.removeprefix(found): value for name, value in state.items() if name.startswith(found)}
