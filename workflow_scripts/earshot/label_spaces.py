"""Label spaces: the classes of a model's outputs in order, their identity, and where the classes of another are in them."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earshot.files import fingerprint

_LISTS = Path(__file__).parent / "classes"


class LabelSpaceError(ValueError):
    """Classes that cannot be read or do not match."""


@dataclass(frozen=True)
class LabelSpace:
    """Names in the order of a model's outputs, and for each the names it also goes by."""

    names: tuple[str, ...]
    also: tuple[tuple[str, ...], ...]

    def positions(self, wanted: Sequence[str]) -> list[int]:
        """The output of each wanted class; case, punctuation and underscores do not count.

        Raises LabelSpaceError that lists the classes that are not there, or are one class there.
        """
        places = {plain(name): i for i, others in enumerate(self.also) for name in others}
        places |= {plain(name): i for i, name in enumerate(self.names)}  # a class's own name goes before another's alias
        absent = [name for name in wanted if plain(name) not in places]
        if absent:
            raise LabelSpaceError(f"{len(absent)} of {len(wanted)} classes are not in the label space: {', '.join(absent)}")
        found = [places[plain(name)] for name in wanted]
        same = [name for name, place in zip(wanted, found, strict=True) if found.count(place) > 1]
        if same:
            raise LabelSpaceError(f"these classes are not told apart in the label space: {', '.join(same)}")
        return found


def identity(names: Sequence[str]) -> str:
    """The id of a label space: its length and a fingerprint of its names in order."""
    return f"{len(names)}-{fingerprint(list(names))[:12]}"


def plain(name: str) -> str:
    """The words of a name in lower case, without what spellings differ in: punctuation, underscores, hyphens."""
    return " ".join(re.findall(r"[^\W_]+", name.casefold()))


class Finder:
    """Finds the one of `names` that a text means: itself, else one that differs from it in spelling alone."""

    def __init__(self, names: Sequence[str]) -> None:
        self._spelt = {plain(name): name for name in names} | {name: name for name in names}

    def __call__(self, text: str) -> str | None:
        """The name, or None."""
        return self._spelt.get(text) or self._spelt.get(plain(text))


def available() -> list[str]:
    """Label spaces that come with the library."""
    return sorted(path.stem for path in _LISTS.glob("*.csv"))


def read(name: str) -> LabelSpace:
    """A label space of the library by name, or a user's CSV of `index,name` by path; raises LabelSpaceError."""
    rows = _rows(name)
    others = (tuple(filter(None, (row.get("also") or "").split("|"))) for row in rows)
    return LabelSpace(tuple(row["name"] for row in rows), tuple(others))


def names_by_mid(name: str) -> dict[str, str]:
    """AudioSet's id of each class of a label space, such as /m/09x0r, and the name of that class."""
    return {row["mid"]: row["name"] for row in _rows(name)}


def flagged(name: str, column: str) -> frozenset[str]:
    """The classes of a label space that a column of its list marks with 1."""
    return frozenset(row["name"] for row in _rows(name) if row[column] == "1")


def _rows(name: str) -> list[dict[str, str]]:
    """The rows of a list in the order of the index."""
    path = Path(name) if name.endswith(".csv") else _LISTS / f"{name}.csv"
    if not path.is_file():
        raise LabelSpaceError(f"no label space '{name}'; give a CSV file of index,name or one of: {', '.join(available())}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"index", "name"} <= set(reader.fieldnames or ()):
            raise LabelSpaceError(f"{path}: expected the columns index, name; the header is {reader.fieldnames}")
        listed = list(reader)
    rows = {row["index"]: row for row in listed}
    order = [str(i) for i in range(len(listed))]
    if set(order) != set(rows):
        raise LabelSpaceError(f"{path}: the index must count from 0 without gaps and repeats")
    names = Counter(row["name"] for row in listed)
    if wrong := [name for name, n in names.items() if n > 1 or not name.strip()]:
        raise LabelSpaceError(f"{path}: names must be there once and not be empty: {', '.join(map(repr, wrong))}")
    return [rows[i] for i in order]
