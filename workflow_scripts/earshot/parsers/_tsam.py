"""TSAM: temporal and spatial attention on each modality, then an adaptive interaction between the two (LINK).

Source: arXiv 2412.20872 as summarised in our spec, `avvp.md` section 4.1; shapes follow CBAM (Woo et al., ECCV 2018), which a
note on a later paper of the same author names. What the summary leaves open is a knob.
"""

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from earshot.knobs import Section
from earshot.parsers import SEGMENTS


class Cross(Section):
    """The gates of the interaction. Only the product alpha * beta acts: the softmax does not see beta."""

    alpha_init: float = 0.0
    beta_init: float = 1.0
    parameterisation: Literal["product", "alpha_only"] = Field("product", description="alpha_only: beta stays 1")

    @model_validator(mode="after")
    def _alive(self) -> Self:
        if self.parameterisation == "product" and self.alpha_init == self.beta_init == 0:
            raise ValueError(
                "`alpha_init` and `beta_init` are both 0: the gradient of each is proportional to the other; set one to 1"
            )
        return self


class Tsam(Section):
    """Which parts of TSAM work, and how."""

    enabled: bool = True
    position: Literal["pre_encoder", "post_encoder"] = "pre_encoder"
    temporal: bool = True
    spatial: bool = True
    cross_modal: bool = True
    share_modalities: bool = Field(False, description="one set of temporal and spatial parameters for both modalities")
    axes: Literal["time_as_channel", "feature_as_channel"] = Field(
        "time_as_channel", description="which axis has the role of CBAM's channels"
    )
    reduction: int = Field(2, ge=1, description="hidden size of the temporal MLP: its size divided by this")
    spatial_reduce: Literal["conv7", "mean", "linear"] = "conv7"
    residual: Literal["none", "add"] = "none"
    out_norm: Literal["none", "layernorm"] = "none"
    scale: Literal["none", "sqrt_d"] = Field("none", description="of the products before the softmax")
    attention: Literal["segments", "channels"] = "segments"
    cross: Cross = Cross()


class Gates(nn.Module):
    """Temporal, then spatial weights in (0, 1) on the features of one modality."""

    def __init__(self, dim: int, knobs: Tsam) -> None:
        super().__init__()
        self.knobs = knobs
        size = SEGMENTS if knobs.axes == "time_as_channel" else dim
        hidden = max(1, size // knobs.reduction)
        if knobs.temporal:
            self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size))
        if knobs.spatial and knobs.spatial_reduce != "mean":
            width = 7 if knobs.spatial_reduce == "conv7" else 1
            self.reduce = nn.Conv1d(2, 1, width, padding=width // 2)
        if knobs.out_norm == "layernorm":
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh features (B, T, D); the shape stays."""
        turned = self.knobs.axes == "feature_as_channel"
        gated = self._gated(x.transpose(1, 2) if turned else x)
        gated = gated.transpose(1, 2) if turned else gated
        gated = x + gated if self.knobs.residual == "add" else gated
        return self.norm(gated) if self.knobs.out_norm == "layernorm" else gated

    def _gated(self, x: Tensor) -> Tensor:
        """Weigh (B, channels, positions): first channels, then positions."""
        if self.knobs.temporal:
            x = x * (self.mlp(x.mean(2)) + self.mlp(x.amax(2))).sigmoid()[..., None]
        if self.knobs.spatial:
            both = torch.stack([x.mean(1), x.amax(1)], dim=1)  # (B, 2, positions)
            reduced = both.mean(1, keepdim=True) if self.knobs.spatial_reduce == "mean" else self.reduce(both)
            x = x * reduced.sigmoid()
        return x


class TemporalSpatial(nn.Module):
    """TSAM for both modalities."""

    def __init__(self, dim: int, knobs: Tsam) -> None:
        super().__init__()
        self.knobs = knobs
        self.audio = Gates(dim, knobs)
        self.visual = self.audio if knobs.share_modalities else Gates(dim, knobs)
        if knobs.cross_modal:
            self.alpha_a, self.alpha_v = (nn.Parameter(torch.tensor(knobs.cross.alpha_init)) for _ in range(2))
            if knobs.cross.parameterisation == "product":
                self.beta_a, self.beta_v = (nn.Parameter(torch.tensor(knobs.cross.beta_init)) for _ in range(2))

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Map both modalities (B, T, D) to the same shapes; each direction reads the other's features from before."""
        audio, visual = self.audio(audio), self.visual(visual)
        if not self.knobs.cross_modal:
            return audio, visual
        to_audio, to_visual = self.gates()
        return audio + to_audio * self._read(audio, visual), visual + to_visual * self._read(visual, audio)

    def gates(self) -> tuple[Tensor, Tensor]:
        """alpha * beta of what flows to the audio side and of what flows to the visual side."""
        if self.knobs.cross.parameterisation == "alpha_only":
            return self.alpha_a, self.alpha_v
        return self.alpha_a * self.beta_a, self.alpha_v * self.beta_v

    def _read(self, query: Tensor, other: Tensor) -> Tensor:
        """What `query` (B, T, D) attends to in `other` (B, T, D), over segments or over channels."""
        if self.knobs.attention == "channels":
            query, other = query.transpose(1, 2), other.transpose(1, 2)
        scale = math.sqrt(query.shape[-1]) if self.knobs.scale == "sqrt_d" else 1.0
        read = (query @ other.transpose(1, 2) / scale).softmax(-1) @ other
        return read.transpose(1, 2) if self.knobs.attention == "channels" else read
