"""What the few- and zero-shot tasks share: scores of class names beside what is seen and heard, and their losses.

Source: Duan et al., "Cross-modal Prompts", NeurIPS 2023, as summarised in our spec, `dgsct.md` section 10. A head has no
parameter that depends on the classes, so that what was trained on one set scores the names of another (zero-shot). The layer
beside what CLIP sees and reads is CLIP-Adapter's: Gao et al., "CLIP-Adapter", IJCV 2024. N = B T segments, K names, E
dimensions of the space that a modality shares with its names.
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
from earshot.prompters import Encoded
from earshot.tasks import Batch, Losses, Shape
from earshot.tasks._knobs import Optim, Train
from earshot.tasks._published import of_head

_IGNORED = -100


class Head(Section):
    """How names are scored."""

    share: float = Field(0.2, ge=0, le=1, description="of the adapted vector, beside CLIP's own")
    reduction: int = Field(4, ge=1, description="of the adapters' hidden size")
    fusion: Literal["sum", "share"] = Field(
        "sum", description="sum: twice both scores; share: of one another, as published for zero-shot and its pretraining"
    )
    audio_scale: Literal["stored", "exp"] = Field(
        "stored", description="of CLAP's logits; stored: without the exponential that CLAP was trained with, as published"
    )
    clip_level: Literal["features", "scores"] = Field(
        "features", description="what is averaged over the segments of a clip that is classified as a whole (our reading)"
    )
    background: Literal["class", "training"] = Field(
        "class", description="training: no name of its own once scored, as published for zero-shot: always wrong there"
    )


class EpochWeights(Section):
    """Weights of the losses, of which that of classes changes after some epochs."""

    classes: float = Field(500, ge=0, description="in the first epochs")
    first: int = Field(10, ge=0, description="epochs")
    classes_later: float = Field(5, ge=0)
    audio_to_image: float = Field(2, ge=0)
    image_to_audio: float = Field(1.5, ge=0)


class OwnWeights(Section):
    """Each loss L weighs L / (epoch + sum of losses) + 1 / epoch."""

    detached: bool = Field(False, description="gradients do not pass through the weights (the source does not tell)")
    bracket: Literal["right", "published"] = Field(
        "right", description="published: of image_to_audio, 1 / epoch is added within the divisor, as the script for AVE has it"
    )


class FewShot(Knobs):
    """Published settings of all tasks; only `shots` clips of each class are trained on."""

    optim: Optim = Optim(lr=3e-4, milestones=(10, 20, 30), gamma=0.5, clip=0.5)
    train: Train = Train(epochs=200, batch=2, patience=50)
    shots: int = Field(16, ge=0, description="training clips of each class; 0: all, as for the pretraining of zero-shot")
    head: Head = Head()


class Adapter(nn.Module):
    """A bottleneck whose output is mixed with its input; ReLU after both layers, no biases."""

    def __init__(self, width: int, knobs: Head) -> None:
        super().__init__()
        hidden = max(width // knobs.reduction, 1)
        self.share = knobs.share
        self.fc = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., E) to (..., E)."""
        return self.share * self.fc(x) + (1 - self.share) * x


class NamesHead(nn.Module):
    """Scores of names for segments (`by_segment`) or whole clips, and of clips' sound and picture for each other."""

    def __init__(self, shape: Shape, knobs: Head, by_segment: bool) -> None:
        super().__init__()
        self.knobs, self.by_segment = knobs, by_segment
        self.visual_adapter, self.text_adapter = Adapter(shape.visual, knobs), Adapter(shape.visual, knobs)

    def forward(self, encoded: Encoded, batch: Batch) -> dict[str, Tensor]:
        """Logits: `scores` (B, T, K) or (B, K), and `audio_to_image` and `image_to_audio` (B, B).

        Raises ValueError where the encoders read no names.
        """
        names = _names(encoded)
        seen = self.visual_adapter(encoded.visual_pooled).unflatten(0, (len(batch.frames), -1))
        heard = encoded.audio_pooled.unflatten(0, (len(batch.frames), -1))
        scales = names["clip_scale"].exp(), self._audio_scale(names["clap_scale"])
        texts = self.text_adapter(names["clip_text"]), names["clap_text"]
        clips = seen.mean(1), heard.mean(1)
        whole = not self.by_segment and self.knobs.clip_level == "features"
        scores = self._scores(*(clips if whole else (seen, heard)), texts, scales)
        alike = scales[0] * _cosines(*clips)
        return {
            "scores": scores if self.by_segment or whole else scores.mean(1),
            "image_to_audio": alike,
            "audio_to_image": alike.T * (scales[1] / scales[0]),
        }

    def _audio_scale(self, stored: Tensor) -> Tensor:
        return stored.exp() if self.knobs.audio_scale == "exp" else stored

    def _scores(self, seen: Tensor, heard: Tensor, texts: tuple[Tensor, Tensor], scales: tuple[Tensor, Tensor]) -> Tensor:
        """Map vectors (..., E) to logits (..., K) of both modalities in one; the last name, background, may be left out."""
        if not self.by_segment or (self.knobs.background == "training" and not self.training):
            texts = texts[0][:-1], texts[1][:-1]
        by_sight, by_sound = scales[0] * _cosines(seen, texts[0]), scales[1] * _cosines(heard, texts[1])
        if self.knobs.fusion == "sum":
            return 2 * by_sight + 2 * by_sound
        return (by_sight.square() + by_sound.square()) / (by_sight + by_sound)  # w a + (1 - w) b of w = a / (a + b)


def _names(encoded: Encoded) -> Mapping[str, Tensor]:
    if "clip_text" not in encoded.named:
        raise ValueError("few- and zero-shot tasks score class names, and these encoders read none: take those of `clip_clap`")
    return encoded.named


def _cosines(x: Tensor, y: Tensor) -> Tensor:
    """Cosines (..., K) of vectors (..., E) and (K, E), in single precision: scales of 100 lie before them."""
    with torch.autocast(x.device.type, enabled=False):
        return F.normalize(x.float(), dim=-1) @ F.normalize(y.float(), dim=-1).T


def parts(output: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """Cross-entropies in nats: of `labels`, numbers of classes of which those without a name do not count, and of pairs."""
    scores = output["scores"].flatten(0, -2)
    labels = labels.flatten()
    known = (labels >= 0) & (labels < scores.shape[-1])
    summed = F.cross_entropy(scores, labels.where(known, _IGNORED), ignore_index=_IGNORED, reduction="sum")
    pairs = torch.arange(len(output["audio_to_image"]), device=scores.device)
    return {
        "classes": summed / known.sum().clamp(min=1),
        "audio_to_image": F.cross_entropy(output["audio_to_image"], pairs),
        "image_to_audio": F.cross_entropy(output["image_to_audio"], pairs),
    }


def weighted_by_epoch(found: Mapping[str, Tensor], weights: EpochWeights, epoch: int) -> Losses:
    """The losses of segments."""
    of_classes = weights.classes if epoch <= weights.first else weights.classes_later
    by_name = {"classes": of_classes, "audio_to_image": weights.audio_to_image, "image_to_audio": weights.image_to_audio}
    return Losses({name: by_name[name] * loss for name, loss in found.items()})


def weighted_by_themselves(found: Mapping[str, Tensor], weights: OwnWeights, epoch: int) -> Losses:
    """The losses of whole clips."""
    taken = {name: loss.detach() if weights.detached else loss for name, loss in found.items()}
    total = epoch + torch.stack(list(taken.values())).sum()
    shares = {name: loss / total + 1 / epoch for name, loss in taken.items()}
    if weights.bracket == "published":
        shares["image_to_audio"] = taken["image_to_audio"] / (total + 1 / epoch)
    return Losses({name: shares[name] * loss for name, loss in found.items()})


def predict(output: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """The logits of names, (B, T, K) or (B, K), as float32."""
    return output["scores"].float()


def right(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the name of the largest score (..., K) is that of the label (...)."""
    return scores.argmax(axis=-1) == labels


def import_weights(state: Mapping[str, Tensor], head: nn.Module) -> dict[str, Tensor]:
    """Published parameters of this head; raises WeightsError for keys that are not its own, or missing."""
    return of_head(state, head, r"(prompt_learner|audio_adapter|CMBS|CLIP|CLAP|clip|clap)\.")
