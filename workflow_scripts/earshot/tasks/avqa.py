"""Audio-visual question answering: one of the answers of MUSIC-AVQA, from what is seen, what is heard, and a question.

Source: Li et al., "Learning to Answer Questions in Dynamic Audio-Visual Scenarios", CVPR 2022 (ST-AVQA), as DG-SCT uses it (our
spec, `dgsct.md` section 8). Its first stage, which trains the grounding alone on frozen encoders and gives the weights that
this one may start from, is not made.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from earshot.knobs import Knobs, Section
from earshot.prompters import Encoded
from earshot.questions import KINDS
from earshot.tasks import Batch, Losses, Shape
from earshot.tasks._knobs import Optim, Train
from earshot.tasks._published import of_head

SEGMENTS = 10
FRAME_PX = 192
TRUTH = ("question", "answer", "kind", "negatives")
METRICS = (
    "accuracy_Audio-Counting", "accuracy_Audio-Comparative", "accuracy_AQ",
    "accuracy_Visual-Counting", "accuracy_Visual-Location", "accuracy_VQ",
    "accuracy_Audio-Visual-Existential", "accuracy_Audio-Visual-Counting", "accuracy_Audio-Visual-Location",
    "accuracy_Audio-Visual-Comparative", "accuracy_Audio-Visual-Temporal", "accuracy_AVQ",
    "accuracy_Avg",
)  # fmt: skip
SELECT_BY = "accuracy_Avg"
PUBLISHED = "avqa"

_POOLED = {"AQ": KINDS[:2], "VQ": KINDS[2:4], "AVQ": KINDS[4:], "Avg": KINDS}
_DEAD = r"fc_a[12]_pure\.|norm3\."


class Head(Section):
    """Sizes of the head; its width is that of the visual encoder's tokens."""

    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    match: tuple[int, int, int] = Field((512, 256, 128), description="hidden sizes that tell whether sound and frame match")


class Weights(Section):
    """The loss."""

    match: float = Field(0.5, ge=0, description="of whether sound and frame match, against frames of other clips")


class Hyper(Knobs):
    """Published settings of DG-SCT."""

    optim: Optim = Optim(lr=1e-4, step_epochs=8, gamma=0.1)
    train: Train = Train(epochs=80, batch=8, patience=3)
    head: Head = Head()
    loss: Weights = Weights()


class QuestionEncoder(nn.Module):
    """The words of a question, padding included, to one vector."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.word2vec = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.fc = nn.Linear(2 * width, width)

    def forward(self, question: Tensor) -> Tensor:
        """Map word numbers (B, L) to (B, width)."""
        _, (hidden, cell) = self.lstm(self.word2vec(question).tanh())
        return self.fc(torch.cat([hidden[0], cell[0]], dim=-1).tanh())


class Answerer(nn.Module):
    """Sound that is grounded in frames, and both attended to by the question. Names of parameters are the published ones."""

    def __init__(self, shape: Shape, sizes: Head) -> None:
        super().__init__()
        width = shape.visual
        self.fc_a1, self.fc_a2 = nn.Linear(shape.audio, width), nn.Linear(width, width)
        self.fc_gl = nn.Linear(2 * width, width)
        ends = (2 * width, *sizes.match, 2)
        self.fc1, self.fc2, self.fc3, self.fc4 = (nn.Linear(*pair) for pair in pairwise(ends))
        self.question_encoder = QuestionEncoder(shape.words, width)
        self.attn_a, self.attn_v = (
            nn.MultiheadAttention(width, sizes.heads, sizes.dropout, batch_first=True) for _ in range(2)
        )
        self.linear11, self.linear12, self.linear21, self.linear22 = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(sizes.dropout)
        self.fc_fusion = nn.Linear(2 * width, width)
        self.fc_ans = nn.Linear(width, len(shape.classes))

    def forward(self, encoded: Encoded, batch: Batch) -> dict[str, Tensor]:
        """Logits `answer` (B, C) and `match` (N, 2), the latter of the clip's own frames; of any others `match_others`."""
        audio = self.fc_a2(self.fc_a1(encoded.audio_pooled).relu())
        grounded = self._grounded(encoded.visual, audio)
        by_clip = [x.unflatten(0, (-1, SEGMENTS)) for x in (audio, grounded)]
        answer = self._answer(by_clip[0], by_clip[1], self.question_encoder(batch.labels["question"]))
        output = {"answer": answer, "match": self._match(audio, grounded)}
        if encoded.negatives is not None:
            output["match_others"] = self._match(audio, self._grounded(encoded.negatives, audio))
        return output

    def _grounded(self, tokens: Tensor, audio: Tensor) -> Tensor:
        """What is seen (N, V) where the sound (N, V) points to, and everywhere, from tokens (N, L, V)."""
        directions = F.normalize(tokens, dim=-1)
        weights = torch.einsum("nlv,nv->nl", directions, F.normalize(audio, dim=-1)).softmax(dim=-1)
        pointed = torch.einsum("nl,nlv->nv", weights, directions)
        return self.fc_gl(torch.cat([tokens.mean(dim=1), pointed], dim=-1).tanh())

    def _match(self, audio: Tensor, grounded: Tensor) -> Tensor:
        x = torch.cat([audio, grounded], dim=-1)
        for layer in (self.fc1, self.fc2, self.fc3):
            x = layer(x).relu()
        return self.fc4(x)

    def _answer(self, audio: Tensor, grounded: Tensor, asked: Tensor) -> Tensor:
        """Logits (B, C) from both modalities (B, T, V) and the question (B, V)."""
        query = asked[:, None]
        seen = self.attn_v(query, grounded, grounded, need_weights=False)[0][:, 0]
        heard = self.attn_a(query, audio, audio, need_weights=False)[0][:, 0]
        seen = self.norm1(seen + self._fed(seen, self.linear11, self.linear12))
        heard = self.norm2(heard + self._fed(heard, self.linear21, self.linear22))
        both = torch.cat([heard + audio.mean(dim=1), seen + grounded.mean(dim=1)], dim=-1)
        return self.fc_ans((self.fc_fusion(both.tanh()) * asked).tanh())

    def _fed(self, x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        return self.dropout(second(self.dropout(first(x).relu())))


def build(shape: Shape, hyper: Hyper) -> nn.Module:
    """A head with random weights; raises ValueError where there are no words to ask with."""
    if not shape.words:
        raise ValueError("answering needs questions, and the dataset has no words")
    return Answerer(shape, hyper.head)


def losses(output: Mapping[str, Tensor], batch: Batch, hyper: Hyper, epoch: int) -> Losses:
    """Cross-entropies in nats: of the answer and, weighted, of which frames are the sound's own.

    Raises ValueError where frames of other clips are wanted and there are none.
    """
    terms = {"answer": F.cross_entropy(output["answer"].float(), batch.labels["answer"])}
    if hyper.loss.match:
        if "match_others" not in output:
            raise ValueError("the loss of matching needs frames of other clips; give them, or set `loss: {match: 0}`")
        logits = torch.cat([output["match"], output["match_others"]]).float()
        own = torch.ones(len(logits), dtype=torch.int64, device=logits.device)
        own[len(output["match"]) :] = 0
        terms["match"] = hyper.loss.match * F.cross_entropy(logits, own)
    return Losses(terms)


def predict(output: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Probabilities (B, C) of the answers."""
    return output["answer"].float().softmax(dim=-1)


def per_item(scores: NDArray[Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Whether each question is answered right, 0 or 1, by its type and those that pool it; NaN under the others."""
    right = (scores.argmax(axis=-1) == truth["answer"]).astype(np.float64)
    pooled = {**{kind: (kind,) for kind in KINDS}, **_POOLED}
    found = {}
    for name, kinds in pooled.items():
        places = [KINDS.index(kind) for kind in kinds]
        found[f"accuracy_{name}"] = np.where(np.isin(truth["kind"], places), right, np.nan)
    return {metric: found[metric] for metric in METRICS}


def import_weights(state: Mapping[str, Tensor], head: nn.Module) -> dict[str, Tensor]:
    """Published parameters of this head; those that the published code never uses are left out."""
    return of_head(state, head, _DEAD)
