"""A CLAP model that is small enough for tests, as a repository of the hub holds it."""

import json

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
