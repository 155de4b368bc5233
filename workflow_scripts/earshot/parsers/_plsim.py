"""PLSIM: the words of pseudo-labels scale and shift the features of their seconds (LINK).

Source: arXiv 2412.20872 as summarised in our spec, `avvp.md` section 4.3. The public pseudo-labels are masked by the weak
labels of every split: shown at evaluation they tell the classes of the test clip (section 4.5), hence `eval_source`.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earshot.knobs import Section
from earshot.parsers import AUDIO, VISUAL


class Plsim(Section):
    """Which sides of PLSIM work, how, and what it is shown at evaluation."""

    enabled: bool = True
    position: Literal["post_encoder", "pre_encoder"] = "post_encoder"
    audio: bool = True
    visual: bool = True
    eval_source: Literal["ungated", "predicted", "none", "gated_oracle"] = Field(
        "ungated",
        description="ungated: pseudo-labels by thresholds alone; predicted: the parser's own, of a first pass without them; "
        "none: as if no class were there; gated_oracle: masked by the weak labels of the test clips, which is a leak",
    )
    granularity: Literal["segment", "video"] = Field("segment", description="video: classes of any second, for all seconds")
    aggregate: Literal["mean", "sum", "max"] = Field("mean", description="of the vectors of several classes")
    empty: Literal["zeros", "background_prompt"] = Field("zeros", description="the vector of seconds without a class")
    init: Literal["zero_last", "default"] = Field("zero_last", description="zero_last: the identity at first")
    residual: bool = True


class Words(nn.Module):
    """Scale and shift of one modality from the vectors of its classes, texts (C, E) or, with one of background, (C + 1, E)."""

    texts: Tensor
    background: Tensor

    def __init__(self, texts: Tensor, n_classes: int, dim: int, knobs: Plsim) -> None:
        super().__init__()
        if knobs.empty == "background_prompt" and len(texts) == n_classes:
            raise ValueError("`plsim: {empty: background_prompt}` needs words, and these class vectors are not made of any")
        self.knobs = knobs
        self.register_buffer("texts", texts[:n_classes])
        empty = texts[n_classes] if knobs.empty == "background_prompt" else torch.zeros(texts.shape[1])
        self.register_buffer("background", empty)
        self.scale, self.shift = _mlp(texts.shape[1], dim, knobs.init), _mlp(texts.shape[1], dim, knobs.init)

    def forward(self, features: Tensor, shown: Tensor) -> Tensor:
        """Modulate features (B, T, D) by pseudo-labels (B, T, C)."""
        if self.knobs.granularity == "video":
            shown = shown.amax(1, keepdim=True)
        words = self._words(shown)
        changed = features * self.scale(words) + self.shift(words)
        return features + changed if self.knobs.residual else changed

    def _words(self, shown: Tensor) -> Tensor:
        """One vector (B, T or 1, E) for the classes of each second."""
        count = shown.sum(-1, keepdim=True)
        if self.knobs.aggregate == "max":
            masked = self.texts.masked_fill(shown[..., None] == 0, -torch.inf)  # (B, T, C, E)
            words = masked.amax(-2)
        else:
            words = shown @ self.texts
            words = words / count.clamp(min=1) if self.knobs.aggregate == "mean" else words
        return torch.where(count > 0, words, self.background)


def _mlp(inputs: int, dim: int, init: str) -> nn.Sequential:
    last = nn.Linear(dim, dim)
    if init == "zero_last":
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, dim), nn.ReLU(), last)


class Interaction(nn.Module):
    """PLSIM for both modalities."""

    def __init__(self, texts: tuple[Tensor, Tensor], n_classes: int, dim: int, knobs: Plsim) -> None:
        super().__init__()
        sides = (("audio", knobs.audio, AUDIO), ("visual", knobs.visual, VISUAL))
        self.sides = nn.ModuleDict({name: Words(texts[side], n_classes, dim, knobs) for name, on, side in sides if on})

    def forward(self, audio: Tensor, visual: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Modulate both modalities (B, T, D) by pseudo-labels (B, T, 2, C)."""
        if "audio" in self.sides:
            audio = self.sides["audio"](audio, shown[:, :, AUDIO])
        if "visual" in self.sides:
            visual = self.sides["visual"](visual, shown[:, :, VISUAL])
        return audio, visual
