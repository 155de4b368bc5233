"""Files of what a variant, a parser or a prompter, says of the items of a split: read, and refused where they do not fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from earshot import contracts


def told_facts(path: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """The facts of a file; raises ContractError unless it tells all that are named."""
    facts = contracts.facts_of(path)
    if absent := [name for name in names if name not in facts]:
        raise contracts.ContractError(f"{path}: does not tell its {', '.join(absent)}; delete it and run the workflow again")
    return facts


def refuse_mixtures(
    paths: Sequence[str | Path],
    facts: Sequence[Mapping[str, Any]],
    split: str,
    variant: str,
    what: str,
    same: Sequence[str],
) -> None:
    """Raise ContractError if files that hold `what` do not belong into one table.

    Those of a `variant` (the fact that names it) must tell the same of the facts `same`, whatever their seed.
    """
    if not paths:
        raise contracts.ContractError(f"there are no {what} to score")
    seen: dict[tuple[str, int], str | Path] = {}
    first: dict[str, tuple[str | Path, Mapping[str, Any]]] = {}
    for path, told in zip(paths, facts, strict=True):
        if told["split"] != split or told["dataset"] != facts[0]["dataset"]:
            raise contracts.ContractError(
                f"{path}: {what} of {told['dataset']}, split '{told['split']}', cannot be scored as those of "
                f"{facts[0]['dataset']}, split '{split}'"
            )
        run = told[variant], told["seed"]
        if run in seen:
            raise contracts.ContractError(f"{seen[run]} and {path} are both of {variant} '{run[0]}', seed {run[1]}")
        seen[run] = path
        other, before = first.setdefault(run[0], (path, told))
        if odd := [fact for fact in same if told[fact] != before[fact]]:
            raise contracts.ContractError(
                f"{other} and {path}: {variant} '{run[0]}' is told to have another {' and '.join(odd)}"
            )


def places(path: str | Path, found: pd.Series, wanted: Sequence[str], what: str = "clip") -> NDArray[np.intp]:
    """The row of each name that is wanted; raises ContractError unless each has exactly one, and no other has any."""
    if found.duplicated().any():
        raise contracts.ContractError(f"{path}: {what} '{found[found.duplicated()].iloc[0]}' is there twice")
    for says, odd in (("lacks", set(wanted) - set(found)), ("has, beyond the split,", set(found) - set(wanted))):
        if odd:
            raise contracts.ContractError(
                f"{path}: {says} {len(odd)} {what}s, such as '{min(odd)}'; delete it and run the workflow again"
            )
    return pd.Index(found).get_indexer(pd.Index(wanted))


def read_lists(
    path: str | Path, column: str, names: pd.Series, available: NDArray[np.bool_], shape: tuple[int, ...], what: str = "clip"
) -> NDArray[np.float32]:
    """A column of lists as (rows, *shape), NaN where a row is unavailable; raises ContractError for lists of other lengths."""
    lists = pq.read_table(path, columns=[column])[column].combine_chunks()
    lengths = pa.compute.list_value_length(lists).to_numpy()
    wrong = lengths != np.where(available, np.prod(shape), 0)
    if wrong.any():
        first = int(wrong.argmax())
        raise contracts.ContractError(
            f"{path}: {column} of {what} '{names[first]}' has {lengths[first]} numbers, "
            f"not {np.prod(shape) if available[first] else f'none, as of a {what} that is unavailable'}"
        )
    values = np.full((len(names), *shape), np.nan, dtype=np.float32)
    values[available] = lists.flatten().to_numpy().reshape(-1, *shape)
    return values
