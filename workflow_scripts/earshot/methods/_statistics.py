"""Running statistics of BatchNorm layers, which some methods move."""

from typing import Any

from torch import nn

from earshot.adaptation import BATCH_NORMS, NotApplicable, layers_where


def batch_norms(model: nn.Module) -> list[Any]:
    """All BatchNorm layers; raises NotApplicable if there are none."""
    found = [layer for _, layer in layers_where(model, BATCH_NORMS)]
    if not found:
        raise NotApplicable("there is no BatchNorm layer, whose running statistics could move")
    return found
