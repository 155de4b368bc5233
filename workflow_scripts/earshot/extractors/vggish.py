"""VGGish: one vector for each second of sound; published files only.

Source: Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017; the files are those of
AVVP-ECCV20 (Tian et al., ECCV 2020), made of sound at 16 kHz.
"""

import numpy as np
from pydantic import BaseModel

from earshot.extractors import Extractor
from earshot.feature_store import Array
from earshot.parsers import SEGMENTS

MODALITY = "audio"
FILES = "feats/vggish"
WEIGHTS = ""
_DIM = 128


class Options(BaseModel, extra="forbid"):
    """Nothing to set."""


def spec(options: Options) -> Extractor:
    """Vectors of 128 numbers."""
    return Extractor("VGGish", _DIM, "arXiv 1609.09430", published=(SEGMENTS, _DIM))


def pooled(array: Array) -> Array:
    """Published files hold one vector a second already: (10, 128)."""
    return np.asarray(array)
