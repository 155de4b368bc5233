"""Relations over time, between the vectors of the segments of a clip: recurrent layers, encoders and decoders for one modality.

Source: Xia & Zhao, "Cross-modal Background Suppression for Audio-Visual Event Localization", CVPR 2022, as DG-SCT's heads use
it (our spec, `dgsct.md` section 4.2). Names of parameters are those of the published checkpoints.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from earshot.knobs import Section


class Relations(Section):
    """Sizes of an encoder over time, and of a decoder, which has one layer."""

    width: int = Field(256, ge=1)
    heads: int = Field(4, ge=1)
    ff: int = Field(1024, ge=1, description="hidden size of the feed-forward part")
    layers: int = Field(2, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)


def recurrent(channels: int, hidden: int) -> nn.LSTM:
    """A recurrent layer in both directions: (B, T, channels) to (B, T, 2 hidden)."""
    return nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)


def gate(width: int) -> nn.Sequential:
    """A number in [0, 1] (B, T, 1) for each segment's vector (B, T, width)."""
    return nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())


class Encoder(nn.Module):
    """Self-attention over time, post-norm; the layers start as copies of one."""

    def __init__(self, channels: int, sizes: Relations) -> None:
        super().__init__()
        self.affine_matrix = nn.Linear(channels, sizes.width)
        layer = nn.TransformerEncoderLayer(sizes.width, sizes.heads, sizes.ff, sizes.dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, channels) to (B, T, width)."""
        return self.encoder(self.affine_matrix(x))


class _DecoderLayer(nn.Module):
    """Cross-attention to a memory and to the query itself, then the feed-forward part; post-norm."""

    def __init__(self, sizes: Relations) -> None:
        super().__init__()
        width = sizes.width
        self.multihead_attn = nn.MultiheadAttention(width, sizes.heads, sizes.dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, sizes.ff), nn.Linear(sizes.ff, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        both = torch.cat([memory, query], dim=1)
        query = self.norm1(query + self.dropout(self.multihead_attn(query, both, both, need_weights=False)[0]))
        return self.norm2(query + self.dropout(self.linear2(self.dropout(self.linear1(query).relu()))))


class Decoder(nn.Module):
    """What a modality takes from the encoded other one, in one layer."""

    def __init__(self, channels: int, sizes: Relations) -> None:
        super().__init__()
        self.affine_matrix = nn.Linear(channels, sizes.width)
        self.decoder = nn.ModuleDict({"layers": nn.ModuleList([_DecoderLayer(sizes)])})

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Map (B, T, channels), and a memory (B, T, width), to (B, T, width)."""
        return self.decoder["layers"][0](self.affine_matrix(query), memory)  # type: ignore[index]
