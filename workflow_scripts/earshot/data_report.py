"""The data report: what was found of a dataset, by split and class, what is wrong with it, and what is shared between splits.

As one HTML page and as Markdown, from the tables that indexing wrote.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earshot import contracts, plugins
from earshot.datasets import Dataset
from earshot.files import write_text
from earshot.findings import KINDS, UNAVAILABLE
from earshot.pages import environment
from earshot.report import reason_of
from earshot.tables import DASH, Table, markdown, number

SPLITS = ("train", "val", "test")
_NAMED = 20  # findings of a kind that are named
_SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)
_QUANTITIES: tuple[tuple[str, str, int], ...] = (
    ("duration", "duration [s]", 2), ("fps", "frames a second", 2), ("width", "width [px]", 0), ("height", "height [px]", 0),
    ("audio_rate", "sampling rate [Hz]", 0), ("level", "level of sound [dBFS]", 1),
)  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DataReport:
    """What the page shows."""

    title: str
    lead: str
    about: tuple[tuple[str, str], ...]
    tables: Sequence[Table]
    remarks: Sequence[str]


def write(clips: str, classes: str, findings: str, html_out: str, markdown_out: str) -> None:
    """Write the report of an indexed dataset."""
    facts = contracts.facts_of(clips)
    names = [row["name"] for row in contracts.read(classes, contracts.CLASSES)]
    report = collect(contracts.read(clips, contracts.CLIPS), names, contracts.read(findings, contracts.FINDINGS), facts)
    write_text(html_out, environment().get_template("data.html.j2").render(data=report))
    write_text(markdown_out, as_markdown(report))


def collect(rows: Sequence[Row], classes: Sequence[str], findings: Sequence[Row], facts: Mapping[str, Any]) -> DataReport:
    """Everything that the page shows; `facts` are those stored with the table of clips."""
    spec: Dataset = plugins.load("datasets", facts["plugin"]).SPEC
    there = sum(row["available"] for row in rows)
    about = [
        ("dataset", f"{facts['dataset']} ({spec.title})"), ("page", spec.home), ("licence", spec.licence),
        ("terms", spec.restricted), ("cite", spec.citation), ("protocol", str(facts["protocol"])),
        ("splits and classes, SHA-256", facts["split_sha256"]),
    ]  # fmt: skip
    tables = [_splits(facts), _kinds(findings), _reasons(findings), _classes(rows, classes), _quantities(rows)]
    tables += [_named(findings, kind) for kind in KINDS if kind != UNAVAILABLE]
    return DataReport(
        facts["dataset"],
        f"{there} of {len(rows)} listed clips can be used.",
        tuple((name, value) for name, value in about if value),
        [table for table in tables if table is not None],
        facts["remarks"],
    )


def as_markdown(report: DataReport) -> str:
    """The report as Markdown."""
    head = Table("about", "What it is", report.lead, ("", ""), report.about)
    remarks = Table("remarks", "Remarks", "", ("of the lists",), tuple((text,) for text in report.remarks))
    return markdown([head, *report.tables, *([remarks] if report.remarks else [])], f"Data of {report.title}")


def _splits(facts: Mapping[str, Any]) -> Table:
    rows = []
    for split in SPLITS:
        about, published = facts["summary"][split], facts["expected"].get(split)
        cells = (about[key] for key in ("listed", "found", "no_track", "silent", "duplicates", "leaks"))
        rows.append((split, str(published) if published is not None else DASH, *map(str, cells)))
    header = ("split", "published", "listed", "found", "no track", "silent track", "duplicates", "leaks")
    caption = (
        f"Clips. Published: as many as its authors tell, {DASH} where they do not. Found: can be used. Silent: a track whose "
        "every sample is zero. Leaks: files, contents or recordings that another split has as well."
    )
    return Table("splits", "Splits", caption, header, tuple(rows))


def _kinds(findings: Sequence[Row]) -> Table | None:
    counts = Counter((row["kind"], row["split"]) for row in findings)
    rows = [(kind, *(str(counts[kind, split]) for split in SPLITS)) for kind in KINDS if any(k == kind for k, _ in counts)]
    caption = "Findings, by the split of the first clip."
    return Table("findings", "Findings", caption, ("kind", *SPLITS), tuple(rows)) if rows else None


def _reasons(findings: Sequence[Row]) -> Table | None:
    found: dict[str, list[str]] = defaultdict(list)
    for row in findings:
        if row["kind"] == UNAVAILABLE:
            found[_reason(row["note"])].append(row["clip_id"])
    ordered = sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    rows = tuple((reason, str(len(clips)), _some(clips)) for reason, clips in ordered)
    caption = "Clips that cannot be used; tables of results count them as missing."
    return Table("unavailable", "Unavailable clips", caption, ("reason", "clips", "such as"), rows) if rows else None


def _reason(problem: str) -> str:
    """The kind of a problem; of a file that could not be fetched, with why."""
    return problem if problem.startswith("gone: ") else reason_of(problem)


def _some(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _classes(rows: Sequence[Row], classes: Sequence[str]) -> Table | None:
    """Found of listed clips of every class and split; none for clips that have no single class."""
    labelled = [row for row in rows if row["label"] >= 0]
    if not labelled:
        return None
    used = [split for split in SPLITS if any(row["split"] == split for row in labelled)]
    of_class: dict[int, list[Row]] = defaultdict(list)
    for row in labelled:
        of_class[row["label"]].append(row)
    body = tuple((name, *_of_class(of_class[number], used)) for number, name in enumerate(classes))
    header = ("class", *used, "without a track", "silent track")
    return Table("classes", "Classes", "Clips found, of those listed.", header, body)


def _of_class(rows: Sequence[Row], splits: Sequence[str]) -> Iterator[str]:
    for split in splits:
        own = [row for row in rows if row["split"] == split]
        yield f"{sum(row['available'] for row in own)} of {len(own)}"
    there = [row for row in rows if row["available"]]
    yield str(sum(not row["audio_rate"] for row in there))
    yield str(sum(row["audio_rate"] > 0 and row["level"] == float("-inf") for row in there))


def _quantities(rows: Sequence[Row]) -> Table | None:
    """Quantiles of what was measured of the clips that can be used; of sound, where there is any."""
    body = []
    for key, name, digits in _QUANTITIES:
        values = sorted(row[key] for row in rows if row["available"] and _measured(row, key))
        if values:
            body.append((name, str(len(values)), *(number(_quantile(values, share), digits) for share in _SHARES)))
    header = ("", "clips", "least", "5 %", "median", "95 %", "most")
    return Table("quantities", "What the files are like", "Quantiles over clips.", header, tuple(body)) if body else None


def _measured(row: Row, key: str) -> bool:
    return key not in ("audio_rate", "level") or bool(row["audio_rate"] > 0 and row["level"] > float("-inf"))


def _quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values: the median, else the value at that rank."""
    return statistics.median(values) if share == 0.5 else values[round(share * (len(values) - 1))]


def _named(findings: Sequence[Row], kind: str) -> Table | None:
    own = [row for row in findings if row["kind"] == kind]
    if not own:
        return None
    rows = tuple((row["clip_id"], row["split"], row["other"] or DASH, row["other_split"] or DASH, row["note"]) for row in own)
    caption = f"{len(own)} in all{f', of which the first {_NAMED} are named' if len(own) > _NAMED else ''}."
    header = ("clip", "split", "other", "its split", "why")
    return Table(kind.replace(" ", "-"), f"{kind.capitalize()}: {len(own)}", caption, header, rows[:_NAMED])
