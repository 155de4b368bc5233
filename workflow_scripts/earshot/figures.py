"""Figures of results, as SVG and PNG whose bytes depend on the data alone.

One colour a method in all figures: cool colours for methods that only look, warm ones for those that listen, grey for the
unadapted model; markers differ too, so that no figure depends on colour. Palette after Okabe and Ito (2008), safe for
colour-blind readers. `draw` writes every figure that the data allows, and an index that the report reads.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from PIL import Image

from earshot import contracts
from earshot.config import CLEAN
from earshot.errors import MediaError
from earshot.files import atomic_path, write_json
from earshot.frames import Frames, frames_of
from earshot.metrics.significance import mean_interval
from earshot.predictions import read_frame
from earshot.scoring import ALL_SEEDS, MEAN, REFERENCES, condition_order
from earshot.tables import About, ClassGains, Row, class_gains, conditions, groups, heading, select

matplotlib.use("Agg")

INK, MUTED, GRID = "#24292f", "#6b7480", "#d5dbe1"  # the report swaps these three in the dark
GREY = "#858c94"
_COOL = ("#0072b2", "#009e73", "#56b4e9", "#7a6bc4", "#3a8f93")
_WARM = ("#d55e00", "#e69f00", "#cc79a7", "#a6381f", "#b58900")
PALETTE = tuple(colour for pair in zip(_COOL, _WARM, strict=True) for colour in pair)
MARKERS = "osD^vPX"
_STOPS = {"converged": "#2c7fb8", "max": "#d9a400", "rising": "#8c510a", contracts.DIVERGED: "#5c5c5c"}
_STOP_WORDS = {
    "converged": "loss settled and views agree",
    "max": "update limit reached",
    "rising": "loss rose, last update undone",
    contracts.DIVERGED: "loss not finite",
}
_MOST_PANELS = 6
_MOST_BARS = 20  # at either end
STYLE: Any = {
    "svg.hashsalt": "earshot",
    "text.parse_math": False,  # class names may hold a dollar
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_CAPTIONS = {
    "accuracy": "Top-1 accuracy of every method as a bar, with its 95 % interval over clips. Warm colours listen, cool ones "
    "only look, grey is the unadapted model. Methods are measured on the same clips: intervals that overlap may still hide a "
    "reliable difference, which the paired gains show.",
    "severities": "Top-1 accuracy over the severity of a corruption, 0 being the clean clips, with 95 % intervals over clips.",
    "class_gains": "Difference in top-1 accuracy, class by class, between the method that listens and the reference named "
    "below, on average over the corruptions where there are any. Where there are many classes those of the largest gain and "
    "of the largest loss are drawn. A class has few clips, and no test was made: the picture shows where to look.",
    "gains": "Paired gain in percentage points, averaged over the corruptions, with its 95 % interval; pale marks are "
    "single corruptions. An interval that crosses the line at 0 is no evidence of a difference.",
    "sound": "Accuracy on corrupted clips, split by what could be heard: whether the clip has an audible track and, for "
    "the first method that listens, whether the sound pointed to the right class. Sound can only help where it is heard "
    "and right; where it points elsewhere, it may mislead.",
    "steps": "Number of kept updates of every clip under corruption, stacked by why the cycle ended. Shown are methods "
    f"that choose the number clip by clip, the first {_MOST_PANELS} of them.",
    "stream": "Share of clips right so far, over all corruptions and seeds. A line that rises against the grey one "
    "has learnt from the clips before; one that falls against it has lost its way. In a continual stream corruptions come one "
    "after the other, and are not equally hard.",
    "cost": "Top-1 accuracy against the median time that a method adapts to a clip and predicts it, as the jobs measured it: "
    "methods share a machine with whatever else ran there.",
    "training": "Loss and accuracy of the model before any adaptation, epoch by epoch.",
    "label_map": "Which sound speaks for which video class. A darker cell is a larger weight; sounds that map to none are "
    "left out.",
}
WIDTH = 6.4  # inches
_THUMB = 176  # pixels
_MOST_SOUNDS = 40
_LEGEND_WIDTH = 82  # characters
_STREAM_COLUMNS = (
    *("method", "seed", "position", "clip_id", "corruption", "severity", "label", "available", "prediction"),
    *("steps", "stop", "heard", "audio_class"),
)


@dataclass(frozen=True)
class Drawn:
    """A figure in the index: file stem, section of the report, and the words around it."""

    name: str
    section: str
    title: str
    caption: str
    alt: str


Case = tuple[str, str, str]  # dataset, backbone, method


@dataclass(frozen=True)
class Cost:
    """What a method took: medians over clips in s, the highest memory in MB, and the number of clips timed."""

    decode: float
    adapt: float
    memory: float
    clips: int


@dataclass(frozen=True)
class Sources:
    """Paths of the tables that figures are drawn from; the lists may be empty."""

    predictions: Sequence[str]
    clips: Sequence[str] = ()
    corrupted: Sequence[str] = ()
    classes: Sequence[str] = ()
    audio: Sequence[str] = ()
    label_map: Sequence[str] = ()
    training: Sequence[str] = ()
    timings: Sequence[str] = ()
    by_class: str = ""
    roots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """Colour and marker of every method."""

    colours: Mapping[str, str]
    markers: Mapping[str, str]

    @classmethod
    def of(cls, metrics: Iterable[Row], about: About) -> "Look":
        """Assign colours in the order of the config."""
        rows = list(metrics)
        listens = {row["method"] for row in rows if row["metric"] == "heard" and row["value"] > 0}
        methods = about.order(row["method"] for row in rows)
        warm = [m for m in methods if m in listens]
        cool = [m for m in methods if m not in listens and m != "source"]
        colours = {
            m: palette[i % len(palette)] for names, palette in ((warm, _WARM), (cool, _COOL)) for i, m in enumerate(names)
        }
        markers = {m: MARKERS[i % len(MARKERS)] for i, m in enumerate(methods)}
        return cls({**colours, "source": GREY}, markers)


def dataset_of(path: str | Path, known: Iterable[str]) -> str:
    """The dataset that a table belongs to: from its facts, else the known name nearest to the file in its path, else empty."""
    named = contracts.facts_of(path).get("dataset")
    if named:
        return str(named)
    names = set(known)
    parts = [part.removesuffix("-c") for part in (*Path(path).parent.parts, Path(path).stem)]
    return next((part for part in reversed(parts) if part in names), "")


def label_of(path: str | Path) -> str:
    """How a trained model is called: the last folder and the file's name, which together hold model and dataset."""
    return f"{Path(path).parent.name} · {Path(path).name.split('.')[0]}"


def save(figure: Figure, folder: Path, name: str, raster: bool = False) -> None:
    """Write a figure as SVG (transparent; not if `raster`) and PNG (on white), without dates or random ids, and close it."""
    formats = ((".svg", "none", {"Date": None, "Creator": None}), (".png", "white", {"Software": None}))
    for suffix, ground, metadata in formats[1:] if raster else formats:
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, facecolor=ground, dpi=160, metadata=metadata)
    plt.close(figure)


def draw(sources: Sources, metrics: Sequence[Row], about: About, folder: str | Path) -> None:
    """Draw everything into `folder`, with `figures.json` as index: {"figures": [...], "gallery": [...]}."""
    folder, look = Path(folder), Look.of(metrics, about)
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Drawn] = []
    with matplotlib.rc_context(STYLE):
        spent = costs(sources.timings)
        by_class = contracts.read(sources.by_class, contracts.CLASS_METRICS, seed=ALL_SEEDS) if sources.by_class else []
        for dataset, backbone in groups(metrics):
            drawn += _draw_results(metrics, by_class, spent, about, look, dataset, backbone, folder)
            drawn += _draw_behaviour(sources, about, look, dataset, backbone, folder)
        drawn += _draw_preparation(sources, folder)
        gallery = draw_gallery(sources, about, folder)
        drawn += [_draw_montage(entry, folder) for entry in gallery]
    look_json = {m: {"colour": look.colours[m], "marker": look.markers[m]} for m in look.markers}
    write_json(folder / "figures.json", {"figures": [asdict(d) for d in drawn], "gallery": gallery, "look": look_json})


def _draw_results(
    metrics: Sequence[Row],
    by_class: Sequence[Row],
    spent: Mapping[Case, Cost],
    about: About,
    look: Look,
    dataset: str,
    backbone: str,
    folder: Path,
) -> list[Drawn]:
    where, key = f"{dataset}, {backbone}", f"{dataset}-{backbone}"
    top1 = [row for row in select(metrics, "top1", dataset, backbone) if math.isfinite(row["value"])]
    own = {method: cost for (*case, method), cost in spent.items() if case == [dataset, backbone]}
    figures = {
        "accuracy": (accuracy_figure(top1, about, look), f"Accuracy under each corruption ({where})"),
        "severities": (severity_figure(top1, about, look), f"Accuracy by severity ({where})"),
        "gains": (gain_figure(metrics, about, look, dataset, backbone), f"Gains over the references ({where})"),
        "cost": (cost_figure(top1, own, about, look), f"Accuracy against time ({where})"),
        "class_gains": (
            class_gain_figure(class_gains(metrics, by_class, about, dataset, backbone), look),
            f"What sound brings to each class ({where})",
        ),
    }
    return _keep(figures, "results", key, folder)


def _keep(figures: Mapping[str, tuple[Figure | None, str]], section: str, key: str, folder: Path) -> list[Drawn]:
    """Save the figures that exist; returns their entries in the index."""
    made = []
    for kind, (figure, title) in figures.items():
        if figure:
            name = f"{kind.replace('_', '-')}-{key}"
            save(figure, folder, name)
            made.append(Drawn(name, section, title, _CAPTIONS[kind], title))
    return made


def dodge(count: int, spread: float = 0.72) -> np.ndarray:
    """Offsets (count,) of methods within one row of a dot plot."""
    return np.linspace(-spread / 2, spread / 2, count) if count > 1 else np.zeros(1)


def dot(axes: Axes, row: Row, y: float, look: Look, hollow: bool = False) -> None:
    """One value with its interval."""
    colour = look.colours.get(row["method"], INK)
    axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.4, alpha=0.75, solid_capstyle="round")
    face = "none" if hollow else colour
    marker = look.markers.get(row["method"], "o")
    axes.plot(row["value"], y, marker, color=colour, markersize=4.6, markerfacecolor=face, markeredgewidth=1.2)


def legend(figure: Figure, methods: Sequence[str], look: Look) -> None:
    """Colour and marker of every method, above the figure."""
    handles = [
        plt.Line2D(
            [], [], color=look.colours.get(m, INK), marker=look.markers.get(m, "o"), markersize=4.6, linewidth=1.4, label=m
        )
        for m in methods
    ]
    longest = max((len(m) for m in methods), default=1)
    fits = sum(len(m) + 7 for m in methods) <= _LEGEND_WIDTH
    columns = len(methods) if fits else max(1, _LEGEND_WIDTH // (longest + 7))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1.6, columnspacing=1.3)


def costs(timings: Iterable[str]) -> dict[Case, Cost]:
    """What each method took, by dataset and backbone, from the timings of the cells."""
    frames = []
    for path in timings:
        facts = contracts.facts_of(path)
        frame = read_frame(path, ["method", "decode", "adapt", "memory"], contracts.TIMINGS)
        frames.append(frame.assign(dataset=facts["dataset"], backbone=facts["backbone"]))
    if not frames:
        return {}
    found = {}
    for case, rows in pd.concat(frames).groupby(["dataset", "backbone", "method"], sort=False):
        decode, adapt = (float(rows[name].median()) / 1000 for name in ("decode", "adapt"))
        found[case] = Cost(decode, adapt, float(rows["memory"].max()), len(rows))
    return found


def cost_figure(rows: Sequence[Row], spent: Mapping[str, Cost], about: About, look: Look) -> Figure | None:
    """Accuracy by time a clip, one dot with its interval a method; None if fewer than two were timed."""
    where = MEAN if any(row["corruption"] == MEAN for row in rows) else CLEAN
    rows = [row for row in rows if row["corruption"] == where and row["method"] in spent]
    if len(rows) < 2:
        return None
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    for row in rows:
        colour, time = look.colours.get(row["method"], INK), 1000 * spent[row["method"]].adapt
        axes.plot([time, time], [row["low"], row["high"]], color=colour, linewidth=1.4, alpha=0.75)
        axes.plot(time, row["value"], look.markers.get(row["method"], "o"), color=colour, markersize=5.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("adapting and predicting [ms a clip]")
    axes.set_ylabel("corrupted: top-1 [%]" if where == MEAN else "clean: top-1 [%]")
    axes.grid()
    legend(figure, about.order(row["method"] for row in rows), look)
    return figure


def accuracy_figure(rows: Sequence[Row], about: About, look: Look) -> Figure | None:
    """Accuracy by condition and method: one band a condition, one dot with its interval a method."""
    if not rows:
        return None
    columns = conditions(rows)
    several = len({s for _, s in columns if s > 0}) > 1
    methods = about.order(row["method"] for row in rows)
    offsets = dodge(len(methods))
    height = 0.85 + len(columns) * max(0.3, 0.098 * len(methods) + 0.1)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    thickness = 0.8 * (offsets[1] - offsets[0]) if len(methods) > 1 else 0.4
    for row in rows:
        place = columns.index((row["corruption"], row["severity"])) + offsets[methods.index(row["method"])]
        axes.barh(place, row["value"], thickness, color=look.colours.get(row["method"], INK), alpha=0.28, linewidth=0)
        dot(axes, row, place, look)
    for place in range(0, len(columns), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=GRID, alpha=0.35, linewidth=0)
    axes.set_yticks(range(len(columns)), [heading(*c, several) for c in columns])
    for label, (corruption, _) in zip(axes.get_yticklabels(), columns, strict=True):
        label.set_fontweight("bold" if corruption == MEAN else "normal")
    axes.set_ylim(len(columns) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("top-1 accuracy [%]")
    legend(figure, methods, look)
    return figure


def severity_figure(rows: Sequence[Row], about: About, look: Look) -> Figure | None:
    """Accuracy over severities, a panel a corruption; None if no corruption came in more than one severity."""
    found: dict[str, set[int]] = {}
    for corruption, severity in conditions(rows):
        if corruption not in (CLEAN, MEAN) and severity > 0:
            found.setdefault(corruption, set()).add(severity)
    panels = [corruption for corruption, severities in found.items() if len(severities) > 1]
    if not panels:
        return None
    methods = about.order(row["method"] for row in rows)
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    figure, grid = plt.subplots(down, across, figsize=(WIDTH, 0.6 + 1.75 * down), sharex=True, sharey=True, squeeze=False)
    for axes, corruption in zip(grid.flat, panels, strict=False):
        for method in methods:
            _severity_line(axes, [row for row in rows if row["method"] == method], corruption, look)
        axes.set_title(corruption, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    grid[-1][0].set_xlabel("severity")
    grid[0][0].set_ylabel("top-1 [%]")
    legend(figure, methods, look)
    return figure


def _severity_line(axes: Axes, rows: Sequence[Row], corruption: str, look: Look) -> None:
    """One method's accuracies under a corruption, from the clean clips on, with their intervals as a band."""
    shown = [row for row in rows if (row["corruption"], row["severity"]) == (CLEAN, 0) or row["corruption"] == corruption]
    shown.sort(key=lambda row: row["severity"])
    if not shown:
        return
    at, method = [row["severity"] for row in shown], shown[0]["method"]
    colour, marker = look.colours.get(method, INK), look.markers.get(method, "o")
    axes.plot(at, [row["value"] for row in shown], marker, color=colour, linestyle="-", linewidth=1.4, markersize=4)
    low, high = ([row[bound] for row in shown] for bound in ("low", "high"))
    axes.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)


def class_gain_figure(gains: ClassGains | None, look: Look) -> Figure | None:
    """Bars of the gain of each class, largest first; of many classes those at either end."""
    if gains is None:
        return None
    rows = list(gains.rows)
    if len(rows) > 2 * _MOST_BARS:
        rows = [*rows[:_MOST_BARS], *rows[-_MOST_BARS:]]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.19 * len(rows)))
    colours = [look.colours.get(gains.method if row.gain > 0 else gains.reference, INK) for row in rows]
    axes.barh(range(len(rows)), [row.gain for row in rows], 0.7, color=colours)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{row.name} ({row.n})" for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(f"{gains.method} less {gains.reference} [points]; in brackets the clips of the class")
    return figure


def gain_figure(metrics: Sequence[Row], about: About, look: Look, dataset: str, backbone: str) -> Figure | None:
    """Forest plot of mean gains over each reference; None if there is nothing to compare."""
    panels = {}
    for reference in REFERENCES:
        found = select(metrics, f"top1_gain_over_{reference}", dataset, backbone)
        rows = [row for row in found if math.isfinite(row["value"])]
        if any(row["corruption"] == MEAN for row in rows):
            panels[reference] = rows
    if not panels:
        return None
    methods = about.order(row["method"] for rows in panels.values() for row in rows)
    size = (WIDTH, 0.75 + 0.36 * len(methods))
    figure, grid = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axes, (reference, rows) in zip(grid[0], panels.items(), strict=True):
        axes.axvline(0, color=MUTED, linewidth=1)
        for row in rows:
            y = methods.index(row["method"])
            if row["corruption"] == MEAN:
                dot(axes, row, y, look)
            elif row["corruption"] != CLEAN:
                axes.plot(row["value"], y, "|", color=look.colours.get(row["method"], INK), markersize=9, alpha=0.35)
        axes.set_title(f"over {reference}", loc="left")
        axes.set_xlabel("gain [points]")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    grid[0][0].set_yticks(range(len(methods)), methods)
    grid[0][0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


def read_streams(sources: Sources, dataset: str, backbone: str) -> pd.DataFrame:
    """Available and unavailable rows of all predictions of a dataset and backbone, with `right`."""
    frames = []
    for path in sources.predictions:
        facts = contracts.facts_of(path)
        if (facts["dataset"], facts["backbone"]) == (dataset, backbone):
            frames.append(read_frame(path, _STREAM_COLUMNS))
    rows = pd.concat(frames, ignore_index=True)
    return rows.assign(right=rows["available"] & (rows["prediction"] == rows["label"]))


def _draw_behaviour(sources: Sources, about: About, look: Look, dataset: str, backbone: str, folder: Path) -> list[Drawn]:
    rows = read_streams(sources, dataset, backbone)
    where, heard = f"{dataset}, {backbone}", heard_clips(sources.audio, dataset)
    figures = {
        "sound": (sound_figure(rows, heard, about, look), f"When the sound helps ({where})"),
        "steps": (steps_figure(rows, about), f"How long each clip was adapted to ({where})"),
        "stream": (stream_figure(rows, about, look), f"Accuracy along the stream ({where})"),
    }
    return _keep(figures, "behaviour", f"{dataset}-{backbone}", folder)


def heard_clips(audio: Iterable[str], dataset: str) -> dict[str, bool]:
    """Whether each clip of a dataset has an audible track; empty if that was not examined."""
    found: dict[str, bool] = {}
    for path in audio:
        if dataset_of(path, [dataset]) == dataset:
            found |= {row["clip_id"]: row["heard"] for row in contracts.read(path, contracts.AUDIO)}
    return found


def steps_figure(rows: pd.DataFrame, about: About) -> Figure | None:
    """Histogram of kept updates a clip for every method whose cycle reports why it ended."""
    rows = rows[rows["available"] & (rows["stop"] != "") & (rows["corruption"] != CLEAN)]
    cyclic = rows.loc[rows["stop"] != contracts.DIVERGED, "method"].unique()  # which befalls others too
    methods = about.order(cyclic)[:_MOST_PANELS]
    if not methods:
        return None
    rows = rows[rows["method"].isin(methods)]
    most = int(rows["steps"].max())
    columns = min(3, len(methods))
    lines = math.ceil(len(methods) / columns)
    size = (WIDTH, 0.55 + 1.75 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    stops = [*_STOPS, *sorted(set(rows["stop"]) - set(_STOPS))]
    for axes, method in zip(grid.flat, methods, strict=False):
        chosen, base = rows[rows["method"] == method], np.zeros(most + 1)
        for stop in stops:
            counts = np.bincount(chosen.loc[chosen["stop"] == stop, "steps"], minlength=most + 1)
            share = 100 * counts / len(chosen)
            axes.bar(range(most + 1), share, 0.8, base, color=_STOPS.get(stop, INK), label=_STOP_WORDS.get(stop, stop))
            base += share
        axes.set_title(f"{method} (mean {chosen['steps'].mean():.1f})", loc="left")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in grid.flat[len(methods) :]:
        axes.set_axis_off()
    grid[-1][0].set_xlabel("kept updates")
    grid[0][0].set_ylabel("clips [%]")
    handles, words = grid[0][0].get_legend_handles_labels()
    used = [i for i, stop in enumerate(stops) if (rows["stop"] == stop).any()]
    figure.legend([handles[i] for i in used], [words[i] for i in used], loc="outside upper left", ncols=2, handlelength=1)
    return figure


def stream_figure(rows: pd.DataFrame, about: About, look: Look) -> Figure | None:
    """Running accuracy over the position in the stream, pooled over corruptions and seeds."""
    rows = rows[rows["corruption"] != CLEAN] if (rows["corruption"] != CLEAN).any() else rows
    if rows["available"].sum() == 0:
        return None
    methods = about.order(rows["method"].unique())
    figure, axes = plt.subplots(figsize=(WIDTH, 2.7))
    for method in methods:
        by_place = rows[rows["method"] == method].groupby("position")[["right", "available"]].sum().cumsum()
        by_place = by_place[by_place["available"] > 0]
        share = 100 * by_place["right"] / by_place["available"]
        share = share.iloc[min(4, len(share) - 1) :]  # the first few clips say nothing but noise
        every = max(1, len(share) // 6)
        style: dict[str, Any] = {"marker": look.markers.get(method, "o"), "markevery": (every // 2, every), "markersize": 4}
        axes.plot(share.index + 1, share, color=look.colours.get(method, INK), linewidth=1.5, **style)
    axes.set_xlabel("clips seen")
    axes.set_ylabel("right so far [%]")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
    legend(figure, methods, look)
    return figure


def sound_groups(rows: pd.DataFrame, heard: Mapping[str, bool], about: About) -> dict[str, pd.Series]:
    """Masks of rows: audible or not, and what the sound said to the first method that listens."""
    found = {}
    if heard:
        audible = rows["clip_id"].map(heard).fillna(False).astype(bool)
        found = {"audible track": audible, "no audible track": ~audible}
    listening = about.order(rows.loc[rows["audio_class"] >= 0, "method"].unique())
    if listening:
        key = ["seed", "corruption", "severity", "clip_id"]
        said = rows[rows["method"] == listening[0]].set_index(key)["audio_class"]
        said = pd.Series(said.reindex(pd.MultiIndex.from_frame(rows[key])).to_numpy(), rows.index).fillna(-1)
        found["sound: right class"] = said == rows["label"]
        found["sound: other class"] = (said >= 0) & (said != rows["label"])
        found["sound: not used"] = said < 0
    return {name: mask for name, mask in found.items() if (mask & rows["available"]).any()}


def sound_figure(rows: pd.DataFrame, heard: Mapping[str, bool], about: About, look: Look) -> Figure | None:
    """Accuracy of every method on clips that can be heard or not, and where the sound was right or wrong."""
    rows = rows[rows["available"] & (rows["corruption"] != CLEAN)].reset_index(drop=True)
    split = sound_groups(rows, heard, about)
    if len(split) < 2:
        return None
    methods = about.order(rows["method"].unique())
    offsets = dodge(len(methods))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.85 + len(split) * max(0.32, 0.115 * len(methods) + 0.1)))
    for place, mask in enumerate(split.values()):
        for method, offset in zip(methods, offsets, strict=True):
            chosen = rows[mask & (rows["method"] == method)]
            if len(chosen):
                value = mean_interval(100.0 * chosen["right"], chosen["clip_id"], resamples=500)
                dot(axes, {"method": method, **value._asdict()}, place + offset, look)
        if place % 2 == 0:
            axes.axhspan(place - 0.5, place + 0.5, color=GRID, alpha=0.35, linewidth=0)
    counts = [rows.loc[mask, "clip_id"].nunique() for mask in split.values()]
    axes.set_yticks(range(len(split)), [f"{name}\n{n} clips" for name, n in zip(split, counts, strict=True)])
    axes.set_ylim(len(split) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("top-1 accuracy under corruption [%]")
    legend(figure, methods, look)
    return figure


def _draw_preparation(sources: Sources, folder: Path) -> list[Drawn]:
    made = []
    for path in sources.training:
        figure, label = training_figure(contracts.read(path, contracts.TRAINING)), label_of(path)
        made += _keep({"training": (figure, f"Training of {label}")}, "training", _slug(label), folder)
    for path in sources.label_map:
        figure, label = label_map_figure(contracts.read(path, contracts.LABEL_MAP)), label_of(path)
        made += _keep({"label_map": (figure, f"From sounds to video classes ({label})")}, "sound", _slug(label), folder)
    return made


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")


def training_figure(rows: Sequence[Row]) -> Figure | None:
    """Curves over epochs, one panel a metric, one line a split."""
    panels = list(dict.fromkeys((row["metric"], row["unit"]) for row in rows))
    if not panels:
        return None
    figure, grid = plt.subplots(1, len(panels), figsize=(min(WIDTH, 3.2 * len(panels)), 2.2), squeeze=False)
    for axes, (metric, unit) in zip(grid[0], panels, strict=True):
        splits = list(dict.fromkeys(row["split"] for row in rows if row["metric"] == metric))
        for split, colour in zip(splits, (*_COOL, *_WARM), strict=False):
            line = [(row["epoch"], row["value"]) for row in rows if (row["metric"], row["split"]) == (metric, split)]
            marker = "o" if len(line) < 3 else ""
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.5, marker=marker, label=split)
        axes.set_title(f"{metric} [{unit}]" if unit else metric, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
        axes.legend()
    return figure


def label_map_figure(rows: Sequence[Row]) -> Figure | None:
    """Weights of the map, audio classes (rows) by video classes (columns); at most the forty strongest sounds."""
    mapped = [row for row in rows if row["video_class"] >= 0 and row["weight"] > 0]
    if not mapped:
        return None
    totals: dict[str, float] = {}
    for row in mapped:
        totals[row["audio_name"]] = totals.get(row["audio_name"], 0.0) + row["weight"]
    kept = set(sorted(totals, key=lambda name: -totals[name])[:_MOST_SOUNDS])
    mapped = [row for row in mapped if row["audio_name"] in kept]
    videos = [name for _, name in sorted({(row["video_class"], row["video_name"]) for row in mapped})]
    sounds = list(dict.fromkeys(r["audio_name"] for r in sorted(mapped, key=lambda r: (r["video_class"], r["audio_class"]))))
    weights = np.zeros((len(sounds), len(videos)))
    for row in mapped:
        weights[sounds.index(row["audio_name"]), videos.index(row["video_name"])] = row["weight"]
    size = (min(9.0, max(3.4, 1.9 + 0.3 * len(videos))), 1.3 + 0.2 * len(sounds))
    figure, axes = plt.subplots(figsize=size)
    places = np.argwhere(weights > 0)
    strength = weights[weights > 0]
    colours = matplotlib.colormaps["YlOrBr"](0.25 + 0.6 * strength / max(1.0, strength.max()))
    axes.scatter(places[:, 1], places[:, 0], s=62, c=colours, marker="s", linewidths=0)
    axes.set_xticks(range(len(videos)), videos, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(sounds)), sounds)
    axes.set_xlim(-0.6, len(videos) - 0.4)
    axes.set_ylim(len(sounds) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid()
    return figure


def draw_gallery(sources: Sources, about: About, folder: Path, most: int = 5) -> list[dict[str, Any]]:
    """Save the middle frame of a few clips, clean and under each corruption; returns what the report shows.

    Clips are chosen by class, never by result: the first available clip of classes spread over the list.
    """
    gallery = []
    known = list(sources.roots)
    for path in sources.clips:
        dataset = dataset_of(path, known)
        corrupted = [other for other in sources.corrupted if dataset_of(other, known) == dataset]
        if dataset in sources.roots:
            answers = _answers(sources, dataset, about)
            gallery.append(_gallery_of(sources, dataset, path, corrupted, answers, folder, max(2, most // len(sources.clips))))
    return [entry for entry in gallery if entry["clips"]]


def _answers(sources: Sources, dataset: str, about: About) -> dict[tuple[str, str, int], dict[str, bool]]:
    """(clip, corruption, severity) -> method -> right, for the first backbone and seed."""
    found: dict[tuple[str, str, int], dict[str, bool]] = {}
    backbone = ""
    for path in sources.predictions:
        facts = contracts.facts_of(path)
        if facts["dataset"] != dataset or facts["backbone"] != (backbone := backbone or facts["backbone"]):
            continue
        names = ["method", "seed", "clip_id", "corruption", "severity", "available", "prediction", "label"]
        rows = read_frame(path, names)
        rows = rows[rows["available"] & (rows["seed"] == rows["seed"].min())]
        for row in rows.itertuples():
            place = found.setdefault((row.clip_id, row.corruption, int(row.severity)), {})
            place[row.method] = bool(row.prediction == row.label)
    return {place: {m: given[m] for m in about.order(given)} for place, given in found.items()}


def _gallery_of(
    sources: Sources,
    dataset: str,
    clean: str,
    corrupted: Sequence[str],
    answers: Mapping[tuple[str, str, int], dict[str, bool]],
    folder: Path,
    most: int,
) -> dict[str, Any]:
    named = _class_names(sources.classes, dataset)
    root = sources.roots[dataset]
    tables = {(CLEAN, 0): (Frames(Path(root)), contracts.read(clean, contracts.CLIPS))}
    for path in corrupted:
        rows = contracts.read(path, contracts.CORRUPTED_CLIPS)
        if rows:
            tables[rows[0]["corruption"], rows[0]["severity"]] = (frames_of(path, root), rows)
    strongest = {c: max(s for name, s in tables if name == c) for c, _ in tables}
    order = sorted(((c, s) for c, s in tables if strongest[c] == s), key=lambda c: condition_order(*c))
    rows_of = {column: {row["clip_id"]: row for row in tables[column][1]} for column in order}
    predicted = {clip for clip, _, _ in answers}
    clips: list[dict[str, Any]] = []
    for row in _chosen(rows_of, predicted, most):
        pictures = []
        for number, column in enumerate(order):
            name = f"gallery/{dataset}-{len(clips)}-{number}.jpg"
            if _thumbnail(tables[column][0], rows_of[column][row["clip_id"]], folder / name):
                given = answers.get((row["clip_id"], *column), {})
                pictures.append({"file": name, "corruption": column[0], "severity": column[1], "answers": given})
        title = named.get(row["label"], str(row["label"]))
        clips.append({"clip_id": row["clip_id"], "title": title, "pictures": pictures})
    return {"dataset": dataset, "clips": clips}


def _class_names(classes: Iterable[str], dataset: str) -> dict[int, str]:
    tables = [path for path in classes if dataset_of(path, [dataset]) == dataset]
    return {row["class_id"]: row["name"] for path in tables for row in contracts.read(path, contracts.CLASSES)}


def _chosen(rows_of: Mapping[tuple[str, int], Mapping[str, Row]], predicted: set[str], most: int) -> list[Row]:
    """Up to `most` clips of different classes that are available under every condition and were predicted, if any were."""
    clean = rows_of[CLEAN, 0]
    usable = [
        row
        for name, row in sorted(clean.items())
        if all(name in rows and rows[name]["available"] for rows in rows_of.values()) and (name in predicted or not predicted)
    ]
    first = {row["label"]: row for row in reversed(usable)}
    labels = sorted(first)
    picks = np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(int)
    return [first[labels[i]] for i in picks]


def _thumbnail(frames: Frames, row: Row, target: Path) -> bool:
    """Save a video's middle frame as a small JPEG; False if it cannot be decoded."""
    try:
        picture = next(iter(frames.read(row, [row["frames"] // 2]).values()))
    except MediaError as error:
        print(f"gallery: {row['video']}: {error}")
        return False
    image = Image.fromarray(np.ascontiguousarray(picture))
    image = image.resize((_THUMB, max(1, round(_THUMB * image.height / image.width))), Image.Resampling.LANCZOS)
    with atomic_path(target) as temporary:
        image.save(temporary, quality=82)
    return True


def _draw_montage(entry: Mapping[str, Any], folder: Path) -> Drawn:
    """The gallery as one picture, for papers and for tracking."""
    columns = list(dict.fromkeys(p["corruption"] for clip in entry["clips"] for p in clip["pictures"]))
    size = (1.0 * len(columns) + 0.5, 0.86 * len(entry["clips"]) + 0.3)
    figure, grid = plt.subplots(len(entry["clips"]), len(columns), figsize=size, squeeze=False)
    for number, (line, clip) in enumerate(zip(grid, entry["clips"], strict=True)):
        for axes in line:
            axes.set_axis_off()
        for picture in clip["pictures"]:
            axes = line[columns.index(picture["corruption"])]
            axes.imshow(Image.open(folder / picture["file"]))
            if number == 0:
                axes.set_title(picture["corruption"], fontsize=7)
        line[0].text(-0.08, 0.5, clip["title"], transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=7)
    name = f"gallery-{entry['dataset']}"
    save(figure, folder, name, raster=True)
    return Drawn(name, "gallery", f"Clips of {entry['dataset']}, clean and corrupted", "Middle frames.", "Grid of video frames")
