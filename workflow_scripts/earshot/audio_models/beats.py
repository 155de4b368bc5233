"""BEATs: a transformer over patches of a spectrogram of 10 s, with gated relative positions; the fine-tuned models.

Source: Chen et al., "BEATs: Audio Pre-Training with Acoustic Tokenizers", ICML 2023: iter3+,
fine-tuned on AudioSet. Blocks are normalised after each residual sum, which weighs its input as in Wang et al., "DeepNet",
2022; the gate of relative positions is that of Chen et al., "WavLM", 2022, section III.B, on projected queries. Logits are
those of single patches, averaged; the published model applies a sigmoid to them. Key layout: the authors' files (`model`
beside `cfg` and `label_dict`). Rates in Hz, times in seconds, distances in patches.

Patches after the end of a wave are masked. Their number follows the published code, which cuts samples into as many equal
groups as there are frames, and frames into as many as there are patches; patches run over frequency first.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional

from earshot.audio_models import AudioModel
from earshot.audio_models._kaldi import KaldiLogMel, povey
from earshot.backbones import WeightsError
from earshot.backbones._classifier import Rule, fit

RATE_HZ = 16_000
_WINDOW_S = 10.0
_LOUDEST = 2**15  # Kaldi's samples are 16-bit integers
_MEAN, _STD = 15.41663, 6.55582  # of log-mel energies in AudioSet
_PATCH = 16  # frames and mel bins
_BUCKETS, _FARTHEST = 320, 800  # of relative positions; positions farther apart share a bucket
_GATE = 8  # features that decide on the gate, half of them for each of its factors
_KERNEL, _GROUPS = 128, 16  # of the convolution that tells positions

_SHAPES: dict[str, tuple[int, int, int, int]] = {  # width of patches, width, blocks, heads
    "base": (512, 768, 12, 12),
    "mini": (16, 32, 2, 2),
}


class Options(BaseModel, extra="forbid"):
    """Size of the model: the published one, or a narrow one."""

    variant: Literal["base", "mini"] = "base"


def spec(options: Options) -> AudioModel:
    """Windows of 10 s at 16 kHz; a shorter sound is followed by nothing."""
    return AudioModel(f"BEATs ({options.variant})", RATE_HZ, _WINDOW_S, source="arXiv 2212.09058")


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.grep_linear = nn.Linear(width // heads, _GATE)
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        """Attend among patches (B, P, D), given scores of relative `positions` (H, P, P) and of `padding` (B, 1, 1, P)."""
        parts = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj))
        queries, keys, values = parts
        update, reset = self.grep_linear(queries).unflatten(-1, (2, _GATE // 2)).sum(-1, keepdim=True).sigmoid().unbind(-2)
        gate = update * (reset * self.grep_a - 1) + 2  # (B, H, P, 1)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=gate * positions + padding)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.weight = (2 * blocks) ** 0.25  # of the input in residual sums
        self.attention = _Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        x = self.attention_norm(self.weight * x + self.attention(x, positions, padding))
        return self.norm(self.weight * x + self.fc2(functional.gelu(self.fc1(x))))


class _Tagger(nn.Module):
    def __init__(self, shape: tuple[int, int, int, int], n_classes: int) -> None:
        super().__init__()
        of_patch, width, blocks, heads = shape
        self.log_mel = KaldiLogMel(povey())
        self.patches = nn.Conv2d(1, of_patch, _PATCH, stride=_PATCH, bias=False)
        self.patch_norm = nn.LayerNorm(of_patch)
        self.projection = nn.Linear(of_patch, width)
        self.places = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=_GROUPS)
        self.norm = nn.LayerNorm(width)
        self.distances = nn.Embedding(_BUCKETS, heads)
        self.blocks = nn.ModuleList(_Block(width, heads, blocks) for _ in range(blocks))
        self.head = nn.Linear(width, n_classes)

    def features(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map waves (B, N) of `lengths` samples (B,) to features (B, P, D) of patches, and which of them sound (B, P)."""
        mel = (self.log_mel(waves * _LOUDEST) - _MEAN) / (2 * _STD)
        patches = self.patch_norm(self.patches(mel[:, None]).flatten(2).transpose(1, 2))
        sounds = _sounding(lengths, waves.shape[1], mel.shape[1], patches.shape[1])
        x = self.projection(patches).masked_fill(~sounds[..., None], 0.0)
        x = self.norm(x + functional.gelu(self.places(x.transpose(1, 2))[..., :-1]).transpose(1, 2))  # an even kernel adds one
        positions = self.distances(_buckets(x.shape[1], x.device)).permute(2, 0, 1)
        padding = torch.zeros_like(sounds, dtype=x.dtype).masked_fill(~sounds, -torch.inf)[:, None, None]
        for block in self.blocks:
            x = block(x, positions, padding)
        return x, sounds

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) of `lengths` samples (B,) to logits (B, A)."""
        x, sounds = self.features(waves, lengths)
        logits = self.head(x).masked_fill(~sounds[..., None], 0.0)
        return logits.sum(1) / sounds.sum(1, keepdim=True)


def _sounding(lengths: Tensor, samples: int, frames: int, patches: int) -> Tensor:
    """Which of the patches (B, P) hold a part of waves of `lengths` samples (B,)."""
    for whole, groups in ((samples, frames), (frames, patches)):
        lengths = -(-lengths // (whole // groups))  # rounded up
    return torch.arange(patches, device=lengths.device) < lengths[:, None]


def _buckets(patches: int, device: torch.device) -> Tensor:
    """The bucket (P, P) of the distance from each patch to each other: half of them for those that follow.

    Half of a side's buckets hold one distance each; the others share the distances to the farthest on a logarithmic scale.
    """
    places = torch.arange(patches, device=device)
    away = places[None] - places[:, None]
    side = _BUCKETS // 2
    exact = side // 2
    far = (away.abs().clamp(min=1) / exact).log() / math.log(_FARTHEST / exact) * (side - exact)
    shared = (exact + far.long()).clamp(max=side - 1)
    return torch.where(away.abs() < exact, away.abs(), shared) + side * (away > 0)


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights."""
    return _Tagger(_SHAPES[options.variant], n_classes)


_LAYER = r"encoder\.layers\.(\d+)\."
_RULES: tuple[Rule, ...] = (
    (r"patch_embedding\.", "patches."),
    (r"layer_norm\.", "patch_norm."),
    (r"post_extract_proj\.", "projection."),
    (r"encoder\.pos_conv\.0\.", "places."),
    (r"encoder\.layer_norm\.", "norm."),
    (r"encoder\.layers\.0\.self_attn\.relative_attention_bias\.", "distances."),
    (rf"{_LAYER}self_attn\.", r"blocks.\1.attention."),
    (rf"{_LAYER}self_attn_layer_norm\.", r"blocks.\1.attention_norm."),
    (rf"{_LAYER}final_layer_norm\.", r"blocks.\1.norm."),
    (_LAYER, r"blocks.\1."),
    (r"predictor\.", "head."),
)
_SHARED = r"^encoder\.layers\.[1-9]\d*\.self_attn\.relative_attention_bias\."  # files repeat what all layers share
_FINE_TUNED = "take a fine-tuned one, such as BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt"


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint to the keys of `model`; raises WeightsError, also for one that was not fine-tuned."""
    if not {"predictor.weight", "module.predictor.weight", "head.weight"} & set(state):
        raise WeightsError(f"this BEATs checkpoint was pretrained only and has no `predictor` of sounds: {_FINE_TUNED}")
    return fit(_plain_convolution(state), model, _RULES, dropped=_SHARED)


def _plain_convolution(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply the convolution of positions out, which files hold as directions and lengths (weight normalisation)."""
    plain = dict(state)
    for key in [key for key in state if key.endswith("pos_conv.0.weight_v")]:
        lengths = plain.pop(f"{key[:-1]}g", None)
        if lengths is None:
            raise WeightsError(f"{key}: its companion {key[:-1]}g is missing; the file is not a whole one: {_FINE_TUNED}")
        directions = plain.pop(key)
        plain[key.removesuffix("_v")] = directions * (lengths / directions.norm(dim=(0, 1), keepdim=True))
    return plain


def labels_in(checkpoint: Mapping[str, Any]) -> list[str]:
    """AudioSet's ids in the order of the head, from the whole content of a published file; raises WeightsError.

    The order is the file's own, not that of AudioSet's list: https://github.com/microsoft/unilm/issues/1012.
    """
    state, listed = checkpoint.get("model") or checkpoint, checkpoint.get("label_dict")
    head = state.get("predictor.weight", state.get("module.predictor.weight"))
    if head is None:
        raise WeightsError(f"this BEATs checkpoint was pretrained only and has no `predictor` of sounds: {_FINE_TUNED}")
    if not listed:
        raise WeightsError(
            f"this BEATs checkpoint has no `label_dict`, and its classes are in an order of their own: {_FINE_TUNED}, unchanged"
        )
    by_row = {int(row): str(label) for row, label in listed.items()}
    rows = len(head)
    if sorted(by_row) != list(range(rows)):
        raise WeightsError(f"this BEATs checkpoint names {len(by_row)} classes for a predictor of {rows}: {_FINE_TUNED}")
    return [by_row[row] for row in range(rows)]


def tiny() -> Options:
    """Two narrow blocks."""
    return Options(variant="mini")
