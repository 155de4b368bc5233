"""Audio-visual event localisation: the class of the event that is heard and seen in each second, or background.

Heads: `cmbs`, background suppression over time (Xia & Zhao, CVPR 2022), as DG-SCT uses it; `mlp`, LAVisH's (Lin et al., CVPR
2023), whose published learning rates are 4e-6 and, for the modules, 5e-5, with `batch: 2`. Source: our spec, `dgsct.md`
sections 4 and 9.1. The published runs choose the epoch on the test split, and step every second batch of 8 with the gradients
of that batch alone (`accumulation: reference`).
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earshot.knobs import Knobs, Section
from earshot.losses import bce
from earshot.prompters import Encoded
from earshot.tasks import Batch, Losses, Shape
from earshot.tasks._knobs import Optim, Train
from earshot.tasks._published import of_head
from earshot.tasks._temporal import Decoder, Encoder, Relations, gate, recurrent

SEGMENTS = 10
FRAME_PX = 192
TRUTH = ("segments", "label")
METRICS = ("segment_accuracy",)
SELECT_BY = "segment_accuracy"
PUBLISHED = "ave"

_DEAD = (
    r"CMBS\.(AVInter|VAInter|video_norm|audio_norm)\.|temporal_attn\.\w+\.(encoder_layer|decoder_layer)\."
    r"|temporal_attn\.\w+\.decoder\.layers\.0\.self_attn\."
)


class Cmbs(Section):
    """Sizes of the head with background suppression."""

    visual: int = Field(512, ge=2, description="channels of what is seen over time, half of them in either direction")
    audio: int = Field(128, ge=1, description="channels of what is heard before the recurrent layer, and in either direction")
    relations: Relations = Relations()
    dropout: float = Field(0.2, ge=0, lt=1, description="of what is seen, before the recurrent layer")
    gamma: float = Field(0.1, ge=0, description="how much one modality's gate adds to the other")
    top: int = Field(4, ge=1, le=SEGMENTS, description="segments whose scores count for a class of the clip")
    clip_weight: float = Field(0.3, ge=0, description="of the scores of the clip, in the class of its event")


class Mlp(Section):
    """Sizes of LAVisH's head."""

    hidden: int = Field(512, ge=1)


class Weights(Section):
    """The loss of the head with background suppression."""

    gate: Literal["logits", "probabilities"] = Field(
        "logits", description="what the gates are taken for; they are probabilities, and logits as published"
    )


class Hyper(Knobs):
    """Published settings of DG-SCT."""

    optim: Optim = Optim(lr=5e-4, step_epochs=3, gamma=0.35)
    train: Train = Train(epochs=50, batch=16, at_once=8, patience=20)
    head: Literal["cmbs", "mlp"] = "cmbs"
    cmbs: Cmbs = Cmbs()
    mlp: Mlp = Mlp()
    loss: Weights = Weights()


class TemporalAttention(nn.Module):
    """Both modalities over time, each gated by the other one."""

    def __init__(self, shape: Shape, sizes: Cmbs) -> None:
        super().__init__()
        heard, seen, relations = 2 * sizes.audio, sizes.visual, sizes.relations
        self.gamma = sizes.gamma
        self.v_fc, self.a_fc = nn.Linear(shape.visual, seen), nn.Linear(shape.audio, sizes.audio)
        self.dropout = nn.Dropout(sizes.dropout)
        self.audio_visual_rnn_layer = nn.ModuleDict(
            {"audio_rnn": recurrent(sizes.audio, sizes.audio), "visual_rnn": recurrent(seen, seen // 2)}
        )
        self.video_encoder, self.audio_encoder = Encoder(2 * (seen // 2), relations), Encoder(heard, relations)
        self.video_decoder, self.audio_decoder = Decoder(2 * (seen // 2), relations), Decoder(heard, relations)
        self.audio_gated, self.video_gated = gate(relations.width), gate(relations.width)

    def forward(self, visual: Tensor, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map pooled vectors (B, T, C) to vectors of both (B, T, width), and to the product of the gates (B, T)."""
        seen = self.audio_visual_rnn_layer["visual_rnn"](self.dropout(self.v_fc(visual).relu()))[0]
        heard = self.audio_visual_rnn_layer["audio_rnn"](self.a_fc(audio))[0]
        seen_itself, heard_itself = self.video_encoder(seen), self.audio_encoder(heard)
        seen, heard = self.video_decoder(seen, heard_itself), self.audio_decoder(heard, seen_itself)
        by_sound, by_sight = self.audio_gated(heard_itself), self.video_gated(seen_itself)
        seen, heard = seen * (1 + self.gamma * by_sound), heard * (1 + self.gamma * by_sight)
        return seen, heard, (by_sound * by_sight)[..., 0]


class Suppression(nn.Module):
    """Scores of the clip and of its segments; the parameters of the published `CMBS` that its code uses."""

    def __init__(self, classes: int, sizes: Cmbs) -> None:
        super().__init__()
        width = sizes.relations.width
        self.top, self.clip_weight = sizes.top, sizes.clip_weight
        self.video_cas, self.audio_cas = nn.Linear(width, classes), nn.Linear(width, classes)
        self.localize_module = nn.ModuleDict({"classifier": nn.Linear(width, 1), "event_classifier": nn.Linear(width, classes)})

    def forward(self, visual: Tensor, audio: Tensor) -> dict[str, Tensor]:
        """Map vectors of both (B, T, width) to logits by segment, (B, T), and by class, (B, C)."""
        both = (visual + audio) / 2
        by_segment = torch.stack([self.video_cas(visual), self.audio_cas(audio)])
        clip = by_segment.topk(self.top, dim=2)[0].mean(dim=(0, 2))
        is_event = self.localize_module["classifier"](both)[..., 0]
        event = self.localize_module["event_classifier"](both.amax(dim=1)) + self.clip_weight * clip
        return {"is_event": is_event, "event": event, "clip": clip}


class CmbsHead(nn.Module):
    """DG-SCT's head."""

    def __init__(self, shape: Shape, sizes: Cmbs) -> None:
        super().__init__()
        self.temporal_attn = TemporalAttention(shape, sizes)
        self.CMBS = Suppression(len(shape.classes), sizes)

    def forward(self, encoded: Encoded, batch: Batch) -> dict[str, Tensor]:
        """Logits `is_event` (B, T), `event` (B, C) and `clip` (B, C), and the `gate` (B, T) in [0, 1]."""
        visual, audio, both = self.temporal_attn(_by_clip(encoded.visual_pooled), _by_clip(encoded.audio_pooled))
        return {**self.CMBS(visual, audio), "gate": both}


class MlpHead(nn.Module):
    """LAVisH's head: two linear layers with nothing between them, on both pooled vectors of a segment."""

    def __init__(self, shape: Shape, sizes: Mlp) -> None:
        super().__init__()
        self.mlp_class = nn.Linear(shape.visual + shape.audio, sizes.hidden)
        self.mlp_class_2 = nn.Linear(sizes.hidden, len(shape.classes) + 1)

    def forward(self, encoded: Encoded, batch: Batch) -> dict[str, Tensor]:
        """Probabilities `chances` (B, T, C + 1) of the classes and, last, of background."""
        both = torch.cat([encoded.visual_pooled, encoded.audio_pooled], dim=-1)
        return {"chances": _by_clip(self.mlp_class_2(self.mlp_class(both)).softmax(dim=-1))}


def _by_clip(x: Tensor) -> Tensor:
    return x.unflatten(0, (-1, SEGMENTS))


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights."""
    if hyper.head == "mlp":
        return MlpHead(shape, hyper.mlp)
    return CmbsHead(shape, hyper.cmbs)


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: Hyper, epoch: int) -> Losses:
    """Cross-entropies in nats: of segments being an event's, of the gates, and of the clip's class from either score of it."""
    segments = batch.labels["segments"]
    if "chances" in output:
        truth = F.one_hot(segments, output["chances"].shape[-1]).float()
        return Losses({"segments": bce(output["chances"].float(), truth)})
    is_event, gates, of_clip, by_clip = (output[name].float() for name in ("is_event", "gate", "event", "clip"))
    label, event = batch.labels["label"], (segments < of_clip.shape[-1]).float()
    of_gate = F.binary_cross_entropy_with_logits if hyper.loss.gate == "logits" else bce
    return Losses(
        {
            "is_event": F.binary_cross_entropy_with_logits(is_event, event),
            "gate": of_gate(gates, event),
            "event": F.cross_entropy(of_clip, label),
            "clip": F.cross_entropy(by_clip, label),
        }
    )


def predict(output: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Scores (B, T, C + 1) in [0, 1] of the classes and, last, of background; the largest is what a segment is taken for.

    Of `cmbs`, background has one minus the probability of an event, and the clip's class this probability; the other classes
    have it in proportion to theirs. So the largest is the published decision, to the last bit.
    """
    if "chances" in output:
        return output["chances"].float()
    event, is_event = output["event"].float(), output["is_event"].float().sigmoid()
    beside_largest = (event - event.amax(dim=-1, keepdim=True)).exp()
    return torch.cat([is_event[..., None] * beside_largest[:, None], 1 - is_event[..., None]], dim=-1)


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """The share of a clip's segments that are taken for what they are; equal scores are background."""
    background = scores[..., -1] >= scores[..., :-1].max(axis=-1)
    said = np.where(background, scores.shape[-1] - 1, scores[..., :-1].argmax(axis=-1))
    return {"segment_accuracy": (said == truth["segments"]).mean(axis=1)}


def import_weights(state: Mapping[str, Tensor], head: nn.Module) -> dict[str, Tensor]:
    """Published parameters of this head; those that the published code never uses are left out."""
    return of_head(state, head, _DEAD)
