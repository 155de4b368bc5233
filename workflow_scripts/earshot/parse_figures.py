"""Figures of audio-visual video parsing: scores, gains, training, and timelines of a few videos; bytes depend on data alone.

Colours and markers are one a parser in all figures; the reference is grey, and a parser that was shown labels of the test clips
has hollow markers. `draw` writes every figure that the data allows, and an index that the report reads.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from earshot import variant_figures
from earshot.comparing import gain_of
from earshot.figures import MUTED, STYLE, WIDTH, Drawn, Look, dodge, dot, legend, save
from earshot.files import write_json
from earshot.metrics.parsing_f_score import LEVELS, METRICS
from earshot.parse_runs import Run, learnt, read_runs
from earshot.parse_tables import MAIN, Parsing, champion, datasets, leaky, overall, short
from earshot.parse_timelines import Sources, draw_timelines
from earshot.tables import Row
from earshot.variant_figures import bands, curves_figure

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
    return variant_figures.look_of(about.order(row["parser"] for row in metrics), about.reference)


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
        bands(axes, list(_KINDS.values()), f"{word}s")
        axes.set_xlabel("F-score [%]")
    legend(figure, names, look)
    return figure


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
        bands(axes, names, f"{LEVELS[level]}s")
        axes.set_xlabel("gain in Type@AV [points]")
    return figure


def training_figure(runs: Sequence[Run], about: Parsing, look: Look, dataset: str) -> Figure | None:
    """Loss, validation score and scalars of modules over epochs, a panel each and a line a parser; None if none trained."""
    own = [run for run in runs if run.dataset == dataset and run.training]
    panels = _panels(own)
    if not panels:
        return None
    names = about.order(run.parser for run in own)
    return curves_figure(panels, {name: [run for run in own if run.parser == name] for name in names}, look)


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
