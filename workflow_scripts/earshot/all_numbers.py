"""Every row of a table of metrics, for the part of a report that filters, sorts and pages them in the browser.

The JSON is `{"rows": R, "columns": [...]}`; a column is `{"name", "words", "codes"}`, a word for each of R codes, or
`{"name", "values"}`, R numbers, null where there is none.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from earshot.scoring import ALL_SEEDS
from earshot.tables import Row

_NUMBERS = ("value", "low", "high")
_LEFT_OUT = ("n", "n_missing", "split_id")  # told as numbers; the same for all rows of a dataset


@dataclass(frozen=True)
class AllNumbers:
    """How many rows, in words, and the JSON, safe within a script element."""

    count: str
    json: Markup


def of(rows: Sequence[Row]) -> AllNumbers:
    """The rows of METRICS, PARSING_METRICS or PROMPT_METRICS as columns."""
    names = [name for name in (rows[0] if rows else ()) if name not in _LEFT_OUT]
    columns: list[dict[str, Any]] = []
    for name in names:
        if name in _NUMBERS:
            columns.append({"name": name, "values": [_number(row[name]) for row in rows]})
        else:
            columns.append(_coded(name, [_word(name, row[name]) for row in rows]))
        if name == "high":
            columns.append({"name": "n", "values": [row["n"] for row in rows]})
            columns.append({"name": "missing", "values": [row["n_missing"] for row in rows]})
    text = json.dumps({"rows": len(rows), "columns": columns}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # no text may end the script element that holds it
    return AllNumbers(f"{len(rows):,}", Markup(text.replace("<", "\\u003c")))


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") + 0.0 if math.isfinite(value) else None


def _word(name: str, value: Any) -> str:
    if name == "seed":
        return "all" if value == ALL_SEEDS else str(value)
    if name == "severity":
        return str(value) if value >= 0 else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _coded(name: str, words: Sequence[str]) -> dict[str, Any]:
    """A column of words, each of them once, in the order of their first appearance."""
    distinct = list(dict.fromkeys(words))
    code = {word: number for number, word in enumerate(distinct)}
    return {"name": name, "words": distinct, "codes": [code[word] for word in words]}
