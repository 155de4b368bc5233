"""VALOR++: VALOR+ that also sees and hears through its teachers: features of CLIP and CLAP, with R(2+1)D-18.

What features it gets is said by the config's feature set; the network is VALOR+'s. Learning rates per step, times in epochs.
Source: Lai et al., "Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event Parser", NeurIPS 2023 (our spec,
section 3).
"""

from earshot.parsers._hybrid import import_weights
from earshot.parsers._valor import build, losses
from earshot.parsers.valor_plus import Hyper

__all__ = ["Hyper", "build", "import_weights", "losses"]

PUBLISHED = "VALOR++"
