"""Made-up visual features for running everything without videos and files: noise, and a direction for each class seen.

See `_synthetic`. Scores of classes are cosines with these directions. Source: our spec `avvp.md` section 1.3.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earshot.extractors import ClassVectors, Wanted, _synthetic
from earshot.extractors._synthetic import Options, spec

__all__ = ["FILES", "MODALITY", "WEIGHTS", "Options", "class_vectors", "make", "spec"]

MODALITY = "visual"
FILES = ""
WEIGHTS = ""


def make(clip_id: str, events: Sequence[Mapping[str, Any]], names: Sequence[str], options: Options) -> NDArray[np.float32]:
    """Features (10, D) of a clip with these rows of the table of events."""
    return _synthetic.make(MODALITY, clip_id, events, names, options)


def class_vectors(weights: Path, wanted: Wanted, options: Options) -> ClassVectors:
    """The directions of the classes; there are no weights."""
    return _synthetic.class_vectors(MODALITY, wanted, options)
