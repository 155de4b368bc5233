"""The runs of a parsing experiment, a parser with a seed on a dataset: their settings, and how they were trained."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earshot import contracts
from earshot.tables import About, Row, flat

_FACTS = ("dataset", "parser", "plugin", "features", "seed", "leak", "hyper", "epoch")


@dataclass(frozen=True)
class Run:
    """A parser with one seed on one dataset: its settings, the epoch whose weights it has, and the rows of TRAINING."""

    dataset: str
    parser: str
    plugin: str
    features: str
    seed: int
    leak: bool
    epoch: int
    hyper: Mapping[str, Any]
    training: Sequence[Row] = ()

    def values(self, split: str, metric: str) -> dict[int, float]:
        """A value by epoch, of those that are finite."""
        return curve(self.training, split, metric)


def curve(training: Iterable[Row], split: str, metric: str) -> dict[int, float]:
    """A value of rows of TRAINING by epoch, where it is finite."""
    rows = (row for row in training if (row["split"], row["metric"]) == (split, metric))
    return {row["epoch"]: row["value"] for row in rows if math.isfinite(row["value"])}


def read_runs(parses: Iterable[str], training: Iterable[str] = ()) -> list[Run]:
    """The runs behind files of PARSES, with their training where it was done here; by seed within a parser.

    Files of TRAINING lie as those of PARSES do, `<dataset>/<parser>/<seed>.parquet`. Raises ContractError for one that belongs
    to no parses, and for parses that do not say whose they are.
    """
    runs = [_run(path, trained) for path, trained in beside(parses, training, "training")]
    return sorted(runs, key=lambda run: (run.dataset, run.parser, run.seed))


def beside(files: Iterable[str], others: Iterable[str], what: str, suffix: str = ".parquet") -> list[tuple[str, str]]:
    """Each file with the other of its place, `<dataset>/<variant>/<seed>`, or an empty text; `suffix` ends the others' names.

    Raises ContractError for one of the others, called `what`, that has no file.
    """
    own, found = {_place(path, ".parquet"): path for path in files}, {_place(path, suffix): path for path in others}
    if lost := sorted(set(found) - set(own)):
        raise contracts.ContractError(f"{found[lost[0]]}: nothing that {lost[0]} says was given beside this {what}")
    return [(path, found.get(place, "")) for place, path in own.items()]


def _place(path: str, suffix: str) -> str:
    return str(Path(*Path(path.removesuffix(suffix)).parts[-3:]))


def _run(parses: str, training: str) -> Run:
    facts = contracts.facts_of(parses)
    lacking = [name for name in _FACTS if name not in facts]
    if lacking:
        raise contracts.ContractError(f"{parses}: its facts lack {', '.join(lacking)}; run the job that writes it again")
    rows = contracts.read(training, contracts.TRAINING) if training else ()
    return Run(**{name: facts[name] for name in _FACTS}, training=rows)


def learnt(runs: Iterable[Run]) -> list[str]:
    """The scalars that modules learn, as TRAINING calls them: mu, lambda, and the gates alpha * beta of both directions."""
    told = {row["metric"] for run in runs for row in run.training if row["split"] == "train"}
    gates = sorted(name for name in told if name.startswith("alpha_beta"))
    return [*(name for name in ("mu", "lambda") if name in told), *gates]


@dataclass(frozen=True)
class Drift:
    """How mu of a parser moved: its mean over seeds at the first and last epoch."""

    parser: str
    first: float
    last: float
    epochs: int


def drifts(runs: Iterable[Run], about: About, dataset: str) -> list[Drift]:
    """The parsers whose mu is learnt and free to lower the loss by itself (S-LOSS, `mu: {mode: learnable}`)."""
    found: dict[str, list[dict[int, float]]] = {}
    for run in runs:
        if run.dataset == dataset and len(curve := free_mu(run)) > 1:
            found.setdefault(run.parser, []).append(curve)
    made = []
    for parser in about.order(found):
        first, last = (statistics.fmean(curve[pick(curve)] for curve in found[parser]) for pick in (min, max))
        made.append(Drift(parser, first, last, max(map(max, found[parser]))))
    return made


def free_mu(run: Run) -> dict[int, float]:
    """Mu by epoch, where it is learnt by plain descent; empty otherwise."""
    return run.values("train", "mu") if knobs(run).get("sloss.mu.mode") == "learnable" else {}


def knobs(run: Run) -> dict[str, str]:
    """A run's settings as text, by dotted name."""
    return dict(flat(dict(run.hyper)))
