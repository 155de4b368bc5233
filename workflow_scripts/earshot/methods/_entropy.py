"""Entropy of predictions, and the normalisation layers whose scale and shift entropy minimisation adapts."""

from collections.abc import Sequence

from torch import Tensor, nn

from earshot.adaptation import NORMS, NotApplicable, layers_where


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy in nats of softmax(logits), taken over the last axis."""
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


def affine_parameters(model: nn.Module, but: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Scales and shifts of normalisation layers by name, without those below the modules `but`; no others are trainable.

    Raises NotApplicable if there are none.
    """
    model.requires_grad_(False)
    left_out = tuple(f"{name}." for name in but)
    found = {
        f"{name}.{key}": parameter
        for name, layer in layers_where(model, NORMS)
        if not f"{name}.".startswith(left_out)
        for key, parameter in layer.named_parameters(recurse=False)
    }
    if not found:
        raise NotApplicable("there is no normalisation layer with a scale and a shift to adapt")
    for parameter in found.values():
        parameter.requires_grad_(True)
    return found


def normalise_by_batch(model: nn.Module) -> nn.Module:
    """Evaluation mode, in which BatchNorm layers normalise with the batch's own statistics and keep none.

    Source: the published image methods' preparation of a model (our spec, `tta.md` section 3.1).
    """
    model.eval()
    for _, layer in layers_where(model, (nn.BatchNorm2d, nn.BatchNorm3d)):
        layer.track_running_stats = False
        layer.running_mean = layer.running_var = None
    for _, layer in layers_where(model, nn.BatchNorm1d):
        layer.train()
    return model
