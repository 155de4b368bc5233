"""Plug-ins found by file name: `methods: [tent]` in the config means that `earshot/methods/tent.py` exists.

Files are listed without being imported, so reading the Snakefile never imports torch.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

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


@cache  # corrupting asks for a plug-in many times a clip, and each check lists a folder
def load(kind: str, name: str) -> ModuleType:
    """Import the plug-in module `earshot.<kind>.<name>`."""
    return importlib.import_module(f"earshot.{kind}.{check(kind, name)}")


def describe(kind: str, name: str) -> dict[str, Any]:
    """A plug-in's one-line summary and, for methods, when it predicts and what it needs; read without importing it."""
    tree = ast.parse((_PACKAGE / kind / f"{check(kind, name)}.py").read_text(encoding="utf-8"))
    summary = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    constants = _constants(tree)
    needs = bool(constants.get("NEEDS_STATISTICS", False))
    return {"plugin": name, "summary": summary, "predicts": str(constants.get("PREDICTS", "")), "needs_statistics": needs}


def _constants(tree: ast.Module) -> dict[str, object]:
    """Module-level names bound to literals, one by one or as a tuple."""
    found: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))
        elif isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
        else:
            continue
        found |= {k.id: v.value for k, v in pairs if isinstance(k, ast.Name) and isinstance(v, ast.Constant)}
    return found
