"""What figures of variants, parsers or prompters, share: their look, bands of dots with intervals, and curves over epochs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from earshot.figures import GREY, GRID, INK, MARKERS, PALETTE, WIDTH, Look, legend

Panels = Mapping[str, Sequence[tuple[str, str, str]]]  # by title: split, metric and line style of curves


class Trained(Protocol):
    """A run that tells values by epoch."""

    def values(self, split: str, metric: str) -> dict[int, float]:
        """A value by epoch, of those that are finite."""


def look_of(names: Sequence[str], reference: str) -> Look:
    """Colours and markers in the order of the names; the reference is grey."""
    others = [name for name in names if name != reference]
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}
    return Look({**colours, reference: GREY}, markers)


def bands(axes: Axes, names: Sequence[str], title: str) -> None:
    """Rows with every second one shaded, the first on top."""
    for place in range(0, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=GRID, alpha=0.35, linewidth=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_title(title, loc="left")


def curves_figure(panels: Panels, runs: Mapping[str, Sequence[Trained]], look: Look) -> Figure:
    """A panel a title and a line a variant, whose `runs` are one a seed."""
    lines = math.ceil(len(panels) / 2)
    figure, grid = plt.subplots(lines, 2, figsize=(WIDTH, 0.5 + 2.0 * lines), squeeze=False)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for split, metric, style in curves:
            for name, own in runs.items():
                _curve(axes, [run.values(split, metric) for run in own], name, look, style)
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    legend(figure, list(runs), look)
    return figure


def _curve(axes: Axes, by_seed: Sequence[dict[int, float]], name: str, look: Look, style: str) -> None:
    """The mean over seeds at each epoch that all of them tell of."""
    told = [curve for curve in by_seed if curve]
    epochs = sorted(set.intersection(*(set(curve) for curve in told))) if told else []
    if not epochs:
        return
    means = [statistics.fmean(curve[epoch] for curve in told) for epoch in epochs]
    every = max(1, len(epochs) // 5)
    marks: dict[str, Any] = {"marker": look.markers.get(name, "o"), "markevery": (every // 2, every), "markersize": 4}
    axes.plot(epochs, means, style, color=look.colours.get(name, INK), linewidth=1.5, **marks)
