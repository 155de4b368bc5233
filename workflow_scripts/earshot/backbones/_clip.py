"""What the CLIP backbones share: the image tower, applied to every frame of a clip on its own.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; OpenAI's models
in the key layout of transformers (`vision_model.*`, `text_model.*`). Sizes in pixels.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModel

from earshot.backbones import Backbone
from earshot.backbones._classifier import Rule, fit, last_quarter, layers_of, second_half

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_RULES: tuple[Rule, ...] = ((r"(?=vision_model\.|visual_projection\.)", "encoder."),)
_TEXT = r"^(text_model\.|text_projection\.|logit_scale$)|position_ids$"


class _Shape(NamedTuple):
    """Of the image tower, the text tower, and the space that they share."""

    size: int
    patch: int
    width: int
    blocks: int
    heads: int
    text_width: int
    text_blocks: int
    text_heads: int
    embedding: int


_SHAPES = {
    "base_patch32": _Shape(224, 32, 768, 12, 12, 512, 12, 8, 512),
    "base_patch16": _Shape(224, 16, 768, 12, 12, 512, 12, 8, 512),
    "large_patch14": _Shape(224, 14, 1024, 24, 16, 768, 12, 12, 768),
    "mini": _Shape(32, 8, 32, 4, 2, 24, 2, 2, 16),
}


class ClipOptions(BaseModel, extra="forbid"):
    """The image tower, the number of frames, which is free, and what is dropped while it trains or adapts."""

    variant: Literal["base_patch16", "base_patch32", "large_patch14", "mini"] = "base_patch16"
    frames: int = Field(16, ge=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="of attention weights; published: none")


def spec(title: str, options: ClipOptions) -> Backbone:
    """Frames as CLIP's image processor prepares them; the small form takes frames of 32 px."""
    size = _SHAPES[options.variant].size
    return Backbone(
        f"{title} ({options.variant})", options.frames, resize=size, size=size, source="arXiv 2103.00020", mean=MEAN, std=STD,
        interpolation="bicubic",
    )  # fmt: skip


def embedding(options: ClipOptions) -> int:
    """The number of dimensions of the space that images and texts share."""
    return _SHAPES[options.variant].embedding


def vision_config(options: ClipOptions) -> CLIPVisionConfig:
    """The image tower as transformers describes it; what is not set here is the same in all of OpenAI's models."""
    shape = _SHAPES[options.variant]
    return CLIPVisionConfig(
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        num_hidden_layers=shape.blocks,
        num_attention_heads=shape.heads,
        image_size=shape.size,
        patch_size=shape.patch,
        attention_dropout=options.attention_dropout,
    )


def config(options: ClipOptions, n_tokens: int, end: int) -> CLIPConfig:
    """Both towers, for a vocabulary of `n_tokens`, of which `end` is the one at which the text tower is read out."""
    shape = _SHAPES[options.variant]
    text = CLIPTextConfig(
        hidden_size=shape.text_width,
        intermediate_size=4 * shape.text_width,
        num_hidden_layers=shape.text_blocks,
        num_attention_heads=shape.text_heads,
        vocab_size=n_tokens,
        eos_token_id=end,
    )
    return CLIPConfig(vision_config=vision_config(options), text_config=text, projection_dim=shape.embedding)


class FrameEncoder(nn.Module):
    """The mean over frames of CLIP's image embeddings, each of length 1; of the tower's output, if `n_embedding` is None."""

    def __init__(self, tower: CLIPVisionConfig, n_embedding: int | None = None) -> None:
        super().__init__()
        self.vision_model = CLIPVisionModel(tower)
        self.visual_projection = None if n_embedding is None else nn.Linear(tower.hidden_size, n_embedding, bias=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (V, 3, T, H, W) to (V, D)."""
        views, _, frames = clips.shape[:3]
        features = self.vision_model(clips.transpose(1, 2).flatten(0, 1)).pooler_output
        if self.visual_projection is not None:
            features = functional.normalize(self.visual_projection(features), dim=-1)
        return features.unflatten(0, (views, frames)).mean(1)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map the image tower of a CLIP checkpoint, and the keys of a head beside it, to the keys of `model`.

    Keys of the text tower are left out, and those of the projection where the model has none. Raises WeightsError.
    """
    projected = any(key.startswith("encoder.visual_projection.") for key in model.state_dict())
    return fit(state, model, _RULES, _TEXT if projected else rf"^visual_projection\.|{_TEXT}")


def candidate_layers(model: nn.Module) -> list[str]:
    """All LayerNorm layers of the image tower: the first, two a block, and the last (26 for the base models)."""
    return layers_of(model, nn.LayerNorm)


def aligned_layers(model: nn.Module) -> list[str]:
    """The second half of the LayerNorm layers (13 for base)."""
    return second_half(candidate_layers(model))


def last_stage(model: nn.Module) -> list[str]:
    """The last quarter of the blocks (9 to 11 for base) and the last LayerNorm."""
    return last_quarter(candidate_layers(model))
