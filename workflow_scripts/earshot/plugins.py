"""Plug-ins found by file name: `methods: [tent]` in the config means that `earshot/methods/tent.py` exists.

Files are listed without being imported, so reading the Snakefile never imports torch.
"""

import importlib
from pathlib import Path
from types import ModuleType

KINDS = ("datasets", "corruptions", "backbones", "audio_models", "methods")
_PACKAGE = Path(__file__).parent


class UnknownPlugin(ValueError):
    """A key in the config for which no file exists."""


def available(kind: str) -> tuple[str, ...]:
    """Names of all plug-ins of a kind, sorted; files that start with `_` are shared helpers."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of plug-in '{kind}'; kinds: {', '.join(KINDS)}")
    return tuple(sorted(f.stem for f in (_PACKAGE / kind).glob("*.py") if not f.stem.startswith("_")))


def check(kind: str, name: str) -> str:
    """Return `name` if a plug-in of that name exists, else raise an error that lists the legal ones."""
    if name not in available(kind):
        raise UnknownPlugin(
            f"unknown {kind.rstrip('s').replace('_', ' ')} '{name}'; available: {', '.join(available(kind))}. "
            f"A new one is one file: earshot/{kind}/{name}.py"
        )
    return name


def load(kind: str, name: str) -> ModuleType:
    """Import the plug-in module `earshot.<kind>.<name>`."""
    return importlib.import_module(f"earshot.{kind}.{check(kind, name)}")
