"""Reader of the source statistics that ViTTA publishes: two .npy files, each a list of one array for each layer.

Source: ViTTA (Lin et al., CVPR 2023), its public code; our spec, `tta.md` section 2.3.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from earshot.backbones import WeightsError
from earshot.numpy_pickles import read_arrays
from earshot.state_files import first_few, first_line, refuse_stand_ins


def read(mean_path: str | Path, var_path: str | Path, layers: Mapping[str, int]) -> dict[str, tuple[Tensor, Tensor]]:
    """Means and variances (D,) float32 of every layer, from the two .npy files that ViTTA publishes.

    `layers` maps names to D, in the order of the files. No code in the files is run. Raises WeightsError if the number of
    arrays or their lengths differ from `layers`, a number is not finite, or a variance is negative.
    """
    means, variances = (_checked(Path(path), layers) for path in (mean_path, var_path))
    for i, (name, variance) in enumerate(zip(layers, variances, strict=True)):
        if (variance < 0).any():
            raise WeightsError(f"'{var_path}': array {i} (layer {name}) holds a negative variance: {variance.min()}")
    tensors = [[torch.from_numpy(vector) for vector in vectors] for vectors in (means, variances)]
    return dict(zip(layers, zip(*tensors, strict=True), strict=True))


def _checked(path: Path, layers: Mapping[str, int]) -> list[np.ndarray]:
    """The arrays of a file as (D,) float32, one for each layer; raises WeightsError."""
    refuse_stand_ins(path)
    try:
        items = read_arrays(path)
    except Exception as error:  # a damaged pickle may raise anything
        raise WeightsError(f"'{path}' is no .npy file of arrays of numbers: {first_line(error)}") from error
    if len(items) != len(layers):
        raise WeightsError(f"'{path}' holds {len(items)} arrays; the model has {len(layers)} layers with statistics")
    vectors = [_vector(path, i, name, item) for i, (name, item) in enumerate(zip(layers, items, strict=True))]
    wrong = [
        f"array {i} (layer {name}) has shape {vector.shape}, expected ({expected},)"
        for i, (vector, (name, expected)) in enumerate(zip(vectors, layers.items(), strict=True))
        if vector.shape != (expected,)
    ]
    if wrong:
        raise WeightsError(f"'{path}' does not fit the model: {first_few(wrong)}")
    for i, (name, vector) in enumerate(zip(layers, vectors, strict=True)):
        if not np.isfinite(vector).all():
            raise WeightsError(f"'{path}': array {i} (layer {name}) holds numbers that are not finite")
    return vectors


def _vector(path: Path, index: int, layer: str, item: Any) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            return np.array(item, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"'{path}': array {index} (layer {layer}) is no array of numbers") from error
