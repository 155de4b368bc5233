"""Tables of results from metrics: accuracy, paired gains, calibration, classes, and published numbers beside ours.

As Markdown, CSV and LaTeX.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pyarrow as pa

from earshot import contracts, published_numbers
from earshot.config import CLEAN, Protocol
from earshot.metrics.significance import FLIPS, holm
from earshot.scoring import ALL_SEEDS, MAPPED, MEAN, REFERENCES, UNMAPPED, condition_order

Row = Mapping[str, Any]
DASH = "—"
NO_RESULT = "Untrained, random weights: not a result."
_PREDICTS = {
    "before": "the answer is taken before the update on that clip",
    "after": "the answer is taken after the update on that clip",
    "none": "nothing is updated",
}
_PROTOCOLS = {
    "online": "what is learnt is kept from clip to clip within a corruption",
    "episodic": "the model is reset before every clip, so what is learnt after an answer is lost",
    "continual": "what is learnt is kept from clip to clip and from corruption to corruption, clean clips coming last",
    "mixed": "every clip comes under a corruption drawn for it, and what is learnt is kept from clip to clip",
}
LEVEL = 0.05
DAGGER = "†"
_MOST_CLASSES = 5  # at either end


@dataclass(frozen=True)
class About:
    """What every caption says: protocol, split, seeds and, per method variant, its notes.

    `methods` maps a variant to `plugin`, `hyper`, `predicts` (before, after or none), `batched`, `two_pass` and `summary`, in
    the order of tables.
    """

    title: str
    protocol: Mapping[str, Any]
    split: str
    seeds: Sequence[int]
    methods: Mapping[str, Row]
    data: Mapping[str, str] = field(default_factory=dict, kw_only=True)  # what is said of each dataset's files

    def order(self, names: Iterable[str]) -> list[str]:
        """Methods in the order of the config; unknown ones after them, in the order given."""
        found = list(dict.fromkeys(names))
        return [name for name in self.methods if name in found] + [name for name in found if name not in self.methods]


def about(params: Any) -> About:
    """From a job's params: `title`, `protocol`, `split`, `seeds`, and `methods`, dicts of a `variant` and its notes."""
    methods = {given["variant"]: {k: v for k, v in given.items() if k != "variant"} for given in params.methods}
    return About(params.title, params.protocol, params.split, params.seeds, methods)


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the rows.

    `strong` holds (row, column) of cells to emphasise, and `second` of those to emphasise less.
    """

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    second: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def number(value: float, digits: int = 1, sign: bool = False) -> str:
    """A number as text, with a true minus; a dash where it does not apply."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    text = text.lstrip("+-") if float(text) == 0 else text
    return text.replace("-", "\N{MINUS SIGN}")


def interval(row: Row | None, sign: bool = False, mark: str = "") -> str:
    """A cell: value and 95 % interval."""
    if row is None or not math.isfinite(row["value"]):
        return DASH
    low, high = number(row["low"], sign=sign), number(row["high"], sign=sign)
    return f"{number(row['value'], sign=sign)}{mark} [{low}, {high}]"


def flat(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested dictionaries as pairs of text: keys joined by dots, and values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def protocol_line(about: About) -> str:
    """The protocol in words."""
    p = about.protocol
    name = p.get("name", "unknown")
    told = _two_passes(about) if name == "two_pass" else _PROTOCOLS.get(name, "not described")
    parts = [
        f"{p.get('views', '?')} views",
        f"{p.get('order', '?')} order",
        f"seed{'s' if len(about.seeds) != 1 else ''} {', '.join(map(str, about.seeds))}",
        f"split {about.split}",
    ]
    batched, size = _with(about, "batched"), Protocol.model_validate(p).clips_at_once
    parts += [f"batches of {size} clips for {', '.join(batched)}"] if batched and size > 1 else []
    others = {key: value for key, value in p.items() if key not in ("name", "views", "order", "batch")}
    parts += [f"{key} {value}" for key, value in sorted(others.items()) if value is not None]
    return f"Protocol {name}: {told}; {', '.join(parts)}."


def _with(about: About, trait: str) -> list[str]:
    """The methods that have a trait of their plug-in: batched or two_pass."""
    return [method for method, note in about.methods.items() if note.get(trait)]


def _two_passes(about: About) -> str:
    """Who sees what before it answers under the protocol `two_pass`."""
    twice = _with(about, "two_pass")
    if not twice:
        return "every method predicts as it goes"
    others = "; the others predict as they go" if len(twice) < len(about.methods) else ""
    return f"{', '.join(twice)} first adapt to the whole list and then predict all of it{others}"


def untrained(backbone: str) -> str:
    """A warning before all that is said of a backbone with random weights; empty for any other."""
    return f"{NO_RESULT} " if backbone.endswith(contracts.RANDOM_WEIGHTS) else ""


def groups(metrics: Iterable[Row]) -> list[tuple[str, str]]:
    """Datasets and backbones, in the order of the rows."""
    return list(dict.fromkeys((row["dataset"], row["backbone"]) for row in metrics))


def conditions(rows: Iterable[Row]) -> list[tuple[str, int]]:
    """Conditions (corruption, severity) in the order of columns: clean, corruptions, mean."""
    return sorted({(row["corruption"], row["severity"]) for row in rows}, key=lambda c: condition_order(*c))


def heading(corruption: str, severity: int, several: bool) -> str:
    """A column's name; the severity is told where there are several."""
    if corruption == CLEAN and severity:
        return f"clean after severity {severity}"
    return corruption if not several or corruption in (CLEAN, MEAN) else f"{corruption} {severity}"


def select(metrics: Iterable[Row], metric: str, dataset: str, backbone: str, seed: int = ALL_SEEDS) -> list[Row]:
    """Rows of one metric, dataset, backbone and seed."""
    wanted = (metric, dataset, backbone, seed)
    return [row for row in metrics if (row["metric"], row["dataset"], row["backbone"], row["seed"]) == wanted]


def find(metrics: Iterable[Row], metric: str, dataset: str, backbone: str, method: str, corruption: str) -> Row | None:
    """The row over all seeds of a metric, if it is there and finite; the strongest severity if there are several."""
    wanted = (metric, dataset, backbone, method, corruption, ALL_SEEDS)
    keys = ("metric", "dataset", "backbone", "method", "corruption", "seed")
    rows = [row for row in metrics if tuple(row[key] for key in keys) == wanted and math.isfinite(row["value"])]
    return max(rows, key=lambda row: row["severity"], default=None)


def find_overall(metrics: Iterable[Row], metric: str, dataset: str, backbone: str, method: str) -> Row | None:
    """The row of the mean over the corruptions or, where there is none, of the clean clips."""
    where = (find(metrics, metric, dataset, backbone, method, corruption) for corruption in (MEAN, CLEAN))
    return next((row for row in where if row), None)


def listener(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> str:
    """The first method of the config that adapts by sound; fusion of sound into the answer does not count."""
    for method in about.order(row["method"] for row in metrics):
        heard, steps = (find_overall(metrics, metric, dataset, backbone, method) for metric in ("heard", "steps"))
        fused = about.methods.get(method, {}).get("hyper", {}).get("predict_with_audio", False)
        if heard and heard["value"] > 0 and steps and steps["value"] > 0 and not fused:
            return method
    return ""


def build(metrics: Sequence[Row], about: About, by_class: Sequence[Row] = ()) -> list[Table]:
    """All tables, for each dataset and backbone, of METRICS and CLASS_METRICS; those that have nothing to say are left out."""
    made: list[Table] = []
    for dataset, backbone in groups(metrics):
        of_group = [accuracy_table(metrics, about, dataset, backbone)]
        of_group += [gain_table(metrics, about, dataset, backbone, reference) for reference in REFERENCES]
        of_group.append(calibration_table(metrics, about, dataset, backbone))
        of_group.append(diverged_table(metrics, about, dataset, backbone))
        of_group += group_tables(metrics, about, dataset, backbone)
        of_group.append(class_table(metrics, by_class, about, dataset, backbone))
        of_group.append(published_table(metrics, about, dataset, backbone))
        of_group.append(protocols_table(metrics, about, dataset, backbone))
        told = saying(about.data.get(dataset, ""), of_group)
        made += [replace(table, strong=frozenset(), second=frozenset()) for table in told] if untrained(backbone) else told
    return made


def saying(data: str, made: Iterable[Table | None]) -> list[Table]:
    """The tables that there are, each with what is to be said of its data at the end of its caption."""
    return [replace(table, caption=f"{table.caption.rstrip()}{data}") for table in made if table is not None]


def accuracy_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """Top-1 accuracy: methods by conditions, the best of a column emphasised."""
    rows = select(metrics, "top1", dataset, backbone)
    caption = (
        f"{untrained(backbone)}Top-1 accuracy in percent with 95 % bootstrap intervals over clips. {_counts(rows)} "
        f"{protocol_line(about)} "
        f"{_moments(about, {row['method'] for row in rows if applies(row)})}{_idle(metrics, about, dataset, backbone)}"
        f"{_dashes(rows, about)}"
    )
    return _wide(f"accuracy-{dataset}-{backbone}", f"Accuracy: {dataset}, {backbone}", caption, rows, about)


def _idle(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> str:
    """Which methods were to adapt and made no update at all."""
    adapts = {method for method, note in about.methods.items() if note.get("predicts", "none") != "none"}
    made: dict[str, float] = {}
    for row in select(metrics, "steps", dataset, backbone):
        if row["method"] in adapts and math.isfinite(row["value"]):
            made[row["method"]] = made.get(row["method"], 0.0) + row["value"]
    idle = [method for method, updates in made.items() if not updates]
    return f" No update at all was made by {', '.join(idle)}." if idle else ""


def gain_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str, reference: str) -> Table | None:
    """Paired gains over a reference method, in percentage points."""
    rows = select(metrics, f"top1_gain_over_{reference}", dataset, backbone)
    marked = _significant(select(metrics, f"top1_p_against_{reference}", dataset, backbone))
    caption = (
        f"Gain in top-1 accuracy over {reference}, in percentage points, on the same clips, with 95 % paired bootstrap "
        f"intervals, which are not corrected for the number of comparisons. {DAGGER}: p < {LEVEL} in a two-sided paired "
        f"sign-flip test over clips ({FLIPS:,} flips), corrected by Holm's method for the methods of a column, and not for the "
        f"number of columns or tables. {_counts(rows)} {protocol_line(about)}{_dashes(rows, about)}"
    )
    title = f"Gain over {reference}: {dataset}, {backbone}"
    return _wide(f"gain-over-{reference}-{dataset}-{backbone}", title, caption, rows, about, sign=True, marked=marked)


def _significant(rows: Sequence[Row]) -> set[tuple[str, str, int]]:
    """Method, corruption and severity of the tests that hold at the level after Holm's correction within a column."""
    found = set()
    for column in conditions(rows):
        tests = [row for row in rows if (row["corruption"], row["severity"]) == column and math.isfinite(row["value"])]
        adjusted = holm([row["value"] for row in tests])
        found |= {(row["method"], *column) for row, p in zip(tests, adjusted, strict=True) if p < LEVEL}
    return found


def calibration_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """Expected calibration error: methods by conditions, the lowest of a column emphasised."""
    rows = select(metrics, "ece", dataset, backbone)
    caption = (
        f"{untrained(backbone)}Expected calibration error in percent (15 bins of equal width over the confidence of the "
        "answer; lower is better) with 95 % bootstrap intervals over clips, which lean upwards: chance adds to the error of a "
        f"resample. {_counts(rows)} {protocol_line(about)}{_dashes(rows, about)}"
    )
    title = f"Calibration: {dataset}, {backbone}"
    return _wide(f"calibration-{dataset}-{backbone}", title, caption, rows, about, lowest=True)


def diverged_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """How often the methods diverged; None if none ever did."""
    rows = select(metrics, "diverged", dataset, backbone)
    often = {row["method"] for row in rows if row["value"] > 0}
    rows = [row for row in rows if row["method"] in often]
    caption = (
        "Share of clips in percent on which adaptation diverged: a loss was not finite, and the update before it "
        "undone, or the logits were not, and the source model answered. Methods that never diverged are left out. "
        f"{_counts(rows)} {protocol_line(about)}"
    )
    title = f"Diverged: {dataset}, {backbone}"
    return _wide(f"diverged-{dataset}-{backbone}", title, caption, rows, about, lowest=True)


def group_tables(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> list[Table | None]:
    """Accuracy and gain over ViTTA on groups of classes: those with and without a sound, and those of the config."""
    names = dict.fromkeys(row["metric"].removeprefix("top1_on_") for row in metrics if row["metric"].startswith("top1_on_"))
    sound = [name for name in (MAPPED, UNMAPPED) if name in names]
    own = [name for name in names if name not in sound]
    words = f"{MAPPED}: classes that at least one sound is mapped to; {UNMAPPED}: the other classes. "
    return [
        _group_table(metrics, about, dataset, backbone, sound, "sound-classes", "Classes with and without a sound", words),
        _group_table(metrics, about, dataset, backbone, own, "class-groups", "Groups of classes", ""),
    ]


def _group_table(
    metrics: Sequence[Row], about: About, dataset: str, backbone: str, names: Sequence[str], key: str, title: str, words: str
) -> Table | None:
    """Methods by groups: accuracy, and the gain over ViTTA where it was run, on average over the corruptions."""
    kinds = [
        pair
        for name in names
        for pair in ((f"top1_on_{name}", name), (f"top1_gain_over_vitta_on_{name}", f"{name}: gain over vitta"))
    ]
    rows = [row for metric, _ in kinds for row in select(metrics, metric, dataset, backbone)]
    where = MEAN if any(row["corruption"] == MEAN for row in rows) else CLEAN
    rows = [row for row in rows if row["corruption"] == where]
    kinds = [(metric, head) for metric, head in kinds if any(row["metric"] == metric for row in rows)]
    if not kinds:
        return None
    found = {(row["method"], row["metric"]): row for row in rows}
    methods = about.order(row["method"] for row in rows)
    cells = {key: interval(row, sign=key[1].startswith("top1_gain")) for key, row in found.items()}
    body = tuple((method, *(cells.get((method, metric), DASH) for metric, _ in kinds)) for method in methods)
    counts = {
        name: max(row["n"] for row in rows if row["metric"] == f"top1_on_{name}")
        for name in names
        if (f"top1_on_{name}", name) in kinds
    }
    told = ", ".join(f"{name} {n}" for name, n in counts.items())
    under = "averaged over the corruptions" if where == MEAN else "on clean clips"
    caption = (
        f"{words}Top-1 accuracy in percent and paired gains in points, {under}, with 95 % bootstrap intervals over clips, not "
        f"corrected for the number of comparisons. Clips: {told}. {protocol_line(about)}{_dashes(rows, about)}"
    )
    header = ("method", *(head for _, head in kinds))
    return Table(f"{key}-{dataset}-{backbone}", f"{title}: {dataset}, {backbone}", caption, header, body)


class ClassGain(NamedTuple):
    """A class: its name, clips, top-1 accuracies in percent of both methods, and their difference in points."""

    name: str
    n: int
    before: float
    after: float

    @property
    def gain(self) -> float:
        """What the method brings over the reference."""
        return self.after - self.before


@dataclass(frozen=True)
class ClassGains:
    """What a method that listens brings to each class over a reference, largest gain first, under the condition `where`."""

    method: str
    reference: str
    where: str
    rows: tuple[ClassGain, ...]


def class_gains(
    metrics: Sequence[Row], by_class: Sequence[Row], about: About, dataset: str, backbone: str
) -> ClassGains | None:
    """Gains by class of the method that listens, over ViTTA or else the source model; None where nothing listens."""
    wanted = (dataset, backbone, ALL_SEEDS)
    rows = [row for row in by_class if (row["dataset"], row["backbone"], row["seed"]) == wanted]
    where = MEAN if any(row["corruption"] == MEAN for row in rows) else CLEAN
    found = {(row["method"], row["name"]): row for row in rows if row["corruption"] == where and math.isfinite(row["top1"])}
    method = listener(metrics, about, dataset, backbone)
    reference = next((name for name in reversed(REFERENCES) if any(key[0] == name for key in found)), "")
    names = [name for other, name in found if other == method and (reference, name) in found]
    if not names:
        return None
    gains = (ClassGain(n, found[method, n]["n"], found[reference, n]["top1"], found[method, n]["top1"]) for n in names)
    return ClassGains(method, reference, where, tuple(sorted(gains, key=lambda gain: (-gain.gain, gain.name))))


def class_table(metrics: Sequence[Row], by_class: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """The classes that gain and lose most by the method that listens; None where nothing listens."""
    gains = class_gains(metrics, by_class, about, dataset, backbone)
    if gains is None:
        return None
    rows = gains.rows
    shown = rows if len(rows) <= 2 * _MOST_CLASSES else (*rows[:_MOST_CLASSES], *rows[-_MOST_CLASSES:])
    body = tuple((r.name, str(r.n), number(r.before), number(r.after), number(r.gain, sign=True)) for r in shown)
    under = "averaged over the corruptions" if gains.where == MEAN else "on clean clips"
    caption = (
        f"{untrained(backbone)}Classes of the largest gain and of the largest loss of {gains.method} against "
        f"{gains.reference}: {len(shown)} of {len(rows)}, top-1 accuracy in percent, {under}. A class has few clips and these "
        "are the extremes of many: they show where to look, and no test was made."
    )
    header = ("class", "clips", gains.reference, gains.method, "gain")
    title = f"Classes that gain and lose most: {dataset}, {backbone}"
    return Table(f"classes-{dataset}-{backbone}", title, caption, header, body)


def _wide(
    name: str,
    title: str,
    caption: str,
    rows: Sequence[Row],
    about: About,
    sign: bool = False,
    lowest: bool = False,
    marked: Iterable[tuple[str, str, int]] = (),
) -> Table | None:
    if not rows:
        return None
    columns, marks = conditions(rows), dict.fromkeys(marked, DAGGER)
    several = len({severity for _, severity in columns if severity > 0}) > 1
    methods = about.order(row["method"] for row in rows)
    found = {(row["method"], row["corruption"], row["severity"]): row for row in rows}
    body, strong, second = [], set(), set()
    for method in methods:
        keys = [(method, *column) for column in columns]
        body.append((method, *(interval(found.get(key), sign, marks.get(key, "")) for key in keys)))
    for place, column in enumerate(columns, start=1):
        values = {n: found[m, *column]["value"] for n, m in enumerate(methods) if (m, *column) in found}
        first, next_ = leading({n: -value if lowest else value for n, value in values.items()})
        strong |= {(n, place) for n in first}
        second |= {(n, place) for n in next_}
    header = ("method", *(heading(*column, several) for column in columns))
    return Table(name, title, caption, header, tuple(body), frozenset(strong), frozenset(second))


def leading(values: Mapping[int, float]) -> tuple[set[int], set[int]]:
    """The places of the highest value and, among three or more, of the second; several where values are equal."""
    finite = {place: value for place, value in values.items() if math.isfinite(value)}
    ranks = sorted(set(finite.values()), reverse=True)
    if len(finite) < 2:
        return set(), set()
    second = ranks[1] if len(ranks) > 1 and len(finite) > 2 else math.nan
    return {p for p, v in finite.items() if v == ranks[0]}, {p for p, v in finite.items() if v == second}


def applies(row: Row) -> bool:
    """Whether the row's method has anything to adapt in its backbone: else no clip was scored, and none is missing."""
    return bool(row["n"] or row["n_missing"])


def _dashes(rows: Sequence[Row], about: About) -> str:
    """Why methods have dashes in place of numbers."""
    reasons = {row["method"]: row["note"] for row in rows if not applies(row)}
    return "".join(f" {DASH} {method}: {reasons[method].rstrip('.')}." for method in about.order(reasons))


def _counts(rows: Sequence[Row]) -> str:
    """Clips scored and missing per column, in as few words as they allow."""
    rows = [row for row in rows if applies(row)]
    columns = conditions(rows)
    several = len({severity for _, severity in columns if severity > 0}) > 1
    counted: dict[tuple[int, int], list[str]] = {}
    for column in columns:
        cells = [row for row in rows if (row["corruption"], row["severity"]) == column]
        # a clip may be scored under one corruption and missing under another: the mean has all clips of them all
        whole = max(row["n"] + row["n_missing"] for row in (cells if column[0] != MEAN else _single(rows) or cells))
        scored = min(row["n"] if column[0] != MEAN else whole - row["n_missing"] for row in cells)
        counted.setdefault((scored, whole), []).append(heading(*column, several))
    parts = []
    for (scored, whole), names in counted.items():
        where = "in every column" if len(counted) == 1 else f"({', '.join(names)})"
        parts.append(f"{scored} of {whole} {where}")
    return "Clips scored: " + "; ".join(parts) + "."


def _single(rows: Sequence[Row]) -> list[Row]:
    """The rows of single conditions."""
    return [row for row in rows if row["corruption"] != MEAN]


def _moments(about: About, methods: Iterable[str]) -> str:
    """When each method's answer is taken: the papers differ. Under `two_pass` the protocol tells of those that wait."""
    said: dict[str, list[str]] = {}
    waiting = _with(about, "two_pass") if about.protocol.get("name") == "two_pass" else []
    for method in about.order(sorted(set(methods) - set(waiting))):
        predicts = about.methods.get(method, {}).get("predicts", "")
        if predicts in _PREDICTS:
            said.setdefault(predicts, []).append(method)
    return " ".join(f"{', '.join(names)}: {_PREDICTS[key]}." for key, names in said.items())


def published_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """Published top-1 accuracy beside ours, with the difference; None if no number was published for this case.

    Only severity 5 and clean are compared, and a published mean with our mean over the same corruptions.
    """
    printed = published_numbers.beside(dataset, backbone)
    ours = {
        (row["method"], row["corruption"]): row
        for row in select(metrics, "top1", dataset, backbone)
        if row["severity"] in (0, 5) and math.isfinite(row["value"])
    }
    rows = []
    for row in printed:
        parts = published_numbers.members(row, printed) or [row["corruption"]]
        cells = [ours.get((row["method"], part)) for part in parts]
        if all(cells):
            value = math.fsum(cell["value"] for cell in cells if cell) / len(cells)
            text = interval(cells[0]) if len(cells) == 1 else number(value)
            difference = number(value - row["value"], sign=True)
            name = row["corruption"].replace("mean_", "mean of ")
            n, whole = min(c["n"] for c in cells if c), max(c["n"] + c["n_missing"] for c in cells if c)
            told = (text, f"{n} of {whole}", f"{row['value']:g}", difference, row["paper"], row["kind"])
            rows.append((row["method"], name, *told))
    if not rows:
        return None
    order = about.order(row[0] for row in rows)
    rows.sort(key=lambda row: (order.index(row[0]), row[1].startswith("mean"), condition_order(row[1], 5)))
    caption = (
        "Top-1 accuracy in percent beside published numbers. Protocols differ, as the next table spells out, so a difference "
        f"is a question and no verdict. {protocol_line(about)}"
    )
    header = ("method", "corruption", "ours", "clips", "published", "difference", "paper", "kind")
    return Table(
        f"published-{dataset}-{backbone}",
        f"Beside published numbers: {dataset}, {backbone}",
        caption,
        header,
        tuple(rows),
    )


def protocols_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """Our protocol beside those of the papers whose numbers are compared, fact by fact; None if none is."""
    compared = published_table(metrics, about, dataset, backbone)
    if compared is None:
        return None
    papers = list(dict.fromkeys(row[compared.header.index("paper")] for row in compared.rows))
    theirs, ours = published_numbers.protocols(), our_protocol(metrics, about, dataset, backbone)
    facts = list(dict.fromkeys([*ours, *(fact for paper in papers for fact in theirs.get(paper, {}))]))
    body = tuple((fact, ours.get(fact, DASH), *(theirs.get(p, {}).get(fact, "not told") for p in papers)) for fact in facts)
    caption = "What each number was measured under. Not told: not in the source that the numbers were read from."
    title = f"Protocols behind these numbers: {dataset}, {backbone}"
    return Table(f"protocols-{dataset}-{backbone}", title, caption, ("fact", "ours", *papers), body)


def our_protocol(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> dict[str, str]:
    """The facts of our protocol, in the words of `published/protocols.csv`."""
    rows = [row for row in _single(select(metrics, "top1", dataset, backbone)) if applies(row) and row["severity"] in (0, 5)]
    corruptions = [name for name, _ in conditions(rows) if name != CLEAN]
    n, whole = min(row["n"] for row in rows), max(row["n"] + row["n_missing"] for row in rows)
    p = about.protocol
    return {
        "clips": f"split {about.split}, {n} of {whole}",
        "stream": f"{p.get('name', 'unknown')}: {_PROTOCOLS.get(p.get('name', ''), 'see the caption above')}",
        "batch": str(Protocol.model_validate(p).clips_at_once),
        "severity": ", ".join(sorted({str(row["severity"]) for row in rows if row["severity"] > 0})),
        "corruptions": f"{len(set(corruptions))}: {', '.join(dict.fromkeys(corruptions))}",
        "order": str(p.get("order", "not told")),
        "views": str(p.get("views", "not told")),
        "seeds": str(len(about.seeds)),
    }


def markdown(tables: Sequence[Table], title: str = "") -> str:
    """All tables as one Markdown document."""
    parts = [f"# {_escaped_markdown(title)}"] if title else []
    for table in tables:
        lines = ["| " + " | ".join(map(_escaped_markdown, table.header)) + " |"]
        lines.append("|" + "|".join(["---"] + ["--:"] * (len(table.header) - 1)) + "|")
        for r, row in enumerate(table.rows):
            marks = ["**" if (r, c) in table.strong else "*" if (r, c) in table.second else "" for c in range(len(row))]
            cells = [mark + _escaped_markdown(text) + mark for mark, text in zip(marks, row, strict=True)]
            lines.append("| " + " | ".join(cells) + " |")
        parts += [f"## {_escaped_markdown(table.title)}", "\n".join(lines), _escaped_markdown(table.caption)]
    return "\n\n".join(parts) + "\n"


def _escaped_markdown(text: str) -> str:
    return "".join("\\" + c if c in "|*_`<\\" else c for c in text)


def wide_csv(tables: Sequence[Table]) -> str:
    """All tables as one CSV: a title line, a header, the rows, and an empty line between tables."""
    blocks = []
    for table in tables:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([[table.title], table.header, *table.rows])
        blocks.append(out.getvalue())
    return "\n".join(blocks)


def tidy_csv(metrics: Iterable[Row], schema: pa.Schema = contracts.METRICS) -> str:
    """The rows of METRICS, or of another contract, as CSV, one value a line."""
    out = io.StringIO()
    writer = csv.DictWriter(out, schema.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(metrics)
    return out.getvalue()


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", DASH: "---", DAGGER: r"\dag{}"}
_LATEX |= {"\N{MINUS SIGN}": "$-$", "±": r"$\pm$", "⚠": "!"} | {c: "\\" + c for c in "&%$#_{}"}


def escaped_latex(text: str) -> str:
    """Text with everything escaped that LaTeX would take for a command."""
    return "".join(_LATEX.get(c, c) for c in text)


def latex(tables: Sequence[Table]) -> str:
    """All tables as LaTeX floats; they need the packages booktabs and graphicx."""
    return "\n".join(map(_latex, tables))


def _latex(table: Table) -> str:
    lines = []
    for r, row in enumerate(table.rows):
        texts = [escaped_latex(text) for text in row]
        marks = [
            r"\textbf" if (r, c) in table.strong else r"\underline" if (r, c) in table.second else "" for c in range(len(row))
        ]
        lines.append(" & ".join(f"{m}{{{t}}}" if m else t for m, t in zip(marks, texts, strict=True)) + r" \\")
    columns = "l" + "r" * (len(table.header) - 1)
    return "\n".join(
        [
            r"\begin{table}",
            rf"  \caption{{{escaped_latex(table.title)}. {escaped_latex(table.caption)}}}",
            rf"  \label{{tab:{table.name}}}",
            r"  \resizebox{\linewidth}{!}{%",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            "    " + " & ".join(map(escaped_latex, table.header)) + r" \\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
            "",
        ]
    )
