"""Backbones: video classifiers, one file each. A plug-in defines

* `Options`, a pydantic model of what may vary in its architecture; the defaults are the published model;
* `spec(options) -> Backbone`: what its clips look like;
* `build(n_classes, options) -> nn.Module` that maps clips (V, 3, T, H, W) to logits (V, K), as `head` of `features` (V, D);
* `import_weights(state, model) -> state_dict`, from every published key layout to the keys of `model`, strict;
* `candidate_layers(model) -> list[str]`: all layers in a published statistics file, in its order;
* `aligned_layers(model) -> list[str]`: those that statistics alignment (ViTTA) works on;
* `last_stage(model) -> list[str]`: the modules of its last stage, which some methods treat apart;
* `tiny() -> Options`: the same structure, small enough for tests.

It may define `head_from_text(state, folder, prompts, options) -> dict[str, Tensor]`, which makes a head of the names of
classes (zero-shot) from a checkpoint and the folder of its tokenizer.
"""

from dataclasses import dataclass
from typing import Literal

from earshot.sampling import EvaluationStyle

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINETICS_MEAN, KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


@dataclass(frozen=True)
class Backbone:
    """What a backbone expects of a clip.

    `frames` of `size` x `size` px, cut from frames that were resized to `resize`: the short side, or (height, width), in px;
    pixel `mean` and `std` by channel for values in [0, 1]. `sampling` names the evaluation clip in `earshot.sampling`;
    `crop` how views for adaptation are cut: `multi_scale` one crop a view from the original frame, `resized` one random
    resized crop for all views from the resized frame. `rounding` says whose: torchvision cuts off a fraction of the long side
    and rounds the centre's offset, mmcv the other way round.
    """

    title: str
    frames: int
    resize: int | tuple[int, int]
    size: int
    source: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    sampling: EvaluationStyle = "uniform"
    crop: Literal["multi_scale", "resized"] = "multi_scale"
    rounding: Literal["torchvision", "mmcv"] = "torchvision"


class WeightsError(ValueError):
    """Weights that do not fit a model; the message lists the keys."""
