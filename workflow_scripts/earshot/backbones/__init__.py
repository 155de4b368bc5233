"""Backbones: video classifiers, one file each. A plug-in defines

* `SPEC`, a `Backbone`;
* `build(n_classes) -> nn.Module` that maps (V, 3, T, H, W) to logits (V, K);
* `import_weights(state_dict) -> state_dict`, from every published key layout to ours;
* `aligned_layers(model) -> list[str]`: the normalisation layers that statistics alignment (ViTTA) works on;
* `candidate_layers(model) -> list[str]`: all layers in a published statistics file, in its order.
"""

from dataclasses import dataclass

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """What a backbone expects: `frames` a clip, short side `resize` px and crop `size` px, and pixel mean and deviation."""

    title: str
    frames: int
    resize: int
    size: int
    source: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


class WeightsError(ValueError):
    """Weights that do not fit a model; the message lists the keys."""
