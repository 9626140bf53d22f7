"""A real browser on a real dashboard: the system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Names that the browser finds here; and nothing that it does by itself, which would be refused many times over.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP clock.example 127.0.0.1",
)  # fmt: skip
UP_WITHIN = 30.0


def chromium() -> str | None:
    """The path of the system's Chromium."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield found
        finally:
            found.close()


@contextmanager
def dashboard(url: str, *arguments: str, **environment: str) -> Iterator[str]:
    """`pqclock web` on a database; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pqclock", "web", "--web", "127.0.0.1:0", "--database-url", url, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + UP_WITHIN
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        said += line
        if found := re.search(r"dashboard: (http://\S+)/", line):
            return found[1]
        assert line or process.poll() is None, said
    raise AssertionError(said)


def problems_of(page: Page) -> list[str]:
    """What axe finds serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html']} ({one['nodes'][0]['failureSummary']})"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
