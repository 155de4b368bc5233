"""CLAP zero-shot: sounds are named in words and no layer is trained; the audio tower is HTS-AT.

Source: Wu et al., "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption
Augmentation", ICASSP 2023, section 3, with the temperature of audio. Key layouts: transformers' ClapModel and LAION's own
(`audio_branch.*`, `text_branch.*`). The head comes from `head_from_text`; the model itself has no text tower.

Of a fused model only the path for sounds of up to 10 s is kept, which is all that a window needs: its convolution for longer
sounds (`patch_embed.mel_conv2d.*`) and what joins the two (`patch_embed.fusion_model.*`) are left out. Fused models listen
through mel filters of their own, hence the option. Rates in Hz, times in seconds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
from pydantic import BaseModel, Field, StringConstraints
from torch import Tensor, nn
from torch.nn import functional
from transformers import ClapAudioModelWithProjection, ClapTextConfig, ClapTextModelWithProjection, RobertaTokenizer

from earshot import text_heads
from earshot.audio_models import AudioModel, _htsat
from earshot.audio_models._logmel import FrontEnd, LogMel, check_matrices
from earshot.backbones import WeightsError
from earshot.backbones._classifier import Rule, fit

RATE_HZ = 48_000
_WINDOW_S = 10.0
_FRONT_END = FrontEnd(RATE_HZ, window=1024, hop=480, low_hz=50, high_hz=14_000)
_FUSED_FRONT_END = FrontEnd(RATE_HZ, window=1024, hop=480, low_hz=50, high_hz=14_000, scale="htk")
_EMBEDDING = {"tiny": 512, "base": 512, "mini": 16}
_TEXT_SHAPES: dict[str, tuple[int, int, int]] = {  # width, blocks, heads
    "tiny": (768, 12, 12),
    "base": (768, 12, 12),
    "mini": (24, 2, 2),
}


class Options(BaseModel, extra="forbid"):
    """Size of the audio tower, kind of model, and the sentences that name a sound in place of `{}`, which are averaged."""

    variant: Literal["tiny", "base", "mini"] = Field("tiny", description="size of HTS-AT; that of larger_clap is base")
    fused: bool = Field(False, description="whether the checkpoint is a fused model, such as clap-htsat-fused")
    templates: list[Annotated[str, StringConstraints(pattern=r"\{\}")]] = Field(["This is a sound of {}."], min_length=1)


def spec(options: Options) -> AudioModel:
    """Windows of 10 s at 48 kHz; a shorter sound is repeated as often as it fits."""
    title = f"CLAP zero-shot ({options.variant}{', fused' if options.fused else ''})"
    return AudioModel(title, RATE_HZ, _WINDOW_S, source="arXiv 2211.06687", activation="softmax", short="repeat")


class _Tower(nn.Module):
    def __init__(self, model: ClapAudioModelWithProjection, front_end: FrontEnd, n_classes: int) -> None:
        super().__init__()
        self.log_mel = LogMel(front_end)
        self.model = model
        self.head = nn.Linear(model.config.projection_dim, n_classes, bias=False)

    def features(self, waves: Tensor) -> Tensor:
        """Map waves (B, N) to embeddings (B, E) of length 1."""
        return functional.normalize(self.model(input_features=self.log_mel(waves)[:, None]).audio_embeds, dim=-1)

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Map waves (B, N) to logits (B, A); how long they were before they were repeated does not matter."""
        return self.head(self.features(waves))


def build(n_classes: int, options: Options) -> nn.Module:
    """The audio tower and projection with random weights, and a random head in place of the embedded names of sounds."""
    config = _htsat.config(options.variant, _EMBEDDING[options.variant])
    front_end = _FUSED_FRONT_END if options.fused else _FRONT_END
    return _Tower(ClapAudioModelWithProjection(config), front_end, n_classes)


_PROJECTION: tuple[Rule, ...] = (
    (r"(audio|text)_projection\.0\.", r"model.\1_projection.linear1."),
    (r"(audio|text)_projection\.2\.", r"model.\1_projection.linear2."),
)
_RULES: tuple[Rule, ...] = (
    *_PROJECTION,
    (r"(?=audio_model\.|audio_projection\.)", "model."),
    *_htsat.rules("audio_branch.", "model.audio_model.audio_encoder."),
)
_TEXT_RULES: tuple[Rule, ...] = (
    *_PROJECTION,
    (r"text_branch\.", "model.text_model."),
    (r"(?=text_model\.|text_projection\.)", "model."),
)
_FUSION = r"patch_embed\.(mel_conv2d|fusion_model)\."
_TRAINING = r"^(audio|text)_transform\.|^logit_scale_t$"
_UNUSED = (
    rf"{_TRAINING}|^text_(model|branch|projection)\.|^logit_scale_a$|^audio_branch\.tscam_conv\.|{_FUSION}|"
    rf"{_htsat.unused('audio_branch.')}"
)
_TEXT_UNUSED = rf"{_TRAINING}|^audio_(model|branch|projection)\.|^head\.|embeddings\.(position_ids|token_type_ids)$"


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Map a published checkpoint, with the head among its keys, to the keys of `model`.

    Raises WeightsError, also where a fused model is taken for one that is not, or the other way round.
    """
    if not any(key.startswith("model.audio_model.") for key in state):
        _check_kind(state, cast(LogMel, model.get_submodule("log_mel")).front_end)
    return fit(_htsat.split(state), model, _RULES, dropped=_UNUSED)


def _check_kind(state: Mapping[str, Tensor], front_end: FrontEnd) -> None:
    """Hold what a published checkpoint says of its front end to the model's: fused models have layers of their own."""
    fused = any("patch_embed.fusion_model." in key for key in state)
    if fused != (front_end == _FUSED_FRONT_END):
        kind, told = ("a fused", "true") if fused else ("not a fused", "false")
        raise WeightsError(
            f"the checkpoint is {kind} CLAP model, which listens through other mel filters: set the option `fused: {told}`"
        )
    if not fused:  # the files of fused models hold filters, too, but not those that they are used with
        check_matrices(state, _FRONT_END)


def head_from_text(
    state: Mapping[str, Tensor], folder: str | Path, prompts: Sequence[str], options: Options
) -> dict[str, Tensor]:
    """The head whose rows (A, E) are the embedded names of sounds, of length 1, times CLAP's scale of logits for audio.

    `state` is the checkpoint, with its text tower; `folder` holds the files of its tokenizer. Raises WeightsError where they
    are absent or do not fit.
    """
    text_heads.require_tokenizer(
        Path(folder), "sounds", "of roberta-base there; they are published beside transformers' CLAP weights"
    )
    tokenizer = RobertaTokenizer.from_pretrained(folder, local_files_only=True)
    tower = _text_tower(state, options, tokenizer)

    def embedded(sentences: list[str]) -> Tensor:
        return tower.model(**text_heads.tokens(tokenizer, sentences)).text_embeds

    scale = tower.logit_scale_a.detach().exp()
    return {"head.weight": (scale * text_heads.head(options.templates, prompts, embedded)).contiguous()}


class _TextTower(nn.Module):
    def __init__(self, config: ClapTextConfig) -> None:
        super().__init__()
        self.model = ClapTextModelWithProjection(config)
        self.logit_scale_a = nn.Parameter(torch.zeros(()))


def _text_tower(state: Mapping[str, Tensor], options: Options, tokenizer: RobertaTokenizer) -> _TextTower:
    width, blocks, heads = _TEXT_SHAPES[options.variant]
    config = ClapTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        projection_dim=_EMBEDDING[options.variant],
        pad_token_id=tokenizer.pad_token_id,
    )
    tower = _TextTower(config).eval()
    tower.load_state_dict(fit(state, tower, _TEXT_RULES, dropped=_TEXT_UNUSED))
    return tower


def tiny() -> Options:
    """Eight narrow blocks."""
    return Options(variant="mini")
