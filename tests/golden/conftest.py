"""Full-size models with weights drawn from the published names of their parameters, sent through the importers."""

import os
from types import SimpleNamespace

import fill
import pytest
import torch
from golden_files import golden

from earshot import statistics
from earshot.backbones import tanet, video_swin


@pytest.fixture(scope="module", autouse=True)
def _two_threads():
    """Full-size models are worth it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if os.environ.get("PYTEST_XDIST_WORKER") else 2)  # threads that wait for each other burn both cores
    yield
    torch.set_num_threads(before)


def source_of(module, keys, name, to_published):
    """A source model, what it was filled with, and its moments on five clips in batches of 2, 2 and 1."""
    published = fill.checkpoint(golden(keys)["entries"])
    model = module.build(101, module.Options())
    model.load_state_dict(module.import_weights({f"module.{key}": tensor for key, tensor in published.items()}, model))
    model.eval()
    batches = [torch.stack([fill.clip(f"src/{i}", 16, 64) for i in picks]) for picks in ((0, 1), (2, 3), (4,))]
    moments, clips = statistics.average(model, module.candidate_layers(model), batches)
    assert clips == 5

    def fresh():
        other = module.build(101, module.Options())
        other.load_state_dict(model.state_dict())
        return other

    aligned = {layer: moments[layer] for layer in module.aligned_layers(model)}
    return SimpleNamespace(
        module=module, model=model, published=published, keys=golden(keys), logits=golden("logits_source")[name],
        moments=moments, aligned=aligned, layers=golden("source_stats")[name]["layers"], fresh=fresh, to_published=to_published,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tanet_source():
    return source_of(tanet, "keys_tanet", "tanet", lambda key: key.replace("head.", "new_fc."))


@pytest.fixture(scope="session")
def swin_source():
    return source_of(video_swin, "keys_videoswin", "videoswintransformer", published_swin)


def published_swin(key):
    """The published name of one of our parameters or layers, written independently of the importer's rules."""
    if key.startswith("head."):
        return key.replace("head.", "cls_head.fc_cls.")
    key = key.removeprefix("encoder.")
    if not key.startswith("features."):
        return f"backbone.{key}"
    _, number, *rest = key.split(".")
    if int(number) % 2:
        return f"backbone.layers.{int(number) // 2}.downsample." + ".".join(rest)
    path = ".".join(rest).replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
    return f"backbone.layers.{int(number) // 2}.blocks.{path}"
