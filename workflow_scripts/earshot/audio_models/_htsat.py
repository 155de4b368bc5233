"""The trunk of HTS-AT, which CLAP's audio tower shares: transformers' ClapAudioModel, and the authors' names of its parts.

Source: Chen et al., "HTS-AT: A Hierarchical Token-Semantic Audio Transformer", ICASSP 2022, section 2: a Swin transformer on
a log-mel spectrogram of 64 bins that is stretched to 1024 frames and folded to 256 x 256.
"""

import re
from collections.abc import Mapping

from torch import Tensor
from transformers import ClapAudioConfig

from earshot.audio_models._layouts import split_qkv
from earshot.audio_models._logmel import MATRICES
from earshot.backbones._classifier import Rule

_SHAPES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {  # width of the first stage, blocks, heads
    "tiny": (96, (2, 2, 6, 2), (4, 8, 16, 32)),
    "base": (128, (2, 2, 12, 2), (4, 8, 16, 32)),
    "mini": (8, (2, 2, 2, 2), (1, 2, 2, 4)),
}
_MADE = r"relative_position_index$|attn_mask$"  # tensors that the network makes itself


def config(size: str, projection: int = 512) -> ClapAudioConfig:
    """The network of a size: `tiny` is that of the published HTS-AT and of most CLAP models, `base` that of larger ones."""
    width, blocks, heads = _SHAPES[size]
    return ClapAudioConfig(
        patch_embeds_hidden_size=width,
        hidden_size=8 * width,
        depths=list(blocks),
        num_attention_heads=list(heads),
        projection_dim=projection,
        hidden_dropout_prob=0.0,
    )


def unused(prefix: str) -> str:
    """A pattern for what the authors' files hold, after a prefix, besides the trunk and the head of HTS-AT."""
    return rf"^{re.escape(prefix)}(head\.|{MATRICES})|{_MADE}"


def rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """From the authors' names after the prefix `theirs` to those of transformers' audio encoder after the prefix `ours`."""
    prefix = re.escape(theirs)
    block = rf"{prefix}layers\.(\d+)\.blocks\.(\d+)\."
    renamed = rf"{ours}layers.\1.blocks.\2."
    return (
        (rf"{prefix}bn0\.", f"{ours}batch_norm."),
        (rf"{block}norm1\.", rf"{renamed}layernorm_before."),
        (rf"{block}norm2\.", rf"{renamed}layernorm_after."),
        (rf"{block}attn\.proj\.", rf"{renamed}attention.output.dense."),
        (rf"{block}attn\.", rf"{renamed}attention.self."),
        (rf"{block}mlp\.fc1\.", rf"{renamed}intermediate.dense."),
        (rf"{block}mlp\.fc2\.", rf"{renamed}output.dense."),
        (rf"{prefix}(?=patch_embed\.|layers\.|norm\.)", ours),
    )


def split(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the authors' joint layers of queries, keys and values apart."""
    return split_qkv(state, ("query", "key", "value"))
