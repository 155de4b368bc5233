"""Digests of code: which definitions a rule depends on, so that editing one re-runs exactly its dependents.

Snakemake re-runs a job when its script changes but not when a module changes that the script imports. So rules carry
`params: code=...`, made here from the syntax trees of every definition that is reached from an entry point, across the
modules of this package. Comments, docstrings and layout do not count. Names are followed statically, so a definition that
is only reached through `getattr` or a plug-in's name must be listed as an entry point of its own.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent
_PACKAGE = "earshot"
_LOOSE = ""  # stands for a module's statements that define nothing, which are part of every definition in it


@cache
def of(*entries: str) -> str:
    """Digest of everything reached from the entries: `module:name`, or a whole `module`, below the package.

    Raises ValueError for an entry that does not exist.
    """
    todo = [pair for entry in entries for pair in _entry(entry)]
    seen: dict[tuple[str, str], str] = {}
    while todo:
        pair = todo.pop()
        if pair not in seen:
            module, name = pair
            seen[pair], reached = _Module.read(module).definition(name)
            todo += [*reached, (module, _LOOSE)]
    text = "\n".join(f"{module}:{name}\n{seen[module, name]}" for module, name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forget() -> None:
    """Read the files anew: they are read once a process, since planning asks for the same code thousands of times."""
    for kept in (of, _Module.read, _Module.definition, _resolve, _file_of):
        kept.cache_clear()


def _entry(entry: str) -> list[tuple[str, str]]:
    module, _, name = entry.partition(":")
    symbols = _Module.read(module).symbols
    if name and name not in symbols:
        raise ValueError(f"no definition '{name}' in module '{module}'; there are: {', '.join(sorted(symbols))}")
    return [(module, name)] if name else [*((module, symbol) for symbol in (*symbols, _LOOSE)), *_passed_on(module)]


def _passed_on(module: str) -> list[tuple[str, str]]:
    """What a whole module imports by name: a plug-in may be made of that, and refer to nothing of it."""
    found = (_resolve(module, name) for name, (_, original) in _Module.read(module).imports.items() if original)
    return [pair for pair in found if pair]


class _Module:
    """The definitions of one module of the package, and what each refers to."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.symbols: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}  # local name -> (module, name; "" for the module itself)
        self.loose: list[ast.stmt] = []
        tree = _without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        for node in ast.walk(tree):  # imports inside functions count as well
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == _PACKAGE:
                self._add_import(node)
        for statement in tree.body:
            self._add(statement)

    @staticmethod
    @cache
    def read(name: str) -> "_Module":
        """The module of that dotted name below the package, parsed once."""
        path = _file_of(name)
        if path is None:
            raise ValueError(f"no module '{name}' in the package '{_PACKAGE}'")
        return _Module(name, path)

    def _add_import(self, node: ast.ImportFrom) -> None:
        inside = (node.module or "").removeprefix(_PACKAGE).lstrip(".")
        for alias in node.names:
            full = f"{inside}.{alias.name}".lstrip(".")
            self.imports[alias.asname or alias.name] = (full, "") if _file_of(full) else (inside, alias.name)

    def _add(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self.symbols.setdefault(name, []).append(node)
            case ast.Assign() | ast.AnnAssign():
                for part in ast.walk(node):
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                        self.symbols.setdefault(part.id, []).append(node)
            case ast.Import() | ast.ImportFrom():
                pass
            case _:
                self.loose.append(node)

    @cache  # noqa: B019  # modules live as long as the process
    def definition(self, name: str) -> tuple[str, list[tuple[str, str]]]:
        """The source of a definition and the package's definitions that it refers to."""
        nodes = self.symbols[name] if name != _LOOSE else self.loose
        reached = [pair for node in nodes for part in ast.walk(node) if (pair := self._refers_to(part))]
        return "\n".join(ast.unparse(node) for node in nodes), reached

    def _refers_to(self, node: ast.AST) -> tuple[str, str] | None:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.imports:
            module, name = self.imports[node.value.id]
            return _resolve(module, node.attr) if not name else None
        if isinstance(node, ast.Name):
            return _resolve(self.name, node.id)
        return None


@cache
def _resolve(module: str, name: str) -> tuple[str, str] | None:
    """Where a name that is visible in a module is defined, through re-exports; None if not in this package."""
    found = _Module.read(module)
    if name in found.symbols:
        return module, name
    source, original = found.imports.get(name, ("", ""))
    return _resolve(source, original) if original else None


@cache
def _file_of(name: str) -> Path | None:
    path = _ROOT.joinpath(*name.split(".")) if name else _ROOT
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file if file.exists() else None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
