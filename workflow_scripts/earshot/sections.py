"""What the sections of the config are made of: names, paths, plug-ins."""

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from earshot import plugins

Key = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Split = Literal["train", "val", "test"]
UserPath = Annotated[str, AfterValidator(os.path.expanduser)]


def plugin_of(kind: str) -> Any:
    """A validator: the name of a plug-in of that kind."""

    def check(name: str) -> str:
        return plugins.check(kind, name)

    return AfterValidator(check)


def distinct(names: list[Any]) -> list[Any]:
    """`names`, none of which may be there twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]!r} is there twice")
    return names


def known(kind: str, name: str, legal: Any, where: str) -> None:
    """Raise ValueError with the legal names, if `name` is none of them."""
    if name not in legal:
        raise ValueError(f"{where}: unknown {kind} '{name}'; available: {', '.join(sorted(legal)) or 'none'}")
