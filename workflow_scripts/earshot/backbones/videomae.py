"""VideoMAE: a plain vision transformer over tubes of two frames, 16 frames of 224 px; transformers' VideoMAE.

Source: Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022; the fine-tuned models. Key layouts: transformers (`videomae.*`, `fc_norm.*`, `classifier.*`; its files name
biases `q_bias` and `v_bias`, its models do not) and the authors' own (`blocks.*`, `head.*`). The published weights may
not be used commercially (CC BY-NC 4.0). Sizes in pixels.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from earshot.backbones import Backbone
from earshot.backbones._classifier import Rule, VideoClassifier, fit, last_quarter, layers_of, second_half

_SHAPES: dict[str, tuple[int, int, int]] = {  # width, blocks, heads
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
    "mini": (32, 4, 2),
}


class Options(BaseModel, extra="forbid"):
    """Size of the model, clip length, and what is dropped at random while it trains or adapts (published: nothing)."""

    variant: Literal["base", "large", "huge", "mini"] = "base"
    frames: int = Field(16, ge=2, multiple_of=2)
    hidden_dropout: float = Field(0.0, ge=0, lt=1, description="after attention and after the MLP, in every block")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="of attention weights")


def spec(options: Options) -> Backbone:
    """Clips as transformers' image processor prepares them; the small form takes clips of 64 px."""
    size = 64 if options.variant == "mini" else 224
    return Backbone(f"VideoMAE ({options.variant})", options.frames, resize=size, size=size, source="arXiv 2203.12602")


class _Encoder(nn.Module):
    """Features (V, D) of clips (V, 3, T, H, W): the normalised mean of all tokens."""

    def __init__(self, model: VideoMAEForVideoClassification) -> None:
        super().__init__()
        model.classifier = nn.Identity()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips.transpose(1, 2)).logits


def build(n_classes: int, options: Options) -> nn.Module:
    """The model with random weights; the published base model has 86,534,800 parameters for 400 classes."""
    width, blocks, heads = _SHAPES[options.variant]
    config = VideoMAEConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=spec(options).size,
        num_frames=options.frames,
        hidden_dropout_prob=options.hidden_dropout,
        attention_probs_dropout_prob=options.attention_dropout,
    )
    return VideoClassifier(_Encoder(VideoMAEForVideoClassification(config)), width, n_classes)


_BLOCK = r"encoder.model.videomae.encoder.layer.\1."
_RULES: tuple[Rule, ...] = (
    (r"videomae\.encoder\.layer\.(\d+)\.attention\.attention\.q_bias", rf"{_BLOCK}attention.attention.query.bias"),
    (r"videomae\.encoder\.layer\.(\d+)\.attention\.attention\.v_bias", rf"{_BLOCK}attention.attention.value.bias"),
    (r"(?=videomae\.|fc_norm\.)", "encoder.model."),
    (r"classifier\.", "head."),
    # the authors' own names
    (r"patch_embed\.proj\.", "encoder.model.videomae.embeddings.patch_embeddings.projection."),
    (r"blocks\.(\d+)\.norm1\.", rf"{_BLOCK}layernorm_before."),
    (r"blocks\.(\d+)\.norm2\.", rf"{_BLOCK}layernorm_after."),
    (r"blocks\.(\d+)\.attn\.q_bias", rf"{_BLOCK}attention.attention.query.bias"),
    (r"blocks\.(\d+)\.attn\.v_bias", rf"{_BLOCK}attention.attention.value.bias"),
    (r"blocks\.(\d+)\.attn\.(query|key|value)\.", rf"{_BLOCK}attention.attention.\2."),
    (r"blocks\.(\d+)\.attn\.proj\.", rf"{_BLOCK}attention.output.dense."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", rf"{_BLOCK}intermediate.dense."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", rf"{_BLOCK}output.dense."),
)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint to the keys of `model`; raises WeightsError. Positions are made by the model."""
    return fit(_split(state), model, _RULES)


def _split(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the authors' joint weight of queries, keys and values apart."""
    split: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith(".attn.qkv.weight"):
            before = key.removesuffix("qkv.weight")
            names = [f"{before}{part}.weight" for part in ("query", "key", "value")]
            split |= dict(zip(names, value.chunk(3), strict=True))
        else:
            split[key] = value
    return split


def candidate_layers(model: nn.Module) -> list[str]:
    """All LayerNorm layers: two a block and the last one (25 for base)."""
    return layers_of(model, nn.LayerNorm)


def aligned_layers(model: nn.Module) -> list[str]:
    """The second half of the LayerNorm layers (13 for base)."""
    return second_half(candidate_layers(model))


def last_stage(model: nn.Module) -> list[str]:
    """The last quarter of the blocks (9 to 11 for base) and the last LayerNorm."""
    return last_quarter(candidate_layers(model))


def tiny() -> Options:
    """Four narrow blocks, clips of 8 frames of 64 px."""
    return Options(variant="mini", frames=8)
