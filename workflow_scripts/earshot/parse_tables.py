"""Tables of audio-visual video parsing: F-scores, paired gains, classes, what training ended with, and published numbers.

A parser that was shown labels of the test clips is marked and never counts as best.
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
from earshot.metrics.parsing_f_score import KINDS, LEVELS, METRICS
from earshot.pages import write_tables
from earshot.parse_runs import Run, free_mu, knobs, learnt, read_runs
from earshot.scoring import ALL_SEEDS
from earshot.tables import (
    DAGGER,
    DASH,
    About,
    Row,
    Table,
    interval,
    leading,
    number,
    saying,
    tidy_csv,
)

LEAK = "⚠ leak"
MAIN = "f_score_seg_TypeAV"
_EVENTS = "f_score_seg_EventAV"
_SUMMARIES = (MAIN, "f_score_evt_TypeAV")  # of the ablation
_PUBLISHED = Path(published_numbers.__file__).parent / "published" / "llp_avvp.csv"
_LLP = "llp"
_MOST_CLASSES = 30  # all are listed up to here, else the extremes
_EXTREMES = 5  # classes at either end
_MODULE = "link"  # the plug-in that the headline is about, where it was run under its own name
_LEAK_SAID = (
    f" {LEAK}: labels of the clips that are scored were shown to the parser, so its row is no result and never counts as best."
)


@dataclass(frozen=True)
class Parsing(About):
    """What every caption says; `methods` are the parsers in the order of tables, and gains are over `reference`.

    A parser's notes: `plugin`, `published` (its name in papers), `hyper` (what the config overrides), `features` and `summary`.
    `plugins` are those that read the datasets.
    """

    reference: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)


def about(params: Any) -> Parsing:
    """From a job's params, which are called as here; `parsers` are dicts of a `variant` and its notes."""
    parsers = {given["variant"]: {k: v for k, v in given.items() if k != "variant"} for given in params.parsers}
    return Parsing(params.title, {}, params.split, params.seeds, parsers, params.reference, params.plugins)


def write(
    metrics: str,
    by_class: str,
    parses: Sequence[str],
    training: Sequence[str],
    about: Parsing,
    markdown_out: str,
    csv_out: str,
    tidy_out: str,
    latex_out: str,
    html_out: str,
) -> None:
    """Write the tables of an experiment as Markdown, CSV (wide and tidy), LaTeX and HTML; inputs are paths of tables."""
    rows = contracts.read(metrics, contracts.PARSING_METRICS)
    classes = contracts.read(by_class, contracts.PARSING_CLASS_METRICS)
    made = build(rows, with_data(about, metrics), classes, read_runs(parses, training))
    outs = (markdown_out, csv_out, tidy_out, latex_out, html_out)
    write_tables(made, about.title, tidy_csv(rows, contracts.PARSING_METRICS), outs)


def build(metrics: Sequence[Row], about: Parsing, by_class: Sequence[Row] = (), runs: Sequence[Run] = ()) -> list[Table]:
    """All tables of PARSING_METRICS and PARSING_CLASS_METRICS, by dataset; those that have nothing to say are left out."""
    made: list[Table] = []
    for dataset in datasets(metrics):
        own = [score_table(metrics, about, dataset), gain_table(metrics, about, dataset)]
        own += [ablation_table(metrics, runs, about, dataset), seed_table(metrics, about, dataset)]
        own += [class_table(metrics, by_class, about, dataset, level) for level in LEVELS.values()]
        own += [learnt_table(runs, about, dataset), published_table(metrics, about, dataset)]
        made += saying(about.data.get(dataset, ""), own)
    return made


def datasets(metrics: Iterable[Row]) -> list[str]:
    """Datasets in the order of the rows."""
    return list(dict.fromkeys(row["dataset"] for row in metrics))


def short(metric: str) -> str:
    """The name of a score in a table: `seg Type@AV`."""
    level, kind = metric.removeprefix("f_score_").split("_")
    return f"{level} {kind.replace('TypeAV', 'Type@AV').replace('EventAV', 'Event@AV')}"


def overall(metrics: Iterable[Row], metric: str, dataset: str) -> dict[str, Row]:
    """Rows over all seeds of a metric, by parser."""
    wanted = (metric, dataset, ALL_SEEDS)
    return {row["parser"]: row for row in metrics if (row["metric"], row["dataset"], row["seed"]) == wanted}


def leaky(metrics: Iterable[Row], dataset: str) -> set[str]:
    """The parsers that were shown labels of the clips they are scored on."""
    return {row["parser"] for row in metrics if row["dataset"] == dataset and row["leak"]}


def unproven(metrics: Iterable[Row], dataset: str) -> set[str]:
    """The parsers whose numbers are no result: those that leak, or whose features are made up or of an untrained model."""
    made_up = {row["parser"] for row in metrics if row["dataset"] == dataset and row["features"].endswith(contracts.NO_RESULTS)}
    return made_up | leaky(metrics, dataset)


def champion(metrics: Sequence[Row], about: Parsing, dataset: str) -> str:
    """The parser that the headline is about: LINK or, where none is called so, the last one; never one that is unproven."""
    others = unproven(metrics, dataset) | {about.reference}
    names = [name for name in about.order(overall(metrics, MAIN, dataset)) if name not in others]
    return _MODULE if _MODULE in names else names[-1] if names else ""


def score_table(metrics: Sequence[Row], about: Parsing, dataset: str) -> Table | None:
    """The ten F-scores: parsers by scores, the best and the second of each column emphasised."""
    columns = {metric: overall(metrics, metric, dataset) for metric in METRICS}
    names = about.order(columns[MAIN])
    if not names:
        return None
    leaks, seen = leaky(metrics, dataset), {row["parser"]: row["features"] for row in columns[MAIN].values()}
    body = [(_marked(n, leaks), seen[n], *(interval(columns[metric].get(n)) for metric in METRICS)) for n in names]
    best, second, beyond = set(), set(), unproven(metrics, dataset)
    for place, rows in enumerate(columns.values(), start=2):
        first, next_ = leading({n: rows[p]["value"] for n, p in enumerate(names) if p in rows and p not in beyond})
        best |= {(n, place) for n in first}
        second |= {(n, place) for n in next_}
    caption = (
        "F-scores in percent at the level of segments (seg) and of events (evt), means over videos and then over seeds, with "
        "95 % bootstrap intervals over videos. Type@AV is the mean of A, V and AV; Event@AV counts audio and visual events "
        f"together. {setting(columns[MAIN].values(), about)}{_leak_note(leaks)}{_made_up_note(beyond - leaks)}"
        f"{_silent(columns[_EVENTS], about)}{_unscored(columns[MAIN], about)}"
    )
    header = ("parser", "features", *map(short, METRICS))
    return Table(f"scores-{dataset}", f"F-scores: {dataset}", caption, header, tuple(body), frozenset(best), frozenset(second))


def _marked(parser: str, leaks: Iterable[str]) -> str:
    return f"{parser} {LEAK}" if parser in leaks else parser


def _leak_note(leaks: Iterable[str]) -> str:
    return _LEAK_SAID if leaks else ""


def _silent(rows: Mapping[str, Row], about: Parsing) -> str:
    """Which parsers found nothing at all, whose scores would look like something."""
    found_nothing = about.order(name for name, row in rows.items() if row["value"] == 0)
    told = "found no event in any video: what they score is for videos of which nothing is true in a modality."
    return f" {', '.join(found_nothing)} {told}" if found_nothing else ""


def _made_up_note(parsers: Iterable[str]) -> str:
    told = ", ".join(sorted(parsers))
    return f" {told}: features that are made up or of an untrained model, so no result." if told else ""


def _unscored(rows: Mapping[str, Row], about: Parsing) -> str:
    """Why parsers have dashes in place of numbers."""
    reasons = {parser: row["note"] for parser, row in rows.items() if not math.isfinite(row["value"]) and row["note"]}
    return "".join(f" {DASH} {parser}: {reasons[parser].rstrip('.')}." for parser in about.order(reasons))


def gain_table(metrics: Sequence[Row], about: Parsing, dataset: str) -> Table | None:
    """Paired gains over the reference parser, in points."""
    reference = about.reference
    columns = {metric: overall(metrics, gain_of(metric, reference), dataset) for metric in METRICS}
    names = [name for name in about.order(name for rows in columns.values() for name in rows) if name != reference]
    if not names:
        return None
    leaks = leaky(metrics, dataset)
    marks = {metric: significant(overall(metrics, f"{metric}_p_against_{reference}", dataset), leaks) for metric in METRICS}
    body = []
    for name in names:
        cells = [
            interval(rows.get(name), sign=True, mark=DAGGER if name in marks[metric] else "")
            for metric, rows in columns.items()
        ]
        body.append((_marked(name, leaks), *cells))
    tested = any(row["metric"].endswith(f"_p_against_{reference}") for row in metrics)
    caption = (
        f"Gain over {reference} in points of F-score, on the same videos, with 95 % paired bootstrap intervals over videos, "
        f"not corrected for the number of comparisons. {tested_note('parsers') if tested else ''}{one_seed_note(about)}"
        f"{setting(columns[MAIN].values(), about)}{_leak_note(leaks)}"
    )
    header = ("parser", *map(short, METRICS))
    return Table(f"gains-{dataset}", f"Gain over {reference}: {dataset}", caption, header, tuple(body))


def ablation_table(metrics: Sequence[Row], runs: Sequence[Run], about: Parsing, dataset: str) -> Table | None:
    """Variants of one plug-in by the settings in which they differ; None if no plug-in was run in two settings."""
    scores = overall(metrics, MAIN, dataset)
    varied = _differing([run for run in runs if run.dataset == dataset and run.parser in scores])
    columns = sorted({knob for own in varied.values() for knob in own})
    if not columns:
        return None
    leaks, body = leaky(metrics, dataset), []
    for name in about.order(scores):
        if name in varied or name == about.reference:
            switches = [switch(varied.get(name, {}).get(knob, "")) for knob in columns]
            body.append((_marked(name, leaks), *switches, *_summary(metrics, about, dataset, name)))
    caption = (
        f"Parsers of one plug-in that differ in these settings, beside {about.reference}: F-scores in percent and gains over "
        f"{about.reference} in points, with 95 % bootstrap intervals over videos. An empty cell: no such setting, or "
        f"none that differs. {setting(scores.values(), about)}{_leak_note(leaks)}"
    )
    heads = [head for metric in _SUMMARIES for head in (short(metric), f"gain, {short(metric)}")]
    return Table(
        f"ablation-{dataset}", f"What each setting brings: {dataset}", caption, ("parser", *columns, *heads), tuple(body)
    )


def _differing(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """For each parser whose plug-in was run in several settings: those of its settings that are not equal in all of them."""
    found: dict[str, dict[str, str]] = {}
    for plugin in dict.fromkeys(run.plugin for run in runs):
        group = {run.parser: {"features": run.features, **knobs(run)} for run in runs if run.plugin == plugin}
        found |= comparing.differing(group)
    return found


def _summary(metrics: Sequence[Row], about: Parsing, dataset: str, parser: str) -> list[str]:
    """Score and gain at both levels."""
    cells = []
    for metric in _SUMMARIES:
        gains = overall(metrics, gain_of(metric, about.reference), dataset)
        cells += [interval(overall(metrics, metric, dataset).get(parser)), interval(gains.get(parser), sign=True)]
    return cells


def seed_table(metrics: Sequence[Row], about: Parsing, dataset: str) -> Table | None:
    """Mean and standard deviation over seeds of the ten scores; None with a single seed."""
    by_seed: dict[tuple[str, str], list[float]] = {}
    for row in metrics:
        if row["dataset"] == dataset and row["seed"] != ALL_SEEDS and math.isfinite(row["value"]):
            by_seed.setdefault((row["parser"], row["metric"]), []).append(row["value"])
    names = [name for name in about.order(name for name, _ in by_seed) if len(by_seed.get((name, MAIN), ())) > 1]
    if not names:
        return None
    leaks = leaky(metrics, dataset)
    body = [(_marked(name, leaks), *(spread(by_seed.get((name, metric), [])) for metric in METRICS)) for name in names]
    caption = (
        "Mean and standard deviation over seeds of the F-scores in percent: how much one training run differs from another, "
        f"which the intervals over videos do not tell. Seeds {', '.join(map(str, about.seeds))}, split {about.split}."
        f"{_leak_note(leaks)}"
    )
    return Table(f"seeds-{dataset}", f"Spread over seeds: {dataset}", caption, ("parser", *map(short, METRICS)), tuple(body))


def class_table(metrics: Sequence[Row], by_class: Sequence[Row], about: Parsing, dataset: str, level: str) -> Table | None:
    """F of each class at a level, of the reference and of the headline's parser; of many classes only the extremes."""
    compared = [name for name in (about.reference, champion(metrics, about, dataset)) if name]
    found = {
        (row["parser"], row["name"], row["kind"]): row
        for row in by_class
        if (row["dataset"], row["level"]) == (dataset, level) and row["parser"] in compared
    }
    names = list(dict.fromkeys(name for _, name, _ in found))
    if not names:
        return None
    compared = [parser for parser in compared if any(key[0] == parser for key in found)]
    order = sorted(names, key=lambda name: (-_mean_f(found, compared[-1], name), name))
    shown = order if len(order) <= _MOST_CLASSES else [*order[:_EXTREMES], *order[-_EXTREMES:]]
    body = [(name, *(cell for kind in KINDS for cell in _class_cells(found, compared, name, kind))) for name in shown]
    few = f"the {_EXTREMES} best and {_EXTREMES} worst of {len(order)}" if len(shown) < len(order) else f"all {len(order)}"
    caption = (
        f"F-score in percent of classes at the level of {level}s, {few}, best first: of counts summed over videos and seeds, "
        f"which is another mean than that of the scores above. n: true {level}s in the split {about.split}. {DASH}: neither "
        "true nor predicted. A class has few videos: this shows where to look, and no test was made."
    )
    header = ("class", *(head for kind in KINDS for head in (f"n {kind}", *(f"{kind}, {parser}" for parser in compared))))
    return Table(f"classes-{level}-{dataset}", f"Classes, by {level}: {dataset}", caption, header, tuple(body))


def _mean_f(found: Mapping[tuple[str, str, str], Row], parser: str, name: str) -> float:
    """The mean over kinds of a class's F; below all others where it has none."""
    values = [found[parser, name, kind]["f_score"] for kind in KINDS if (parser, name, kind) in found]
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else -1.0


def _class_cells(found: Mapping[tuple[str, str, str], Row], compared: Sequence[str], name: str, kind: str) -> list[str]:
    rows = [found.get((parser, name, kind)) for parser in compared]
    count = next((str(row["n"]) for row in rows if row), DASH)
    return [count, *(number(row["f_score"]) if row else DASH for row in rows)]


def learnt_table(runs: Sequence[Run], about: Parsing, dataset: str) -> Table | None:
    """What training ended with, by parser: epochs, the epoch that was kept, loss, and the scalars of the modules."""
    own = [run for run in runs if run.dataset == dataset and run.training]
    if not own:
        return None
    scalars = learnt(own)
    body = []
    for name in about.order(run.parser for run in own):
        group = [run for run in own if run.parser == name]
        epochs = [max(row["epoch"] for row in run.training) for run in group]
        kept = [str(run.epoch) if run.epoch else DASH for run in group]
        told = [ends([run.values("train", metric) for run in group]) for metric in ("loss", *scalars)]
        body.append((_marked(name, {r.parser for r in group if r.leak}), each(epochs), ", ".join(kept), *told))
    caption = (
        "Means over seeds at the first and at the last epoch, with the standard deviation over seeds at the last; the parser "
        "that is scored has the weights of the epoch that was kept, by seed. lambda is the mean weight of the similarity loss "
        f"in an epoch; alpha beta is the gate of what one modality takes from the other.{_drift_note(own)}"
    )
    header = ("parser", "epochs", "epoch kept", "loss", *(name.replace("_", " ") for name in scalars))
    return Table(f"learnt-{dataset}", f"What training ended with: {dataset}", caption, header, tuple(body))


def _drift_note(runs: Sequence[Run]) -> str:
    if not any(free_mu(run) for run in runs):
        return ""
    return (
        " Where mu is learnable, descent moves it towards 1, since lambda multiplies a loss that is not negative: at 1 every "
        "weight is 1 and S-LOSS is the plain similarity loss."
    )


def published_table(metrics: Sequence[Row], about: Parsing, dataset: str) -> Table | None:
    """Published scores on LLP: those of our parsers beside ours, with the difference, then the others; test split only."""
    if about.plugins.get(dataset) != _LLP or about.split != "test":
        return None
    printed = _printed_rows()
    beyond = unproven(metrics, dataset)
    parsers = [name for name in about.order(overall(metrics, MAIN, dataset)) if name not in beyond]
    body: list[tuple[str, ...]] = []
    for name in parsers:
        beside = [row for row in printed if is_called(name, about, row.method)]
        body += _beside(metrics, dataset, name, beside) if beside else []
    body += [row.cells() for row in printed if not any(is_called(name, about, row.method) for name in parsers)]
    caption = (
        "Published F-scores in percent on the test split of LLP, and ours beside those of the same name. Features, the version "
        "of the audio annotations and the choice of the epoch differ, so a difference is a question and no verdict. "
        f"{DASH}: not printed where it was read."
    )
    header = ("parser", "features", *map(short, METRICS), "from")
    return Table(f"published-{dataset}", f"Beside published numbers: {dataset}", caption, header, tuple(body))


def is_called(parser: str, about: Parsing, published: str) -> bool:
    """Whether a parser is the one of a published name: a variant of that plug-in of which no module is switched off."""
    note = about.methods.get(parser, {})
    groups = [group for group in note.get("hyper", {}).values() if isinstance(group, Mapping)]
    return note.get("published") == published and all(group.get("enabled", True) for group in groups)


class _Printed(NamedTuple):
    """The published scores of a method, and the papers that print just these."""

    method: str
    values: Mapping[str, float]
    features: list[str]
    papers: list[str]

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        scores = (number(self.values.get(metric, math.nan)) for metric in METRICS)
        return (self.method, next(filter(None, self.features), DASH), *scores, "; ".join(self.papers))


def _printed_rows() -> list[_Printed]:
    """Published scores in the order of the file; papers that print the same numbers share a row."""
    tables: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in published_numbers.read_csv(_PUBLISHED):
        tables.setdefault((row["method"], row["backbone"], row["paper"]), {})[row["metric"]] = row["value"]
    found: list[_Printed] = []
    for (method, features, paper), values in tables.items():
        same = next((row for row in found if (row.method, row.values) == (method, values)), None)
        if same is None:
            found.append(_Printed(method, values, [features], [paper]))
        else:
            same.features.append(features)
            same.papers.append(paper)
    return found


def _beside(metrics: Sequence[Row], dataset: str, parser: str, printed: Sequence[_Printed]) -> list[tuple[str, ...]]:
    """Our scores, and for each set of published ones these and the difference."""
    ours = {metric: overall(metrics, metric, dataset)[parser] for metric in METRICS}
    cells = [interval(row) for row in ours.values()]
    lines = [(f"{parser}, ours", ours[MAIN]["features"], *cells, "this experiment")]
    for found in printed:
        gaps = [
            ours[metric]["value"] - found.values.get(metric, math.nan) if metric in ours else math.nan for metric in METRICS
        ]
        lines += [found.cells(), ("difference", "", *(number(gap, sign=True) for gap in gaps), "ours less theirs")]
    return lines
