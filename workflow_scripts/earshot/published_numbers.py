"""Numbers printed in papers, from the CSV files in `published/`; their provenance is in `published/README.md`."""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from earshot import contracts

_FOLDER = Path(__file__).parent / "published"
_KINDS = ("reported", "retested")
_PROTOCOLS = "protocols.csv"


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    rows = [row for path in sorted(_FOLDER.glob("*.csv")) if path.name != _PROTOCOLS for row in read_csv(path)]
    return tuple(rows)


def load() -> list[dict[str, Any]]:
    """All published numbers as rows of PUBLISHED, in the order of files and lines."""
    return [dict(row) for row in _rows()]


def read_csv(path: str | Path) -> list[dict[str, Any]]:
    """Read one CSV and check it against the contract; raises ContractError that names file and line."""
    with open(path, newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for line, row in enumerate(rows, start=2):
        try:
            row["value"] = float(row["value"])
        except (KeyError, TypeError, ValueError):
            raise contracts.ContractError(f"{path}, line {line}: 'value' is not a number: {row.get('value')!r}") from None
        if row.get("kind") not in _KINDS or not row.get("source"):
            raise contracts.ContractError(f"{path}, line {line}: 'kind' must be one of {_KINDS} and 'source' not empty")
    try:
        table: pa.Table = contracts.to_table(rows, contracts.PUBLISHED)
    except contracts.ContractError as error:
        raise contracts.ContractError(f"{path}: {error}") from error
    return table.to_pylist()


@cache
def protocols() -> dict[str, dict[str, str]]:
    """What is known of how published numbers were measured: fact -> value, by paper."""
    found: dict[str, dict[str, str]] = {}
    with open(_FOLDER / _PROTOCOLS, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["paper"], {})[row["fact"]] = row["value"]
    return found


def beside(
    dataset: str, backbone: str = "", method: str = "", corruption: str = "", metric: str = "top1"
) -> list[dict[str, Any]]:
    """Published numbers to put beside ours; an empty argument does not filter."""
    wanted = {"dataset": dataset, "backbone": backbone, "method": method, "corruption": corruption, "metric": metric}
    return [dict(row) for row in _rows() if all(not value or row[key] == value for key, value in wanted.items())]


def members(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The corruptions that a published `mean_<n>` was taken over: those of its own table, dataset and method.

    Empty if the row is no such mean or the table does not hold all of its members.
    """
    if not row["corruption"].startswith("mean_"):
        return []
    same = ("paper", "table", "dataset", "backbone", "method", "metric")
    table = [r for r in rows if all(r[key] == row[key] for key in same)]
    found = sorted({r["corruption"] for r in table if not r["corruption"].startswith("mean") and r["corruption"] != "clean"})
    return found if len(found) == int(row["corruption"].removeprefix("mean_")) else []
