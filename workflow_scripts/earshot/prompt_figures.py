"""Figures of cross-modal prompting: scores, gains, training, classes in the plane, and what prompters look at.

Bytes depend on data alone. Colours and markers are one a prompter in all figures; the reference is grey, and a prompter between
encoders with random weights has hollow markers. `draw` writes every figure that the data allows, an index that the report
reads, and `classes-<dataset>.csv` with figures of how well classes part.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from earshot import contracts, parse_runs
from earshot.comparing import gain_of
from earshot.feature_maps import MODALITIES, Parting, Segments, map_figure, parting, parting_csv, segments_of
from earshot.figures import MUTED, STYLE, WIDTH, Drawn, Look, dataset_of, dodge, dot, legend, save
from earshot.files import write_json, write_text
from earshot.prompt_runs import VIEWS_SUFFIX, Run, read_runs
from earshot.prompt_tables import NO_PROMPTERS, Prompting, champion, datasets, heading, overall, unproven
from earshot.prompt_views import Views, read_views
from earshot.seen_maps import draw_seen
from earshot.tables import Row
from earshot.variant_figures import Panels, bands, curves_figure, look_of

_CAPTIONS = {
    "scores": "Scores of every prompter with their 95 % intervals over videos. Prompters are measured on the same videos: "
    "intervals that overlap may still hide a reliable difference, which the paired gains show. Grey is the reference; a hollow "
    "mark is a prompter between encoders with random weights, which is no result.",
    "gains": "Paired gain in points over the reference, with its 95 % interval over videos. An interval that crosses the line "
    "at 0 is no evidence of a difference.",
    "training": "Means over seeds, epoch by epoch. Losses of different heads are sums of different terms: compare shapes, not "
    "heights.",
    "classes": "Pooled vectors of segments in the plane by t-SNE, coloured by class (of their clip, where the task "
    "asks no more), grey where there is only background; the "
    "first seed. Distances between groups in such a map mean little: what is measured, on the vectors themselves, is in the "
    "table of how well classes part.",
}
_MOST_PANELS = 8
_LOSSES = ("loss", "lr")


@dataclass(frozen=True)
class Sources:
    """Paths of what prompters said and saw, of their trainings, and of the tables of classes."""

    prompted: Sequence[str]
    views: Sequence[str] = ()
    training: Sequence[str] = ()
    classes: Sequence[str] = ()


def draw(sources: Sources, metrics: Sequence[Row], about: Prompting, folder: str | Path) -> None:
    """Draw everything into `folder`, with `figures.json` as index.

    The index holds `figures`, `gallery`, `look`, and `parting`, the rows of the CSV by dataset.
    """
    folder, look = Path(folder), look_of(about.order(row["prompter"] for row in metrics), about.reference)
    folder.mkdir(parents=True, exist_ok=True)
    runs = read_runs(sources.prompted, sources.training)
    drawn: list[Drawn] = []
    gallery, parted = [], {}
    with matplotlib.rc_context(STYLE):
        for dataset in datasets(metrics):
            own = [run for run in runs if run.dataset == dataset]
            seen = _views_of(sources, about, dataset)
            names = _classes(sources, dataset)
            parted[dataset] = partings(seen, len(names))
            write_text(folder / f"classes-{dataset}.csv", parting_csv(parted[dataset]))
            figures = {
                "scores": (score_figure(metrics, about, look, dataset), "Scores", "results"),
                "gains": (gain_figure(metrics, about, look, dataset), f"Gain over {about.reference}", "results"),
                "training": (training_figure(own, about, look), "Training of the prompters", "training"),
                "classes": (_class_map(seen, metrics, own, about, names, dataset), "Original and adapted", "classes"),
            }
            for kind, (figure, title, section) in figures.items():
                if figure:
                    save(figure, folder, f"{kind}-{dataset}")
                    titled = f"{title} ({dataset})"
                    drawn.append(Drawn(f"{kind}-{dataset}", section, titled, _CAPTIONS[kind], titled))
            first = {name: views for (name, _), views in reversed(list(seen.items()))}
            gallery.append(draw_seen(dict(reversed(first.items())), dataset, look, folder))
    shown = {
        "figures": [asdict(one) for one in drawn],
        "gallery": [entry for entry in gallery if entry["clips"]],
        "look": {name: {"colour": look.colours[name], "marker": look.markers[name]} for name in look.markers},
        "parting": {dataset: [[_plain(value) for value in row] for row in rows] for dataset, rows in parted.items()},
    }
    write_json(folder / "figures.json", shown)


def _plain(value: Any) -> Any:
    """Not a number has no JSON."""
    return None if isinstance(value, float) and math.isnan(value) else value


Seen = Mapping[tuple[str, int], Views]  # by prompter and seed, seeds in their order


def _views_of(sources: Sources, about: Prompting, dataset: str) -> Seen:
    """What prompters saw of a dataset, in the order of the config."""
    found = {}
    for prompted, views in parse_runs.beside(sources.prompted, sources.views, "file of views", VIEWS_SUFFIX):
        facts = contracts.facts_of(prompted)
        if views and facts["dataset"] == dataset:
            found[facts["prompter"], facts["seed"]] = read_views(views)
    order = about.order(name for name, _ in found)
    return {key: found[key] for key in sorted(found, key=lambda key: (order.index(key[0]), key[1]))}


def _classes(sources: Sources, dataset: str) -> list[str]:
    """The names of the classes of a dataset."""
    tables = [path for path in sources.classes if dataset_of(path, [dataset]) == dataset]
    return [row["name"] for path in tables for row in contracts.read(path, contracts.CLASSES)]


def partings(seen: Seen, background: int) -> list[Parting]:
    """How well classes part, of every prompter, seed and modality of which there are vectors and labels."""
    found = []
    for (prompter, seed), views in seen.items():
        for modality in MODALITIES:
            segments = segments_of(views, modality, background)
            if segments:
                found.append(parting(prompter, seed, modality, segments))
    return found


def _class_map(
    seen: Seen, metrics: Sequence[Row], runs: Sequence[Run], about: Prompting, classes: Sequence[str], dataset: str
) -> Figure | None:
    """Original vectors, of the prompter without modules, beside those of the headline's prompter or else of the last one."""
    plain = {run.prompter for run in runs if run.plugin in NO_PROMPTERS}
    names = about.order(name for name, _ in seen)
    original = next((name for name in names if name in plain), "")
    others = [name for name in names if name not in plain]
    best = champion(metrics, about, dataset)
    adapted = best if best in others else others[-1] if others else ""
    if not (original and adapted):
        return None
    before, after = (_first(seen, name, len(classes)) for name in (original, adapted))
    return map_figure(before, after, (f"original ({original})", f"adapted ({adapted})"), classes)


def _first(seen: Seen, prompter: str, background: int) -> dict[str, Segments]:
    """The segments of a prompter's first seed by modality."""
    views = next(views for (name, _), views in seen.items() if name == prompter)
    found = {modality: segments_of(views, modality, background) for modality in MODALITIES}
    return {modality: segments for modality, segments in found.items() if segments}


def _as_method(row: Row) -> Row:
    """A row as the dots of `figures` read it."""
    return {**row, "method": row["prompter"]}


def score_figure(metrics: Sequence[Row], about: Prompting, look: Look, dataset: str) -> Figure | None:
    """A band a metric, one dot with its interval a prompter; None without scores."""
    found = {metric: overall(metrics, metric, dataset) for metric in about.metrics}
    names = about.order(name for name, row in found[about.main].items() if math.isfinite(row["value"]))
    if not names:
        return None
    beyond, offsets = unproven(metrics, dataset), dodge(len(names))
    height = 1.0 + len(found) * max(0.34, 0.105 * len(names) + 0.1)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    for place, rows in enumerate(found.values()):
        for name, offset in zip(names, offsets, strict=True):
            if name in rows and math.isfinite(rows[name]["value"]):
                dot(axes, _as_method(rows[name]), place + offset, look, hollow=name in beyond)
    bands(axes, [heading(metric) for metric in found], "")
    axes.set_xlabel("score [%]")
    legend(figure, names, look)
    return figure


def gain_figure(metrics: Sequence[Row], about: Prompting, look: Look, dataset: str) -> Figure | None:
    """Forest plot of gains in the main metric over the reference; None if there is nothing to compare."""
    rows = overall(metrics, gain_of(about.main, about.reference), dataset)
    names = [name for name in about.order(rows) if name != about.reference and math.isfinite(rows[name]["value"])]
    if not names:
        return None
    beyond = unproven(metrics, dataset)
    figure, axes = plt.subplots(figsize=(WIDTH, 0.85 + 0.36 * len(names)))
    axes.axvline(0, color=MUTED, linewidth=1)
    for place, name in enumerate(names):
        dot(axes, _as_method(rows[name]), place, look, hollow=name in beyond)
    bands(axes, names, "")
    axes.set_xlabel(f"gain in {heading(about.main)} [points]")
    return figure


def training_figure(runs: Sequence[Run], about: Prompting, look: Look) -> Figure | None:
    """Loss, validation score and scalars of modules over epochs, a panel each and a line a prompter; None if none trained."""
    own = [run for run in runs if run.training]
    panels = _panels(own, about)
    if not panels:
        return None
    names = about.order(run.prompter for run in own)
    return curves_figure(panels, {name: [run for run in own if run.prompter == name] for name in names}, look)


def _panels(runs: Sequence[Run], about: Prompting) -> Panels:
    """Panels by title, of curves that any run tells: the loss, the score that chooses the epoch, and then other scalars."""
    told = dict.fromkeys((row["split"], row["metric"]) for run in runs for row in run.training)
    both = " (dashed: validation)" if ("val", "loss") in told else ""
    titles = {
        f"training loss{both}": [("train", "loss", "-"), ("val", "loss", "--")],
        f"validation, {heading(about.main)} [%]": [("val", about.main, "-")],
    }
    others = [name for split, name in told if split == "train" and name not in _LOSSES]
    titles |= {name.replace("_", " "): [("train", name, "-")] for name in sorted(others)}
    found = {title: [curve for curve in curves if curve[:2] in told] for title, curves in titles.items()}
    return dict([(title, curves) for title, curves in found.items() if curves][:_MOST_PANELS])
