"""What tables say of variants, parsers or prompters, that are compared: leaders, tests, spreads, and settings that differ."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from earshot.metrics.significance import FLIPS, holm
from earshot.tables import DAGGER, DASH, LEVEL, About, Row, number


def gain_of(metric: str, reference: str) -> str:
    """The name of a metric's paired gain over a reference."""
    return f"{metric}_gain_over_{reference}"


def setting(rows: Iterable[Row], about: About, variant: str = "parser", items: str = "Videos") -> str:
    """Items scored of those in the split, by the variants whose names are in that column, and seeds."""
    counts: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        counts.setdefault((row["n"], row["n"] + row["n_missing"]), []).append(row[variant])
    whose = {key: f" ({', '.join(about.order(names))})" if len(counts) > 1 else "" for key, names in counts.items()}
    told = [f"{n} of {whole}{names}" for (n, whole), names in whose.items()]
    seeds = f"seed{'s' if len(about.seeds) != 1 else ''} {', '.join(map(str, about.seeds))}"
    return f"{items} scored: {'; '.join(told)}, split {about.split}; {seeds}."


def significant(tests: Mapping[str, Row], untested: Iterable[str] = ()) -> set[str]:
    """Variants whose gain holds at the level after Holm's correction within a column; some are not tested."""
    found = {name: row["value"] for name, row in tests.items() if name not in untested and math.isfinite(row["value"])}
    return {name for name, p in zip(found, holm(list(found.values())), strict=True) if p < LEVEL}


def tested_note(variants: str) -> str:
    """What a dagger means."""
    return (
        f"{DAGGER}: p < {LEVEL} in a two-sided paired sign-flip test over videos ({FLIPS:,} flips), corrected by Holm's method "
        f"for the {variants} of a column, and not for the number of columns. "
    )


def one_seed_note(about: About) -> str:
    """Intervals over videos say nothing of another training run, which is worth a warning where there was but one."""
    return "There is one seed: how much another training run would differ is not known. " if len(about.seeds) < 2 else ""


def differing(settings: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """For each variant, those of its settings, by dotted name, that are not equal in all of them; empty if none differs."""
    every = sorted({knob for own in settings.values() for knob in own})
    differ = [knob for knob in every if len({own.get(knob) for own in settings.values()}) > 1]
    return {name: {knob: own.get(knob, "") for knob in differ} for name, own in settings.items()} if differ else {}


def switch(value: str) -> str:
    """A setting in a cell: on and off for what is either."""
    return {"True": "on", "False": "off"}.get(value, value)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation; a single value alone, a dash without any."""
    if len(values) < 2:
        return number(values[0], digits) if values else DASH
    return f"{number(statistics.fmean(values), digits)} ± {number(statistics.stdev(values), digits)}"


def each(values: Sequence[int]) -> str:
    """Distinct values in their order."""
    return ", ".join(map(str, dict.fromkeys(values)))


def ends(curves: Sequence[Mapping[int, float]], digits: int = 2) -> str:
    """A scalar at the first and last epoch of several trainings: mean, and spread at the end; a dash without any."""
    told = [curve for curve in curves if curve]
    if not told:
        return DASH
    first, last = ([curve[pick(curve)] for curve in told] for pick in (min, max))
    end = spread(last, digits)
    return end if len(told[0]) < 2 else f"{number(statistics.fmean(first), digits)} to {end}"
