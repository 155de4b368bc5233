"""Tables of cross-modal prompting: scores with what they cost, paired gains, settings, trainings, and published numbers.

A prompter between encoders with random weights is marked and never counts as best: its numbers show nothing.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from earshot import comparing, contracts, published_numbers
from earshot.comparing import each, ends, gain_of, one_seed_note, setting, significant, spread, switch, tested_note
from earshot.data_facts import with_data
from earshot.pages import write_tables
from earshot.parse_tables import short
from earshot.prompt_runs import Run, read_runs
from earshot.seed_scores import ALL_SEEDS
from earshot.tables import (
    DAGGER,
    DASH,
    About,
    Row,
    Table,
    flat,
    interval,
    leading,
    number,
    saying,
    tidy_csv,
)

MARK = "⚠ random encoders"
NO_PROMPTERS = ("none", "none_clip")  # the plug-ins without modules: the frozen encoders and the head alone
_MODULES = ("dgsct", "dgsct_clip")  # the plug-ins that headlines are about, where one was run under its own name
_PUBLISHED = Path(published_numbers.__file__).parent / "published"
_ON_TEST = ("ave", "avs", "few_zero_shot")  # published tables whose epoch was chosen on the test split (spec, trap 2)
_ZERO_SHOT = {"dgsct_clip": {"channel_weight": 0.3, "spatial_weight": 0.01}}  # published modules of zero-shot, if others
_PROTOCOLS = ("-shot", "weakly supervised")  # in a published row's note: another way to train
_COSTS = ("trained [M]", "share [%]", "peak memory [MB]")


@dataclass(frozen=True)
class Prompting(About):
    """What every caption says; `methods` are the prompters in the order of tables, and gains are over `reference`.

    A prompter's notes: `plugin`, `published` (its name in papers), `hyper` (what the config overrides of the `task` and of the
    `modules`) and `summary`. `task` holds the traits of the task's plug-in, and `plugins` are those that read the datasets.
    """

    reference: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics of the task, in the order of its tables."""
        return tuple(self.task["metrics"])

    @property
    def main(self) -> str:
        """The metric that headlines are about."""
        return str(self.task["select_by"])

    @property
    def items(self) -> str:
        """What is scored one by one."""
        return "Questions" if "question" in self.task.get("truth", ()) else "Videos"


def about(params: Any) -> Prompting:
    """From a job's params, which are called as here; `prompters` are dicts of a `variant` and its notes."""
    prompters = {given["variant"]: {k: v for k, v in given.items() if k != "variant"} for given in params.prompters}
    return Prompting(params.title, {}, params.split, params.seeds, prompters, params.reference, params.plugins, params.task)


def write(
    metrics: str,
    prompted: Sequence[str],
    training: Sequence[str],
    costs: Sequence[str],
    about: Prompting,
    markdown_out: str,
    csv_out: str,
    tidy_out: str,
    latex_out: str,
    html_out: str,
) -> None:
    """Write the tables of an experiment as Markdown, CSV (wide and tidy), LaTeX and HTML; inputs are paths of tables."""
    rows = contracts.read(metrics, contracts.PROMPT_METRICS)
    made = build(rows, with_data(about, metrics), read_runs(prompted, training, costs))
    outs = (markdown_out, csv_out, tidy_out, latex_out, html_out)
    write_tables(made, about.title, tidy_csv(rows, contracts.PROMPT_METRICS), outs)


def build(metrics: Sequence[Row], about: Prompting, runs: Sequence[Run] = ()) -> list[Table]:
    """All tables of PROMPT_METRICS, by dataset; those that have nothing to say are left out."""
    made: list[Table] = []
    for dataset in datasets(metrics):
        own = [run for run in runs if run.dataset == dataset]
        told: list[Table | None] = [score_table(metrics, own, about, dataset), gain_table(metrics, about, dataset)]
        told += [ablation_table(metrics, own, about, dataset), seed_table(metrics, about, dataset)]
        told += [training_table(own, about, dataset), published_table(metrics, own, about, dataset)]
        made += saying(about.data.get(dataset, ""), told)
    return made


def datasets(metrics: Iterable[Row]) -> list[str]:
    """Datasets in the order of the rows."""
    return list(dict.fromkeys(row["dataset"] for row in metrics))


def heading(metric: str) -> str:
    """The name of a metric in a table: `seg Type@AV`, `M_J`, `segment accuracy`, and `AQ` of a kind of questions."""
    if metric.startswith("f_score_"):
        return short(metric)
    kind = metric.removeprefix("accuracy_")
    return kind if kind[0].isupper() else metric.replace("_", " ")


def overall(metrics: Iterable[Row], metric: str, dataset: str) -> dict[str, Row]:
    """Rows over all seeds of a metric, by prompter."""
    wanted = (metric, dataset, ALL_SEEDS)
    return {row["prompter"]: row for row in metrics if (row["metric"], row["dataset"], row["seed"]) == wanted}


def unproven(metrics: Iterable[Row], dataset: str) -> set[str]:
    """The prompters whose numbers show nothing, for their encoders have random weights or saw made-up clips."""
    rows = (row for row in metrics if row["dataset"] == dataset)
    return {row["prompter"] for row in rows if row["encoders"].endswith(contracts.NO_RESULTS)}


def champion(metrics: Sequence[Row], about: Prompting, dataset: str) -> str:
    """The prompter that the headline is about: DG-SCT or, where none is called so, the last one; never one that is unproven."""
    others = unproven(metrics, dataset) | {about.reference}
    names = [name for name in about.order(overall(metrics, about.main, dataset)) if name not in others]
    return next((name for name in names if name in _MODULES), names[-1] if names else "")


def marked(prompter: str, beyond: Iterable[str]) -> str:
    """A prompter's name, with a mark where its numbers show nothing."""
    return f"{prompter} {MARK}" if prompter in beyond else prompter


def random_note(beyond: Iterable[str]) -> str:
    """What the mark means."""
    told = "the weights of the frozen encoders are random or they saw made-up clips, so these numbers show nothing."
    return f" {MARK}: {told}" if beyond else ""


def counted(rows: Iterable[Row], about: Prompting) -> str:
    """How many items were scored, of how many, split and seeds."""
    return setting(rows, about, "prompter", about.items)


def score_table(metrics: Sequence[Row], runs: Sequence[Run], about: Prompting, dataset: str) -> Table | None:
    """Prompters by metrics, the best and the second of each column emphasised, and what each prompter costs."""
    columns = {metric: overall(metrics, metric, dataset) for metric in about.metrics}
    names = about.order(columns[about.main])
    if not names:
        return None
    beyond, seen = unproven(metrics, dataset), {row["prompter"]: row["encoders"] for row in columns[about.main].values()}
    body, best, second = [], set(), set()
    for name in names:
        scores = (interval(columns[metric].get(name)) for metric in about.metrics)
        body.append((marked(name, beyond), seen[name], *scores, *_cost_cells([r for r in runs if r.prompter == name])))
    for place, rows in enumerate(columns.values(), start=2):
        first, next_ = leading({n: rows[p]["value"] for n, p in enumerate(names) if p in rows and p not in beyond})
        best |= {(n, place) for n in first}
        second |= {(n, place) for n in next_}
    caption = (
        f"{_what(about)} in percent, means over {about.items.lower()} and then over seeds, with 95 % bootstrap intervals over "
        f"videos. {_COSTS[0]} and {_COSTS[1]}: parameters that are trained, head included, and their share of all. "
        f"{_COSTS[2]}: of training, as the job measured it. {counted(columns[about.main].values(), about)}"
        f"{_fewer(columns, about)}{random_note(beyond)}{_protocol(runs, about)}{_unscored(columns, about)}"
    )
    header = ("prompter", "encoders", *map(heading, about.metrics), *_COSTS)
    title = f"Scores, task {about.task['plugin']}: {dataset}"
    return Table(f"scores-{dataset}", title, caption, header, tuple(body), frozenset(best), frozenset(second))


def _what(about: Prompting) -> str:
    if about.main.startswith("f_score_"):
        return "F-scores of segments (seg) and of events (evt)"
    if about.main.startswith("M_"):
        return "M_J, the mean intersection over union, and M_F, the F-measure (beta squared 0.3, clip by clip),"
    return "Accuracy"


def _cost_cells(runs: Sequence[Run]) -> list[str]:
    """Trained parameters, their share, and the highest peak memory of a prompter's seeds."""
    if not runs:
        return [DASH] * len(_COSTS)
    trained, total = runs[0].trainable, runs[0].total
    memory = [run.cost["memory"] for run in runs if run.cost]
    share = 100 * trained / total if total else math.nan
    return [number(trained / 1e6, 2), number(share), number(max(memory, default=math.nan), 0)]


def _fewer(columns: Mapping[str, Mapping[str, Row]], about: Prompting) -> str:
    """How many items are behind metrics that are not meant for all of them."""
    main = columns[about.main]
    sizes = {
        metric: max(row["n"] + row["n_missing"] for row in rows.values())
        for metric, rows in columns.items()
        if rows and any(name in main and _meant(row) != _meant(main[name]) for name, row in rows.items())
    }
    told = ", ".join(f"{heading(metric)} {size}" for metric, size in sizes.items())
    return f" Of these are meant for single columns: {told}." if told else ""


def _meant(row: Row) -> int:
    return int(row["n"] + row["n_missing"])


def _unscored(columns: Mapping[str, Mapping[str, Row]], about: Prompting) -> str:
    """Why there are dashes in place of numbers."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for metric, rows in columns.items():
        for name, row in rows.items():
            if not math.isfinite(row["value"]) and row["note"]:
                reasons.setdefault((name, row["note"]), []).append(heading(metric))
    order = about.order(name for name, _ in reasons)
    told = []
    for (name, note), where in sorted(reasons.items(), key=lambda item: order.index(item[0][0])):
        which = "" if len(where) == len(columns) else f", {', '.join(where)}"
        told.append(f" {DASH} {name}{which}: {note.rstrip('.')}.")
    return "".join(told)


def _protocol(runs: Sequence[Run], about: Prompting) -> str:
    """How the prompters were trained where publications did otherwise."""
    trained = [run for run in runs if run.training]
    if not trained:
        return ""
    parts = [
        _by_prompter(trained, about, lambda run: _KEPT.get(run.knob("train.keep"), "")),
        _by_prompter(trained, about, lambda run: _TRUNKS.get(run.trunk_mode, "")),
        _by_prompter(trained, about, lambda run: _STEPS.get(run.knob("train.accumulation"), "")),
        _by_prompter(trained, about, _finetuned),
        _by_prompter(trained, about, lambda run: f"{run.train_clips} training clips{_lost(run)}"),
    ]
    told = "; ".join(part for part in parts if part)
    return f" Trained here: {told}." if told else ""


def _finetuned(run: Run) -> str:
    return f"the encoder of {' and that of '.join(run.finetuned)} is trained as a whole" if run.finetuned else ""


def _lost(run: Run) -> str:
    return f", {run.train_missing} more could not be used" if run.train_missing else ""


_KEPT = {"best": "the epoch is the best one on the validation split", "last": "the last epoch is kept"}
_TRUNKS = {
    "eval": "frozen encoders stay in evaluation mode",
    "reference": "frozen encoders are in training mode, as published",
}
_STEPS = {
    "correct": "every batch counts for a step",
    "reference": "only the last batch before a step counts for it, as published",
}


def _by_prompter(runs: Sequence[Run], about: Prompting, tell: Any) -> str:
    """What is told of runs, with their names where they differ."""
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(tell(run), []).append(run.prompter)
    found.pop("", None)
    if len(found) < 2:
        return next(iter(found), "")
    return ", ".join(f"{words} ({', '.join(about.order(names))})" for words, names in found.items())


def gain_table(metrics: Sequence[Row], about: Prompting, dataset: str) -> Table | None:
    """Paired gains over the reference prompter, in points."""
    reference = about.reference
    columns = {metric: overall(metrics, gain_of(metric, reference), dataset) for metric in about.metrics}
    names = [name for name in about.order(name for rows in columns.values() for name in rows) if name != reference]
    if not names:
        return None
    beyond = unproven(metrics, dataset)
    tests = {metric: overall(metrics, f"{metric}_p_against_{reference}", dataset) for metric in about.metrics}
    marks = {metric: significant(rows, beyond) for metric, rows in tests.items()}
    body = []
    for name in names:
        cells = (
            interval(rows.get(name), sign=True, mark=DAGGER if name in marks[metric] else "")
            for metric, rows in columns.items()
        )
        body.append((marked(name, beyond), *cells))
    caption = (
        f"Gain over {reference} in points, on the same {about.items.lower()}, with 95 % paired bootstrap intervals over "
        f"videos, not corrected for the number of comparisons. {tested_note('prompters') if any(tests.values()) else ''}"
        f"{one_seed_note(about)}{counted(columns[about.main].values(), about)}{random_note(beyond)}"
    )
    header = ("prompter", *map(heading, about.metrics))
    return Table(f"gains-{dataset}", f"Gain over {reference}: {dataset}", caption, header, tuple(body))


def ablation_table(metrics: Sequence[Row], runs: Sequence[Run], about: Prompting, dataset: str) -> Table | None:
    """Prompters of one plug-in by the settings in which they differ; None if no plug-in was run in two settings."""
    scores = overall(metrics, about.main, dataset)
    gains = overall(metrics, gain_of(about.main, about.reference), dataset)
    varied: dict[str, dict[str, str]] = {}
    for plugin in dict.fromkeys(run.plugin for run in runs):
        own = {run.prompter: run.knobs() for run in runs if run.plugin == plugin and run.prompter in scores}
        varied |= comparing.differing(own)
    knobs = sorted({knob for own in varied.values() for knob in own})
    if not knobs:
        return None
    beyond, body = unproven(metrics, dataset), []
    for name in (name for name in about.order(scores) if name in varied or name == about.reference):
        settings = (switch(varied.get(name, {}).get(knob, "")) for knob in knobs)
        body.append((marked(name, beyond), *settings, interval(scores[name]), interval(gains.get(name), sign=True)))
    caption = (
        f"Prompters of one plug-in that differ in these settings, beside {about.reference}: {heading(about.main)} in percent "
        f"and gains over {about.reference} in points, with 95 % bootstrap intervals over videos. An empty cell: no such "
        f"setting, or none that differs. {counted(scores.values(), about)}{random_note(beyond)}"
    )
    header = ("prompter", *knobs, heading(about.main), f"gain, {heading(about.main)}")
    return Table(f"ablation-{dataset}", f"What each setting brings: {dataset}", caption, header, tuple(body))


def seed_table(metrics: Sequence[Row], about: Prompting, dataset: str) -> Table | None:
    """Mean and standard deviation over seeds of the metrics; None with a single seed."""
    by_seed: dict[tuple[str, str], list[float]] = {}
    for row in metrics:
        if row["dataset"] == dataset and row["seed"] != ALL_SEEDS and math.isfinite(row["value"]):
            by_seed.setdefault((row["prompter"], row["metric"]), []).append(row["value"])
    names = [name for name in about.order(name for name, _ in by_seed) if len(by_seed.get((name, about.main), ())) > 1]
    if not names:
        return None
    beyond = unproven(metrics, dataset)
    body = [(marked(n, beyond), *(spread(by_seed.get((n, metric), [])) for metric in about.metrics)) for n in names]
    caption = (
        "Mean and standard deviation over seeds in percent: how much one training run differs from another, which the "
        f"intervals over videos do not tell. Seeds {', '.join(map(str, about.seeds))}, split {about.split}."
        f"{random_note(beyond)}"
    )
    header = ("prompter", *map(heading, about.metrics))
    return Table(f"seeds-{dataset}", f"Spread over seeds: {dataset}", caption, header, tuple(body))


def training_table(runs: Sequence[Run], about: Prompting, dataset: str) -> Table | None:
    """What training ended with and what it took, by prompter."""
    own = [run for run in runs if run.training]
    if not own:
        return None
    body = []
    for name in about.order(run.prompter for run in own):
        group = [run for run in own if run.prompter == name]
        epochs = each([max(row["epoch"] for row in run.training) for run in group])
        kept = ", ".join(str(run.epoch) if run.epoch else DASH for run in group)
        loss, score = (ends([run.values(*where) for run in group]) for where in (("train", "loss"), ("val", about.main)))
        body.append((name, epochs, kept, loss, score, *_spent(group)))
    caption = (
        "Means over seeds at the first and at the last epoch, with the standard deviation over seeds at the last; the prompter "
        "that is scored has the weights of the epoch that was kept, by seed. Trained and all: parameters in millions. Time: "
        "median over epochs, and the mean of seeds; memory: the highest of all seeds; jobs share a machine with whatever else "
        "ran there. Estimated: memory of a training step, and multiplications of one clip's forward pass, told before anything "
        f"was allocated; {DASH}: not told."
    )
    header = (
        *("prompter", "epochs", "epoch kept", "loss", f"validation {heading(about.main)}", "trained [M]", "all [M]"),
        *("s an epoch", "peak memory [MB]", "estimated memory [MB]", "estimated GMAC a clip"),
    )
    return Table(f"training-{dataset}", f"What training took: {dataset}", caption, header, tuple(body))


def _spent(runs: Sequence[Run]) -> list[str]:
    """Cells of what training cost: parameters, time, memory, and estimates."""
    costs = [run.cost for run in runs if run.cost]
    seconds = statistics.fmean(cost["epoch_seconds"] for cost in costs) if costs else math.nan
    found = {name: max((cost[name] for cost in costs), default=math.nan) for name in ("memory", "estimated_memory")}
    macs = max((cost["estimated_macs"] for cost in costs), default=math.nan)
    millions = (number(count / 1e6, 2) for count in (runs[0].trainable, runs[0].total))
    return [*millions, number(seconds, 2), *(number(value, 0) for value in found.values()), number(macs / 1e9, 2)]


def published_table(metrics: Sequence[Row], runs: Sequence[Run], about: Prompting, dataset: str) -> Table | None:
    """Published scores on this set: those of our prompters beside ours, with the difference, then the others; test only.

    None if nothing was published for the dataset and the task.
    """
    printed = [row for row in printed_rows(about) if row.dataset.startswith(about.plugins.get(dataset, DASH))]
    if not printed or about.split != "test":
        return None
    beyond = unproven(metrics, dataset)
    names = [name for name in about.order(overall(metrics, about.main, dataset)) if name not in beyond]
    body: list[tuple[str, ...]] = []
    of = {run.prompter: run for run in runs}
    papers = {name: published_name(about, name, of.get(name)) for name in names}
    beside = {name: [row for row in printed if row.is_of(papers[name], of.get(name))] for name in names}
    for name, rows in beside.items():
        head = of[name].knob("head") if name in of else ""
        body += _beside(metrics, about, dataset, name, head, rows) if rows else []
    body += [row.cells(about) for row in printed if not any(row in rows for rows in beside.values())]
    caption = (
        f"{_what(about)} in percent on the test split, as published, and ours beside that of the same name where the modules "
        f"have the published settings.{_own_settings(about)}{_differences(runs, about)} "
        f"A difference is a question and no verdict. Reported: by the "
        f"paper named; retested: its run of somebody else's method. {DASH}: not printed where it was read."
    )
    header = ("prompter", "encoders", *map(heading, about.metrics), "kind", "from")
    return Table(f"published-{dataset}", f"Beside published numbers: {dataset}", caption, header, tuple(body))


def published_name(about: Prompting, prompter: str, run: Run | None = None) -> str:
    """What papers call a prompter whose modules have the published settings, in zero-shot as there; empty for any other."""
    note = about.methods.get(prompter, {})
    wanted = _ZERO_SHOT.get(note.get("plugin", ""), {}) if run and run.shots == "zero-shot" else {}
    return str(note.get("published", "")) if dict(note.get("hyper", {}).get("modules") or {}) == wanted else ""


def _own_settings(about: Prompting) -> str:
    """The task's settings that the config sets, for whatever they are in publications."""
    own = {key for note in about.methods.values() for key, _ in flat(dict(note.get("hyper", {}).get("task") or {}))}
    return f" Set here, and not as published: {', '.join(sorted(own))}." if own else ""


def _differences(runs: Sequence[Run], about: Prompting) -> str:
    """In what the protocols differ."""
    epoch = "the epoch of DG-SCT was the best one on the test split" if about.task.get("published") in _ON_TEST else ""
    told = [
        words
        for words, differs in (
            (epoch, True),
            ("its frozen encoders were in training mode", any(run.trunk_mode == "eval" for run in runs)),
            (
                "it drops the gradients of all batches but the last of a step",
                about.task.get("published") == "ave" and any(run.knob("train.accumulation") == "correct" for run in runs),
            ),
            ("its M_F pools the clips of a batch of 4", "M_F" in about.metrics),
            ("its gates weigh 0.1 in training and 0.05 in test", about.task["plugin"] == "avs_ms3"),
            ("its head goes on from an earlier stage of training", about.task["plugin"] == "avqa"),
            ("papers of before April 2024 were scored by earlier audio events of LLP", about.task["plugin"] == "avvp"),
            ("it computes in single precision", any(run.knob("train.precision") == "bf16" for run in runs)),
        )
        if words and differs
    ]
    return f" Protocols differ: {'; '.join(told)}." if told else ""


class _Printed(NamedTuple):
    """The published scores of a method by metric."""

    method: str
    dataset: str
    encoders: str
    kind: str
    paper: str
    protocol: str
    values: Mapping[str, float]

    def is_of(self, published: str, run: Run | None) -> bool:
        """Whether the row is of the method that papers call so, learnt from as many clips as in a run.

        What stands in brackets tells rows of one method apart.
        """
        few = self.protocol if self.protocol.endswith("-shot") else ""
        return bool(published) and self.method.partition(" (")[0] == published and few == (run.shots if run else few)

    def cells(self, about: Prompting) -> tuple[str, ...]:
        """A row of the table."""
        scores = (number(self.values.get(metric, math.nan)) for metric in about.metrics)
        return (self.method, self.encoders or DASH, *scores, self.kind, ", ".join(filter(None, (self.paper, self.protocol))))


def printed_rows(about: Prompting) -> list[_Printed]:
    """Published scores of the task in the order of its file, one row a method and paper.

    Raises ContractError if the task names a file that is not there.
    """
    name, task = about.task.get("published"), about.task["plugin"]
    path = _PUBLISHED / f"{name}.csv"
    if not name:
        return []
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _PUBLISHED.glob("*.csv")))
        raise contracts.ContractError(f"task '{task}' names published numbers '{name}', which are none of {known}")
    tables: dict[tuple[str, str, str, str, str, str], dict[str, float]] = {}
    for row in published_numbers.read_csv(path):
        where, _, whose = row["table"].rpartition(": ")
        if (not where or whose == task) and row["metric"] in about.metrics:
            protocol = row["note"].rpartition("; ")[2] if any(word in row["note"] for word in _PROTOCOLS) else ""
            key = (row["method"], row["dataset"], row["backbone"], row["kind"], row["paper"], protocol)
            tables.setdefault(key, {})[row["metric"]] = row["value"]
    return [_Printed(*key, values) for key, values in tables.items()]


def _beside(
    metrics: Sequence[Row], about: Prompting, dataset: str, prompter: str, head: str, printed: Sequence[_Printed]
) -> list[tuple[str, ...]]:
    """Our scores, with the `head` where the task has several, and for each set of published ones these and the difference."""
    ours = {metric: overall(metrics, metric, dataset)[prompter] for metric in about.metrics}
    cells = [interval(row) for row in ours.values()]
    lines = [(f"{prompter}, ours{head and f', head {head}'}", ours[about.main]["encoders"], *cells, "", "this experiment")]
    for found in printed:
        gaps = [ours[metric]["value"] - found.values.get(metric, math.nan) for metric in about.metrics]
        lines += [found.cells(about), ("difference", "", *(number(gap, sign=True) for gap in gaps), "", "ours less theirs")]
    return lines
