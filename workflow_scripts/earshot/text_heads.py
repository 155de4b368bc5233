"""Heads made of words: the names of classes or sounds, put into sentences and embedded by a text tower (zero-shot)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from earshot.backbones import WeightsError

_FILES = ("tokenizer.json",), ("vocab.json", "merges.txt")
_MOST_TOKENS = 77  # of CLIP's and CLAP's captions
BATCH = 256  # texts at once


def require_tokenizer(folder: Path, names: str, where: str) -> None:
    """Raise WeightsError if a folder lacks the files of a tokenizer, which turns `names` into a head."""
    if not any(all((folder / name).is_file() for name in files) for files in _FILES):
        raise WeightsError(
            f"{folder} has no files of a tokenizer, which turns the names of {names} into a head: put tokenizer.json, or "
            f"vocab.json and merges.txt, {where}"
        )


@torch.no_grad()
def head(templates: Sequence[str], names: Sequence[str], embedded: Callable[[list[str]], Tensor]) -> Tensor:
    """Rows (N, E) of length 1: the mean over `templates` of the embeddings of each name in place of `{}`."""
    texts = ([template.replace("{}", name) for name in names] for template in templates)
    by_template = torch.stack([functional.normalize(_in_batches(sentences, embedded), dim=-1) for sentences in texts])
    return functional.normalize(by_template.mean(0), dim=-1)


def _in_batches(sentences: list[str], embedded: Callable[[list[str]], Tensor]) -> Tensor:
    return torch.cat([embedded(sentences[start : start + BATCH]) for start in range(0, len(sentences), BATCH)])


def tokens(tokenizer: Any, sentences: list[str]) -> Any:
    """Tokens of sentences, padded to the longest; what exceeds 77 is cut off."""
    return tokenizer(sentences, padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
