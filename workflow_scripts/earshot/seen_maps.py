"""What prompters look at: the places that a pooled vector is made of, and masks of what sounds, over the frames of a clip.

A map says how much of the visual vector each place is, under the guidance of the sound: where the sound points. A map that is
the same everywhere points nowhere, so each row tells how far its peak rises above the mean.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earshot.figures import INK, Look, save
from earshot.prompt_views import Views

_TILE, _LEFT, _TOP = 0.78, 1.75, 0.3  # inches: a frame, names, and the title
_SHARE = 0.96  # of its place that a frame fills
_MOST = 10  # frames in a row
_UNKNOWN = 255  # in a mask: nobody looked


class Lane(NamedTuple):
    """A row of a picture: its name, and what lies over the frames: a map (T, h, w) or a mask (T, H, W), or nothing."""

    name: str
    prompter: str = ""
    heat: NDArray[np.float32] | None = None
    mask: NDArray[np.uint8] | None = None
    truth: NDArray[np.uint8] | None = None


def draw_seen(seen: Mapping[str, Views], dataset: str, look: Look, folder: Path) -> dict[str, Any]:
    """Save a picture a shown clip of a dataset; returns its entry in the gallery. `seen` holds one file a prompter."""
    entries = []
    for number, clip in enumerate(dict.fromkeys(clip for views in seen.values() for clip in views.shown)):
        frames, lanes = lanes_of(seen, clip)
        if frames is None:
            continue
        name = f"seen-{dataset}-{number}"
        save(figure_of(clip, frames, lanes, look), folder, name, raster=True)
        entries.append({"clip_id": clip, "file": f"{name}.png", "alt": in_words(lanes)})
    return {"dataset": dataset, "prompters": list(seen), "clips": entries}


def lanes_of(seen: Mapping[str, Views], clip: str) -> tuple[NDArray[np.uint8] | None, list[Lane]]:
    """The frames (T, S, S, 3) of a clip, None if no file has any, and a lane for each prompter's map and mask."""
    frames, lanes = None, []
    for prompter, views in seen.items():
        if clip not in views.shown:
            continue
        place = list(views.shown).index(clip)
        own = {name: views.arrays[name][place] for name in ("frames", "visual_map", "mask", "truth") if name in views.arrays}
        frames = own.get("frames", frames)
        if "visual_map" in own:
            lanes.append(Lane(f"{prompter}\npeak {rise(own['visual_map']):.1f} x mean", prompter, heat=own["visual_map"]))
        if "mask" in own:
            lanes.append(Lane(f"{prompter}\nmask", prompter, mask=own["mask"], truth=own.get("truth")))
    return frames, lanes


def rise(heat: NDArray[np.float32]) -> float:
    """How far the peaks of maps (T, h, w) rise above their means, on average over frames; 1 where they point nowhere."""
    flat = heat.reshape(len(heat), -1).astype(np.float64)
    means = flat.mean(axis=1)
    here = means > 0
    return float((flat.max(axis=1)[here] / means[here]).mean()) if here.any() else 1.0


def peak_of(heat: NDArray[np.float32]) -> tuple[float, float]:
    """Where the mean of maps (T, h, w) peaks, as shares of width and height from the upper left."""
    mean = heat.mean(axis=0)
    row, column = np.unravel_index(int(mean.argmax()), mean.shape)
    return (float(column) + 0.5) / mean.shape[1], (float(row) + 0.5) / mean.shape[0]


def overlap(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Intersection over union of masks (T, H, W) on annotated pixels, all frames together; NaN where both are empty."""
    known = truth != _UNKNOWN
    said, true = (mask == 1) & known, truth == 1
    either = int((said | true).sum())
    return int((said & true).sum()) / either if either else float("nan")


def in_words(lanes: Sequence[Lane]) -> str:
    """What the picture shows."""
    told = []
    for lane in lanes:
        if lane.heat is not None:
            across, down = peak_of(lane.heat)
            told.append(
                f"{lane.prompter} looks most at {100 * across:.0f} % from the left and {100 * down:.0f} % from the top, "
                f"{rise(lane.heat):.1f} times the mean"
            )
        elif lane.mask is not None:
            same = overlap(lane.mask, lane.truth) if lane.truth is not None else float("nan")
            share = f", intersection over union with the truth {100 * same:.0f} %" if np.isfinite(same) else ""
            told.append(f"{lane.prompter} marks {100 * (lane.mask == 1).mean():.0f} % of the pixels{share}")
    return f"{'; '.join(told) or 'frames alone'}."


def figure_of(clip: str, frames: NDArray[np.uint8], lanes: Sequence[Lane], look: Look) -> Figure:
    """Frames on top, and below them a row for each lane."""
    columns, rows = min(len(frames), _MOST), 1 + len(lanes)
    width, height = _LEFT + columns * _TILE, _TOP + rows * _TILE
    figure = plt.figure(figsize=(width, height), layout="none")
    figure.text(0.05 / width, 1 - 0.06 / height, clip, va="top", fontsize=9.5)
    for row, lane in enumerate([Lane("frames"), *lanes]):
        bottom = (rows - 1 - row) * _TILE / height
        colour = look.colours.get(lane.prompter, INK)
        middle = bottom + _TILE / 2 / height
        figure.text((_LEFT - 0.08) / width, middle, lane.name, ha="right", va="center", fontsize=8, color=colour)
        axes = figure.add_axes((_LEFT / width, bottom, columns * _TILE / width, _TILE / height))
        axes.set_axis_off()
        for column in range(columns):
            _draw_tile(axes, frames[column], lane, column, colour)
        axes.set_xlim(0, columns)
        axes.set_ylim(0, 1)
    return figure


def _draw_tile(axes: Axes, frame: NDArray[np.uint8], lane: Lane, second: int, colour: str) -> None:
    """A frame from `second` to its right neighbour, and what lies over it."""
    extent = (float(second), second + _SHARE, 1 - _SHARE, 1.0)
    axes.imshow(frame, extent=extent, aspect="auto")
    if lane.heat is not None:
        heat = lane.heat[second]
        axes.imshow(heat, extent=extent, aspect="auto", cmap="inferno", alpha=0.6, interpolation="bicubic", vmin=0)
    if lane.truth is not None:
        _outline(axes, lane.truth[second], second, INK, "-", 2.4)
        _outline(axes, lane.truth[second], second, "white", "--", 1.4)
    if lane.mask is not None:
        _outline(axes, lane.mask[second], second, colour, "-", 1.4)


def _outline(axes: Axes, mask: NDArray[np.uint8], left: float, colour: str, style: str, width: float) -> None:
    """The border of a mask (H, W), whose first row is the upper one; nothing where it is all or nothing."""
    inside = np.flipud(mask == 1)
    if inside.any() and not inside.all():
        x, y = (_SHARE * (np.arange(size) + 0.5) / size for size in inside.shape[::-1])
        look: dict[str, Any] = {"colors": [colour], "linestyles": [style], "linewidths": width}
        axes.contour(left + x, 1 - _SHARE + y, inside, levels=[0.5], **look)
