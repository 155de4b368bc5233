"""CLIP and CLAP as a pair of encoders that also read the names of classes; both are transformers' own, unchanged.

Sources: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; Wu et al.,
"Large-scale Contrastive Language-Audio Pretraining", ICASSP 2023. A tokenizer travels with the weights of its encoder, so that
names can be read wherever they go; encoders that were never imported read bytes. K names, S tokens, E dimensions of a space
that texts share with images or sounds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapModel,
    ClapTextConfig,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
    RobertaTokenizer,
)
from transformers.masking_utils import create_causal_mask

from earshot.audio_models import _htsat
from earshot.backbones._classifier import Rule, fit
from earshot.prompters._trunks import Encoders
from earshot.text_heads import require_tokenizer

_BYTES = 256
_MOST = 77  # tokens that CLIP reads at once


class Shape(NamedTuple):
    """Of both towers of CLIP and of CLAP, whose blocks pair one by one; `tiles`: how often a second of sound is repeated."""

    px: int
    patch: int
    visual: int
    visual_heads: int
    text: int
    text_blocks: int
    text_heads: int
    clip_words: int
    clip_space: int
    audio: int
    depths: tuple[int, ...]
    audio_heads: tuple[int, ...]
    mel_bins: int
    spectrogram: int
    window: int
    clap_text: int
    clap_text_blocks: int
    clap_words: int
    clap_space: int
    tiles: int


SIZES = {
    "large": Shape(
        px=224, patch=32, visual=768, visual_heads=12, text=512, text_blocks=12, text_heads=8, clip_words=49_408,
        clip_space=512, audio=96, depths=(2, 2, 6, 2), audio_heads=(4, 8, 16, 32), mel_bins=64, spectrogram=256, window=8,
        clap_text=768, clap_text_blocks=12, clap_words=50_265, clap_space=512, tiles=10,
    ),
    "small": Shape(
        px=64, patch=8, visual=96, visual_heads=4, text=64, text_blocks=2, text_heads=4, clip_words=_BYTES + 2,
        clip_space=64, audio=32, depths=(1, 1, 2, 1), audio_heads=(1, 2, 4, 8), mel_bins=32, spectrogram=64, window=2,
        clap_text=64, clap_text_blocks=2, clap_words=_BYTES + 3, clap_space=64, tiles=1,
    ),
    "mini": Shape(
        px=32, patch=16, visual=16, visual_heads=2, text=16, text_blocks=1, text_heads=2, clip_words=_BYTES + 2,
        clip_space=8, audio=16, depths=(1, 1), audio_heads=(1, 2), mel_bins=32, spectrogram=64, window=2,
        clap_text=16, clap_text_blocks=1, clap_words=_BYTES + 3, clap_space=8, tiles=1,
    ),
}  # fmt: skip


class Tokens(NamedTuple):
    """Token numbers (K, S), padded at the end, and how many of each are no padding (K,)."""

    ids: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> "Tokens":
        """The same on a device."""
        return Tokens(self.ids.to(device), self.lengths.to(device))


class Vocabulary(nn.Module):
    """From text to token numbers: a tokenizer that is part of the state of the module, or one token a byte."""

    def __init__(self, start: int, end: int, first_byte: int, padding: int) -> None:
        super().__init__()
        self.start, self.end, self.first_byte, self.padding = start, end, first_byte, padding
        self.tokenizer: Tokenizer | None = None

    def get_extra_state(self) -> Tensor:
        """The tokenizer as the bytes of its JSON text; none for an encoder that reads bytes."""
        text = self.tokenizer.to_str().encode() if self.tokenizer else b""
        return torch.from_numpy(np.frombuffer(text, np.uint8).copy())

    def set_extra_state(self, state: Tensor) -> None:
        """Take a tokenizer as `get_extra_state` gave it."""
        text = state.cpu().numpy().tobytes().decode()
        self.tokenizer = Tokenizer.from_str(text) if text else None

    def tokens(self, sentences: Sequence[str]) -> Tokens:
        """Token numbers of sentences, between those of a start and an end."""
        listed = [torch.tensor(self._numbers(sentence)) for sentence in sentences]
        ids = nn.utils.rnn.pad_sequence(listed, batch_first=True, padding_value=self.padding)
        return Tokens(ids, torch.tensor([len(one) for one in listed]))

    def _numbers(self, sentence: str) -> list[int]:
        if self.tokenizer:
            return self.tokenizer.encode(sentence).ids
        return [self.start, *(self.first_byte + byte for byte in sentence.encode()), self.end]


class Clip(nn.Module):
    """CLIP and its vocabulary."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        end = shape.clip_words - 1
        self.words = Vocabulary(end - 1, end, 0, end)
        vision = CLIPVisionConfig(
            hidden_size=shape.visual, intermediate_size=4 * shape.visual, num_hidden_layers=sum(shape.depths),
            num_attention_heads=shape.visual_heads, image_size=shape.px, patch_size=shape.patch,
        )  # fmt: skip
        text = CLIPTextConfig(
            hidden_size=shape.text, intermediate_size=4 * shape.text, num_hidden_layers=shape.text_blocks,
            num_attention_heads=shape.text_heads, vocab_size=shape.clip_words, bos_token_id=end - 1,
            eos_token_id=end, pad_token_id=end,
        )  # fmt: skip
        self.model: Any = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=shape.clip_space))

    def read(self, tokens: Tokens, context: Tensor) -> Tensor:
        """Vectors (K, E) of texts that begin with the vectors `context` (P, W) in place of words; through it gradients flow.

        Raises ValueError where a text is longer than CLIP reads.
        """
        text = self.model.text_model
        embedded = text.embeddings.token_embedding(tokens.ids)
        before = context.to(embedded).expand(len(embedded), -1, -1)
        whole = torch.cat([embedded[:, :1], before, embedded[:, 1:]], dim=1)
        if whole.shape[1] > _MOST:
            raise ValueError(f"a class name takes {whole.shape[1]} tokens with its context, and CLIP reads {_MOST}: shorten it")
        hidden = text.embeddings(inputs_embeds=whole)
        causal = create_causal_mask(text.config, hidden, attention_mask=None, past_key_values=None)
        hidden = text.encoder(inputs_embeds=hidden, attention_mask=causal, is_causal=True).last_hidden_state
        ends = tokens.lengths - 1 + len(context)
        last = hidden[torch.arange(len(hidden), device=hidden.device), ends]
        return self.model.text_projection(text.final_layer_norm(last))


class Clap(nn.Module):
    """CLAP and its vocabulary."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = Vocabulary(0, 2, 3, 1)
        audio = ClapAudioConfig(
            patch_embeds_hidden_size=shape.audio, hidden_size=shape.audio * 2 ** (len(shape.depths) - 1),
            depths=list(shape.depths), num_attention_heads=list(shape.audio_heads), num_mel_bins=shape.mel_bins,
            spec_size=shape.spectrogram, window_size=shape.window, projection_dim=shape.clap_space,
            hidden_dropout_prob=0.0, drop_path_rate=0.0,
        )  # fmt: skip
        text = ClapTextConfig(
            hidden_size=shape.clap_text, intermediate_size=4 * shape.clap_text, num_hidden_layers=shape.clap_text_blocks,
            num_attention_heads=max(shape.clap_text // 64, 2), vocab_size=shape.clap_words, projection_dim=shape.clap_space,
        )  # fmt: skip
        self.model: Any = ClapModel(ClapConfig(audio_config=audio, text_config=text, projection_dim=shape.clap_space))

    @torch.no_grad()
    def read(self, tokens: Tokens) -> Tensor:
        """Vectors (K, E) of texts, of length 1."""
        mask = torch.arange(tokens.ids.shape[1], device=tokens.ids.device) < tokens.lengths[:, None]
        training = self.training
        found = self.eval().model.get_text_features(input_ids=tokens.ids, attention_mask=mask.long()).pooler_output
        self.train(training)
        return found


# --- published weights ------------------------------------------------------------------------------------------------

_CLAP_RULES: tuple[Rule, ...] = (
    (r"(audio|text)_projection\.0\.", r"\1_projection.linear1."),
    (r"(audio|text)_projection\.2\.", r"\1_projection.linear2."),
    (r"text_branch\.", "text_model."),
    *_htsat.rules("audio_branch.", "audio_model.audio_encoder."),
)
_CLAP_UNUSED = (
    r"^(audio|text)_transform\.|^audio_branch\.tscam_conv\.|patch_embed\.(mel_conv2d|fusion_model)\.|"
    rf"embeddings\.(position_ids|token_type_ids)$|{_htsat.unused('audio_branch.')}"
)


def import_clip(state: Mapping[str, Tensor], folder: str | Path, clip: Clip) -> None:
    """Load a checkpoint in transformers' layout and the tokenizer beside it; raises WeightsError."""
    require_tokenizer(Path(folder), "classes", "there; they are published beside the weights")
    clip.model.load_state_dict(fit(state, clip.model, (), dropped=r"position_ids$"))
    clip.words.tokenizer = _copied(CLIPTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer)


def import_clap(state: Mapping[str, Tensor], folder: str | Path, clap: Clap) -> None:
    """Load a checkpoint in transformers' or LAION's layout, fused or not, and the tokenizer beside it; raises WeightsError.

    Of a fused model the parts for sounds of more than 10 s are left out.
    """
    require_tokenizer(Path(folder), "classes", "of roberta-base there; they are published beside transformers' CLAP weights")
    clap.model.load_state_dict(fit(_htsat.split(state), clap.model, _CLAP_RULES, dropped=_CLAP_UNUSED))
    clap.words.tokenizer = _copied(RobertaTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer)


def _copied(tokenizer: Tokenizer) -> Tokenizer:
    """Without padding and truncation, which a library may have set."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def build(size: str) -> Encoders:
    """A pair with random weights; raises ValueError for a size that there is not."""
    shape = shape_of(size)
    return Encoders(Clip(shape), Clap(shape), size)


def shape_of(size: str) -> Shape:
    """What encoders of a size look like; raises ValueError for one that there is not."""
    if size not in SIZES:
        raise ValueError(f"no CLIP and CLAP of size '{size}'; there are {', '.join(SIZES)}")
    return SIZES[size]
