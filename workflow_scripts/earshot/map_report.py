"""A label map on one page: what it reaches, what is doubtful about it and, where names are equal, how often it is right."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from earshot import contracts
from earshot.figures import STYLE, label_map_figure, save
from earshot.files import write_text
from earshot.label_spaces import plain
from earshot.report import Grid, environment, svg_uri
from earshot.tables import DASH, number

_LISTED = 30  # pairs of a table
_WEAK = 0.35  # a pair below this weight is doubtful
_CLOSE = 0.1  # and so is one whose rival is as near as this

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Agreement:
    """How often sounds that are classes by name map to these: shares of the `n` such pairs, each at most 1.

    `top1` and `top3` go from sounds to classes, by weight; `back` from classes to sounds: that of the same name is the
    strongest one.
    """

    n: int
    top1: float
    top3: float
    back: float


@dataclass(frozen=True)
class MapData:
    """What the page shows."""

    title: str
    coverage: str
    provenance: Grid
    identity: Grid | None
    classes: Grid
    strongest: Grid
    doubtful: Grid
    picture: str


def write(label_map: str, classes: str, title: str, out: str) -> None:
    """Write the page of a label map."""
    rows, facts = contracts.read(label_map, contracts.LABEL_MAP), contracts.facts_of(label_map)
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    page = environment().get_template("label_map.html.j2").render(data=collect(rows, facts, names, title))
    write_text(out, page)


def collect(rows: Sequence[Row], facts: Mapping[str, Any], names: Sequence[str], title: str) -> MapData:
    """Everything that the page of a map shows; `names` are the dataset's classes."""
    pairs = [row for row in rows if row["video_class"] >= 0]
    reached = {row["video_name"] for row in pairs}
    sounds, used = {row["audio_name"] for row in rows}, {row["audio_name"] for row in pairs}
    coverage = (
        f"{len(reached)} of {len(names)} video classes are reached by a sound; {len(used)} of {len(sounds)} sounds speak for "
        f"a class. {_unreached([name for name in names if name not in reached])}"
    )
    return MapData(
        title, coverage, _provenance(facts), _identity_grid(identity_agreement(rows, names)), _by_class(pairs, names),
        _strongest(pairs), _doubtful(pairs), _picture(rows),
    )  # fmt: skip


def identity_agreement(rows: Sequence[Row], names: Sequence[str]) -> Agreement:
    """How a map does where a sound and a video class are called the same; NaN if none are."""
    classes = {plain(name): name for name in names}
    pairs = [row for row in rows if row["video_class"] >= 0]
    equal = {row["audio_name"]: classes[plain(row["audio_name"])] for row in rows if plain(row["audio_name"]) in classes}
    n = len(equal)
    if not n:
        return Agreement(0, *[float("nan")] * 3)
    ranks = [_rank(pairs, "audio_name", sound, "video_name", name) for sound, name in equal.items()]
    back = [_rank(pairs, "video_name", name, "audio_name", sound) == 1 for sound, name in equal.items()]
    return Agreement(n, sum(r == 1 for r in ranks) / n, sum(r <= 3 for r in ranks) / n, sum(back) / n)


def _rank(pairs: Sequence[Row], given: str, name: str, sought: str, right: str) -> float:
    """The place of `right` among what `name` is paired with, by weight; one that shares its weight counts behind."""
    weights = {row[sought]: row["weight"] for row in pairs if row[given] == name}
    if right not in weights:
        return float("inf")
    return sum(weight >= weights[right] for weight in weights.values())


def _unreached(names: Sequence[str]) -> str:
    if not names:
        return "None is left out."
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"Not reached: {', '.join(names[:_LISTED])}{more}."


def _provenance(facts: Mapping[str, Any]) -> Grid:
    made = facts.get("made") or {}
    told = {
        "origin": facts.get("origin"), "model": facts.get("model"), "date": facts.get("date"),
        "reviewed by": facts.get("reviewed_by"), "prompt (SHA-256)": str(facts.get("prompt_sha256", ""))[:12],
        "requests": made.get("requests"), "tokens in prompts": made.get("prompt_tokens"),
        "tokens in answers": made.get("completion_tokens"), "note": facts.get("note"),
        "dropped, since neither vocabulary knows it": ", ".join(facts.get("dropped", [])),
    }  # fmt: skip
    return Grid("Provenance", ("", ""), [(name, str(value) if value else DASH) for name, value in told.items()], "")


def _identity_grid(found: Agreement) -> Grid | None:
    if not found.n:
        return None
    shares = [f"{number(100 * share)} %" for share in (found.top1, found.top3, found.back)]
    header = (
        "equal names",
        "first class is the namesake",
        "namesake among the first three",
        "class's first sound is the namesake",
    )
    note = "Sounds that are called as a video class should map to it: a check of the mapper that needs no reviewer."
    return Grid("Sounds and classes of one name", header, [(str(found.n), *shares)], note)


def _by_class(pairs: Sequence[Row], names: Sequence[str]) -> Grid:
    lines = []
    for name in names:
        found = sorted((-row["weight"], row["audio_name"]) for row in pairs if row["video_name"] == name)
        lines.append((name, ", ".join(f"{sound} ({-weight:.2g})" for weight, sound in found) or DASH))
    return Grid("Sounds of each class", ("video class", "sounds, strongest first"), lines, f"{DASH}: nothing maps to it.")


def _strongest(pairs: Sequence[Row]) -> Grid:
    found = sorted(pairs, key=lambda row: (-row["weight"], row["audio_class"], row["video_class"]))[:_LISTED]
    lines = [(row["audio_name"], row["video_name"], f"{row['weight']:.2g}") for row in found]
    return Grid("Strongest pairs", ("sound", "video class", "weight"), lines, "")


def _doubtful(pairs: Sequence[Row]) -> Grid:
    """Weak pairs, and the first classes of sounds whose second is hardly weaker."""
    lines = []
    for row in sorted(pairs, key=lambda row: (row["weight"], row["audio_class"], row["video_class"])):
        rivals = [r["video_name"] for r in pairs if _rivals(row, r)]
        if row["weight"] < _WEAK:
            lines.append((row["audio_name"], row["video_name"], f"{row['weight']:.2g}", "weak"))
        elif rivals:
            lines.append((row["audio_name"], row["video_name"], f"{row['weight']:.2g}", f"as strong: {', '.join(rivals)}"))
    note = f"{len(lines)} pairs in all. Look at these first when you review the map."
    return Grid("Doubtful pairs", ("sound", "video class", "weight", "why"), lines[:_LISTED], note)


def _rivals(row: Row, other: Row) -> bool:
    same = other["audio_class"] == row["audio_class"] and other["video_class"] != row["video_class"]
    return same and abs(other["weight"] - row["weight"]) <= _CLOSE


def _picture(rows: Sequence[Row]) -> str:
    with matplotlib.rc_context(STYLE), tempfile.TemporaryDirectory() as folder:
        figure = label_map_figure(rows)
        if figure is None:
            return ""
        save(figure, Path(folder), "map")
        return svg_uri(Path(folder, "map.svg"))
