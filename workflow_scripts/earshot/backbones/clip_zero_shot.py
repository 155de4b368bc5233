"""CLIP zero-shot: the classes are named in words and no layer is trained; logits are those of single frames, averaged.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section 3.1,
with the mean over frames of a clip in place of one image. Key layout: transformers' CLIPModel; the head comes from
`head_from_text`. The model has no text tower: it stays as it is whatever a method adapts. Sizes in pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, StringConstraints
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from earshot.backbones import Backbone, WeightsError, _clip
from earshot.backbones._classifier import VideoClassifier, fit
from earshot.backbones._clip import aligned_layers, candidate_layers, import_weights, last_stage

__all__ = [
    "Options", "aligned_layers", "build", "candidate_layers", "head_from_text", "import_weights", "last_stage", "spec", "tiny",
]  # fmt: skip

_MOST_TOKENS = 77
_BATCH = 256  # texts at once
_TOKENIZER_FILES = ("tokenizer.json",), ("vocab.json", "merges.txt")


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
    tokenizer = _tokenizer(Path(folder))
    model = _both_towers(state, options, tokenizer)
    with torch.no_grad():
        texts = ([template.replace("{}", prompt) for prompt in prompts] for template in options.templates)
        by_template = torch.stack([_embedded(model, tokenizer, sentences) for sentences in texts])
        head = model.logit_scale.exp() * functional.normalize(by_template.mean(0), dim=-1)
    return {"head.weight": head.contiguous()}


def _tokenizer(folder: Path) -> CLIPTokenizer:
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZER_FILES):
        raise WeightsError(
            f"{folder} has no files of a tokenizer, which turns the names of classes into a head: put tokenizer.json, or "
            "vocab.json and merges.txt, there; they are published beside the weights"
        )
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _both_towers(state: Mapping[str, Tensor], options: Options, tokenizer: CLIPTokenizer) -> CLIPModel:
    model = CLIPModel(_clip.config(options, len(tokenizer), tokenizer.eos_token_id)).eval()
    model.load_state_dict(fit(state, model, (), dropped=r"position_ids$"))
    return model


def _embedded(model: CLIPModel, tokenizer: CLIPTokenizer, sentences: Sequence[str]) -> Tensor:
    """Embeddings (N, E) of length 1; what exceeds 77 tokens is cut off."""
    parts = []
    for start in range(0, len(sentences), _BATCH):
        tokens = tokenizer(
            list(sentences[start : start + _BATCH]),
            padding=True,
            truncation=True,
            max_length=_MOST_TOKENS,
            return_tensors="pt",
        )
        parts.append(model.get_text_features(**tokens).pooler_output)
    return functional.normalize(torch.cat(parts), dim=-1)


def tiny() -> Options:
    """Four narrow blocks, clips of 4 frames of 32 px."""
    return Options(variant="mini", frames=4)
