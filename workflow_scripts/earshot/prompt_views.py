"""What a prompter saw of the clips that it scored: pooled vectors of segments, and maps and masks of a few clips.

One safetensors file a prompter and seed, beside its predictions. Axes: N clips, K shown clips, T segments, C channels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from earshot.contracts import ContractError
from earshot.files import atomic_path

_KEY = "earshot"
_KINDS = {
    "visual": (np.float16, 3),
    "audio": (np.float16, 3),
    "labels": (np.int16, 2),
    "frames": (np.uint8, 5),
    "visual_map": (np.float32, 4),
    "mask": (np.uint8, 4),
    "truth": (np.uint8, 4),
}  # type and number of axes
_OF_CLIPS = ("visual", "audio", "labels")  # one row a clip; the others have one a shown clip


@dataclass(frozen=True)
class Views:
    """Names of the clips (N) and of those that are shown (K), and arrays by name, each of which may be absent.

    `visual` and `audio` (N, T, C) float16: pooled vectors; `labels` (N, T) int16: the class of a segment, or the number of
    classes where there is only background; `frames` (K, T, S, S, 3) uint8; `visual_map` (K, T, h, w) float32: how much of the
    pooled vector each place is, summing to 1; `mask` (K, T, H, W) uint8: 1 where the prompter sees what sounds; `truth` (K, T,
    H, W) uint8: 1 where it is, 255 where nobody looked.
    """

    clips: Sequence[str]
    shown: Sequence[str] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def write_views(views: Views, path: str | Path) -> None:
    """Write a file of views; equal views give equal bytes. Raises ContractError for arrays of another shape or name."""
    _check(views, path)
    arrays = {name: np.ascontiguousarray(array, _KINDS[name][0]) for name, array in sorted(views.arrays.items())}
    facts = json.dumps({"clips": list(views.clips), "shown": list(views.shown)}, ensure_ascii=False)
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, {_KEY: facts})


def read_views(path: str | Path) -> Views:
    """Read a file of views; raises ContractError for one that does not hold what its names say."""
    with safe_open(path, framework="numpy") as file:
        facts = json.loads((file.metadata() or {}).get(_KEY, "{}"))
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if "clips" not in facts:
        raise ContractError(f"{path}: does not tell which clips it is of; delete it and run the workflow again")
    views = Views(facts["clips"], facts.get("shown", ()), arrays)
    _check(views, path)
    return views


def _check(views: Views, path: str | Path) -> None:
    for name, array in views.arrays.items():
        if name not in _KINDS:
            raise ContractError(f"{path}: '{name}' is none of {', '.join(_KINDS)}")
        rows, axes = len(views.clips if name in _OF_CLIPS else views.shown), _KINDS[name][1]
        if array.ndim != axes or len(array) != rows:
            what = "clips" if name in _OF_CLIPS else "shown clips"
            raise ContractError(f"{path}: '{name}' has shape {array.shape}, not {axes} axes, the first of {rows} {what}")
