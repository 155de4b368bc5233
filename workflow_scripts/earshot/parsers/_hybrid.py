"""The hybrid attention network that all parsers share: input projections, layers of self- and cross-modal attention, and the
attentive pooling of segments into a score of the whole clip (MMIL).

Source: Tian et al., "Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video Parsing", ECCV 2020, section 4
(HAN); the sequential encoder and its pre-norm form after Lai et al., "Modality-Independent Teachers Meet Weakly-Supervised
Audio-Visual Event Parser", NeurIPS 2023 (VALOR). Names of parameters are those of the published checkpoints.

Features of a second enter already pooled: the mean of ResNet's eight frames, and CLAP's map times a constant matrix. The
reference pools after its first linear layer; both are linear with weights that sum to one, so that the order is free.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from earshot.backbones import WeightsError
from earshot.parsers import AUDIO, VISUAL, Batch, Output, Shape
from earshot.parsers._knobs import Structure

CLASS_LAYERS = ("fc_prob", "fc_frame_att", "fc_av_att")  # with a row for each class


class Layer(nn.Module):
    """One layer for either modality (its weights are shared): queries attend to themselves and to the other modality."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        d, dropout = structure.dim, structure.dropout
        self.pre_norm = structure.norm_where == "pre_norm"
        self.self_attn = nn.MultiheadAttention(d, structure.heads, dropout, batch_first=True)
        self.cm_attn = nn.MultiheadAttention(d, structure.heads, dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(d, structure.ff), nn.Linear(structure.ff, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, other: Tensor) -> Tensor:
        """Update `query` (B, T, D) by itself and by `other` (B, T, D), which is not normalised in the pre-norm form."""
        if self.pre_norm:
            query = query + self._attended(self.norm1(query), other)
            return query + self._fed(self.norm2(query))
        query = self.norm1(query + self._attended(query, other))
        return self.norm2(query + self._fed(query))

    def _attended(self, query: Tensor, other: Tensor) -> Tensor:
        crossed = self.cm_attn(query, other, other, need_weights=False)[0]
        own = self.self_attn(query, query, query, need_weights=False)[0]
        return self.dropout(crossed) + self.dropout(own)

    def _fed(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(self.linear1(x).relu())))


class Encoder(nn.Module):
    """Layers that start as copies of one.

    `parallel` (HAN): both modalities read the other's features from before the layer. Otherwise (VALOR) the visual side reads
    the audio side that the layer has already updated.
    """

    def __init__(self, structure: Structure, parallel: bool) -> None:
        super().__init__()
        first = Layer(structure)
        self.layers = nn.ModuleList([first, *(deepcopy(first) for _ in range(structure.layers - 1))])
        self.parallel = parallel
        if structure.norm_where == "pre_norm":
            self.final_norm_a, self.final_norm_v = nn.LayerNorm(structure.dim), nn.LayerNorm(structure.dim)
        self.pre_norm = structure.norm_where == "pre_norm"

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Map both modalities (B, T, D) to their encoded features (B, T, D)."""
        for layer in self.layers:
            heard = layer(audio, visual)
            audio, visual = heard, layer(visual, audio if self.parallel else heard)
        return (self.final_norm_a(audio), self.final_norm_v(visual)) if self.pre_norm else (audio, visual)


class Parser(nn.Module):
    """Features of ten seconds to class logits by second and modality, and to scores of the whole clip."""

    def __init__(self, shape: Shape, structure: Structure, parallel: bool = False, use_motion: bool = True) -> None:
        super().__init__()
        d, classes = structure.dim, shape.classes
        self.use_motion = bool(shape.motion) and use_motion
        self.fc_prob, self.fc_frame_att, self.fc_av_att = (nn.Linear(d, classes) for _ in range(3))
        self.fc_a, self.fc_v = nn.Linear(shape.audio, d), nn.Linear(shape.visual, d)
        if self.use_motion:
            self.fc_st, self.fc_fusion = nn.Linear(shape.motion, d), nn.Linear(2 * d, d)
        self.hat_encoder = Encoder(structure, parallel)

    def forward(self, batch: Batch) -> Output:
        """Map features (B, T, D of each) to an Output."""
        return self.pooled(*self.hat_encoder(*self.projected(batch)))

    def projected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both modalities in one size (B, T, D); motion is fused with what is seen."""
        visual = self.fc_v(batch.visual)
        if self.use_motion:
            if batch.motion is None:
                raise ValueError("this parser was built for features of motion, and the batch holds none")
            visual = self.fc_fusion(torch.cat([visual, self.fc_st(batch.motion)], dim=-1))
        return self.fc_a(batch.audio), visual

    def pooled(self, audio: Tensor, visual: Tensor, **named: Tensor) -> Output:
        """Class logits of encoded features (B, T, D), and their attentive pooling over seconds and modalities (MMIL)."""
        encoded = torch.stack([audio, visual], dim=2)  # (B, T, 2, D)
        logits = self.fc_prob(encoded)
        chances = logits.sigmoid()
        by_time = self.fc_frame_att(encoded).softmax(dim=1) * chances
        both = self.fc_av_att(encoded).softmax(dim=2) * by_time
        return Output(logits, both.sum(dim=(1, 2)), by_time.sum(dim=1), encoded, named)


def segment_bce(output: Output, batch: Batch) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of the logits by second against pseudo-labels, of what is heard and of what is seen."""
    loss = nn.functional.binary_cross_entropy_with_logits
    return loss(output.logits[:, :, AUDIO], batch.heard), loss(output.logits[:, :, VISUAL], batch.seen)


def import_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The parameters of `model` from a published state dict, which also holds some that its code never uses.

    Raises WeightsError that lists what is missing, surplus or of another shape.
    """
    plain = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(plain))
    surplus = sorted(key for key in set(plain) - set(wanted) if not _unused(key))
    shapes = sorted(key for key in set(wanted) & set(plain) if wanted[key].shape != plain[key].shape)
    if missing or surplus or shapes:
        raise WeightsError(
            f"these weights are not of this parser: missing {missing or 'none'}, unknown {surplus or 'none'}, "
            f"of another shape {shapes or 'none'}; do `hyper`, the features and the classes fit the checkpoint?"
        )
    return {key: plain[key] for key in wanted}


def _unused(key: str) -> bool:
    """Whether the reference makes this parameter and never trains it (our spec, `avvp.md` section 7, trap 3)."""
    unused = ("audio_encoder.", "visual_encoder.", "cmt_encoder.", "hat_encoder.norm", "hat_encoder.final_norm_")
    return key.startswith(unused)
