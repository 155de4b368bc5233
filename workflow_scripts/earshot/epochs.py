"""What trainings over epochs share: means of scalars, the best epoch, and rows of the training table."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Best:
    """The weights of the best epoch so far, or of the last one; epochs are counted from 1.

    `keep` is best or last, and `ties` says which of equally good epochs is kept, first or later.
    """

    def __init__(self, keep: str, ties: str, epochs: int) -> None:
        self.keep, self.ties, self.value, self.epoch = keep, ties, -math.inf, epochs
        self.state: dict[str, Tensor] = {}

    def look(self, epoch: int, value: float, state: Mapping[str, Tensor]) -> None:
        """Note the score of an epoch, and keep a copy of its weights if it is the best."""
        better = value >= self.value if self.ties == "later" else value > self.value
        if self.keep == "best" and better:
            self.value, self.epoch = value, epoch
            self.state = {name: tensor.detach().clone() for name, tensor in state.items()}

    def told(self) -> dict[str, Any]:
        """What a job that is killed needs to go on."""
        return {"value": self.value, "epoch": self.epoch, "state": self.state}

    def take(self, told: Mapping[str, Any]) -> None:
        """Go on from what was told."""
        self.value, self.epoch, self.state = (told[name] for name in ("value", "epoch", "state"))


class Means:
    """Means over an epoch, by clip; read from the device once, at its end."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.sizes: list[int] = []

    def add(self, told: dict[str, Tensor], clips: int) -> None:
        """Note what a step told of so many clips."""
        self.steps.append(told)
        self.sizes.append(clips)

    def of(self, name: str) -> float:
        """The mean of one scalar."""
        values = torch.stack([step[name] for step in self.steps]).double().cpu().numpy()
        return float(np.average(values, weights=self.sizes))

    def all(self) -> Iterator[tuple[str, float, str]]:
        """Name, mean and unit of all scalars."""
        for name in self.steps[0]:
            yield name, self.of(name), "nats" if name.startswith("loss") else ""


def metric(epoch: int, split: str, name: str, value: float, unit: str) -> dict[str, Any]:
    """A row of `contracts.TRAINING`."""
    return {"epoch": epoch, "split": split, "metric": name, "value": value, "unit": unit}
