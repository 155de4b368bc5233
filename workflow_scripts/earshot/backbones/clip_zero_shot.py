"""CLIP zero-shot: the classes are named in words and no layer is trained; logits are those of single frames, averaged.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section 3.1,
with the mean over frames of a clip in place of one image. Key layout: transformers' CLIPModel; the head comes from
`head_from_text`. The model has no text tower: it stays as it is whatever a method adapts. Sizes in pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from earshot import text_heads
from earshot.backbones import Backbone, _clip
from earshot.backbones._classifier import VideoClassifier, fit
from earshot.backbones._clip import aligned_layers, candidate_layers, import_weights, last_stage

__all__ = [
    "Options", "aligned_layers", "build", "candidate_layers", "head_from_text", "import_weights", "last_stage", "spec", "tiny",
]  # fmt: skip


class Options(_clip.ClipOptions):
    """The model, and the sentences that the name of a class is put into in place of `{}`; their embeddings are averaged."""

    templates: list[Annotated[str, StringConstraints(pattern=r"\{\}")]] = Field(["a video of {}."], min_length=1)


def spec(options: Options) -> Backbone:
    """Clips of single frames as CLIP takes them."""
    return _clip.spec("CLIP zero-shot", options)


def build(n_classes: int, options: Options) -> nn.Module:
    """The image tower and projection with random weights, and a random head in place of the embedded names of classes."""
    n_features = _clip.embedding(options)
    encoder = _clip.FrameEncoder(_clip.vision_config(options), n_features)
    return VideoClassifier(encoder, n_features, n_classes, bias=False)


def head_from_text(
    state: Mapping[str, Tensor], folder: str | Path, prompts: Sequence[str], options: Options
) -> dict[str, Tensor]:
    """The head whose rows (K, E) are the embedded names of classes, of length 1, times CLIP's scale of logits.

    `state` is the checkpoint, with its text tower; `folder` holds the files of its tokenizer. Raises WeightsError where they
    are absent or do not fit.
    """
    text_heads.require_tokenizer(Path(folder), "classes", "there; they are published beside the weights")
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    model = _both_towers(state, options, tokenizer)

    def embedded(sentences: list[str]) -> Tensor:
        return model.get_text_features(**text_heads.tokens(tokenizer, sentences)).pooler_output

    scale = model.logit_scale.detach().exp()
    return {"head.weight": (scale * text_heads.head(options.templates, prompts, embedded)).contiguous()}


def _both_towers(state: Mapping[str, Tensor], options: Options, tokenizer: CLIPTokenizer) -> CLIPModel:
    model = CLIPModel(_clip.config(options, len(tokenizer), tokenizer.eos_token_id)).eval()
    model.load_state_dict(fit(state, model, (), dropped=r"position_ids$"))
    return model


def tiny() -> Options:
    """Four narrow blocks, clips of 4 frames of 32 px."""
    return Options(variant="mini", frames=4)
