"""Few clips of each class to learn from, chosen without chance: the first ones of a list.

Our spec is `dgsct.md`, section 10: for AVE the first k rows of each class in the order of the training list; for LLP, whose
clips have several classes, the first k of those that have one class only. A class with fewer gives as many as it has.
"""

import numpy as np
from numpy.typing import NDArray

NONE = -1  # no class of its own


def first_of_each(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The places (n,) of the first `count` rows of each class, class after class; rows labelled `NONE` are passed over.

    `labels` (N,) are in the order of the list.
    """
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    begins = np.searchsorted(ordered, ordered)  # where the rows of its class begin
    return order[(np.arange(len(order)) - begins < count) & (ordered != NONE)]


def single_classes(weak: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class (N,) of clips that have one only, of weak labels (N, C); `NONE` for the others."""
    return np.where((weak > 0).sum(axis=1) == 1, weak.argmax(axis=1), NONE)
