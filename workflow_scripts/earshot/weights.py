"""Model weights on disk: safetensors with a label list, and devices."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earshot import plugins
from earshot.backbones import Backbone
from earshot.config import overrides
from earshot.files import atomic_path
from earshot.randomness import seed_of


def pick_device(wish: str) -> str:
    """The device to run on: `auto` means CUDA where there is one."""
    if wish == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wish.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError("the config asks for device 'cuda' but torch finds no CUDA device here; set `device: auto`")
    return wish


def use_threads(threads: int) -> None:
    """Fix the number of threads, which decides the last bits of sums, whatever the machine offers."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, products on CUDA differ from run to run
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # filling memory that nothing reads before it is written costs a twentieth of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def compute_in(model: Any, precision: str, device: str) -> None:
    """Let a backbone compute in fp32, tf32 or bf16; raises ValueError where torch gets that wrong.

    On CUDA, fp32 means that products are not rounded to TF32.
    """
    if precision == "bf16" and device == "cpu" and any(isinstance(layer, nn.Conv3d) for layer in model.modules()):
        raise ValueError(
            "`compute: {precision: bf16}`: torch's gradients of 3-D convolutions in bfloat16 are garbage on CPUs; use fp32"
        )
    round_products(precision != "fp32")
    model.precision = precision


def round_products(allowed: bool) -> None:
    """Whether products and convolutions on CUDA may be rounded to TF32, as torch lets convolutions by default."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def save(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts as safetensors, atomically."""
    # a parameter that two layers share is written twice: the format knows no shared memory
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={"earshot": json.dumps(facts, sort_keys=True, ensure_ascii=False)})


def facts_of(path: str | Path) -> dict[str, Any]:
    """The facts stored beside the tensors."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("earshot", "{}"))


def load_backbone(path: str | Path, plugin: str, options: Mapping[str, Any], classes: Sequence[str], device: str) -> nn.Module:
    """Build a backbone and load its weights as the workflow wrote them; raises ValueError if they are of other classes."""
    known = facts_of(path).get("classes")
    if known != list(classes):
        raise ValueError(
            f"{path} holds weights for {len(known or ())} classes that are not the {len(classes)} of this dataset in their "
            "order; delete it to make it again"
        )
    model = build(plugin, options, len(classes))
    model.load_state_dict(load_file(path))
    return placed(model, device)


def placed(model: nn.Module, device: str) -> nn.Module:
    """The model on its device; channels last makes 2-D convolutions a quarter faster on CPUs."""
    model.to(device)
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return model


def build(plugin: str, options: Mapping[str, Any], n_classes: int, seed: int = 0) -> nn.Module:
    """A backbone with initial weights that depend on the seed."""
    module = plugins.load("backbones", plugin)
    torch.manual_seed(seed_of("initial weights", seed) % 2**63)
    return module.build(n_classes, options_of(module, options))


def spec_of(plugin: str, options: Mapping[str, Any]) -> Backbone:
    """What the clips of a backbone look like."""
    module = plugins.load("backbones", plugin)
    return module.spec(options_of(module, options))


def options_of(module: ModuleType, values: Mapping[str, Any]) -> Any:
    """A plug-in's options from the config's; raises ConfigError that lists the legal ones."""
    return overrides(module.Options, values, "backbones.<name>.options")
