"""The runs of a prompting experiment, a prompter with a seed on a dataset: settings, training, and what training cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earshot import contracts, parse_runs, variant_files
from earshot.tables import Row, flat

_FACTS = ("dataset", "task", "prompter", "plugin", "encoders", "seed", "hyper", "epoch", "trained_on")
_COUNTS = ("trainable", "total", "trunk_mode", "train_clips", "train_missing")
COSTS_SUFFIX, VIEWS_SUFFIX = ".costs.parquet", ".views.safetensors"


@dataclass(frozen=True)
class Run:
    """A prompter with one seed on one dataset: its settings, the epoch whose weights it has, and the rows of TRAINING.

    `trainable` and `total` count parameters, `train_missing` listed training clips that could not be used, `epoch` is 0 where
    weights were imported, and `cost` is the row of PROMPT_COSTS, empty where nothing was trained here.
    """

    dataset: str
    task: str
    prompter: str
    plugin: str
    encoders: str
    seed: int
    epoch: int
    hyper: Mapping[str, Any]
    trainable: int
    total: int
    trunk_mode: str
    train_clips: int
    train_missing: int
    trained_on: str
    training: Sequence[Row] = ()
    cost: Row | None = None

    @property
    def shots(self) -> str:
        """How many clips of a class were learnt from, as papers say it; empty where it was all of them."""
        if self.trained_on != self.dataset:
            return "zero-shot"
        count = self.knob("shots")
        return f"{count}-shot" if count not in ("", "0") else ""

    @property
    def finetuned(self) -> Sequence[str]:
        """The encoders that were trained as a whole."""
        return tuple(self.hyper.get("task", {}).get("train", {}).get("finetune", ()))

    def values(self, split: str, metric: str) -> dict[int, float]:
        """A value by epoch, of those that are finite."""
        return parse_runs.curve(self.training, split, metric)

    def knobs(self) -> dict[str, str]:
        """Settings as text, by dotted name."""
        return dict(flat(dict(self.hyper)))

    def knob(self, name: str) -> str:
        """A setting whose dotted name ends so; empty if there is none."""
        return next((value for key, value in self.knobs().items() if f".{key}".endswith(f".{name}")), "")


def read_runs(prompted: Iterable[str], training: Iterable[str] = (), costs: Iterable[str] = ()) -> list[Run]:
    """The runs behind files of PROMPTED, with training and costs where they were trained here; by seed within a prompter.

    All files lie alike: `<dataset>/<prompter>/<seed>` with the suffixes `.parquet` and, for costs, `.costs.parquet`. Raises
    ContractError for one that belongs to no predictions, and for predictions that do not say whose they are.
    """
    own = list(prompted)
    trained = dict(parse_runs.beside(own, training, "training"))
    spent = dict(parse_runs.beside(own, costs, "table of costs", COSTS_SUFFIX))
    runs = [_run(path, trained[path], spent[path]) for path in own]
    return sorted(runs, key=lambda run: (run.dataset, run.prompter, run.seed))


def _run(prompted: str, training: str, costs: str) -> Run:
    names = (*_FACTS, *_COUNTS)
    facts = variant_files.told_facts(prompted, names)
    rows = contracts.read(training, contracts.TRAINING) if training else ()
    spent = contracts.read(costs, contracts.PROMPT_COSTS) if costs else ()
    if len(spent) > 1:
        raise contracts.ContractError(f"{costs}: holds {len(spent)} rows, not one")
    return Run(**{name: facts[name] for name in names}, training=rows, cost=spent[0] if spent else None)
