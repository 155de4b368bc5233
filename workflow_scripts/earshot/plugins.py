"""Plug-ins found by file name: `methods: [tent]` in the config means that `earshot/methods/tent.py` exists.

Files are listed without being imported, so reading the Snakefile never imports torch.
"""

import ast
import importlib
from collections.abc import Collection
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_TRAITS = {
    "methods": ("PREDICTS", "NEEDS", "BATCHED", "TWO_PASS"),
    "audio_models": ("RATE_HZ", "OTHER_RATES_HZ"),
    "extractors": ("MODALITY", "FILES", "WEIGHTS", "BACKBONES"),
    "parsers": ("PSEUDO_LABELS", "PUBLISHED"),
    "prompters": ("RATE_HZ", "ENCODERS", "PUBLISHED"),
    "tasks": ("SEGMENTS", "FRAME_PX", "TRUTH", "METRICS", "SELECT_BY", "PUBLISHED"),
}  # literals in their files
KINDS = (
    "datasets",
    "corruptions",
    "backbones",
    "audio_models",
    "mappers",
    "methods",
    "extractors",
    "parsers",
    "prompters",
    "tasks",
)
_PACKAGE = Path(__file__).parent


class UnknownPlugin(ValueError):
    """A key in the config for which no file exists."""


@cache  # planning a large workflow asks some hundred thousand times
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
    """A plug-in's one-line summary and its traits, such as a method's; read without importing it."""
    return dict(_described(kind, name))


@cache
def _described(kind: str, name: str) -> dict[str, Any]:
    tree = _tree(kind, name)
    summary = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    traits = _constants(tree, _TRAITS.get(kind, ()))
    return {"plugin": name, "summary": summary, **{key.lower(): value for key, value in traits.items()}}


@cache
def definitions(kind: str, name: str) -> frozenset[str]:
    """Names of the functions and classes of a plug-in, also of those that it imports; read without importing it."""
    nodes = _tree(kind, name).body
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return frozenset(defined | {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names})


def _tree(kind: str, name: str) -> ast.Module:
    return ast.parse((_PACKAGE / kind / f"{check(kind, name)}.py").read_text(encoding="utf-8"))


def _constants(tree: ast.Module, names: Collection[str]) -> dict[str, Any]:
    """Those module-level names, which must be bound to literals."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    named = [(target.id, node.value) for node in assigned for target in node.targets if isinstance(target, ast.Name)]
    return {name: ast.literal_eval(value) for name, value in named if name in names}
