"""One page over several benchmarks."""

from types import SimpleNamespace

from browser import opened

from earshot import overview, report


def data(name, text, tone="even"):
    verdict = report.Headline(text, "Detail.", tone, "toy")
    return SimpleNamespace(experiment=name, title=f"The <b>{name}</b>", verdict=verdict)


def test_the_page_tells_what_each_found_and_leads_to_its_report(tmp_path, chromium):
    kept = []
    for name, text in (("second", "It costs."), ("first", "It helps.")):
        kept.append(str(tmp_path / f"{name}.json"))
        overview.write_summary(data(name, text, "good"), kept[-1])
    overview.write(kept, tmp_path / "report.html")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "first.html").write_text("<title>first</title>")
    url, phone = (tmp_path / "report.html").as_uri(), {"width": 375, "height": 700}
    with opened(chromium, url, tmp_path.as_uri(), viewport=phone) as seen:
        page = seen.page
        assert page.locator("h1").inner_text() == "2 benchmarks"
        assert page.locator("h2").all_inner_texts() == ["The <b>second</b>", "The <b>first</b>"]
        assert page.locator("#first .lead").inner_text() == "It helps."
        page.get_by_role("link", name="The <b>first</b>").click()
        assert page.title() == "first" and seen.problems == []
