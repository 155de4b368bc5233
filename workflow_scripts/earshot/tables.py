"""Tables of results from metrics: accuracy, paired gains, and published numbers beside ours; as Markdown, CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earshot import contracts, published_numbers
from earshot.scoring import ALL_SEEDS, CLEAN, MEAN, REFERENCES, condition_order

Row = Mapping[str, Any]
DASH = "—"
NO_RESULT = "Untrained, random weights: not a result."
_PREDICTS = {
    "before": "the answer is taken before the update on that clip",
    "after": "the answer is taken after the update on that clip",
    "none": "nothing is updated",
}


@dataclass(frozen=True)
class About:
    """What every caption says: protocol, split, seeds and, per method variant, its notes.

    `methods` maps a variant to `plugin`, `hyper`, `predicts` (before, after or none) and `summary`, in the order of tables.
    """

    title: str
    protocol: Mapping[str, Any]
    split: str
    seeds: Sequence[int]
    methods: Mapping[str, Row]

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
    """A table of text: `strong` holds (row, column) of cells to emphasise; the first column names the rows."""

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def number(value: float, digits: int = 1, sign: bool = False) -> str:
    """A number as text, with a true minus; a dash where it does not apply."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    text = text.lstrip("+-") if float(text) == 0 else text
    return text.replace("-", "\N{MINUS SIGN}")


def interval(row: Row | None, sign: bool = False) -> str:
    """A cell: value and 95 % interval."""
    if row is None or not math.isfinite(row["value"]):
        return DASH
    low, high = number(row["low"], sign=sign), number(row["high"], sign=sign)
    return f"{number(row['value'], sign=sign)} [{low}, {high}]"


def protocol_line(about: About) -> str:
    """The protocol in words."""
    kept = {
        "online": "online: what is learnt is kept from clip to clip within a corruption",
        "episodic": "episodic: the model is reset before every clip",
    }
    p = about.protocol
    parts = [
        f"Protocol {kept.get(p.get('name', ''), p.get('name', 'unknown'))}",
        f"{p.get('views', '?')} views",
        f"{p.get('order', '?')} order",
        f"seed{'s' if len(about.seeds) != 1 else ''} {', '.join(map(str, about.seeds))}",
        f"split {about.split}",
    ]
    others = {key: value for key, value in p.items() if key not in ("name", "views", "order")}
    return ", ".join([*parts, *(f"{key} {value}" for key, value in sorted(others.items()))]) + "."


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
    return corruption if not several or corruption in (CLEAN, MEAN) else f"{corruption} {severity}"


def select(metrics: Iterable[Row], metric: str, dataset: str, backbone: str, seed: int = ALL_SEEDS) -> list[Row]:
    """Rows of one metric, dataset, backbone and seed."""
    wanted = (metric, dataset, backbone, seed)
    return [row for row in metrics if (row["metric"], row["dataset"], row["backbone"], row["seed"]) == wanted]


def build(metrics: Sequence[Row], about: About) -> list[Table]:
    """All tables: for each dataset and backbone accuracy, gains over each reference, and published numbers if any."""
    made: list[Table | None] = []
    for dataset, backbone in groups(metrics):
        made.append(accuracy_table(metrics, about, dataset, backbone))
        made += [gain_table(metrics, about, dataset, backbone, reference) for reference in REFERENCES]
        made.append(published_table(metrics, about, dataset, backbone))
    return [table for table in made if table is not None]


def accuracy_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str) -> Table | None:
    """Top-1 accuracy: methods by conditions, the best of a column emphasised."""
    rows = select(metrics, "top1", dataset, backbone)
    caption = (
        f"{untrained(backbone)}Top-1 accuracy in percent with 95 % bootstrap intervals over clips. {_counts(rows)} "
        f"{protocol_line(about)} "
        f"{_moments(about, {row['method'] for row in rows})}"
    )
    return _wide(f"accuracy-{dataset}-{backbone}", f"Accuracy: {dataset}, {backbone}", caption, rows, about)


def gain_table(metrics: Sequence[Row], about: About, dataset: str, backbone: str, reference: str) -> Table | None:
    """Paired gains over a reference method, in percentage points."""
    rows = select(metrics, f"top1_gain_over_{reference}", dataset, backbone)
    caption = (
        f"Gain in top-1 accuracy over {reference}, in percentage points, on the same clips, with 95 % paired bootstrap "
        f"intervals; an interval that holds 0 is no evidence of a difference. {_counts(rows)} {protocol_line(about)}"
    )
    title = f"Gain over {reference}: {dataset}, {backbone}"
    return _wide(f"gain-over-{reference}-{dataset}-{backbone}", title, caption, rows, about, sign=True)


def _wide(name: str, title: str, caption: str, rows: Sequence[Row], about: About, sign: bool = False) -> Table | None:
    if not rows:
        return None
    columns = conditions(rows)
    several = len({severity for _, severity in columns if severity > 0}) > 1
    methods = about.order(row["method"] for row in rows)
    found = {(row["method"], row["corruption"], row["severity"]): row for row in rows}
    body, strong = [], set()
    for method in methods:
        body.append((method, *(interval(found.get((method, *column)), sign) for column in columns)))
    for place, column in enumerate(columns, start=1):
        values = {n: found[m, *column]["value"] for n, m in enumerate(methods) if (m, *column) in found}
        best = max((v for v in values.values() if math.isfinite(v)), default=math.nan)
        strong |= {(n, place) for n, value in values.items() if value == best} if len(methods) > 1 else set()
    header = ("method", *(heading(*column, several) for column in columns))
    return Table(name, title, caption, header, tuple(body), frozenset(strong))


def _counts(rows: Sequence[Row]) -> str:
    """Clips scored and missing per column, in as few words as they allow."""
    columns = conditions(rows)
    several = len({severity for _, severity in columns if severity > 0}) > 1
    counted: dict[tuple[int, int], list[str]] = {}
    for column in columns:
        cells = [row for row in rows if (row["corruption"], row["severity"]) == column]
        n, missing = min((row["n"] for row in cells), default=0), max((row["n_missing"] for row in cells), default=0)
        counted.setdefault((n, missing), []).append(heading(*column, several))
    parts = []
    for (n, missing), names in counted.items():
        where = "in every column" if len(counted) == 1 else f"({', '.join(names)})"
        parts.append(f"n = {n} {where}, {missing or 'none'} missing")
    return "Clips scored: " + "; ".join(parts) + "."


def _moments(about: About, methods: Iterable[str]) -> str:
    """When each method's answer is taken: the papers differ."""
    said: dict[str, list[str]] = {}
    for method in about.order(sorted(methods)):
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
            rows.append((row["method"], name, text, f"{row['value']:g}", difference, row["paper"], row["kind"]))
    if not rows:
        return None
    order = about.order(row[0] for row in rows)
    rows.sort(key=lambda row: (order.index(row[0]), row[1].startswith("mean"), condition_order(row[1], 5)))
    caption = (
        "Top-1 accuracy in percent beside published numbers: the protocols differ (videos, views, order), so a difference "
        f"is a question and no verdict. {protocol_line(about)}"
    )
    header = ("method", "corruption", "ours", "published", "difference", "paper", "kind")
    return Table(
        f"published-{dataset}-{backbone}",
        f"Beside published numbers: {dataset}, {backbone}",
        caption,
        header,
        tuple(rows),
    )


def markdown(tables: Sequence[Table], title: str = "") -> str:
    """All tables as one Markdown document."""
    parts = [f"# {_escaped_markdown(title)}"] if title else []
    for table in tables:
        lines = ["| " + " | ".join(map(_escaped_markdown, table.header)) + " |"]
        lines.append("|" + "|".join(["---"] + ["--:"] * (len(table.header) - 1)) + "|")
        for r, row in enumerate(table.rows):
            cells = [f"**{text}**" if (r, c) in table.strong else text for c, text in enumerate(map(_escaped_markdown, row))]
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


def tidy_csv(metrics: Iterable[Row]) -> str:
    """The rows of METRICS as CSV, one value a line."""
    out = io.StringIO()
    writer = csv.DictWriter(out, contracts.METRICS.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(metrics)
    return out.getvalue()


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", DASH: "---"}
_LATEX |= {"\N{MINUS SIGN}": "$-$"} | {c: "\\" + c for c in "&%$#_{}"}


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
        lines.append(" & ".join(rf"\textbf{{{t}}}" if (r, c) in table.strong else t for c, t in enumerate(texts)) + r" \\")
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
