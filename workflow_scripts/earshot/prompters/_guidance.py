"""Dual-guided spatial-channel-temporal attention: how one stream of tokens guides the other (DG-SCT).

Source: Duan et al., "Cross-modal Prompts: Adapting Large Pre-trained Models for Audio-Visual Downstream Tasks", NeurIPS 2023,
section 3.3, in the form of its public code; parameters keep their published names, of which "audio" means the other stream and
"video" the own one, whichever they are. Parameters that the code makes and never uses are left out. Shapes: N segments, L
tokens and C channels of the own stream, M and D of the other one.
"""

import re
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from earshot.prompters._latent import Guided, LatentAdapter, LatentHyper, Place

# made and never used: gate_tk (AVE, AVVP, few-shot), fc_caption (AVVP, few-shot), temporal_gated (AVVP, AVS), ln_before (AVS),
# conv_adapter (S4)
DEAD = re.compile(r"\.(gate_tk|(fc_caption|temporal_gated\.0|ln_before|conv_adapter)\.\w+)$")


class GuidanceHyper(LatentHyper):
    """What a module may be told; the defaults are those of AVE."""

    tokens: int = Field(32, ge=1, description="latent tokens")
    align: Literal["conv", "bicubic"] = Field("conv", description="how the other's tokens become as many as the own")
    channel_weight: float = Field(0.3, ge=0, description="alpha: of the channels' attention, and what it takes of the tokens")
    spatial_weight: float = Field(0.05, ge=0, description="beta: of the tokens' attention")
    temporal_weight: float = Field(0.0, ge=0, description="gamma: of the segments' gate; 0: there is none")


class Aligned(LatentAdapter):
    """Latent tokens between streams of different shapes: the other stream is first brought to the shape of the own one."""

    def __init__(self, own: Place, other: Place, hyper: LatentHyper, gated: bool, align: str = "conv") -> None:
        super().__init__(own.width, hyper, gated)
        self.align = align
        if align == "conv":
            self.conv_adapter = nn.Conv2d(other.tokens, own.tokens, 1)
        self.own = own
        self.fc = nn.Linear(other.width, own.width)

    def forward(self, x: Tensor, other: Tensor, want_map: bool = False) -> Guided:
        """The residual of `x` (N, L, C) that the other stream (N, M, D) suggests; there is no map."""
        turned = self.aligned(other)
        return Guided(self.squeezed(self.exchanged(x, turned.transpose(1, 2), turned)))

    def aligned(self, other: Tensor) -> Tensor:
        """The other stream (N, M, D) as (N, C, L), turned so that mixing tokens is a plain product.

        Channels may come first, W(X F') + b sum(F) + f = (W X + b) F' + f, which halves the work where D > C.
        """
        if self.align == "bicubic":
            return self._resized(self.fc(other))
        weight, bias = self.conv_adapter.weight[:, :, 0, 0], cast(Tensor, self.conv_adapter.bias)
        if self.fc.in_features <= self.fc.out_features:
            mixed = functional.linear(other.transpose(1, 2), weight, bias)
            return self.fc(mixed.transpose(1, 2)).transpose(1, 2)
        mixed = functional.linear(functional.linear(other, self.fc.weight).transpose(1, 2), weight)
        return mixed + (self.fc.bias[:, None] + self.fc.weight.sum(1)[:, None] * bias)

    def _resized(self, tokens: Tensor) -> Tensor:
        """Square maps (N, M, C) at the own stream's side, as (N, C, L)."""
        sides = [round(count**0.5) for count in (tokens.shape[1], self.own.tokens)]
        image = tokens.transpose(1, 2).unflatten(2, (sides[0], sides[0]))
        return functional.interpolate(image, (sides[1], sides[1]), mode="bicubic", align_corners=False).flatten(2)


class Guidance(Aligned):
    """Latent tokens, then attention to channels, tokens and perhaps segments, all from what the other stream holds."""

    def __init__(self, own: Place, other: Place, hyper: GuidanceHyper, gated: bool) -> None:
        super().__init__(own, other, hyper, gated, hyper.align)
        width, half = own.width, own.width // 2
        self.weights = (hyper.channel_weight, hyper.spatial_weight, hyper.temporal_weight)
        self.fc_affine_audio_1, self.fc_affine_video_1 = nn.Linear(width, width), nn.Linear(width, width)
        self.fc_affine_bottleneck, self.fc_affine_v_c_att = nn.Linear(width, half), nn.Linear(half, width)
        self.fc_affine_video_2, self.fc_affine_audio_2 = nn.Linear(width, half), nn.Linear(width, half)
        self.fc_affine_v_s_att = nn.Linear(half, 1)
        if hyper.temporal_weight:
            self.temporal_gated = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())

    def forward(self, x: Tensor, other: Tensor, want_map: bool = False) -> Guided:
        """The residual of `x` (N, L, C) that the other stream (N, M, D) suggests, and the map if it is wanted."""
        turned = self.aligned(other)
        x = self.exchanged(x, turned.transpose(1, 2), turned)
        whole = turned.mean(-1)
        channels = self._channels(x, whole)
        scores = self._scores(x, whole, channels)
        gate = self.temporal_gated(whole) if self.weights[2] else None
        alpha, beta, gamma = self.weights
        by_channel = alpha * channels + (1 - alpha)
        if gate is not None:
            by_channel = by_channel + gamma * gate
        x = x * (by_channel[:, None] + beta * scores.sigmoid())
        full = torch.promote_types(scores.dtype, torch.float32)
        map_ = scores[..., 0].to(full).tanh().softmax(-1) if want_map else None
        return Guided(self.squeezed(x), map_, gate)

    def _channels(self, x: Tensor, whole: Tensor) -> Tensor:
        """Attention to channels (N, C) in [0, 1]; the other stream's factor does not depend on the token."""
        both = self.fc_affine_audio_1(whole).relu() * self.fc_affine_video_1(x).relu().mean(1)
        return self.fc_affine_v_c_att(self.fc_affine_bottleneck(both).relu()).sigmoid()

    def _scores(self, x: Tensor, whole: Tensor, channels: Tensor) -> Tensor:
        """Scores of the tokens (N, L, 1); what does not depend on the token goes into the last layer's weights."""
        own = self._scaled(x, 1 + channels).relu()
        weight = self.fc_affine_v_s_att.weight * self.fc_affine_audio_2(whole).relu()
        return own @ weight[..., None] + self.fc_affine_v_s_att.bias

    def _scaled(self, x: Tensor, channels: Tensor) -> Tensor:
        """`fc_affine_video_2` of channels that are scaled (N, C); the scale goes where it meets fewer numbers."""
        layer = self.fc_affine_video_2
        if x.shape[1] < layer.in_features:
            return layer(x * channels[:, None])
        return torch.baddbmm(layer.bias, x, (layer.weight * channels[:, None]).transpose(1, 2))
