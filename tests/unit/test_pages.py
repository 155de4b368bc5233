"""Pages in a real browser: tables that sort, and thousands of rows that filter, sort, page and download."""

import csv
import json

import pytest
import report_load
from browser import opened

from earshot import all_numbers, contracts, pages
from earshot.tables import Table

HOSTILE = "</script><img src=x onerror=alert(1)>"
METHODS = ("source", "tent", "vitta", HOSTILE)
ROWS = 20_000
REST = "of 20,000 in all; dataset: toy; backbone: tiny; unit: %."


def metric_rows(count=ROWS):
    """Rows of METRICS whose values are their numbers; every hundredth has none."""
    for n in range(count):
        value = float("nan") if n % 100 == 7 else n / 4
        yield {
            "dataset": "toy", "corruption": ("gauss", "rain")[n // 4 % 2], "severity": n % 6 - 1, "backbone": "tiny",
            "method": METHODS[n % 4], "seed": n % 3 - 1, "metric": f"m{n % 5}", "value": value, "unit": "%", "n": 9,
            "n_missing": n % 2, "low": value - 1, "high": value + 1, "note": "", "split_id": "5" * 12,
        }  # fmt: skip


def test_all_numbers_hold_every_row_and_end_no_script():
    rows = list(metric_rows(500))
    contracts.to_table(rows, contracts.METRICS)
    made = all_numbers.of(rows)
    assert "<" not in made.json and made.count == "500"
    told = json.loads(made.json)
    read = {
        column["name"]: [column["words"][code] for code in column["codes"]] for column in told["columns"] if "codes" in column
    }
    numbers = {column["name"]: column["values"] for column in told["columns"] if "values" in column}
    assert told["rows"] == 500 and set(numbers) == {"value", "low", "high", "n", "missing"}
    assert read["method"] == [row["method"] for row in rows]
    assert read["seed"][:3] == ["all", "0", "1"] and read["severity"][:2] == ["", "0"]
    assert numbers["value"][7] is None and numbers["value"][:2] == [0, 0.25] and numbers["missing"][:2] == [0, 1]
    assert json.loads(all_numbers.of([]).json) == {"rows": 0, "columns": []}


@pytest.fixture(scope="module")
def sorting(tmp_path_factory):
    """A page with one table of everything that cells hold."""
    rows = (
        ("first", "63.4 [60.1, 66.5]", "+3.7† [+1.0, +6.0]", "12 of 60", "—", "2.13.0"),
        ("second", "7.0 [5.0, 9.0]", "−12.5 [−14.0, −9.0]", "9 of 60", "x", "2.9.1"),
        ("third", "—", "0.0 [−1.0, 1.0]", "100 of 100", "b", "10ab"),
        ("fourth", "101.2 [90.0, 110.0]", "+3.6 [+1.0, +6.0]", "1,000 of 1,000", "a", "2026-11-23"),
    )
    table = Table("t", f"Title {HOSTILE}", "Caption.", ("method", "accuracy", "gain", "clips", "note", "version"), rows)
    path = tmp_path_factory.mktemp("sorting") / "page.html"
    path.write_text(pages.of_tables([table], "Sorting"), encoding="utf-8")
    return path


def order(page):
    return page.locator("tbody th").all_inner_texts()


@pytest.mark.parametrize(
    ("heading", "first", "second"),
    [
        ("accuracy", ["fourth", "first", "second", "third"], ["second", "first", "fourth", "third"]),
        ("gain", ["first", "fourth", "third", "second"], ["second", "third", "fourth", "first"]),
        ("clips", ["fourth", "third", "first", "second"], ["second", "first", "third", "fourth"]),
        ("note", ["fourth", "third", "second", "first"], ["second", "third", "fourth", "first"]),
        ("version", ["second", "first", "third", "fourth"], ["fourth", "third", "first", "second"]),
    ],
)
def test_a_press_sorts_another_reverses_and_a_third_restores(sorting, chromium, heading, first, second):
    with opened(chromium, sorting.as_uri()) as seen:
        page, given = seen.page, ["first", "second", "third", "fourth"]
        button = page.get_by_role("button", name=heading)
        column = page.locator("thead th", has_text=heading)
        assert order(page) == given
        button.click()
        told = column.get_attribute("aria-sort")
        assert order(page) == first and told in ("ascending", "descending")
        button.focus()
        page.keyboard.press("Enter")  # as well as a click
        assert order(page) == second and {told, column.get_attribute("aria-sort")} == {"ascending", "descending"}
        page.keyboard.press("Space")
        assert order(page) == given and column.get_attribute("aria-sort") is None
        assert seen.problems == []


def test_the_first_stop_of_the_keyboard_skips_to_the_results(sorting, chromium):
    with opened(chromium, sorting.as_uri()) as seen:
        page = seen.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
        assert page.locator(".skip").bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        page.keyboard.press("Tab")  # the box of the table scrolls by arrows
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Title")


def test_without_script_the_tables_are_there(sorting, chromium):
    with opened(chromium, sorting.as_uri(), java_script_enabled=False) as seen:
        assert seen.page.locator("thead button").count() == 0 and len(order(seen.page)) == 4


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A report of twenty thousand rows and nothing else."""
    path = tmp_path_factory.mktemp("large") / "page.html"
    report_load.page(metric_rows(), path)
    return path


@pytest.fixture
def explorer(large, chromium):
    with opened(chromium, large.as_uri(), accept_downloads=True) as seen:
        yield seen.page
        assert seen.problems == []


def told(page):
    return page.locator(".explorer [aria-live]").inner_text()


def column(page, name):
    names = page.locator("table.numbers thead th").all_inner_texts()
    return page.locator(f"table.numbers tbody td:nth-child({names.index(name) + 1})").all_inner_texts()


def test_thousands_of_rows_come_a_hundred_at_a_time(explorer):
    assert told(explorer) == f"Rows 1 to 100 of 20,000, {REST}"
    assert len(column(explorer, "value")) == 100
    assert explorer.get_by_role("button", name="Previous").is_disabled()
    explorer.get_by_role("button", name="Next").click()
    assert told(explorer).startswith("Rows 101 to 200") and column(explorer, "value")[0] == "25"
    assert column(explorer, "value")[7] == "—" and column(explorer, "severity")[2] == "—"


def test_rows_are_chosen_by_column_and_by_words(explorer):
    explorer.get_by_label("method").select_option(label="vitta")
    explorer.get_by_label("metric").select_option(label="m1")
    assert set(column(explorer, "method")) == {"vitta"} and set(column(explorer, "metric")) == {"m1"}
    wanted = sum(row["method"] == "vitta" and row["metric"] == "m1" for row in metric_rows())
    assert told(explorer) == f"Rows 1 to 100 of {wanted:,}, {REST}"
    explorer.get_by_label("search").fill("RAIN m1")
    assert set(column(explorer, "corruption")) == {"rain"}
    explorer.get_by_label("search").fill("no such thing")
    assert told(explorer) == f"Rows 0, {REST}" and not column(explorer, "value")


def test_rows_sort_over_all_pages_and_nothing_comes_last(explorer):
    explorer.locator("table.numbers").get_by_role("button", name="value").click()
    assert column(explorer, "value")[:2] == ["4999.75", "4999.5"]
    explorer.locator("table.numbers").get_by_role("button", name="value").click()
    assert column(explorer, "value")[:2] == ["0", "0.25"]
    for _ in range(ROWS // 100 - 1):
        explorer.get_by_role("button", name="Next").click()
    assert set(column(explorer, "value")) == {"—"} and explorer.get_by_role("button", name="Next").is_disabled()


def test_names_are_text_and_never_markup(explorer):
    explorer.get_by_label("method").select_option(label=HOSTILE)
    assert set(column(explorer, "method")) == {HOSTILE}
    assert explorer.locator(".explorer img").count() == 0


def test_what_is_chosen_can_be_downloaded(explorer, tmp_path):
    explorer.get_by_label("method").select_option(label="tent")
    explorer.get_by_label("corruption").select_option(label="gauss")
    with explorer.expect_download() as download:
        explorer.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "large.csv"
    download.value.save_as(tmp_path / "rows.csv")
    read = list(csv.DictReader((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()))
    wanted = [row for row in metric_rows() if row["method"] == "tent" and row["corruption"] == "gauss"]
    assert [row["metric"] for row in read] == [row["metric"] for row in wanted]
    assert [float(row["value"] or "nan") for row in read] == pytest.approx([row["value"] for row in wanted], nan_ok=True)
