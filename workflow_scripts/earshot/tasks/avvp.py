"""Audio-visual video parsing from weak labels: what is heard and what is seen in each second, by the head of MGN.

Source: Mo & Tian, NeurIPS 2022, as DG-SCT uses it (our spec, `dgsct.md` section 6). The scores are those of all parsers here,
the official ones of LLP. DG-SCT's own evaluation gives the same numbers: it lets a true event match several predicted ones,
but two of those that are apart never reach half of the union with the same event.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earshot.knobs import Knobs, Section
from earshot.losses import bce
from earshot.metrics import parsing_f_score
from earshot.prompters import Encoded
from earshot.tasks import Batch, Losses, Shape
from earshot.tasks._knobs import Optim, Train
from earshot.tasks._mgn import Grouping, Unit
from earshot.tasks._published import of_head
from earshot.tasks._temporal import Encoder, Relations, gate, recurrent

SEGMENTS = 10
FRAME_PX = 192
TRUTH = ("weak", "dense", "motion")
METRICS = (
    "f_score_seg_A", "f_score_seg_V", "f_score_seg_AV", "f_score_seg_TypeAV", "f_score_seg_EventAV",
    "f_score_evt_A", "f_score_evt_V", "f_score_evt_AV", "f_score_evt_TypeAV", "f_score_evt_EventAV",
)  # fmt: skip
SELECT_BY = "f_score_seg_TypeAV"
PUBLISHED = "llp_avvp"

_DEAD = (
    r"temporal_attn\.(\w+\.encoder_layer|video_encoder|video_gated)\."
    r"|temporal_attn\.audio_visual_rnn_layer\.visual_rnn\."
)


class Temporal(Section):
    """The gate over time that the sound lays on what is seen."""

    hidden: int = Field(64, ge=1, description="of the recurrent layer, in either direction")
    relations: Relations = Relations(width=64)
    gamma: float = Field(0.05, ge=0)


class Weights(Section):
    """The loss."""

    smoothing_v: float = Field(0.1, ge=0, lt=1, description="of the weak labels for what is seen, drawn towards a half")


class Hyper(Knobs):
    """Published settings of DG-SCT."""

    optim: Optim = Optim(lr=3e-4, step_epochs=10, gamma=0.1)
    train: Train = Train(epochs=40, batch=8)
    grouping: Grouping = Grouping()
    temporal: Temporal = Temporal()
    loss: Weights = Weights()


class SoundGate(nn.Module):
    """What is seen, gated by what is heard over time.

    The publication gates what is heard as well and never uses it; what that takes is not made.
    """

    def __init__(self, width: int, sizes: Temporal) -> None:
        super().__init__()
        self.gamma = sizes.gamma
        self.audio_visual_rnn_layer = nn.ModuleDict({"audio_rnn": recurrent(width, sizes.hidden)})
        self.audio_encoder = Encoder(2 * sizes.hidden, sizes.relations)
        self.audio_gated = gate(sizes.relations.width)

    def forward(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Map both (B, T, width) to what is seen (B, T, width)."""
        heard = self.audio_encoder(self.audio_visual_rnn_layer["audio_rnn"](audio)[0])
        return visual * (1 + self.gamma * self.audio_gated(heard))


class Mgn(nn.Module):
    """Pooled vectors of segments to the classes of clips and segments, in either modality."""

    def __init__(self, shape: Shape, hyper: Hyper) -> None:
        super().__init__()
        sizes, classes = hyper.grouping, len(shape.classes)
        width = sizes.width
        self.audio_token = nn.Parameter(torch.zeros(classes, width))
        self.visual_token = nn.Parameter(torch.zeros(classes, width))
        self.fc_a, self.fc_v = nn.Linear(shape.audio, width), nn.Linear(shape.visual, width)
        self.temporal_attn = SoundGate(width, hyper.temporal)
        if shape.motion:
            self.fc_st, self.fc_fusion = nn.Linear(shape.motion, width), nn.Linear(2 * width, width)
        self.audio_cug = Unit(classes, sizes.depth, sizes, crossed=SEGMENTS)
        self.visual_cug = Unit(classes, sizes.depth, sizes)
        self.av_mcg = Unit(classes, sizes.depth_both, sizes)
        self.fc_prob, self.fc_prob_a, self.fc_prob_v = (nn.Linear(width, 1) for _ in range(3))
        self.fc_cls = nn.Linear(width, classes)
        self.use_motion = bool(shape.motion)
        self.apply(_initialise)

    def forward(self, encoded: Encoded, batch: Batch) -> dict[str, Tensor]:
        """Probabilities `clip` (B, C), of both modalities `clip_a`, `clip_v` (B, C) and `frames` (B, T, 2, C), up to 2.

        `tokens_a`, `tokens_v` (C, C) are the logits of the class tokens.
        """
        visual, audio = self._projected(encoded, batch)
        clips = len(audio)
        seen, weight_v = self.visual_cug(visual, self.visual_token.expand(clips, -1, -1))
        heard, weight_a = self.audio_cug(audio, self.audio_token.expand(clips, -1, -1), visual)
        both, _ = self.av_mcg(heard, seen)
        clip, clip_a, clip_v = (
            layer(x).float().sigmoid()[..., 0]
            for layer, x in ((self.fc_prob, both), (self.fc_prob_a, heard), (self.fc_prob_v, seen))
        )
        frames = torch.stack([clip_a[:, None] * weight_a, clip_v[:, None] * weight_v], dim=2)
        tokens = {"tokens_a": self.fc_cls(self.audio_token), "tokens_v": self.fc_cls(self.visual_token)}
        return {"clip": clip, "clip_a": clip_a, "clip_v": clip_v, "frames": frames, **tokens}

    def _projected(self, encoded: Encoded, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is seen and heard (B, T, width)."""
        audio = self.fc_a(encoded.audio_pooled).unflatten(0, (-1, SEGMENTS))
        visual = self.fc_v(encoded.visual_pooled).unflatten(0, (-1, SEGMENTS))
        visual = self.temporal_attn(visual, audio)
        if self.use_motion:
            if "motion" not in batch.labels:
                raise ValueError("this head was built for features of motion, and the batch holds none")
            visual = self.fc_fusion(torch.cat([visual, self.fc_st(batch.labels["motion"])], dim=-1))
        return visual, audio


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights; without features of motion what is seen is not fused with any."""
    return Mgn(shape, hyper)


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: Hyper, epoch: int) -> Losses:
    """Cross-entropies in nats: of the clip against its weak labels, in all and by modality, and of the tokens' classes."""
    weak, smoothing = batch.labels["weak"], hyper.loss.smoothing_v
    own = torch.arange(len(output["tokens_a"]), device=weak.device)
    return Losses(
        {
            "clip": bce(output["clip"], weak),
            "clip_a": bce(output["clip_a"], weak),
            "clip_v": bce(output["clip_v"], (1 - smoothing) * weak + smoothing / 2),
            "tokens_a": F.cross_entropy(output["tokens_a"].float(), own),
            "tokens_v": F.cross_entropy(output["tokens_v"].float(), own),
        }
    )


def predict(output: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Scores (B, 2 T + 1, C): of each second what is heard and what is seen, up to 2, and last those of the clip."""
    return torch.cat([output["frames"].flatten(1, 2), output["clip"][:, None]], dim=1).float()


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """The ten F-scores of every clip; TypeAV is the mean of its A, V and AV, whose mean over clips is the official one."""
    frames = scores[:, :-1].reshape(len(scores), SEGMENTS, 2, -1)
    found = parsing_f_score.per_video(parsing_f_score.decisions(scores[:, -1], frames), truth["dense"])
    for level in parsing_f_score.LEVELS:
        a, v, av = (found[f"f_score_{level}_{kind}"] for kind in parsing_f_score.KINDS)
        found[f"f_score_{level}_TypeAV"] = (av + a + v) / 3
    return {metric: found[metric] for metric in METRICS}


def import_weights(state: Mapping[str, Tensor], head: nn.Module) -> dict[str, Tensor]:
    """Published parameters of this head; those that the published code never uses are left out."""
    return of_head(state, head, _DEAD)
