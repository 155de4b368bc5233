"""VALOR+: VALOR with four layers of width 256.

Features in the paper: VGGish, ResNet-152 and R(2+1)D-18. Learning rates per step, times in epochs. Source: Lai et al.,
"Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual Event Parser", NeurIPS 2023 (our spec, section 3).
"""

from earshot.parsers._hybrid import import_weights
from earshot.parsers._knobs import Optim, Structure
from earshot.parsers._valor import ValorKnobs, adamw, build, losses

__all__ = ["Hyper", "build", "import_weights", "losses"]

PUBLISHED = "VALOR+"


class Hyper(ValorKnobs):
    """The published settings of VALOR+."""

    structure: Structure = Structure(dim=256, heads=8, ff=1024, layers=4)
    optim: Optim = adamw(3e-4, 3e-6)
