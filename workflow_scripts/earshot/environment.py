"""What a run ran on: the code's revision, versions of the libraries that decide results, the machine, and the whole config."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from earshot import __version__
from earshot.media import ffmpeg_version

_LIBRARIES = ("torch", "torchvision", "torchaudio", "av", "numpy", "scipy", "pyarrow", "pandas", "snakemake", "mlflow")


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """Revision, versions, machine and config as plain values."""
    return {
        "earshot": __version__,
        "revision": revision(),
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


def revision(folder: str | Path = ".") -> str:
    """The Git commit of the workflow in `folder`, followed by `+edits` where tracked files differ; `unknown` outside Git."""
    git = shutil.which("git")
    if not git or _git(git, folder, "rev-parse", "--show-prefix") != "":  # a repository around it tells of other files
        return "unknown"
    commit = _git(git, folder, "rev-parse", "HEAD")
    edited = _git(git, folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}{'+edits' if edited else ''}" if commit else "unknown"


def _git(git: str, folder: str | Path, *arguments: str) -> str | None:
    """What git says; None if it refuses."""
    done = subprocess.run([git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"
