"""What a run ran on: versions of the libraries that decide results, the machine, and the whole config."""

import os
import platform
from importlib.metadata import version
from typing import Any

import torch

from earshot import __version__
from earshot.media import ffmpeg_version

_LIBRARIES = ("torch", "torchvision", "torchaudio", "av", "numpy", "scipy", "pyarrow", "pandas", "snakemake", "mlflow")


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """Versions, machine and config as plain values."""
    return {
        "earshot": __version__,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "ffmpeg": ffmpeg_version(),
        "cuda": torch.version.cuda or "none",
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "config": config,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"
