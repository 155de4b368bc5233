"""The page that says what was found of a dataset."""

import shutil

import pytest
from browser import check_page
from indexed_sets import Indexed

from earshot import contracts, data_report, findings


@pytest.fixture(scope="module")
def made(zoo, tmp_path_factory):
    """A folder with one clip of each kind, one of them copied into another split, and its report."""
    root = tmp_path_factory.mktemp("reported")
    for path in zoo.iterdir():
        shutil.copy(path, root / path.name)
    (root / "one.mp4").write_bytes((root / "good.mp4").read_bytes() + b"\0")
    shutil.copy(root / "one.mp4", root / "same.mp4")
    lines = [*(root / "labels.csv").read_text().splitlines(), "one.mp4,a,train", "same.mp4,a,test", "<b>evil.mp4,b,test"]
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    indexed = Indexed("folder", root, tmp_path_factory.mktemp("tables"), labels="labels.csv")
    html, text = root / "report.html", root / "report.md"
    paths = indexed.paths
    data_report.write(paths["clips"], paths["classes"], paths["findings"], str(html), str(text))
    return indexed, html.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")


def test_the_facts_of_clips_tell_what_is_there(made):
    facts = contracts.facts_of(made[0].paths["clips"])
    assert sum(about["found"] for about in facts["summary"].values()) == 6
    assert sum(about["listed"] for about in facts["summary"].values()) == 13
    assert len(facts["split_sha256"]) == 64
    assert contracts.facts_of(made[0].paths["classes"])["summary"] == facts["summary"]


def test_findings_name_the_leak_and_every_unavailable_clip(made):
    rows = contracts.read(made[0].paths["findings"], contracts.FINDINGS)
    assert ("one", "same") in [(row["clip_id"], row["other"]) for row in rows if row["kind"] == findings.LEAK]
    assert sum(row["kind"] == findings.UNAVAILABLE for row in rows) == 7
    assert [row["clip_id"] for row in rows if row["kind"] == findings.SILENT] == ["silent"]
    assert [row["clip_id"] for row in rows if row["kind"] == findings.NO_TRACK] == ["no sound"]


def test_the_page_says_so_and_escapes_names(made):
    _, html, text = made
    for page in (html, text):
        assert "6 of 13 listed clips can be used." in page
        assert "same" in page and "equal files" in page and "no video stream" in page
    assert "<b>evil" not in html and "&lt;b&gt;evil" in html and "\\<b>evil" in text
    assert html.count("<script") == 1 and "http:" not in html.partition("<main")[0]


def test_the_page_works_in_a_browser(made, chromium, tmp_path):
    (tmp_path / "page.html").write_text(made[1], encoding="utf-8")
    check_page(chromium, tmp_path / "page.html")


def test_the_tables_count_by_class_and_tell_quantiles(made):
    indexed, _, text = made
    rows = list(indexed.clips.values())
    for name in ("a", "b"):
        label = indexed.classes.index(name)
        own = [row for row in rows if (row["label"], row["split"]) == (label, "test")]
        line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert f"{sum(row['available'] for row in own)} of {len(own)}" in line
    durations = next(line for line in text.splitlines() if line.startswith("| duration"))
    assert "| 6 |" in durations and "2.0" in durations


def test_a_dataset_of_which_nothing_is_there_has_a_report(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label,split\nx.mp4,a,test\n")
    indexed = Indexed("folder", tmp_path, tmp_path, labels="labels.csv")
    paths = indexed.paths
    data_report.write(paths["clips"], paths["classes"], paths["findings"], str(tmp_path / "r.html"), str(tmp_path / "r.md"))
    assert "0 of 1 listed clips" in (tmp_path / "r.md").read_text()


def test_why_a_file_could_not_be_fetched_is_its_problem(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label,split\nx.mp4,a,test\ny.mp4,a,test\n")
    ledger = tmp_path / "downloaded.json"
    ledger.write_text('{"files": {"x.mp4": {"status": "unavailable", "reason": "the video is private", "to": "x.mp4"}}}')
    indexed = Indexed("folder", tmp_path, tmp_path, downloaded=str(ledger), labels="labels.csv")
    assert [indexed.clips[name]["problem"] for name in "xy"] == ["gone: the video is private", "missing: no such file"]
