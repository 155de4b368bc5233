"""Questions about clips as numbers: words of a vocabulary, the answer, and the kind of question.

As in MUSIC-AVQA (Li et al., CVPR 2022): a question is its words between spaces, without the question mark and with its slots
filled, padded to `LENGTH`. Word 0 is padding; the others count from 1 in the order of the vocabulary, which is kept in the
facts of the table of questions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot import contracts
from earshot.contracts import ContractError
from earshot.datasets import DatasetError, QuestionRow

LENGTH = 14  # words
PAD = "<pad>"
KINDS = (
    "Audio-Counting", "Audio-Comparative", "Visual-Counting", "Visual-Location", "Audio-Visual-Existential",
    "Audio-Visual-Counting", "Audio-Visual-Location", "Audio-Visual-Comparative", "Audio-Visual-Temporal",
)  # fmt: skip
_SLOT = re.compile(r"<[^<>\s]*>")


@dataclass(frozen=True)
class Asked:
    """The questions of a split: ids, clips, labels by name (N, ...), and the size of the vocabulary with its padding."""

    ids: Sequence[str]
    clip_ids: Sequence[str]
    labels: dict[str, NDArray[np.int64]]
    words: int


def filled(text: str, values: Sequence[str]) -> str:
    """A question without its question mark, whose slots `<...>` are filled with `values` in their order.

    Raises ValueError where there are not as many values as slots.
    """
    plain = re.sub(r"\s*[?\uff1f]$", "", text.strip())  # the lists have both, narrow and full-width
    slots = len(_SLOT.findall(plain))
    if slots != len(values):
        raise ValueError(f"{slots} slots and {len(values)} values: '{text}', {list(values)}")
    waiting = iter(values)
    return _SLOT.sub(lambda _: next(waiting), plain)


def vocabulary(rows: Sequence[QuestionRow], words: Sequence[str]) -> dict[str, Any]:
    """Facts for the table of these questions: `words` or, if there are none, the words of the questions, sorted.

    Raises DatasetError for a question that is too long, has a word that `words` lacks, or is of an unknown kind.
    """
    chosen = list(words) or sorted({word for row in rows for word in row.text.split()})
    known = set(chosen)
    if len(known) < len(chosen):
        raise DatasetError(f"the vocabulary has {len(chosen)} words of which {len(chosen) - len(known)} are there twice")
    for row in rows:
        _check(row, known)
    return {"words": chosen}


def _check(row: QuestionRow, known: set[str]) -> None:
    parts = row.text.split()
    where = f"question {row.question}, '{row.text}'"
    if not 0 < len(parts) <= LENGTH:
        raise DatasetError(f"{where}: {len(parts)} words; a question has 1 to {LENGTH}")
    if strange := [word for word in parts if word not in known]:
        raise DatasetError(f"{where}: '{strange[0]}' is not in the vocabulary; add it, or leave the vocabulary out")
    if row.kind not in KINDS:
        raise DatasetError(f"{where}: kind '{row.kind}' is none of {', '.join(KINDS)}")


def tokens(texts: Sequence[str], words: Sequence[str]) -> NDArray[np.int64]:
    """Questions as numbers of words, (N, LENGTH), padded with 0; raises KeyError for a word that is not in `words`."""
    numbers = {word: place for place, word in enumerate(words, 1)}
    found = np.zeros((len(texts), LENGTH), np.int64)
    for row, text in zip(found, texts, strict=True):
        ids = [numbers[word] for word in text.split()]
        row[: len(ids)] = ids
    return found


def of_split(table: str | Path, split: str = "") -> Asked:
    """The questions of a split, or of all, in the order of a dataset's table; ContractError if it has no vocabulary."""
    words = contracts.facts_of(table).get("words")
    if words is None:
        raise ContractError(f"{table} tells no vocabulary: another version made it; delete it and index the dataset again")
    rows = [row for row in contracts.read(table, contracts.QUESTIONS) if split in ("", row["split"])]
    labels = {
        "question": tokens([row["question"] for row in rows], words),
        "answer": np.array([row["answer"] for row in rows], np.int64),
        "kind": np.array([KINDS.index(row["kind"]) for row in rows], np.int64),
    }
    return Asked([row["question_id"] for row in rows], [row["clip_id"] for row in rows], labels, len(words) + 1)


def size_of_vocabulary(table: str | Path) -> int:
    """How many words the questions of a dataset's table are made of, with padding."""
    return len(contracts.facts_of(table)["words"]) + 1
