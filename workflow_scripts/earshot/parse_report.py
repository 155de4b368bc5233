"""One self-contained HTML page of a parsing experiment: no request leaves it, and it needs no script.

As in `report`: `collect` reads tables and figures into plain values, `render` fills `templates/parsing.html.j2`, the headline
is computed from the numbers and says so when there is no gain, and every string is escaped by the template.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from earshot import all_numbers, contracts, pages, report
from earshot.all_numbers import AllNumbers
from earshot.comparing import gain_of, setting
from earshot.data_facts import with_data
from earshot.figures import MUTED
from earshot.files import write_text
from earshot.overview import write_summary
from earshot.parse_runs import Run, drifts, knobs, read_runs
from earshot.parse_tables import LEAK, MAIN, Parsing, build, champion, datasets, leaky, overall
from earshot.predictions import read_frame
from earshot.report import Card, Grid, Headline
from earshot.tables import DASH, About, Row, Table, flat, number

_EVENTS = "f_score_evt_TypeAV"
_CARDS = (
    (MAIN, "Type@AV by segment"),
    (_EVENTS, "Type@AV by event"),
    ("f_score_seg_A", "heard, by segment"),
    ("f_score_seg_V", "seen, by segment"),
)
_MOST_REASONS = 4


class Finding(NamedTuple):
    """Something that the numbers of this experiment are an instance of."""

    title: str
    text: str


@dataclass(frozen=True)
class Paths:
    """Where the tables and figures of an experiment are; `environment` may be empty."""

    metrics: str
    by_class: str
    figures: str
    parses: Sequence[str]
    training: Sequence[str] = ()
    clips: Sequence[str] = ()
    classes: Sequence[str] = ()
    environment: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ParsingData:
    """Everything that the page shows, as plain values; pictures are data URIs."""

    title: str
    experiment: str
    setting: str
    verdict: Headline
    headlines: Sequence[Headline]
    cards: Sequence[Card]
    gallery: Sequence[Mapping[str, Any]]
    parsers: Sequence[Mapping[str, Any]]
    tables: Sequence[Table]
    learnt: Sequence[Table]
    findings: Sequence[Finding]
    figures: Mapping[str, Sequence[Mapping[str, Any]]]
    data: Sequence[Grid]
    environment: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]
    numbers: AllNumbers


def write(paths: Paths, about: Parsing, experiment: str, html_out: str, summary_out: str) -> None:
    """Write the page of an experiment, and what it says first."""
    data = collect(paths, about, experiment)
    write_text(html_out, render(data))
    write_summary(data, summary_out)


def collect(paths: Paths, about: Parsing, experiment: str) -> ParsingData:
    """Read everything that a page shows."""
    about = with_data(about, paths.metrics)
    metrics = contracts.read(paths.metrics, contracts.PARSING_METRICS)
    by_class = contracts.read(paths.by_class, contracts.PARSING_CLASS_METRICS)
    runs, known = read_runs(paths.parses, paths.training), datasets(metrics)
    index = json.loads(Path(paths.figures, "figures.json").read_text(encoding="utf-8"))
    tables = build(metrics, about, by_class, runs)
    headlines = [headline(metrics, about, dataset) for dataset in known]
    listed = report.Paths("", paths.figures, clips=paths.clips, classes=paths.classes)
    return ParsingData(
        title=about.title or experiment,
        experiment=experiment,
        setting=" ".join(f"{name}: {setting(overall(metrics, MAIN, name).values(), about)}" for name in known),
        verdict=verdict(headlines),
        headlines=headlines,
        cards=cards(metrics, runs, about, known[0]) if known else [],
        gallery=pictures(index, Path(paths.figures)),
        parsers=_parsers(metrics, about, index["look"]),
        tables=[table for table in tables if not table.name.startswith("learnt-")],
        learnt=[table for table in tables if table.name.startswith("learnt-")],
        findings=[found for dataset in known for found in findings(metrics, runs, about, dataset)],
        figures=drawn_figures(index, Path(paths.figures)),
        data=[
            parsed_grid(paths.parses, about),
            report.datasets_grid(listed, about, known),
            *videos_grids(listed, about, known),
            *remarks_grids(paths.clips),
        ],
        environment=report.environment_rows(paths.environment),
        files=list(paths.files.items()),
        numbers=all_numbers.of(metrics),
    )


def render(data: ParsingData) -> str:
    """Fill the template; returns HTML."""
    return pages.environment().get_template("parsing.html.j2").render(data=data)


def videos_grids(listed: report.Paths, about: About, known: Sequence[str]) -> list[Grid]:
    """What is wrong with videos; where there are none at all, features came from files, and videos are not missed."""
    if any(row["available"] for path in listed.clips for row in contracts.read(path, contracts.CLIPS)):
        return [report.problems_grid(listed, about, known)]
    return [Grid("Videos", ("videos", "at hand"), [("all", "0")], "Features were read from files, and no video is missed.")]


def remarks_grids(clips: Sequence[str]) -> list[Grid]:
    """What was odd about the lists of the datasets."""
    told = [(facts.get("dataset", ""), facts.get("remarks", ())) for facts in map(contracts.facts_of, clips)]
    rows = [(str(dataset), str(remark)) for dataset, remarks in told for remark in remarks]
    return [Grid("Odd rows in the lists", ("dataset", "what, how many, and which"), rows)] if rows else []


def drawn_figures(index: Mapping[str, Any], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The drawn figures by section, as data URIs."""
    figures: dict[str, list[dict[str, Any]]] = {}
    for drawn in index["figures"]:
        path = folder / f"{drawn['name']}.svg"
        shown = {**drawn, "image": report.svg_uri(path), "width": report.svg_width(path)}
        figures.setdefault(drawn["section"], []).append(shown)
    return figures


def pictures(index: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The timelines with data URIs in place of files."""
    return [
        {**entry, "clips": [{**clip, "image": report.image_uri(folder / clip["file"])} for clip in entry["clips"]]}
        for entry in index["gallery"]
    ]


def headline(metrics: Sequence[Row], about: Parsing, dataset: str) -> Headline:
    """What the headline's parser brings over the reference, whether it is a gain, a loss or neither."""
    method, reference = champion(metrics, about, dataset), about.reference
    gain = overall(metrics, gain_of(MAIN, reference), dataset).get(method)
    if gain is None or not math.isfinite(gain["value"]):
        return _plain_headline(metrics, about, dataset)
    points = number(abs(gain["value"]))
    if gain["low"] > 0:
        text, tone = f"{method} parses {points} points better than {reference}.", "good"
    elif gain["high"] < 0:
        text, tone = f"{method} parses {points} points worse than {reference}.", "bad"
    else:
        text, tone = f"{method} makes no reliable difference to {reference}.", "even"
    lead = f"Type@AV of segments: {gain_in_words(gain)}, on the same {gain['n']} videos"
    parts = [f"{lead}{of_seeds(about)}.", *_story(metrics, about, dataset, method)]
    return Headline(text, " ".join(parts), tone, dataset)


def gain_in_words(gain: Row) -> str:
    """A gain with its interval."""
    low, high = number(gain["low"], sign=True), number(gain["high"], sign=True)
    return f"{number(gain['value'], sign=True)} points, 95 % interval {low} to {high}"


def of_seeds(about: About) -> str:
    """Over how many seeds a mean is, and what a single one leaves open."""
    if len(about.seeds) < 2:
        return " with one seed, so that nothing is known of another training run"
    return f", mean of {len(about.seeds)} seeds"


def _story(metrics: Sequence[Row], about: Parsing, dataset: str, method: str) -> list[str]:
    """The gain at the level of events, where both parsers end, and what a leak would have promised."""
    events = overall(metrics, gain_of(_EVENTS, about.reference), dataset).get(method)
    told = [f"Of events: {gain_in_words(events)}."] if events and math.isfinite(events["value"]) else []
    scores = overall(metrics, MAIN, dataset)
    ends = [f"{name} reaches {_percent(scores[name])}" for name in (about.reference, method) if name in scores]
    told += [f"{' and '.join(ends)}."] if ends else []
    leaks = [name for name in about.order(leaky(metrics, dataset)) if math.isfinite(scores[name]["value"])]
    return told + [f"{name}, which was shown labels of these videos, would reach {_percent(scores[name])}." for name in leaks]


def _percent(row: Row) -> str:
    return f"{number(row['value'])} %"


def _plain_headline(metrics: Sequence[Row], about: Parsing, dataset: str) -> Headline:
    """For experiments in which nothing can be compared."""
    leaks = leaky(metrics, dataset)
    rows = [row for name, row in overall(metrics, MAIN, dataset).items() if name not in leaks and math.isfinite(row["value"])]
    if not rows:
        return Headline("No video could be scored.", "See the data problems below.", "bad", dataset)
    best = max(rows, key=lambda row: row["value"])
    text = f"{best['parser']} reaches {_percent(best)} Type@AV."
    return Headline(text, f"Nothing is compared with {about.reference} ({best['n']} videos).", "even", dataset)


def verdict(headlines: Sequence[Headline]) -> Headline:
    """The one headline of the page: the only one, or how many datasets speak for a gain and how many for a loss."""
    if len(headlines) == 1:
        return headlines[0]
    tones = Counter(found.tone for found in headlines)
    if not headlines:
        return Headline("Nothing was scored.", "", "even", "")
    text = f"Better on {tones['good']}, worse on {tones['bad']} of {len(headlines)} datasets."
    tone = "good" if tones["good"] and not tones["bad"] else "bad" if tones["bad"] and not tones["good"] else "even"
    return Headline(text, "", tone, "")


def cards(metrics: Sequence[Row], runs: Sequence[Run], about: Parsing, dataset: str) -> list[Card]:
    """Key figures of one dataset: scores of the headline's parser, of the reference, and where mu went."""
    method = champion(metrics, about, dataset) or about.reference
    wanted = [(metric, method, label) for metric, label in _CARDS]
    wanted.insert(1, (MAIN, about.reference, _CARDS[0][1]))
    made = []
    for metric, parser, label in dict.fromkeys(wanted):
        row = overall(metrics, metric, dataset).get(parser)
        if row and math.isfinite(row["value"]):
            made.append(Card(_percent(row), f"{parser}: {label}", f"{number(row['low'])} to {number(row['high'])}"))
    for row in [row for name, row in overall(metrics, MAIN, dataset).items() if name == method]:
        made.append(Card(str(row["n"]), f"of {row['n'] + row['n_missing']} videos scored", f"split {about.split}"))
    for drift in drifts(runs, about, dataset):
        if drift.parser == method:
            made.append(Card(number(drift.last, 2), f"{method}: mu at the end", f"from {number(drift.first, 2)}"))
    return made


def findings(metrics: Sequence[Row], runs: Sequence[Run], about: Parsing, dataset: str) -> list[Finding]:
    """What is known of PLSIM's pseudo-labels and of S-LOSS's mu, where parsers of the experiment have them."""
    own = [run for run in runs if run.dataset == dataset]
    return [*_leak_finding(metrics, own, about, dataset), *_mu_finding(own, about, dataset)]


def _leak_finding(metrics: Sequence[Row], runs: Sequence[Run], about: Parsing, dataset: str) -> list[Finding]:
    source = {run.parser: knobs(run)["plsim.eval_source"] for run in runs if knobs(run).get("plsim.enabled") == "True"}
    if not source:
        return []
    scores, order = overall(metrics, MAIN, dataset), about.order(source)
    shown = [name for name in order if source[name] == "gated_oracle" and name in scores]
    others = [name for name in order if source[name] != "gated_oracle" and name in scores]
    why = (
        "The published pseudo-labels are masked by the weak labels of every split, so showing them to PLSIM in evaluation "
        "(`plsim.eval_source: gated_oracle`) tells it which classes each video holds."
    )
    here = f"Here nobody was shown them: {_listed(f'{name} was given {source[name]}' for name in others)}."
    if shown:
        ends = _listed(f"{name} reaches {_percent(scores[name])} Type@AV" for name in shown)
        against = _listed(f"{name} {_percent(scores[name])}" for name in others)
        versus = f", and without them {against}" if others else ""
        here = f"Here {ends} with them{versus} ({dataset}): what they add is a leak and no progress."
    return [Finding("What PLSIM is shown", f"{why} {here}")]


def _listed(parts: Any) -> str:
    return ", ".join(parts)


def _mu_finding(runs: Sequence[Run], about: Parsing, dataset: str) -> list[Finding]:
    moved = drifts(runs, about, dataset)
    if not moved:
        return []
    why = (
        "The weight lambda of S-LOSS multiplies a loss that is not negative, so descent moves mu towards 1, where every weight "
        "is 1 and only the plain similarity loss is left."
    )
    ways: dict[str, list[str]] = {}
    for drift in moved:
        way = f"from {number(drift.first, 2)} to {number(drift.last, 2)} in {drift.epochs} epochs"
        ways.setdefault(way, []).append(drift.parser)
    told = _listed(f"{way} ({', '.join(names)})" for way, names in ways.items())
    stay = "`sloss.mu.mode: fixed` holds it, and `learnable_normalised` leaves it nothing to gain by that."
    return [Finding("Where mu goes", f"{why} Here, on {dataset}, it went {told}; {stay}")]


def _parsers(metrics: Sequence[Row], about: Parsing, look: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """What was run, in the order of the config."""
    leaks = {row["parser"] for row in metrics if row["leak"]}
    made = []
    for parser in about.order(row["parser"] for row in metrics):
        note = about.methods.get(parser, {})
        told = {
            "name": parser,
            "colour": look.get(parser, {}).get("colour", MUTED),
            "leak": LEAK if parser in leaks else "",
            "reference": parser == about.reference,
            "hyper": ", ".join(f"{key} = {value}" for key, value in flat(dict(note.get("hyper", {})))),
        }
        made.append(told | {key: note.get(key, "") for key in ("plugin", "features", "summary")})
    return made


def parsed_grid(parses: Sequence[str], about: Parsing) -> Grid:
    """How many videos each parser parsed with its first seed, of how many, and why not the others."""
    counted: dict[tuple[str, str], tuple[str, ...]] = {}
    for path in sorted(parses, key=lambda path: contracts.facts_of(path)["seed"]):
        facts = contracts.facts_of(path)
        rows = read_frame(path, ["available", "problem"], contracts.PARSES)
        lost = rows.loc[~rows["available"], "problem"].tolist()
        told = (str(facts["features"]), f"{len(rows) - len(lost)} of {len(rows)}", reasons(lost))
        counted.setdefault((facts["dataset"], facts["parser"]), told)
    order = about.order(parser for _, parser in counted)
    lines = [(*key, *counted[key]) for key in sorted(counted, key=lambda key: (key[0], order.index(key[1])))]
    note = f"Videos of the split {about.split}. A video that lacks one of the features is counted as missing in every table."
    return Grid("Videos parsed", ("dataset", "parser", "features", "parsed", "missing because"), lines, note)


def reasons(problems: Sequence[str]) -> str:
    """Problems by kind, the most frequent first; names in quotes are left out so that equal ones are counted together."""
    counts = Counter(re.sub(r" ?'[^']*'", "", problem) or "not said" for problem in problems)
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{reason} ({count})" for reason, count in most[:_MOST_REASONS]]
    rest = sum(count for _, count in most[_MOST_REASONS:])
    return ", ".join([*shown, *([f"other reasons ({rest})"] if rest else [])]) or DASH
