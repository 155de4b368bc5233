"""Timelines of single videos: pictures, sound, and what is heard and seen in each second, true and parsed.

Truth is a hatched box, and what a parser says a bar within it, so that a bar outside a box is a false alarm and a box without
bars a miss. Parsers have a place, a colour and a marker each: nothing depends on colour alone.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from earshot import contracts, media
from earshot.errors import MediaError
from earshot.figures import GRID, INK, MUTED, Look, dataset_of, save
from earshot.metrics.parsing_f_score import MODALITIES, SEGMENTS, decisions, targets
from earshot.tables import Row

Bools = NDArray[np.bool_]

WORDS = {"audio": "heard", "visual": "seen"}
_FIRST, _DIFFERING = 3, 3  # videos from the head of the split, and of the largest disagreement
_MOST_CLASSES = 6  # of a timeline; true ones come first
_WIDTH, _LEFT, _RIGHT = 8.0, 2.05, 0.15  # inches
_SECOND = (_WIDTH - _LEFT - _RIGHT) / SEGMENTS
_LANE, _BAR, _GAP = 0.07, 0.085, 0.05  # inches: padding of a lane, a parser's bar, between lanes
_WAVE, _NOTE, _TOP, _BOTTOM = 0.5, 0.3, 0.68, 0.42  # inches
_THUMB = 176  # pixels
_RATE = 8_000  # Hz, enough for an envelope
_BINS = 600


@dataclass(frozen=True)
class Sources:
    """Paths of tables, and the folder of each dataset's videos."""

    parses: Sequence[str]
    events: Sequence[str] = ()
    clips: Sequence[str] = ()
    classes: Sequence[str] = ()
    roots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """What a parser says of the clips that it parsed: (N, 2, C, T), and the place of each by name."""

    places: Mapping[str, int]
    said: Bools


@dataclass(frozen=True)
class Timeline:
    """One video: what is true (2, C, T), and what parsers say of it."""

    clip: Row
    why: str
    names: Sequence[str]
    truth: Bools
    said: Mapping[str, Bools]


def draw_timelines(
    sources: Sources, shown: Mapping[str, Sequence[str]], split: str, look: Look, folder: Path
) -> list[dict[str, Any]]:
    """Save a picture for a few videos of each dataset, and return what the report says of them.

    `shown` are the parsers by dataset. Videos are the first ones that all of them parsed, and those on which the last two
    differ most.
    """
    gallery = []
    for dataset, parsers in shown.items():
        entries = []
        for number, timeline in enumerate(timelines(sources, dataset, parsers, split)):
            name = f"timeline-{dataset}-{number}"
            save(figure_of(timeline, Path(sources.roots.get(dataset, "")), look), folder, name, raster=True)
            entries.append(
                {"clip_id": timeline.clip["clip_id"], "file": f"{name}.png", "why": timeline.why, "alt": in_words(timeline)}
            )
        gallery.append({"dataset": dataset, "parsers": list(parsers), "clips": entries})
    return [entry for entry in gallery if entry["clips"]]


def timelines(sources: Sources, dataset: str, parsers: Sequence[str], split: str) -> list[Timeline]:
    """The videos that are drawn, each with its truth and what the parsers say of it, by the first seed."""
    names = [row["name"] for row in _rows(sources.classes, dataset, contracts.CLASSES)]
    clips = [row for row in _rows(sources.clips, dataset, contracts.CLIPS) if row["split"] == split]
    if not names:
        return []
    parsed = {parser: read_parsed(path, len(names)) for parser, path in _files(sources.parses, dataset, parsers).items()}
    usable = [row for row in clips if all(row["clip_id"] in found.places for found in parsed.values())]
    chosen = choose(usable, parsed)
    truth = _truth(_rows(sources.events, dataset, contracts.EVENTS), [row["clip_id"] for row, _ in chosen], len(names))
    return [
        Timeline(row, why, names, true, {name: found.said[found.places[row["clip_id"]]] for name, found in parsed.items()})
        for (row, why), true in zip(chosen, truth, strict=True)
    ]


def _rows(paths: Iterable[str], dataset: str, schema: Any) -> list[dict[str, Any]]:
    return [row for path in paths if dataset_of(path, [dataset]) == dataset for row in contracts.read(path, schema)]


def _files(parses: Iterable[str], dataset: str, parsers: Sequence[str]) -> dict[str, str]:
    """The file of each parser's first seed, in the order of `parsers`."""
    found: dict[str, tuple[int, str]] = {}
    for path in parses:
        facts = contracts.facts_of(path)
        if facts["dataset"] == dataset and facts["parser"] in parsers:
            found[facts["parser"]] = min(found.get(facts["parser"], (facts["seed"], path)), (facts["seed"], path))
    return {parser: found[parser][1] for parser in parsers if parser in found}


def read_parsed(path: str, classes: int) -> Parsed:
    """Decisions of the clips that a file of PARSES holds scores of; raises ContractError for scores of other sizes."""
    table = pq.read_table(path, columns=["clip_id", "available", "video_prob", "segment_prob"])
    table = table.filter(table["available"])
    video, segments = (table[name].combine_chunks().flatten().to_numpy() for name in ("video_prob", "segment_prob"))
    if len(video) != len(table) * classes or len(segments) != len(table) * SEGMENTS * len(MODALITIES) * classes:
        raise contracts.ContractError(f"{path}: its scores are not of {classes} classes; were the classes changed since?")
    shape = (len(table), SEGMENTS, len(MODALITIES), classes)
    said = decisions(video.reshape(len(table), classes), segments.reshape(shape))
    return Parsed({name: place for place, name in enumerate(table["clip_id"].to_pylist())}, said)


def choose(clips: Sequence[Row], parsed: Mapping[str, Parsed]) -> list[tuple[Row, str]]:
    """Videos to draw, of those with a file if any has one, and why: the first, and where the last two parsers differ most."""
    order = [row for row in clips if row["available"]] or list(clips)
    chosen = [(row, "among the first of the split") for row in order[:_FIRST]]
    rest, pair = order[_FIRST:], list(parsed)[-2:]
    if len(pair) < 2 or not rest:
        return chosen
    before, last = (parsed[name].said[[parsed[name].places[row["clip_id"]] for row in rest]] for name in pair)
    differ = (before != last).sum(axis=(1, 2, 3))
    most = [place for place in np.argsort(-differ, kind="stable")[:_DIFFERING] if differ[place]]
    return chosen + [(rest[place], f"{pair[0]} and {pair[1]} differ in {differ[place]} answers") for place in most]


def _truth(events: Sequence[Row], clip_ids: Sequence[str], classes: int) -> Bools:
    by_clip: dict[str, list[tuple[int, float, float, str]]] = {name: [] for name in clip_ids}
    for row in events:
        if row["clip_id"] in by_clip:
            by_clip[row["clip_id"]].append((row["class_id"], row["onset"], row["offset"], row["modality"]))
    return targets(classes, list(by_clip.values()))


def classes_of(timeline: Timeline) -> tuple[list[int], int]:
    """The classes that are true or said anywhere, true ones first, and how many more there are."""
    true, heard, seen = timeline.truth.any(axis=(0, 2)), *_anything(timeline)
    found = [*np.flatnonzero(true).tolist(), *np.flatnonzero((heard | seen) & ~true).tolist()]
    return found[:_MOST_CLASSES], len(found[_MOST_CLASSES:])


def lanes_of(timeline: Timeline, chosen: Sequence[int]) -> list[tuple[int, int]]:
    """Class and modality of what is drawn: both of a class that is true, and only what is said of the others."""
    drawn = _anything(timeline) | timeline.truth.any(axis=(0, 2))
    return [(number, side) for number in chosen for side in range(len(MODALITIES)) if drawn[side, number]]


def _anything(timeline: Timeline) -> Bools:
    """Whether a class is true or said at any time (2, C)."""
    found: Bools = np.logical_or.reduce([timeline.truth, *timeline.said.values()]).any(axis=-1)
    return found


def spans(present: Bools) -> list[tuple[int, int]]:
    """Maximal runs of ones (T,) as pairs of onset and offset in seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(np.int8), [0]])))
    return [(int(on), int(off)) for on, off in edges.reshape(-1, 2)]


def in_words(timeline: Timeline) -> str:
    """What the picture shows, for those who do not see it."""
    chosen, more = classes_of(timeline)
    parts = []
    for number in chosen:
        for side, modality in enumerate(MODALITIES):
            told = {"truth": timeline.truth, **timeline.said}
            said = [f"{who} {_seconds(part[side, number])}" for who, part in told.items() if part[side, number].any()]
            if said:
                parts.append(f"{_plain(timeline.names[number])} {WORDS[modality]}: {', '.join(said)}")
    rest = f"; {more} more said to be there" if more else ""
    return f"{'; '.join(parts) or 'nothing is heard or seen, and nothing said to be'}{rest}."


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _seconds(present: Bools) -> str:
    return " and ".join(f"{on} to {off} s" for on, off in spans(present))


@dataclass(frozen=True)
class Footage:
    """Pictures by second and a wave (N,) at `_RATE`, with a note in the place of either that cannot be had."""

    pictures: Mapping[int, Image.Image]
    wave: NDArray[np.float32]
    no_pictures: str = ""
    no_wave: str = ""


def footage_of(clip: Row, root: Path) -> Footage:
    """The frame at the middle of every second, and the sound; a file that cannot be read gives neither."""
    path, silence = root / clip["video"], np.zeros(0, np.float32)
    middles = [int((second + 0.5) * clip["fps"]) for second in range(SEGMENTS)]
    try:
        frames = media.read_frames(path, middles)
    except MediaError as error:
        return Footage({}, silence, f"no pictures and no sound: {error}")
    pictures = {second: _thumbnail(frames[middle]) for second, middle in enumerate(middles) if middle in frames}
    try:
        wave = media.read_wave(path, _RATE)[: SEGMENTS * _RATE]
    except MediaError as error:
        return Footage(pictures, silence, no_wave=f"no sound: {error}")
    return Footage(pictures, wave, no_wave="" if len(wave) else "no sound track")


def _thumbnail(frame: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(frame)
    return image.resize((_THUMB, max(1, round(_THUMB * image.height / image.width))), Image.Resampling.LANCZOS)


def figure_of(timeline: Timeline, root: Path, look: Look) -> Figure:
    """Pictures, wave and tracks above a common axis of ten seconds; a file that cannot be read leaves a note in their place."""
    chosen, more = classes_of(timeline)
    footage = footage_of(timeline.clip, root)
    lane = 2 * _LANE + _BAR * max(1, len(timeline.said)) + _GAP
    lanes = lanes_of(timeline, chosen)
    tracks = max(_NOTE, len(lanes) * lane)
    shapes = [picture.height / picture.width for picture in footage.pictures.values()]
    tile = _SECOND * min(1.0, max(shapes)) if shapes else _NOTE
    sound = _WAVE if len(footage.wave) else _NOTE if footage.no_wave else 0.0
    height = _TOP + tile + sound + tracks + _BOTTOM
    figure = plt.figure(figsize=(_WIDTH, height), layout="none")
    upper, middle, lower = (
        figure.add_axes((_LEFT / _WIDTH, bottom / height, SEGMENTS * _SECOND / _WIDTH, size / height))
        for bottom, size in ((_BOTTOM + tracks + sound, tile), (_BOTTOM + tracks, sound), (_BOTTOM, tracks))
    )
    _draw_pictures(upper, footage, _SECOND / tile)
    _draw_wave(middle, footage)
    _draw_tracks(lower, timeline, lanes, look, lane)
    note = f"  (not drawn: {more} more class{'es' if more > 1 else ''} said to be there)" if more else ""
    figure.text(0.1 / _WIDTH, 1 - 0.1 / height, f"{timeline.clip['clip_id']}{note}", va="top", fontsize=9.5)
    _draw_legend(figure, timeline, look, height)
    return figure


def _bare(axes: Axes) -> None:
    axes.set_xlim(0, SEGMENTS)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _draw_pictures(axes: Axes, footage: Footage, ratio: float) -> None:
    """A picture a second; `ratio` is the width of a place over its height."""
    for second, picture in footage.pictures.items():
        half = 0.485 * min(1.0, picture.width / picture.height / ratio)
        axes.imshow(picture, extent=(second + 0.5 - half, second + 0.5 + half, 0.0, 1.0), aspect="auto")
    axes.set_ylim(0, 1)
    _bare(axes)
    _note(axes, footage.no_pictures)


def _draw_wave(axes: Axes, footage: Footage) -> None:
    """The envelope of the sound: lowest and highest sample of each of many short spans, the loudest at full height."""
    wave = footage.wave
    if len(wave):
        starts = np.arange(0, len(wave), SEGMENTS * _RATE // _BINS)
        loudest = max(1e-6, float(np.abs(wave).max()))
        low, high = (pick.reduceat(wave, starts) / loudest for pick in (np.minimum, np.maximum))
        axes.fill_between(starts / _RATE, low, high, color=MUTED, linewidth=0.3, edgecolor=MUTED)
    axes.set_ylim(-1.1, 1.1)
    _bare(axes)
    _note(axes, footage.no_wave)


def _draw_tracks(axes: Axes, timeline: Timeline, lanes: Sequence[tuple[int, int]], look: Look, lane: float) -> None:
    """Lanes of a class below each other, heard above seen: truth as a box, and a bar a parser; y in inches from the top."""
    axes.set_xlim(0, SEGMENTS)
    axes.set_ylim(max(_NOTE, len(lanes) * lane), 0)
    tops = [place * lane for place in range(len(lanes))]
    for (number, side), top in zip(lanes, tops, strict=True):
        _draw_lane(axes, timeline, number, side, top, look)
        word = WORDS[MODALITIES[side]]
        axes.text(-_ticks(0.1), top + lane / 2, word, ha="right", va="center", fontsize=8, color=MUTED)
    for place, number in enumerate(dict.fromkeys(number for number, _ in lanes)):
        own = [top for (other, _), top in zip(lanes, tops, strict=True) if other == number]
        if place % 2 == 0:
            axes.axhspan(own[0], own[-1] + lane, color=GRID, alpha=0.3, linewidth=0)
        label = "\n".join(textwrap.wrap(_plain(timeline.names[number]), 17, max_lines=2))
        axes.text(-_ticks(0.62), (own[0] + own[-1] + lane) / 2, label, ha="right", va="center", fontsize=9)
    _note(axes, "" if lanes else "nothing is heard or seen, and nothing said to be")
    axes.set_yticks([])
    axes.set_xticks(range(SEGMENTS + 1))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("time [s]")


def _ticks(inches: float) -> float:
    return inches / _SECOND


def _draw_lane(axes: Axes, timeline: Timeline, number: int, side: int, top: float, look: Look) -> None:
    """Truth and bars of one class in one modality."""
    top, height = top + _GAP / 2, 2 * _LANE + _BAR * max(1, len(timeline.said))
    for on, off in spans(timeline.truth[side, number]):
        axes.add_patch(_box((on, top), off - on, height))
    for place, (parser, said) in enumerate(timeline.said.items()):
        y = top + _LANE + (place + 0.5) * _BAR
        colour, marker = look.colours.get(parser, INK), look.markers.get(parser, "o")
        for on, off in spans(said[side, number]):
            axes.barh(y, off - on - 0.08, 0.86 * _BAR, on + 0.04, color=colour, linewidth=0, zorder=3)
            middles = np.arange(on, off) + 0.5
            axes.plot(middles, np.full(len(middles), y), marker, color="white", markersize=2.6, markeredgewidth=0, zorder=4)


def _box(corner: tuple[float, float], width: float, height: float) -> Rectangle:
    style: dict[str, Any] = {
        "facecolor": "#f0f2f4",
        "edgecolor": INK,
        "linewidth": 0.9,
        "hatch": "////",
        "hatch_linewidth": 0.3,
    }
    return Rectangle(corner, width, height, zorder=2, **style)


def _draw_legend(figure: Figure, timeline: Timeline, look: Look, height: float) -> None:
    """Truth, then parsers from the top bar to the lowest."""
    bar: dict[str, Any] = {"linewidth": 6, "solid_capstyle": "butt", "markersize": 4, "markeredgewidth": 0}
    handles: list[Any] = [_box((0, 0), 1, 1)]
    for parser in timeline.said:
        colour, marker = look.colours.get(parser, INK), look.markers.get(parser, "o")
        handles.append(plt.Line2D([], [], color=colour, marker=marker, markerfacecolor="white", **bar))
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (_LEFT / _WIDTH, 1 - 0.36 / height), "borderaxespad": 0}
    words = ["truth", *timeline.said]
    figure.legend(handles, words, ncols=len(words), borderpad=0, handlelength=2.4, **place)
