"""A real browser for tests of pages: Chromium, headless, from the machine, which Playwright drives."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture(scope="session")
def chromium():
    """The browser; tests that need one skip where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


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
