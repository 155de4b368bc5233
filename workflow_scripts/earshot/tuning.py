"""Choice of hyper-parameters from what was tried on held-out clips under some corruptions.

The held-out clips are of another split than the one that is reported, and each corruption is a stream of its own. The
candidate with the largest share of clips right over all of the corruptions is taken, the first one on a tie.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from earshot import contracts
from earshot.files import write_json


def choose(tried: Sequence[str], out: str, table_out: str) -> None:
    """Add up the trials of all cells; write the candidate chosen for each method, and the table of sums."""
    right, n = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for path in tried:
        for row in contracts.read(path, contracts.TUNING):
            right[row["method"], row["hyper"]] += row["right"]
            n[row["method"], row["hyper"]] += row["n"]
    trials = [trial(variant, candidate, right[variant, candidate], n[variant, candidate]) for variant, candidate in n]
    best: dict[str, dict[str, Any]] = {}
    for row in trials:  # only a better one takes the place of an earlier one
        if row["method"] not in best or row["accuracy"] > best[row["method"]]["accuracy"]:
            best[row["method"]] = row
    for row in best.values():
        row["chosen"] = True
    facts = [contracts.facts_of(path) for path in tried]
    write_json(out, {variant: json.loads(row["hyper"]) for variant, row in best.items()})
    corruptions = [name for fact in facts for name in fact["corruptions"]]
    contracts.write(trials, contracts.TUNING, table_out, {**facts[0], "corruptions": corruptions})


def trial(variant: str, candidate: str, right: int, n: int) -> dict[str, Any]:
    """A row of the table of trials, not chosen yet."""
    accuracy = 100 * right / n if n else 0.0
    return {"method": variant, "hyper": candidate, "accuracy": accuracy, "right": right, "n": n, "chosen": False}
