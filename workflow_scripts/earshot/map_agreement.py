"""Two label maps held against each other, such as those of two language models.

    PYTHONPATH=workflow_scripts python -m earshot.map_agreement one.json other.json [--least 0.8]

prints the comparison; the exit status is 1 if less than `--least` of the sounds agree, and 2 for a file that is no map.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earshot import label_map
from earshot.files import write_text

_LISTED = 40  # sounds on which the maps differ most

Weights = Mapping[str, Mapping[str, float]]  # sound -> video class -> weight


@dataclass(frozen=True)
class Comparison:
    """How far two maps agree over the `n` sounds of both; shares are of those that either map maps to anything, also of those
    that only one knows; they are 1 if no map maps anything.

    `first`: the strongest class is the same, where one is the strongest, or the sound maps to nothing in both; `overlap`: the
    mean over sounds of sum of min / sum of max of the weights, 1 for equal rows; `kappa`: Cohen's, of pairs in the maps or
    not. `differences` are the sounds whose rows are least alike.
    """

    n: int
    mapped: int
    first: float
    overlap: float
    kappa: float
    only_one: list[str]
    only_other: list[str]
    differences: list[tuple[str, float]]


def compare(one: str, other: str, out: str) -> None:
    """Write the comparison of two maps as Markdown."""
    write_text(out, told(one, other))


def told(one: str, other: str) -> str:
    """The comparison of two files in words; raises LabelMapError for a file that is no map."""
    a, b = label_map.read(one), label_map.read(other)
    if a.dataset != b.dataset:
        raise label_map.LabelMapError(f"{one} maps to classes of '{a.dataset}', {other} to those of '{b.dataset}'")
    return _markdown(of(weights(a), weights(b)), _called(a), _called(b), weights(a), weights(b))


def of(one: Weights, other: Weights) -> Comparison:
    """Compare two maps."""
    sounds = list(dict.fromkeys((*one, *other)))
    rows = {sound: (one.get(sound, {}), other.get(sound, {})) for sound in sounds}
    mapped = [sound for sound in sounds if any(rows[sound])]
    alike = {sound: _overlap(*rows[sound]) for sound in mapped}
    same = sum(_strongest(a) == _strongest(b) for a, b in (rows[sound] for sound in mapped))
    differences = sorted(((s, v) for s, v in alike.items() if v < 1), key=lambda item: (item[1], item[0]))
    return Comparison(
        n=sum(sound in one and sound in other for sound in sounds),
        mapped=len(mapped),
        first=same / len(mapped) if mapped else 1.0,
        overlap=sum(alike.values()) / len(mapped) if mapped else 1.0,
        kappa=_kappa(list(rows.values())),
        only_one=[sound for sound in one if sound not in other],
        only_other=[sound for sound in other if sound not in one],
        differences=differences,
    )


def weights(file: label_map.MapFile) -> dict[str, dict[str, float]]:
    """The weights of a map by sound and video class."""
    return {row.audio_label: {t.label: t.weight for t in row.video_labels if t.weight > 0} for row in file.rows}


def _called(file: label_map.MapFile) -> str:
    model = f" {file.model}" if file.model else ""
    return f"{file.origin}{model}{', edited' if file.edited else ''}"


def _strongest(row: Mapping[str, float]) -> frozenset[str]:
    return frozenset(name for name, weight in row.items() if weight == max(row.values()))


def _overlap(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    names = {*one, *other}
    least = sum(min(one.get(name, 0.0), other.get(name, 0.0)) for name in names)
    return least / sum(max(one.get(name, 0.0), other.get(name, 0.0)) for name in names)


def _kappa(rows: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> float:
    """Cohen's kappa of two judges who say of every pair of a sound and a class whether it belongs to the map."""
    total = len(rows) * len({name for both in rows for row in both for name in row})
    if not total:
        return 1.0
    yes, yes_other = (sum(len(both[judge]) for both in rows) / total for judge in (0, 1))
    differing = sum(len(set(a) ^ set(b)) for a, b in rows) / total
    chance = yes * yes_other + (1 - yes) * (1 - yes_other)
    return 1.0 if not differing else (1 - differing - chance) / (1 - chance)


def _markdown(found: Comparison, one: str, other: str, a: Weights, b: Weights) -> str:
    lines = [
        f"# {one} against {other}", "",
        f"- {found.n} sounds in both maps; {found.mapped} of them speak for a class in at least one",
        f"- same strongest class: {100 * found.first:.1f} % of those",
        f"- mean overlap of weights: {100 * found.overlap:.1f} %",
        f"- Cohen's kappa over pairs of a sound and a class: {found.kappa:.2f}",
    ]  # fmt: skip
    for name, missing in ((one, found.only_one), (other, found.only_other)):
        if missing:
            lines.append(f"- {len(missing)} sounds only in the map of {name}: {', '.join(missing[:_LISTED])}")
    if found.differences:
        lines += ["", f"| sound | {one} | {other} | overlap |", "|---|---|---|---|"]
        shown = found.differences[:_LISTED]
        lines += [f"| {s} | {_row(a.get(s, {}))} | {_row(b.get(s, {}))} | {100 * v:.0f} % |" for s, v in shown]
    if len(found.differences) > _LISTED:
        lines += ["", f"{len(found.differences) - _LISTED} more sounds differ."]
    return "\n".join(lines) + "\n"


def _row(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({weight:.2g})" for name, weight in sorted(weights.items(), key=lambda i: -i[1])) or "nothing"


def main(arguments: Sequence[str]) -> int:
    """Compare two files; returns an exit status."""
    parser = argparse.ArgumentParser(description="Compare two label maps.")
    parser.add_argument("one")
    parser.add_argument("other")
    parser.add_argument("--least", type=float, default=0.0, help="share of sounds whose strongest class must be the same")
    given = parser.parse_args(arguments)
    try:
        print(told(given.one, given.other))
        found = of(weights(label_map.read(given.one)), weights(label_map.read(given.other)))
    except label_map.LabelMapError as error:
        print(error, file=sys.stderr)
        return 2
    return int(found.first < given.least)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
