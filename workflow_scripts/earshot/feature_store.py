"""Features of clips second by second on disk: one memory-mapped array for all clips, and the table of whose rows they are.

`<x>.npy` holds (N, 10, D) float32; `<x>.parquet` beside it (`contracts.FEATURES`) names the N clips in order. Rows of clips
without features are zeros, and the table says why. Pseudo-labels are kept in the same way, as (N, 2, 10, C) uint8.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earshot import contracts
from earshot.contracts import ContractError
from earshot.errors import MediaError, SetupError
from earshot.files import atomic_path

Array = NDArray[Any]
Made = Array | MediaError  # a clip's features, or why it has none
_PROBED = 8  # rows whose bytes tell arrays of the same shape apart


@dataclass(frozen=True)
class Features:
    """What `write` wrote: `array` (N, ...) stays on disk until its rows are asked for; the others describe the rows."""

    array: Array
    clip_ids: tuple[str, ...]
    available: NDArray[np.bool_]
    problems: tuple[str, ...]
    facts: Mapping[str, Any]

    def rows_of(self, clip_ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows (n,) of these clips in their order, int64; raises ContractError that names one that is not there."""
        places = {clip_id: place for place, clip_id in enumerate(self.clip_ids)}
        wanted = list(clip_ids)
        if absent := [clip_id for clip_id in wanted if clip_id not in places]:
            raise ContractError(
                f"{len(absent)} of {len(wanted)} clips have no row among the {len(places)} of these features, the first is "
                f"'{absent[0]}': the features are of another dataset, or older than its index; delete them to make them again"
            )
        return np.array([places[clip_id] for clip_id in wanted], np.int64)


def write(
    made: Iterable[Made],
    clip_ids: Sequence[str],
    shape: Sequence[int],
    facts: Mapping[str, Any],
    out_array: str | Path,
    out_index: str | Path,
    *,
    dtype: str = "float32",
    nothing: str = "no clip has features",
) -> None:
    """Write the features of clips, each of `shape`, one after another as they come; they are never all in memory.

    A clip that has none, or some of another shape or not finite, becomes a row of zeros with the problem in the table. Raises
    SetupError, which begins with `nothing`, if there is no other, and ContractError if `made` is not one for each clip.
    """
    if not clip_ids:
        raise SetupError(f"{nothing}: there are no clips")
    kind, whole = np.dtype(dtype), (len(clip_ids), *shape)
    with atomic_path(out_array) as temporary:
        with temporary.open("wb") as file:
            problems, digest = _write_rows(file, made, whole, kind)
        if len(problems) != len(clip_ids):
            raise ContractError(f"{out_array}: features of {len(problems)} clips for a table of {len(clip_ids)}")
        if all(problems):
            raise SetupError(f"{nothing}; of the first clip, '{clip_ids[0]}': {problems[0]}")
        described = {"shape": list(whole), "dtype": kind.name, "digest": digest}
        described["probe"] = _probe(np.load(temporary, mmap_mode="r"))
    rows = [
        {"clip_id": clip_id, "available": not problem, "problem": problem}
        for clip_id, problem in zip(clip_ids, problems, strict=True)
    ]
    contracts.write(rows, contracts.FEATURES, out_index, {**facts, **described})


def _write_rows(file: BinaryIO, made: Iterable[Made], whole: tuple[int, ...], kind: np.dtype) -> tuple[list[str], str]:
    """Write an array file row by row; returns what is wrong with each, and a digest of all.

    Not through a map, which dies where a disk is full.
    """
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": whole}
    np.lib.format.write_array_header_1_0(file, header)
    empty = bytes(kind.itemsize * int(np.prod(whole[1:])))
    problems, digest = [], blake2b(digest_size=16)
    for row in made:
        problems.append(_problem(row, whole[1:]))
        raw = empty if problems[-1] else np.ascontiguousarray(row, kind).tobytes()
        digest.update(raw)
        file.write(raw)
    return problems, digest.hexdigest()


def _problem(row: Made, shape: tuple[int, ...]) -> str:
    """Why a clip's row cannot be kept; empty if it can."""
    if isinstance(row, MediaError):
        return str(row) or "unreadable"
    if row.shape != shape:
        return f"features of shape {row.shape}, not {shape}"
    return "" if bool(np.isfinite(row).all()) else "features that are not finite"


def read(array: str | Path) -> Features:
    """Map an array into memory and read the table beside it, of the same name; raises ContractError where they do not fit."""
    path, index = Path(array), Path(array).with_suffix(".parquet")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ContractError(f"{path} is no whole array of features ({error}): delete it and make it again") from None
    facts = contracts.facts_of(index)
    rows = contracts.read(index, contracts.FEATURES)
    _check(path, mapped, facts, len(rows))
    available = np.array([row["available"] for row in rows], np.bool_)
    return Features(mapped, tuple(r["clip_id"] for r in rows), available, tuple(r["problem"] for r in rows), facts)


def _check(path: Path, mapped: Array, facts: Mapping[str, Any], rows: int) -> None:
    """Hold an array to the table beside it."""
    told = (facts.get("shape"), facts.get("dtype"), rows)
    found = (list(mapped.shape), mapped.dtype.name, len(mapped))
    if told != found or facts.get("probe") != _probe(mapped):
        other = f"shape {told[0]}, {told[1]}" if told != found else "other numbers"
        raise ContractError(
            f"{path} holds shape {found[0]}, {found[1]}, but the table beside it tells of {other} for {rows} clips: one of "
            "them was made again or replaced; delete both and make them again"
        )


def _probe(mapped: Array) -> str:
    """A fingerprint of some rows, at no cost that grows with the array: it tells features of equal shape apart."""
    places = np.unique(np.linspace(0, len(mapped) - 1, _PROBED).astype(int))
    return sha256(np.ascontiguousarray(mapped[places]).tobytes()).hexdigest()[:16]
