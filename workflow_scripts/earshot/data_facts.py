"""What results say of the data that they come from: the identity of its splits, and what of it was there.

The facts are those that indexing stores with a dataset's tables (`indexing.index_dataset`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from earshot import contracts
from earshot.tables import About

Facts = Mapping[str, Any]
Told = TypeVar("Told", bound=About)
_DIGITS = 12  # of the hash of splits, in results


def of_tables(datasets: Sequence[str], tables: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name -> facts of the splits of each dataset, told by a table of it."""
    wanted = ("split_sha256", "summary", "expected")
    told = zip(datasets, map(contracts.facts_of, tables), strict=True)
    return {name: {key: facts[key] for key in wanted if key in facts} for name, facts in told}


def split_id(facts: Facts) -> str:
    """The start of the hash of a dataset's splits; empty where it is not known."""
    return str(facts.get("split_sha256", ""))[:_DIGITS]


def marked(rows: Iterable[Mapping[str, Any]], data: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Rows of metrics with the identity of the splits that they are of."""
    return [{**row, "split_id": split_id(data.get(row["dataset"], {}))} for row in rows]


def with_data(about: Told, metrics: str) -> Told:
    """The same, and what a table of metrics tells of its data."""
    data = contracts.facts_of(metrics).get("data", {})
    return replace(about, data={name: sentence(facts, about.split) for name, facts in data.items()})


def sentence(facts: Facts, split: str) -> str:
    """What captions say of a dataset's split: found of listed of published, without sound, twice there, and its identity."""
    about = facts.get("summary", {}).get(split)
    if not about:
        return ""
    published = facts.get("expected", {}).get(split)
    parts = [f"{about['found']} of {about['listed']} listed clips found"]
    parts += [f"{published} were published"] * (published is not None and published != about["listed"])
    parts += [f"{about[key]} {words}" for key, words in _TOLD.items() if about.get(key)]
    return f" Data of {split} ({split_id(facts)}): {'; '.join(parts)}."


_TOLD = {
    "no_track": "without a sound track",
    "silent": "with a silent one",
    "duplicates": "the same file as another",
    "leaks": "shared with another split",
}
