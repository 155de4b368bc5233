"""A source model on the clean training clips of its dataset: what statistics and importance are computed from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from earshot import contracts, weights
from earshot.frames import Frames
from earshot.loading import ClipLoader, FrameCache, Sampling


class SourceModel(NamedTuple):
    """Files and settings.

    `sampling` holds `evaluation` and `index_base` of the protocol: the frames are those of an evaluation clip.
    """

    clips: str
    classes: str
    weights: str
    root: str
    backbone: Mapping[str, Any]  # plug-in and options
    sampling: Mapping[str, Any]
    runtime: Mapping[str, Any]

    @classmethod
    def of(cls, files: Any, params: Any, runtime: Mapping[str, Any]) -> "SourceModel":
        """From the named input files and params of a job."""
        return cls(files.clips, files.classes, files.weights, params.root, params.backbone, params.sampling, runtime)

    def load(self) -> tuple[nn.Module, ClipLoader, list[dict[str, Any]]]:
        """The model on its device, what loads its clips, and the rows of the readable training clips."""
        weights.use_threads(self.runtime["training_threads"])
        device = weights.pick_device(self.runtime["device"])
        names = [row["name"] for row in contracts.read(self.classes, contracts.CLASSES)]
        model = weights.load_backbone(self.weights, **self.backbone, classes=names, device=device)
        spec = weights.spec_of(**self.backbone)
        loader = ClipLoader(spec, Frames(Path(self.root)), FrameCache(0), device, Sampling(**self.sampling))
        listed = contracts.read(self.clips, contracts.CLIPS)
        return model, loader, [row for row in listed if row["split"] == "train" and row["available"]]
