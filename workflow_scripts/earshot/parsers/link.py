"""LINK: VALOR++ with temporal-spatial attention (TSAM), a similarity loss (S-LOSS) and words of pseudo-labels (PLSIM).

No public code exists; every reading is a knob. With the three modules off, this is VALOR++ to the last bit. Learning rates per
step, times in epochs. Source: arXiv 2412.20872 as summarised in our spec, `avvp.md` section 4, where each reading is marked.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor, nn

from earshot.parsers import Batch, Losses, Output, Shape
from earshot.parsers._hybrid import Parser, import_weights
from earshot.parsers._knobs import Optim, Structure
from earshot.parsers._plsim import Interaction, Plsim
from earshot.parsers._sloss import Similarity, Sloss
from earshot.parsers._tsam import TemporalSpatial, Tsam
from earshot.parsers._valor import ValorKnobs, Weights, adamw, label_losses

__all__ = ["Hyper", "build", "import_weights", "losses", "shown"]

PUBLISHED = "LINK"


class Hyper(ValorKnobs):
    """Our reading of the published settings: those of VALOR++, and all three modules.

    `loss: {w_video_a, w_video_v}` are 1 with S-LOSS, which brings them, and 0 without it, unless they are given.
    """

    structure: Structure = Structure(dim=256, heads=8, ff=1024, layers=4)
    optim: Optim = adamw(3e-4, 3e-6)
    loss: Weights = Weights(w_video_a=1.0, w_video_v=1.0)
    tsam: Tsam = Tsam()
    sloss: Sloss = Sloss()
    plsim: Plsim = Plsim()

    @model_validator(mode="before")
    @classmethod
    def _as_in_valor(cls, given: Any) -> Any:
        """Without S-LOSS the losses of the whole clip by modality are VALOR++'s, which has none."""
        if not isinstance(given, Mapping) or given.get("sloss", {}).get("enabled", True):
            return given
        return {**given, "loss": {"w_video_a": 0.0, "w_video_v": 0.0, **given.get("loss", {})}}


class Link(Parser):
    """The parser of VALOR++ with what the knobs put before and after its encoder."""

    def __init__(self, shape: Shape, hyper: Hyper) -> None:
        super().__init__(shape, hyper.structure, use_motion=hyper.use_motion)
        self.hyper, dim = hyper, hyper.structure.dim
        # made after everything of VALOR++, so that its initial weights do not depend on what is on
        self.tsam = TemporalSpatial(dim, hyper.tsam) if hyper.tsam.enabled else None
        self.sloss = Similarity(hyper.sloss) if hyper.sloss.enabled else None
        self.plsim = _interaction(shape, hyper) if hyper.plsim.enabled else None

    def forward(self, batch: Batch) -> Output:
        """Map features (B, T, D of each) to an Output whose `named` holds the features after each part."""
        named: dict[str, Tensor] = {}
        both = self._beside("pre_encoder", self.projected(batch), batch, named)
        both = self.hat_encoder(*both)
        named["encoder"] = torch.stack(both, dim=2)
        both = self._beside("post_encoder", both, batch, named)
        return self.pooled(*both, **named)

    def _beside(
        self, position: str, both: tuple[Tensor, Tensor], batch: Batch, named: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Pass both modalities (B, T, D) through the modules at a position; without pseudo-labels PLSIM is left out."""
        if self.tsam is not None and self.hyper.tsam.position == position:
            both = self.tsam(*both)
            named["tsam"] = torch.stack(both, dim=2)
        if self.plsim is not None and batch.shown is not None and self.hyper.plsim.position == position:
            both = self.plsim(*both, batch.shown)
            named["plsim"] = torch.stack(both, dim=2)
        return both

    def gates(self) -> Mapping[str, Tensor]:
        """The trained scalars, by name."""
        told: dict[str, Tensor] = {}
        if self.tsam is not None and self.hyper.tsam.cross_modal:
            told |= dict(zip(("alpha_beta_audio", "alpha_beta_visual"), self.tsam.gates(), strict=True))
        if self.sloss is not None:
            told["mu"] = self.sloss.mu
        return {name: value.detach() for name, value in told.items()}


def _interaction(shape: Shape, hyper: Hyper) -> Interaction:
    missing = [side for side in ("audio", "visual") if side not in shape.texts]
    if missing:
        raise ValueError(f"PLSIM reads pseudo-labels as words, and there are no class vectors of {', '.join(missing)}")
    return Interaction((shape.texts["audio"], shape.texts["visual"]), shape.classes, hyper.structure.dim, hyper.plsim)


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """LINK with random weights; raises ValueError where PLSIM has no class vectors to read."""
    return Link(shape, hyper)


def shown(hyper: Hyper) -> str:
    """Where the pseudo-labels come from that it looks at in evaluation; empty: it looks at none."""
    return hyper.plsim.eval_source if hyper.plsim.enabled and (hyper.plsim.audio or hyper.plsim.visual) else ""


def losses(output: Output, batch: Batch, model: nn.Module, hyper: Hyper) -> Losses:
    """The losses of VALOR++ and, weighted by lambda, of the similarity of what is heard and seen."""
    assert isinstance(model, Link)
    terms, told = label_losses(output, batch, hyper.loss), dict(model.gates())
    if model.sloss is not None:
        similarity, told["lambda"] = model.sloss(_compared(output, hyper.sloss.features), batch)
        terms["similarity"] = hyper.sloss.weight * similarity
    return Losses(terms, told)


def _compared(output: Output, features: str) -> Tensor:
    """The features (B, T, 2, D) whose similarity S-LOSS learns; raises ValueError if the module that makes them is off."""
    if features not in output.named:
        raise ValueError(f"`sloss: {{features: {features}}}`: that module is off; enable it, or take `encoder`")
    return output.named[features]
