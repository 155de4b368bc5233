"""CLIP's image tower with a linear classifier, which a training rule fits: the linear probe of the CLIP paper on video.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section 3.2: the
features are the tower's output before the projection; here their mean over the frames of a clip. Key layout: transformers'
CLIPModel, of which the image tower is taken; a head comes beside it as `head.*`. Sizes in pixels.
"""

from torch import nn

from earshot.backbones import Backbone, _clip
from earshot.backbones._classifier import VideoClassifier
from earshot.backbones._clip import aligned_layers, candidate_layers, import_weights, last_stage

__all__ = ["Options", "aligned_layers", "build", "candidate_layers", "import_weights", "last_stage", "spec", "tiny"]


class Options(_clip.ClipOptions):
    """The model, the number of frames, and what is dropped."""


def spec(options: Options) -> Backbone:
    """Clips of single frames as CLIP takes them."""
    return _clip.spec("CLIP linear probe", options)


def build(n_classes: int, options: Options) -> nn.Module:
    """The image tower and a linear head, with random weights."""
    tower = _clip.vision_config(options)
    return VideoClassifier(_clip.FrameEncoder(tower), tower.hidden_size, n_classes)


def tiny() -> Options:
    """Four narrow blocks, clips of 4 frames of 32 px."""
    return Options(variant="mini", frames=4)
