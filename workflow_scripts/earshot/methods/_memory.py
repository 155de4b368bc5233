"""RoTTA's memory: a few test items, balanced by predicted class, in which the young and the certain stay.

Source: Yuan et al., "Robust Test-Time Adaptation in Dynamic Scenarios", CVPR 2023, section 3.3; our spec, `tta.md` section 3.1.
Uncertainties are entropies in nats; ages count the items that came, the one itself included.
"""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


@dataclass
class Item(Generic[Kept]):
    """What is kept of a test item, how uncertain its prediction was, and its age."""

    what: Kept
    uncertainty: float
    age: int = 0


class Memory(Generic[Kept]):
    """At most `capacity` items, at most an equal share of them of each of the predicted classes."""

    def __init__(self, capacity: int, classes: int, weight_of_age: float = 1.0, weight_of_uncertainty: float = 1.0) -> None:
        self.capacity, self.classes = capacity, classes
        self.weights = weight_of_age, weight_of_uncertainty
        self.of_class: list[list[Item[Kept]]] = [[] for _ in range(classes)]

    def add(self, what: Kept, prediction: int, uncertainty: float) -> None:
        """Take an item in if there is room for its class, or if it is better than the worst of those that crowd it out."""
        new = Item(what, uncertainty)
        if self._room_for(new, prediction):
            self.of_class[prediction].append(new)
        for item in self.items():
            item.age += 1

    def items(self) -> list[Item[Kept]]:
        """All items, class by class and the oldest of each first."""
        return [item for items in self.of_class for item in items]

    def _room_for(self, new: Item[Kept], prediction: int) -> bool:
        """Whether `new` may come in, the worst item of its class, or of the largest ones, having made room if need be."""
        if len(self.of_class[prediction]) >= self.capacity / self.classes:
            crowd = [prediction]
        elif len(self.items()) < self.capacity:
            return True
        else:
            most = max(len(items) for items in self.of_class)
            crowd = [number for number, items in enumerate(self.of_class) if len(items) == most]
        rivals = [(self._badness(item), number, place) for number in crowd for place, item in enumerate(self.of_class[number])]
        worst, number, place = max(rivals)  # of equally bad ones the last
        if worst <= self._badness(new):
            return False
        del self.of_class[number][place]
        return True

    def _badness(self, item: Item[Kept]) -> float:
        """The older and the less certain, the worse."""
        of_age, of_uncertainty = self.weights
        aged = 1 / (1 + math.exp(-item.age / self.capacity))
        return of_age * aged + of_uncertainty * item.uncertainty / math.log(max(2, self.classes))
