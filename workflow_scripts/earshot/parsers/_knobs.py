"""What every parser may be told: its structure, the weights of its losses, its optimiser and its training."""

import math
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from earshot.knobs import Section


class Structure(Section):
    """The encoder: sizes in features, one or more layers of self- and cross-modal attention."""

    dim: int = Field(ge=1)
    heads: int = Field(ge=1)
    ff: int = Field(ge=1, description="hidden size of the feed-forward part")
    layers: int = Field(ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    norm_where: Literal["post_norm", "pre_norm"] = "post_norm"

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"`dim: {self.dim}` cannot be divided among `heads: {self.heads}`")
        return self


class Train(Section):
    """Epochs, batches, and which epoch's weights are kept."""

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    keep: Literal["best", "last"] = Field("best", description="best: on the validation split, which needs dense truth")
    select_by: Literal["f_score_seg_TypeAV", "f_score_seg_EventAV", "f_score_evt_TypeAV"] = "f_score_seg_TypeAV"
    ties: Literal["first", "later"] = Field("first", description="which of equally good epochs is kept")
    amp: bool = Field(True, description="autocast to bfloat16 on CUDA; nothing changes on a CPU")


class Optim(Section):
    """The optimiser and its learning rate by epoch."""

    name: Literal["adam", "adamw"]
    lr: float = Field(gt=0)
    lr_min: float = Field(0, ge=0, description="of the cosine, at the last epoch")
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0, ge=0)
    clip: float = Field(0, ge=0, description="largest norm of the gradient; 0: any")
    schedule: Literal["steps", "cosine"]
    step_epochs: int = Field(10, ge=1, description="of `steps`: a tenth after so many epochs")
    warmup: int = Field(10, ge=0, description="of `cosine`: epochs of linear rise")
    no_decay_scalars: bool = Field(True, description="gates and mu are not drawn towards zero by weight decay")

    def rate(self, epoch: int, epochs: int) -> float:
        """The learning rate in an epoch, counted from 1 (HAN; VALOR: warm-up and cosine)."""
        if self.schedule == "steps":
            return self.lr * 0.1 ** ((epoch - 1) // self.step_epochs)
        if epoch < self.warmup:
            return self.lr * epoch / self.warmup
        if epochs == self.warmup:
            return self.lr
        done = (epoch - self.warmup) / (epochs - self.warmup)
        return self.lr_min + (self.lr - self.lr_min) / 2 * (1 + math.cos(math.pi * done))

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of all parameters; scalars are a group of their own where they must not decay."""
        free = [p for p in model.parameters() if p.ndim == 0] if self.no_decay_scalars else []
        held = [p for p in model.parameters() if p.ndim or not self.no_decay_scalars]
        groups = [{"params": held}, *([{"params": free, "weight_decay": 0.0}] if free else [])]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.name]
        return kind(groups, lr=self.lr, betas=self.betas, eps=1e-8, weight_decay=self.weight_decay)
