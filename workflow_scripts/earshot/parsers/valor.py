"""VALOR: pseudo-labels of CLIP and CLAP by second teach a hybrid attention network, one layer of width 512.

Features in the paper: VGGish, ResNet-152 and R(2+1)D-18. Learning rates per step, times in epochs. Source: Lai et al.,
"Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event Parser", NeurIPS 2023 (our spec, section 3).
"""

from earshot.parsers._hybrid import import_weights
from earshot.parsers._knobs import Optim, Structure
from earshot.parsers._valor import ValorKnobs, adamw, build, losses

__all__ = ["Hyper", "build", "import_weights", "losses"]

PUBLISHED = "VALOR"


class Hyper(ValorKnobs):
    """The published settings of VALOR."""

    structure: Structure = Structure(dim=512, heads=8, ff=1024, layers=1)
    optim: Optim = adamw(1e-4, 1e-6)
