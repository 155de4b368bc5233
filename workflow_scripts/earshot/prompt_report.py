"""One self-contained HTML page of a prompting experiment: no request leaves it, and it needs no script.

As in `parse_report`: `collect` reads tables and figures into plain values, `render` fills `templates/prompting.html.j2`, and
the headline is computed from the numbers. It says so when there is no gain, and when encoders with random weights show nothing.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earshot import all_numbers, contracts, pages, report
from earshot.all_numbers import AllNumbers
from earshot.comparing import gain_of
from earshot.data_facts import with_data
from earshot.figures import MUTED
from earshot.files import write_text
from earshot.overview import write_summary
from earshot.parse_report import (
    Finding,
    drawn_figures,
    gain_in_words,
    of_seeds,
    pictures,
    reasons,
    remarks_grids,
    verdict,
    videos_grids,
)
from earshot.predictions import read_frame
from earshot.prompt_runs import Run, read_runs
from earshot.prompt_tables import (
    MARK,
    Prompting,
    build,
    champion,
    counted,
    datasets,
    heading,
    overall,
    unproven,
)
from earshot.report import Card, Grid, Headline
from earshot.tables import DASH, Row, Table, flat, number

_PUBLISHED_SHARE = "201.2 of 427.7 million parameters (47 %)"  # of the AVE model, counted on the published sizes (spec, 5)


@dataclass(frozen=True)
class Paths:
    """Where the tables and figures of an experiment are; `environment` may be empty."""

    metrics: str
    figures: str
    prompted: Sequence[str]
    training: Sequence[str] = ()
    costs: Sequence[str] = ()
    clips: Sequence[str] = ()
    classes: Sequence[str] = ()
    environment: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PromptingData:
    """Everything that the page shows, as plain values; pictures are data URIs."""

    title: str
    experiment: str
    task: str
    setting: str
    verdict: Headline
    headlines: Sequence[Headline]
    warning: str
    cards: Sequence[Card]
    gallery: Sequence[Mapping[str, Any]]
    prompters: Sequence[Mapping[str, Any]]
    tables: Sequence[Table]
    training: Sequence[Table]
    parting: Sequence[Grid]
    findings: Sequence[Finding]
    figures: Mapping[str, Sequence[Mapping[str, Any]]]
    data: Sequence[Grid]
    environment: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]
    numbers: AllNumbers


def write(paths: Paths, about: Prompting, experiment: str, html_out: str, summary_out: str) -> None:
    """Write the page of an experiment, and what it says first."""
    data = collect(paths, about, experiment)
    write_text(html_out, render(data))
    write_summary(data, summary_out)


def collect(paths: Paths, about: Prompting, experiment: str) -> PromptingData:
    """Read everything that a page shows."""
    about = with_data(about, paths.metrics)
    metrics = contracts.read(paths.metrics, contracts.PROMPT_METRICS)
    runs, known = read_runs(paths.prompted, paths.training, paths.costs), datasets(metrics)
    index = json.loads(Path(paths.figures, "figures.json").read_text(encoding="utf-8"))
    tables = build(metrics, about, runs)
    headlines = [headline(metrics, about, dataset) for dataset in known]
    listed = report.Paths("", paths.figures, clips=paths.clips, classes=paths.classes)
    return PromptingData(
        title=about.title or experiment,
        experiment=experiment,
        task=str(about.task.get("summary", about.task["plugin"])),
        setting=" ".join(f"{name}: {counted(overall(metrics, about.main, name).values(), about)}" for name in known),
        verdict=verdict(headlines),
        headlines=headlines,
        warning=warning(metrics),
        cards=cards(metrics, runs, about, known[0]) if known else [],
        gallery=pictures(index, Path(paths.figures)),
        prompters=_prompters(metrics, about, index["look"]),
        tables=[table for table in tables if not table.name.startswith("training-")],
        training=[table for table in tables if table.name.startswith("training-")],
        parting=parting_grids(index["parting"], about),
        findings=findings(runs, about),
        figures=drawn_figures(index, Path(paths.figures)),
        data=[
            prompted_grid(paths.prompted, about),
            report.datasets_grid(listed, about, known),
            *videos_grids(listed, about, known),
            *remarks_grids(paths.clips),
        ],
        environment=report.environment_rows(paths.environment),
        files=list(paths.files.items()),
        numbers=all_numbers.of(metrics),
    )


def render(data: PromptingData) -> str:
    """Fill the template; returns HTML."""
    return pages.environment().get_template("prompting.html.j2").render(data=data)


def warning(metrics: Iterable[Row]) -> str:
    """What random encoders mean for the whole page; empty where there are none."""
    beyond = dict.fromkeys(row["prompter"] for row in metrics if row["encoders"].endswith(contracts.NO_RESULTS))
    if not beyond:
        return ""
    return (
        f"The frozen encoders of {', '.join(beyond)} have random weights or saw made-up clips. What they score, where they "
        "look and how classes part tells that the workflow runs, and shows nothing of the methods."
    )


def headline(metrics: Sequence[Row], about: Prompting, dataset: str) -> Headline:
    """What the headline's prompter brings over the reference, whether it is a gain, a loss or neither."""
    method, reference = champion(metrics, about, dataset), about.reference
    gain = overall(metrics, gain_of(about.main, reference), dataset).get(method)
    if gain is None or not math.isfinite(gain["value"]) or reference in unproven(metrics, dataset):
        return _plain_headline(metrics, about, dataset)
    points, name = number(abs(gain["value"])), heading(about.main)
    if gain["low"] > 0:
        text, tone = f"{method} scores {points} points better than {reference}.", "good"
    elif gain["high"] < 0:
        text, tone = f"{method} scores {points} points worse than {reference}.", "bad"
    else:
        text, tone = f"{method} makes no reliable difference to {reference}.", "even"
    scores = overall(metrics, about.main, dataset)
    ends = " and ".join(f"{one} reaches {_percent(scores[one])}" for one in (reference, method) if one in scores)
    detail = f"{name}: {gain_in_words(gain)}, on the same {gain['n']} {about.items.lower()}{of_seeds(about)}. {ends}."
    return Headline(text, detail, tone, dataset)


def _percent(row: Row) -> str:
    return f"{number(row['value'])} %"


def _plain_headline(metrics: Sequence[Row], about: Prompting, dataset: str) -> Headline:
    """For experiments in which nothing can be compared."""
    scores = overall(metrics, about.main, dataset)
    beyond = unproven(metrics, dataset)
    scored = [row for row in scores.values() if math.isfinite(row["value"])]
    if not scored:
        return Headline(f"No {about.items.lower()[:-1]} could be scored.", "See the data problems below.", "bad", dataset)
    rows = [row for row in scored if row["prompter"] not in beyond]
    if not rows:
        encoders = ", ".join(dict.fromkeys(row["encoders"] for row in scored))
        return Headline("These numbers show nothing.", f"Frozen encoders: {encoders}.", "even", dataset)
    best = max(rows, key=lambda row: row["value"])
    text = f"{best['prompter']} reaches {_percent(best)} {heading(about.main)}."
    detail = f"Nothing is compared with {about.reference} ({best['n']} {about.items.lower()})."
    return Headline(text, detail, "even", dataset)


def cards(metrics: Sequence[Row], runs: Sequence[Run], about: Prompting, dataset: str) -> list[Card]:
    """Key figures of one dataset: scores of the headline's prompter and of the reference, and what is trained."""
    method = champion(metrics, about, dataset) or about.reference
    beyond = unproven(metrics, dataset)
    if method in beyond:
        return []
    others = [(metric, method) for metric in about.metrics if metric != about.main][:2]
    made = []
    for metric, prompter in dict.fromkeys([(about.main, method), (about.main, about.reference), *others]):
        row = overall(metrics, metric, dataset).get(prompter)
        if row and math.isfinite(row["value"]) and prompter not in beyond:
            interval = f"{number(row['low'])} to {number(row['high'])}"
            made.append(Card(_percent(row), f"{prompter}: {heading(metric)}", interval))
    for row in [row for name, row in overall(metrics, about.main, dataset).items() if name == method]:
        made.append(
            Card(str(row["n"]), f"of {row['n'] + row['n_missing']} {about.items.lower()} scored", f"split {about.split}")
        )
    for run in [run for run in runs if (run.dataset, run.prompter) == (dataset, method)][:1]:
        share = number(100 * run.trainable / run.total) if run.total else DASH
        made.append(Card(f"{number(run.trainable / 1e6, 2)} M", f"{method}: parameters trained", f"{share} % of all"))
    return made


def findings(runs: Sequence[Run], about: Prompting) -> list[Finding]:
    """What share of all parameters DG-SCT trains, where a prompter of the experiment is of that plug-in."""
    told: dict[str, str] = {}
    for run in runs:
        if run.plugin == "dgsct" and run.total:
            millions = f"{number(run.trainable / 1e6, 2)} of {number(run.total / 1e6, 2)} million parameters"
            told.setdefault(run.prompter, f"{run.prompter} trains {millions} ({number(100 * run.trainable / run.total)} %)")
    if not told:
        return []
    here = "; ".join(told[name] for name in about.order(told))
    text = (
        f"Prompting is said to need few trained parameters. With the published sizes DG-SCT for AVE trains {_PUBLISHED_SHARE}; "
        f"here {here}, head included. Gradients pass through all of the encoders, frozen or not."
    )
    return [Finding("What is trained", text)]


def parting_grids(parting: Mapping[str, Sequence[Sequence[Any]]], about: Prompting) -> list[Grid]:
    """How well classes part in the vectors of each prompter, by dataset."""
    made = []
    for dataset, rows in parting.items():
        order = about.order(row[0] for row in rows)
        lines = [
            (str(name), str(seed), str(modality), str(segments), str(classes), _figure(silhouette), _figure(ratio))
            for name, seed, modality, segments, classes, silhouette, ratio in sorted(rows, key=lambda row: order.index(row[0]))
        ]
        note = (
            "Of pooled vectors of segments that have a class, or whose clip has one where the task asks no more. "
            "Silhouette: from \N{MINUS SIGN}1 to 1, higher where they part. "
            "Within over between: mean distance to the centre of the own class over that between centres, lower where they "
            "part. Neither depends on the scale of the vectors; no test was made."
        )
        header = ("prompter", "seed", "of", "segments", "classes", "silhouette", "within over between")
        made += [Grid(f"How well classes part: {dataset}", header, lines, note)] if lines else []
    return made


def _figure(value: float | None) -> str:
    return DASH if value is None else number(value, 3)


def _prompters(metrics: Sequence[Row], about: Prompting, look: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """What was run, in the order of the config."""
    seen = {row["prompter"]: row["encoders"] for row in metrics}
    made = []
    for prompter in about.order(seen):
        note = about.methods.get(prompter, {})
        told = {
            "name": prompter,
            "colour": look.get(prompter, {}).get("colour", MUTED),
            "random": MARK if seen[prompter].endswith(contracts.NO_RESULTS) else "",
            "reference": prompter == about.reference,
            "encoders": seen[prompter],
            "hyper": ", ".join(f"{key} = {value}" for key, value in flat(dict(note.get("hyper", {})))),
        }
        made.append(told | {key: note.get(key, "") for key in ("plugin", "summary")})
    return made


def prompted_grid(prompted: Sequence[str], about: Prompting) -> Grid:
    """How many items each prompter answered for with its first seed, of how many, and why not for the others."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for path in sorted(prompted, key=lambda path: contracts.facts_of(path)["seed"]):
        facts = contracts.facts_of(path)
        rows = read_frame(path, ["available", "problem"], contracts.PROMPTED)
        lost = rows.loc[~rows["available"], "problem"].tolist()
        told = (str(facts["encoders"]), f"{len(rows) - len(lost)} of {len(rows)}", reasons(lost))
        found.setdefault((facts["dataset"], facts["prompter"]), told)
    order = about.order(prompter for _, prompter in found)
    lines = [(*key, *found[key]) for key in sorted(found, key=lambda key: (key[0], order.index(key[1])))]
    note = f"{about.items} of the split {about.split}. One whose frames or sound cannot be read is missing in every table."
    return Grid(f"{about.items} predicted", ("dataset", "prompter", "encoders", "predicted", "missing because"), lines, note)
