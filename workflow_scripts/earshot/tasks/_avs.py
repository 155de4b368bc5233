"""Audio-visual segmentation: the pixels of what sounds, by the heads of AVSBench with DG-SCT's gates over time.

Source: Zhou et al., "Audio-Visual Segmentation", ECCV 2022, as DG-SCT uses it (our spec, `dgsct.md` section 7).
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from earshot.knobs import Knobs, Section
from earshot.metrics import segmentation
from earshot.prompters import Encoded
from earshot.tasks import Batch, Losses, Shape
from earshot.tasks._decoder import Decoder
from earshot.tasks._knobs import Optim, Train
from earshot.tasks._published import of_head
from earshot.tasks._temporal import Encoder, Relations, gate, recurrent
from earshot.tasks._tpavi import Tpavi

SEGMENTS = 5
_LEVELS = 4
_DEAD = (
    r"conv\d\.conv2d_list\.|x\d_linear\.|path4\.resConfUnit1\.|encoder_backbone\."
    r"|temporal_attn\.\w+\.(encoder_layer|decoder_layer)\.|temporal_attn\.(video|audio)_decoder\."
    r"|temporal_attn\.(video|audio)_encoder\.\d\.encoder_layer\."
)


class Head(Section):
    """Sizes of the head."""

    channels: int = Field(256, ge=2, description="of every map")
    audio: int = Field(128, ge=1, description="channels of what is heard")
    sides: tuple[int, int, int, int] = Field((56, 28, 14, 7), description="of the maps; masks have four times the first")
    relations: Relations = Relations()
    dropout: float = Field(0.2, ge=0, lt=1, description="of what is seen, before the recurrent layers")
    gamma: float = Field(0.05, ge=0, description="how much one modality's gate adds to the other")

    @model_validator(mode="after")
    def _halves(self) -> Self:
        if any(2 * small != large for large, small in zip(self.sides, self.sides[1:], strict=False)) or self.sides[-1] < 1:
            raise ValueError(f"`sides: {list(self.sides)}`: each must be half of the one before")
        return self


class Weights(Section):
    """The loss."""

    similarity: float = Field(0, ge=0, description="of how far what sounds is from where it is said to be seen")
    measure: Literal["kl", "euclid"] = Field("kl", description="kl: divergence of their softmax | euclid: their distance")
    normalise: bool = Field(False, description="vectors of length one before they are compared")
    binary: bool = Field(False, description="where it is said to be seen: in all places more likely than not, alike")


class SegmentationKnobs(Knobs):
    """Knobs of both tasks of AVSBench."""

    optim: Optim
    train: Train
    head: Head = Head()
    loss: Weights = Weights()


class Gates(nn.Module):
    """For every level, what is seen over time, gated by the sound; and the sound, gated by all levels."""

    def __init__(self, sizes: Head) -> None:
        super().__init__()
        seen, heard, relations = sizes.channels, sizes.audio, sizes.relations
        self.gamma, self.dropout = sizes.gamma, nn.Dropout(sizes.dropout)
        self.v_fc = nn.ModuleList(nn.Linear(seen, seen) for _ in range(_LEVELS))
        self.audio_visual_rnn_layer = nn.ModuleList(
            nn.ModuleDict({"audio_rnn": recurrent(heard, heard), "visual_rnn": recurrent(seen, seen)}) for _ in range(_LEVELS)
        )
        self.video_encoder = nn.ModuleList(Encoder(2 * seen, relations) for _ in range(_LEVELS))
        self.audio_encoder = nn.ModuleList(Encoder(2 * heard, relations) for _ in range(_LEVELS))
        self.audio_gated = nn.ModuleList(gate(relations.width) for _ in range(_LEVELS))
        self.video_gated = nn.ModuleList(gate(relations.width) for _ in range(_LEVELS))

    def forward(self, maps: list[Tensor], audio: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map levels (N, C, H, W) and what is heard (B, T, A) to the same, gated."""
        gated, by_sight = [], []
        for level, x in enumerate(maps):
            seen = self.dropout(self.v_fc[level](x.mean(dim=(2, 3)).view(*audio.shape[:2], -1)).relu())
            layers = self.audio_visual_rnn_layer[level]
            heard, seen = layers["audio_rnn"](audio)[0], layers["visual_rnn"](seen)[0]  # type: ignore[index]
            by_sound = self.audio_gated[level](self.audio_encoder[level](heard))
            gated.append(x * (1 + self.gamma * by_sound.view(-1, 1, 1, 1)))
            by_sight.append(self.video_gated[level](self.video_encoder[level](seen)))
        return gated, audio * (1 + self.gamma * torch.stack(by_sight).mean(dim=0))


class Segmenter(nn.Module):
    """Levels of visual tokens and pooled sound to the logits of masks."""

    def __init__(self, shape: Shape, hyper: SegmentationKnobs) -> None:
        super().__init__()
        sizes, self.binary = hyper.head, hyper.loss.binary
        if len(shape.levels) != _LEVELS:
            raise ValueError(f"segmentation needs {_LEVELS} visual stages, and these encoders have {len(shape.levels)}")
        self.sides = sizes.sides
        for number, channels in enumerate(shape.levels, start=1):
            self.add_module(f"x{number}_linear_", nn.Linear(channels, sizes.channels))
            self.add_module(f"tpavi_b{number}", Tpavi(sizes.channels, sizes.audio))
        self.audio_linear = nn.Linear(shape.audio, sizes.audio)
        self.temporal_attn = Gates(sizes)
        self.decoder = Decoder(sizes.channels)

    def forward(self, encoded: Encoded, batch: Batch) -> dict[str, Tensor]:
        """Logits `masks` (B, T, H, W) of the frames' size, and `seen` and `heard` (4, B, T, C): what sounds, at every level.

        `seen` is the mean of a map over where it is said to be seen.
        """
        audio = self.audio_linear(encoded.audio_pooled).unflatten(0, (-1, SEGMENTS))
        maps, audio = self.temporal_attn(self._maps(encoded), audio)
        crossed = [
            self.get_submodule(f"tpavi_b{number}")(_by_clip(x.movedim(1, -1)), audio) for number, x in enumerate(maps, start=1)
        ]
        maps = [x.flatten(0, 1).movedim(-1, 1) for x, _ in crossed]
        logits = self.decoder(maps)
        seen = torch.stack([_by_clip(_where_said(x, logits, self.binary)) for x in maps])
        heard = torch.stack([aligned for _, aligned in crossed])
        return {"masks": _by_clip(_resized(logits, batch.frames.shape[2:4])), "seen": seen, "heard": heard}

    def _maps(self, encoded: Encoded) -> list[Tensor]:
        """The levels as maps (N, C, H, W) of the head's channels and sides."""
        found = []
        for number, (tokens, side) in enumerate(zip(encoded.levels, self.sides, strict=True), start=1):
            x = self.get_submodule(f"x{number}_linear_")(tokens).transpose(1, 2)
            grid = round(x.shape[-1] ** 0.5)
            x = x.unflatten(2, (grid, grid))
            if grid != side:
                x = F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)
            found.append(x)
        return found


def _by_clip(x: Tensor) -> Tensor:
    return x.unflatten(0, (-1, SEGMENTS))


def _where_said(x: Tensor, logits: Tensor, binary: bool) -> Tensor:
    """Mean (N, C) over all positions of the ReLU of a map (N, C, H, W), by the chance of each that the logits (N, ...) say."""
    chances = F.adaptive_avg_pool2d(logits[:, None], (x.shape[2], x.shape[3])).sigmoid()
    chances = (chances > 0.5).float() if binary else chances
    return (x.relu() * chances).mean(dim=(2, 3))


def _resized(logits: Tensor, size: torch.Size) -> Tensor:
    """Logits (N, H, W) in the size of the frames, which is that of the masks; equal as published."""
    if logits.shape[1:] == size:
        return logits
    return F.interpolate(logits[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: SegmentationKnobs, epoch: int) -> Losses:
    """Cross-entropy in nats of all pixels that are annotated and, weighted, how far sound is from sight."""
    logits, masks = output["masks"].float(), batch.labels["masks"]
    known = masks != segmentation.NOT_ANNOTATED
    if not known.any():
        raise ValueError("no frame of these clips is annotated: there is nothing to learn from")
    terms = {"mask": F.binary_cross_entropy_with_logits(logits[known], (masks == 1)[known].float())}
    if hyper.loss.similarity:
        terms["similarity"] = hyper.loss.similarity * _apart(output["seen"].float(), output["heard"].float(), hyper.loss)
    return Losses(terms)


def _apart(seen: Tensor, heard: Tensor, how: Weights) -> Tensor:
    """How far what sounds is from where it is seen, both (levels, B, T, C); a mean over levels.

    The divergence, in nats, is summed over frames as published; the distance is a mean over them.
    """
    if how.normalise:
        seen, heard = F.normalize(seen, dim=-1), F.normalize(heard, dim=-1)
    if how.measure == "euclid":
        return F.pairwise_distance(heard, seen).mean()
    return F.kl_div(seen.log_softmax(dim=-1), heard.softmax(dim=-1), reduction="sum") / len(seen)


def predict(output: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Counts of pixels (B, T, COUNTS), from which M_J and M_F follow (see `metrics.segmentation`)."""
    return segmentation.counts(output["masks"], batch.labels["masks"])


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """M_J and M_F of every clip, from its counts alone; NaN where no frame is annotated or, of M_F, none has what sounds."""
    return {"M_J": segmentation.m_j(scores), "M_F": segmentation.m_f(scores)}


def import_weights(state: Mapping[str, Tensor], head: nn.Module) -> dict[str, Tensor]:
    """Published parameters of this head; those that the published code never uses are left out."""
    named = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    renamed = {
        f"decoder.{key}" if re.match(r"(path\d|output_conv)\.", key) and not re.match(_DEAD, key) else key: tensor
        for key, tensor in named.items()
    }
    return of_head(renamed, head, _DEAD)
