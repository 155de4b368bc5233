"""A CLAP model that is small enough for tests, as a repository of the hub holds it."""

import json
import re

import torch
from transformers import ClapConfig, ClapModel, ClapTextConfig

from earshot.audio_models import _htsat


def write_tokenizer(folder):
    """All bytes and one merge: the least that RoBERTa's tokenizer takes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]
    words = ["<s>", "<pad>", "</s>", "<unk>", *letters, "in", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\ni n\n")
    return len(words)


def small_clap(folder):
    """A model with random weights; the files of its tokenizer are written to `folder`."""
    text = ClapTextConfig(
        vocab_size=write_tokenizer(folder), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96
    )
    torch.manual_seed(0)
    return ClapModel(ClapConfig(text_config=text, audio_config=_htsat.config("mini"), projection_dim=16))


def laions(state):
    """The library's weights with the names in LAION's files, and what else these hold."""
    plain = {}
    for key, value in state.items():
        if "relative_position_index" in key:
            continue
        for ours, theirs in (
            (r"audio_model\.audio_encoder", "audio_branch"), ("text_model", "text_branch"), ("linear1", "0"), ("linear2", "2"),
        ):  # fmt: skip
            key = re.sub(ours, theirs, key)
        if key.startswith("audio_branch"):
            for ours, theirs in (
                ("batch_norm", "bn0"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
                (r"attention\.self", "attn"), (r"attention\.output\.dense", "attn.proj"),
                (r"intermediate\.dense", "mlp.fc1"), (r"output\.dense", "mlp.fc2"),
            ):  # fmt: skip
                key = re.sub(ours, theirs, key)
        plain[f"module.{key}"] = value
    for key in [key for key in plain if ".attn.query." in key]:
        parts = [plain.pop(key.replace("query", part)) for part in ("query", "key", "value")]
        plain[key.replace("query", "qkv")] = torch.cat(parts)
    more = ("text_branch.embeddings.position_ids", "audio_transform.sequential.0.weight", "audio_branch.head.weight",
            "audio_branch.tscam_conv.weight", "audio_branch.layers.0.blocks.1.attn_mask")  # fmt: skip
    return plain | {f"module.{key}": torch.zeros(3) for key in more}
