"""One page over the reports of several benchmarks: what each found, and where its report and tables are."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earshot.files import write_json, write_text
from earshot.pages import environment


@dataclass(frozen=True)
class Summary:
    """What a report says first: `tone` is good, bad or even."""

    experiment: str
    title: str
    text: str
    detail: str
    tone: str


def write_summary(data: Any, path: str | Path) -> None:
    """Keep what a report's data (of adaptation, parsing or prompting) say first."""
    verdict = data.verdict
    write_json(path, asdict(Summary(data.experiment, data.title, verdict.text, verdict.detail, verdict.tone)))


def write(summaries: Sequence[str], html_out: str | Path) -> None:
    """The page, from the files of `write_summary`, in their order."""
    told = [Summary(**json.loads(Path(path).read_text(encoding="utf-8"))) for path in summaries]
    write_text(html_out, environment().get_template("overview.html.j2").render(told=told))
