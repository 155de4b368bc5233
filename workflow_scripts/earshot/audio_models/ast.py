"""AST: a vision transformer over overlapping patches of a spectrogram of 10.24 s; transformers' network.

Source: Gong, Chung and Glass, "AST: Audio Spectrogram Transformer", Interspeech 2021; the models fine-tuned on AudioSet. Key
layouts: transformers (`audio_spectrogram_transformer.*`, `classifier.*`) and the authors' own (`v.*`, `mlp_head.*`). Frames
after the end of a wave are zeros before they are normalised, as transformers' ASTFeatureExtractor has it. Rates in Hz,
times in seconds, strides in frames and mel bins.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional
from transformers import ASTConfig, ASTForAudioClassification

from earshot.audio_models import AudioModel
from earshot.audio_models._kaldi import KaldiLogMel, hanning, n_frames
from earshot.audio_models._layouts import split_qkv
from earshot.backbones._classifier import Rule, fit

RATE_HZ = 16_000
_WINDOW_S = 10.24
_FRAMES = 1024
_MEAN, _STD = -4.2677393, 4.5689974  # of log-mel energies in AudioSet

_SHAPES: dict[str, tuple[int, int, int]] = {"base": (768, 12, 12), "mini": (32, 2, 2)}  # width, blocks, heads


class Options(BaseModel, extra="forbid"):
    """Size of the model, and the steps between its patches of 16 x 16; the published ones are 10, 12, 14 and 16."""

    variant: Literal["base", "mini"] = "base"
    stride: int = Field(10, ge=4, le=16, description="frames and mel bins from patch to patch")


def spec(options: Options) -> AudioModel:
    """Windows of 10.24 s at 16 kHz; a shorter sound is followed by nothing."""
    title = f"AST ({options.variant}, stride {options.stride})"
    return AudioModel(title, RATE_HZ, _WINDOW_S, source="arXiv 2104.01778")


class _Tagger(nn.Module):
    def __init__(self, config: ASTConfig, n_classes: int) -> None:
        super().__init__()
        self.log_mel = KaldiLogMel(hanning())
        self.model = ASTForAudioClassification(config)
        self.model.classifier.dense = nn.Identity()
        self.head = nn.Linear(config.hidden_size, n_classes)

    def features(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) of `lengths` samples (B,) to normalised spectrograms (B, 1024, 128)."""
        mel = self.log_mel(waves)[:, :_FRAMES]
        mel = functional.pad(mel, (0, 0, 0, _FRAMES - mel.shape[1]))
        after_end = torch.arange(_FRAMES, device=mel.device) >= n_frames(lengths)[:, None]
        return (mel.masked_fill(after_end[..., None], 0.0) - _MEAN) / (2 * _STD)

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) of `lengths` samples (B,) to logits (B, A)."""
        return self.head(self.model.classifier(self.summary(self.features(waves, lengths))))

    def summary(self, features: Tensor) -> Tensor:
        """Map spectrograms (B, 1024, 128) to the mean (B, C) of the class and distillation tokens, which alone are read.

        The last block is computed for these two only, as the others' would go to waste.
        """
        network: Any = self.model.audio_spectrogram_transformer
        tokens = network.embeddings(features)
        for block in network.layers[:-1]:
            tokens = block(tokens)
        last = network.layers[-1]
        attention, normed = last.attention, last.layernorm_before(tokens)

        def by_head(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

        asked, keys, values = attention.q_proj(normed[:, :2]), attention.k_proj(normed), attention.v_proj(normed)
        heard = functional.scaled_dot_product_attention(by_head(asked), by_head(keys), by_head(values))
        read = tokens[:, :2] + attention.o_proj(heard.transpose(1, 2).flatten(2))
        read = read + last.mlp(last.layernorm_after(read))
        return network.layernorm(read).mean(1)


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published one has 86,594,063 parameters for 527 classes."""
    width, blocks, heads = _SHAPES[options.variant]
    config = ASTConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        frequency_stride=options.stride,
        time_stride=options.stride,
    )
    return _Tagger(config, n_classes)


_MODEL = "model.audio_spectrogram_transformer."
_BLOCK = rf"{_MODEL}layers.\1."
_OLD = r"audio_spectrogram_transformer\.encoder\.layer\.(\d+)\."
_RULES: tuple[Rule, ...] = (
    # the names in the published files of transformers
    (rf"{_OLD}attention\.attention\.query\.", rf"{_BLOCK}attention.q_proj."),
    (rf"{_OLD}attention\.attention\.key\.", rf"{_BLOCK}attention.k_proj."),
    (rf"{_OLD}attention\.attention\.value\.", rf"{_BLOCK}attention.v_proj."),
    (rf"{_OLD}attention\.output\.dense\.", rf"{_BLOCK}attention.o_proj."),
    (rf"{_OLD}intermediate\.dense\.", rf"{_BLOCK}mlp.fc1."),
    (rf"{_OLD}output\.dense\.", rf"{_BLOCK}mlp.fc2."),
    (_OLD, _BLOCK),
    (r"classifier\.dense\.", "head."),
    (r"(?=audio_spectrogram_transformer\.|classifier\.)", "model."),
    # the authors' own names
    (r"v\.cls_token", f"{_MODEL}embeddings.cls_token"),
    (r"v\.dist_token", f"{_MODEL}embeddings.distillation_token"),
    (r"v\.pos_embed", f"{_MODEL}embeddings.position_embeddings"),
    (r"v\.patch_embed\.proj\.", f"{_MODEL}embeddings.patch_embeddings.projection."),
    (r"v\.blocks\.(\d+)\.norm1\.", rf"{_BLOCK}layernorm_before."),
    (r"v\.blocks\.(\d+)\.norm2\.", rf"{_BLOCK}layernorm_after."),
    (r"v\.blocks\.(\d+)\.attn\.proj\.", rf"{_BLOCK}attention.o_proj."),
    (r"v\.blocks\.(\d+)\.attn\.", rf"{_BLOCK}attention."),
    (r"v\.blocks\.(\d+)\.mlp\.", rf"{_BLOCK}mlp."),
    (r"v\.norm\.", f"{_MODEL}layernorm."),
    (r"mlp_head\.0\.", "model.classifier.layernorm."),
    (r"mlp_head\.1\.", "head."),
)
_UNUSED = r"^v\.head(_dist)?\."  # the heads of the image model that training started from


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint to the keys of `model`; raises WeightsError."""
    return fit(split_qkv(state, ("q_proj", "k_proj", "v_proj")), model, _RULES, dropped=_UNUSED)


def tiny() -> Options:
    """Two narrow blocks, patches that do not overlap."""
    return Options(variant="mini", stride=16)
