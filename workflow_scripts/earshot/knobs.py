"""Knobs of plug-ins in groups, of which the config may name single entries."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, model_validator


class Section(BaseModel, extra="forbid", frozen=True):
    """A group of knobs."""


class Knobs(BaseModel, extra="forbid", frozen=True):
    """All knobs of a parser: groups with defaults of their own, of which the config may name single entries."""

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        """Fill a group that is given in part from the defaults of this parser, not of the group."""
        if not isinstance(given, Mapping):
            return given
        defaults = {name: one.default.model_dump(by_alias=True) for name, one in cls.model_fields.items() if _is_group(one)}
        return {name: _filled(defaults.get(name), value) for name, value in given.items()}


def _is_group(field: Any) -> bool:
    return isinstance(field.default, BaseModel)


def _filled(default: Any, given: Any) -> Any:
    """`given` with what it leaves out, at any depth."""
    if not (isinstance(default, Mapping) and isinstance(given, Mapping)):
        return given
    return {**default, **{name: _filled(default.get(name), value) for name, value in given.items()}}
