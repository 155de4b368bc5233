"""HTML pages from the templates: each is one file that needs no other, and sends no request."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from earshot.files import write_text
from earshot.tables import Table, latex, markdown, wide_csv

_TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """The templates of pages, with their filters; every value is escaped."""
    loader = FileSystemLoader(_TEMPLATES)
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters["parts"] = cell_parts
    return found


def cell_parts(text: str) -> tuple[str, str]:
    """Split a cell `63.4 [60.1, 66.5]` into value and interval; the interval may be empty."""
    value, _, rest = text.partition(" [")
    return value, rest.removesuffix("]").replace(", ", " to ")


def of_tables(tables: Sequence[Table], title: str) -> str:
    """Tables alone, as one page."""
    return environment().get_template("tables.html.j2").render(title=title, tables=tables)


def write_tables(tables: Sequence[Table], title: str, tidy: str, outs: Sequence[str | Path]) -> None:
    """Write tables as Markdown, CSV, LaTeX and HTML, and every number as the CSV `tidy`.

    `outs` are five paths: of Markdown, CSV, the tidy CSV, LaTeX and HTML.
    """
    texts = (markdown(tables, title), wide_csv(tables), tidy, latex(tables), of_tables(tables, title))
    for text, out in zip(texts, outs, strict=True):
        write_text(out, text)
