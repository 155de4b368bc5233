"""Figures of audio-visual video parsing: scores, gains, training, and timelines of a few videos; bytes depend on data alone.

Colours and markers are one a parser in all figures; the reference is grey, and a parser that was shown labels of the test clips
has hollow markers. `draw` writes every figure that the data allows, and an index that the report reads.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from earshot.figures import GREY, GRID, INK, MARKERS, MUTED, PALETTE, STYLE, WIDTH, Drawn, Look, dodge, dot, legend, save
from earshot.files import write_json
from earshot.metrics.parsing_f_score import LEVELS, METRICS
from earshot.parse_runs import Run, learnt, read_runs
from earshot.parse_tables import MAIN, Parsing, champion, datasets, gain_of, leaky, overall, short
from earshot.parse_timelines import Sources, draw_timelines
from earshot.tables import Row

_CAPTIONS = {
    "scores": "F-scores of every parser with their 95 % intervals over videos. Parsers are measured on the same videos: "
    "intervals that overlap may still hide a reliable difference, which the paired gains show. Grey is the reference; a hollow "
    "mark is a parser that was shown labels of the videos it is scored on, which is no result.",
    "gains": "Paired gain in points of Type@AV over the reference, with its 95 % interval over videos. An interval that "
    "crosses the line at 0 is no evidence of a difference.",
    "training": "Means over seeds, epoch by epoch. Losses of different parsers are sums of different terms: compare shapes, "
    "not heights. mu, lambda and the gates alpha beta are scalars of LINK's modules.",
}
_KINDS = {kind: short(f"f_score_seg_{kind}").removeprefix("seg ") for kind in ("A", "V", "AV", "TypeAV", "EventAV")}


def draw(sources: Sources, metrics: Sequence[Row], about: Parsing, training: Sequence[str], folder: str | Path) -> None:
    """Draw everything into `folder`, with `figures.json` as index: {"figures": [...], "gallery": [...], "look": {...}}."""
    folder, look = Path(folder), look_of(metrics, about)
    folder.mkdir(parents=True, exist_ok=True)
    runs = read_runs(sources.parses, training)
    drawn: list[Drawn] = []
    with matplotlib.rc_context(STYLE):
        for dataset in datasets(metrics):
            figures = {
                "scores": (score_figure(metrics, about, look, dataset), "F-scores", "results"),
                "gains": (gain_figure(metrics, about, look, dataset), f"Gain over {about.reference}", "results"),
                "training": (training_figure(runs, about, look, dataset), "Training of the parsers", "training"),
            }
            for kind, (figure, title, section) in figures.items():
                if figure:
                    name = f"{kind}-{dataset}"
                    save(figure, folder, name)
                    drawn.append(Drawn(name, section, f"{title} ({dataset})", _CAPTIONS[kind], f"{title} ({dataset})"))
        shown = {dataset: compared(metrics, about, dataset) for dataset in datasets(metrics)}
        gallery = draw_timelines(sources, shown, about.split, look, folder)
    look_json = {m: {"colour": look.colours[m], "marker": look.markers[m]} for m in look.markers}
    write_json(folder / "figures.json", {"figures": [asdict(d) for d in drawn], "gallery": gallery, "look": look_json})


def look_of(metrics: Iterable[Row], about: Parsing) -> Look:
    """Colours and markers in the order of the config."""
    parsers = about.order(row["parser"] for row in metrics)
    others = [name for name in parsers if name != about.reference]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(parsers)}
    return Look({**colours, about.reference: GREY}, markers)


def compared(metrics: Sequence[Row], about: Parsing, dataset: str) -> list[str]:
    """Up to three parsers for timelines, in the order of the config: the first, the reference and that of the headline."""
    leaks = leaky(metrics, dataset)
    names = [name for name in about.order(overall(metrics, MAIN, dataset)) if name not in leaks]
    wanted = {*names[:1], about.reference, champion(metrics, about, dataset)}
    return [name for name in names if name in wanted]


def _as_method(row: Row) -> Row:
    """A row as the dots of `figures` read it."""
    return {**row, "method": row["parser"]}


def score_figure(metrics: Sequence[Row], about: Parsing, look: Look, dataset: str) -> Figure | None:
    """The ten scores: a panel a level, a band a kind, one dot with its interval a parser; None without scores."""
    found = {metric: overall(metrics, metric, dataset) for metric in METRICS}
    names = about.order(name for name, row in found[MAIN].items() if math.isfinite(row["value"]))
    if not names:
        return None
    leaks, offsets = leaky(metrics, dataset), dodge(len(names))
    height = 1.0 + len(_KINDS) * max(0.34, 0.105 * len(names) + 0.1)
    figure, grid = plt.subplots(1, len(LEVELS), figsize=(WIDTH, height), sharey=True)
    for axes, (level, word) in zip(grid, LEVELS.items(), strict=True):
        for place, kind in enumerate(_KINDS):
            rows = found[f"f_score_{level}_{kind}"]
            for name, offset in zip(names, offsets, strict=True):
                if name in rows:
                    dot(axes, _as_method(rows[name]), place + offset, look, hollow=name in leaks)
        _bands(axes, list(_KINDS.values()), f"{word}s")
        axes.set_xlabel("F-score [%]")
    legend(figure, names, look)
    return figure


def _bands(axes: Axes, names: Sequence[str], title: str) -> None:
    """Rows with every second one shaded, the first on top."""
    for place in range(0, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=GRID, alpha=0.35, linewidth=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_title(title, loc="left")


def gain_figure(metrics: Sequence[Row], about: Parsing, look: Look, dataset: str) -> Figure | None:
    """Forest plot of gains in Type@AV over the reference at both levels; None if there is nothing to compare."""
    found = {level: overall(metrics, gain_of(f"f_score_{level}_TypeAV", about.reference), dataset) for level in LEVELS}
    finite = (name for rows in found.values() for name, row in rows.items() if math.isfinite(row["value"]))
    names = [name for name in about.order(finite) if name != about.reference]
    if not names:
        return None
    leaks = leaky(metrics, dataset)
    figure, grid = plt.subplots(1, len(LEVELS), figsize=(WIDTH, 0.85 + 0.36 * len(names)), sharey=True)
    for axes, (level, rows) in zip(grid, found.items(), strict=True):
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, name in enumerate(names):
            if name in rows:
                dot(axes, _as_method(rows[name]), place, look, hollow=name in leaks)
        _bands(axes, names, f"{LEVELS[level]}s")
        axes.set_xlabel("gain in Type@AV [points]")
    return figure


def training_figure(runs: Sequence[Run], about: Parsing, look: Look, dataset: str) -> Figure | None:
    """Loss, validation score and scalars of modules over epochs, a panel each and a line a parser; None if none trained."""
    own = [run for run in runs if run.dataset == dataset and run.training]
    panels = _panels(own)
    if not panels:
        return None
    lines = math.ceil(len(panels) / 2)
    figure, grid = plt.subplots(lines, 2, figsize=(WIDTH, 0.5 + 2.0 * lines), squeeze=False)
    names = about.order(run.parser for run in own)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for split, metric, style in curves:
            for name in names:
                _curve(axes, [run.values(split, metric) for run in own if run.parser == name], name, look, style)
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    legend(figure, names, look)
    return figure


def _panels(runs: Sequence[Run]) -> dict[str, list[tuple[str, str, str]]]:
    """Panels by title: split, metric and line style of their curves, of those that any run tells."""
    scalars = learnt(runs)
    gates = [name for name in scalars if name not in ("mu", "lambda")]
    titles = {
        "training loss [nats]": [("train", "loss", "-")],
        f"validation, {short(MAIN)} [%]": [("val", MAIN, "-")],
        **{name: [("train", name, "-")] for name in ("mu", "lambda")},
        "alpha beta (dashed: into the visual side)": [
            ("train", name, "--" if name.endswith("visual") else "-") for name in gates
        ],
    }
    told = {(row["split"], row["metric"]) for run in runs for row in run.training}
    return {title: curves for title, curves in titles.items() if any(curve[:2] in told for curve in curves)}


def _curve(axes: Axes, by_seed: Sequence[dict[int, float]], parser: str, look: Look, style: str) -> None:
    """The mean over seeds at each epoch that all of them tell of."""
    told = [curve for curve in by_seed if curve]
    epochs = sorted(set.intersection(*(set(curve) for curve in told))) if told else []
    if not epochs:
        return
    means = [statistics.fmean(curve[epoch] for curve in told) for epoch in epochs]
    every = max(1, len(epochs) // 5)
    marks: dict[str, Any] = {"marker": look.markers.get(parser, "o"), "markevery": (every // 2, every), "markersize": 4}
    axes.plot(epochs, means, style, color=look.colours.get(parser, INK), linewidth=1.5, **marks)
