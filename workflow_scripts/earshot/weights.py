"""Model weights on disk: safetensors with a label list, and devices."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earshot import plugins
from earshot.files import atomic_path


def pick_device(wish: str) -> str:
    """The device to run on: `auto` means CUDA where there is one."""
    if wish == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wish.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError("the config asks for device 'cuda' but torch finds no CUDA device here; set `device: auto`")
    return wish


def use_threads(threads: int) -> None:
    """Fix the number of threads, which decides the last bits of sums, whatever the machine offers."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # filling memory that nothing reads before it is written costs a twentieth of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def save(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts as safetensors, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={"earshot": json.dumps(facts, sort_keys=True, ensure_ascii=False)})


def facts_of(path: str | Path) -> dict[str, Any]:
    """The facts stored beside the tensors."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("earshot", "{}"))


def load_backbone(path: str | Path, plugin: str, classes: Sequence[str], device: str) -> nn.Module:
    """Build a backbone and load its weights; raises ValueError if they were trained on other classes."""
    trained = facts_of(path).get("classes")
    if trained is not None and trained != list(classes):
        raise ValueError(
            f"{path} was trained on {len(trained)} classes, not on the {len(classes)} of this dataset; delete it to train again"
        )
    module = plugins.load("backbones", plugin)
    model = module.build(len(classes))
    model.load_state_dict(module.import_weights(load_file(path)))
    return model.to(device, memory_format=torch.channels_last)  # a quarter faster on CPUs
