"""A headless Chromium for tests of pages: `pytest_plugins = ["browser"]` in a test module.

It is the machine's own, in a fresh profile, and reaches nothing but this machine.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE_MS = 60_000  # the cores may be busy


@dataclass
class Browser:
    """Opens pages, and notes what they complain of and ask for.

    `errors` has each console error, failed request and uncaught exception, `requests` each URL that
    was asked for, the pages' own among them.
    """

    chromium: object
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    contexts: list[object] = field(default_factory=list)

    def open(self, url, *, width=1280, height=900, dark=False):
        """The page at `url` (playwright's), loaded, in a window of that size."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._miss)
        page.goto(url)
        return page

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _miss(self, request):
        # That is what it says of a stream that a page has read to its end, too.
        if request.failure != "net::ERR_ABORTED":
            self.errors.append(f"{request.url}: {request.failure}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """Chromium, running; for as long as a module's tests, as others may want an event loop."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not here; `apt-get install chromium` brings it")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not here")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=program, args=FLAGS, timeout=2 * PATIENCE_MS
        )
        yield running
        running.close()


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """A `Browser` of the test's own."""
    opened = Browser(chromium)
    yield opened
    for context in opened.contexts:
        context.close()
