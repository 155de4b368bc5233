"""A teacher: a model whose parameters are a moving average of those of the model that is adapted."""

import torch
from torch import nn


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, old: float) -> None:
    """Move the teacher's parameters towards the student's; `old` is the weight of what they were."""
    for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
        slow.lerp_(fast, 1 - old)
