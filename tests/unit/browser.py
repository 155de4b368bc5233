"""A real browser for tests of pages: Chromium, headless, from the machine, which Playwright drives."""

import shutil
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

from installing import CannotInstall, install

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class BrowserMissing(Exception):
    """Why there is no browser."""


class Watched:
    """A page, and what went wrong on it: errors of scripts, messages on the console, requests to anywhere but `home`."""

    def __init__(self, page, home):
        self.page, self.problems = page, []
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("console", lambda message: self._hear(message))
        page.on("request", lambda request: self._see(request.url, home))

    def _hear(self, message):
        # a server's answer of "not found" is told by the browser as well, without saying what was not found
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(f"console: {message.text}")

    def _see(self, url, home):
        if not url.startswith((home, "data:", "blob:")):
            self.problems.append(f"left the page: {url}")


@contextmanager
def running():
    """The browser; BrowserMissing where there is none and none may be installed."""
    found = _program()
    if not found:
        try:
            install("chromium")
        except CannotInstall as reason:
            raise BrowserMissing(f"none of {', '.join(NAMES)} is installed, and {reason}") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found or _program(), args=FLAGS)
        yield browser
        browser.close()


def _program():
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened(chromium, url, home="", **settings):
    """The page at `url`, as Watched; `settings` are those of a browser context, such as viewport or color_scheme."""
    context = chromium.new_context(**settings)
    try:
        watched = Watched(context.new_page(), home or url)
        watched.page.goto(url, wait_until="domcontentloaded")
        yield watched
    finally:
        context.close()


def check_page(chromium, path):
    """Assert what holds for every page of ours: it works offline, all pictures show, tables sort, and a phone can show it."""
    url = path.as_uri()
    with opened(chromium, url, viewport={"width": 1000, "height": 800}) as seen:
        page = seen.page
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)") == []
        tables = page.locator("table:has(thead)").count()
        assert tables and page.locator("th button.sort").count() >= tables / 2  # a single row has nothing to sort
        assert page.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.tabIndex === 0 && box.ariaLabel)")
        assert page.locator("h1").count() == 1 and page.locator("main#main").count() == 1
        assert seen.problems == []
    for scheme in ("light", "dark"):
        with opened(chromium, url, viewport={"width": 375, "height": 700}, color_scheme=scheme) as seen:
            wide = seen.page.evaluate(
                "[...document.querySelectorAll('body *')].filter(part => !part.closest('.scroll')"
                " && part.getBoundingClientRect().right > innerWidth + 1).map(part => part.outerHTML.slice(0, 120))"
            )
            assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), wide[:3]
            assert seen.problems == []
