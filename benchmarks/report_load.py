"""How fast a report of many rows opens in a real browser: `python benchmarks/report_load.py`.

Prints the size of the page and the time until it can be used, for 1,000 rows and for 20,000, and the ratio of the two.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from earshot import all_numbers, report  # noqa: E402

NAMES = ("chromium", "chromium-browser", "google-chrome")


def rows(count):
    for n in range(count):
        yield {
            "dataset": "toy", "corruption": f"c{n % 12}", "severity": n % 5 + 1, "backbone": f"b{n % 5}",
            "method": f"m{n % 15}", "seed": n % 4 - 1, "metric": f"metric{n % 7}", "value": n / 7, "unit": "%",
            "n": 9, "n_missing": 0, "low": n / 8, "high": n / 6, "note": "", "split_id": "5" * 12,
        }  # fmt: skip


def page(given_rows, path):
    """A report that holds nothing but these rows of METRICS."""
    empty = {name: [] for name in report.ReportData.__dataclass_fields__}
    nothing = report.Headline("Nothing.", "", "even", "toy")
    given = {**empty, "title": "Large", "experiment": "large", "protocol": "", "verdict": nothing, "figures": {}}
    data = report.ReportData(**{**given, "numbers": all_numbers.of(list(given_rows))})
    path.write_text(report.render(data), encoding="utf-8")


def main():
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        sys.exit(f"none of {', '.join(NAMES)} is installed")
    found = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for count in (1_000, 20_000):
            path = Path(folder) / f"{count}.html"
            page(rows(count), path)
            times = []
            for _ in range(5):
                shown = browser.new_page()
                start = time.perf_counter()
                shown.goto(path.as_uri(), wait_until="domcontentloaded")
                shown.locator("table.numbers tbody tr").first.wait_for()
                times.append(time.perf_counter() - start)
                shown.close()
            found[count] = sorted(times)[2]
            print(f"{count:,} rows: {path.stat().st_size / 1e6:.2f} MB, usable after {found[count] * 1000:.0f} ms")
        browser.close()
    print(f"20 times the rows: {found[20_000] / found[1_000]:.2f} times the time")


if __name__ == "__main__":
    main()
