"""What the training of every task may be told: its optimiser, and how clips go through it."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from earshot.knobs import Section


class Optim(Section):
    """Adam for the head and for the modules, and their learning rates by epoch."""

    lr: float = Field(gt=0, description="of the head")
    lr_modules: float | None = Field(None, gt=0, description="of everything else that is trained; null: as the head")
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0, ge=0)
    clip: float = Field(0, ge=0, description="largest norm of the gradient; 0: any")
    step_epochs: int = Field(0, ge=0, description="multiplied by `gamma` after every so many epochs; 0: never")
    milestones: tuple[int, ...] = Field((), description="multiplied by `gamma` after these epochs as well")
    gamma: float = Field(0.1, gt=0, le=1)

    def factor(self, epoch: int) -> float:
        """What the learning rates are multiplied with in an epoch, counted from 1."""
        steps = (epoch - 1) // self.step_epochs if self.step_epochs else 0
        return float(self.gamma ** (steps + sum(epoch > one for one in self.milestones)))

    def build(self, head: nn.Module, modules: nn.Module) -> torch.optim.Optimizer:
        """Adam over what requires a gradient in the head, and in the prompted encoders, with a rate each."""
        rates = ((head, self.lr), (modules, self.lr_modules or self.lr))
        groups = [{"params": [p for p in part.parameters() if p.requires_grad], "lr": rate} for part, rate in rates]
        groups = [{**group, "initial_lr": group["lr"]} for group in groups if group["params"]]
        # fused: hundreds of small parameters in one call
        return torch.optim.Adam(groups, betas=self.betas, weight_decay=self.weight_decay, fused=True)


class Train(Section):
    """Epochs, batches, what of the encoders is trained, and which epoch's weights are kept."""

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1, description="clips behind one step of the optimiser")
    at_once: int | None = Field(None, ge=1, description="clips in memory; fewer than `batch`: gradients accumulate; null: all")
    accumulation: Literal["correct", "reference"] = Field(
        "correct", description="reference: the gradients of all batches but the last of a step are thrown away, as published"
    )
    patience: int = Field(0, ge=0, description="with `keep: best`, epochs without a gain that end the training; 0: never")
    keep: Literal["best", "last"] = Field("best", description="best: on the validation split")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast; on CUDA norms and softmax stay in fp32")
    checkpointing: bool = Field(False, description="activations are computed again in place of kept: less memory, more time")
    trunk_mode: Literal["eval", "reference"] = Field(
        "eval", description="reference: frozen encoders in training mode, with drop-path, SpecAugment and moving statistics"
    )
    finetune: tuple[Literal["visual", "audio"], ...] = Field((), description="encoders that are trained as a whole")
