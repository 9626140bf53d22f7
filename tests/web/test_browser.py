"""The dashboard in a browser: every page and every deed, live, by keyboard, on a phone, without JavaScript, under attack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from web.browsing import browser, chromium, dashboard, problems_of
from web.seed import Seed, fill
from web.test_pages import CORPUS, PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from conftest import Database

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine: install it to run these"),
    # Chromium and axe take their time on a busy machine.
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def seed(database: Database) -> Seed:
    return fill(database.session)


@pytest.fixture
def address(database: Database, seed: Seed) -> Iterator[str]:
    with dashboard(database.url) as found:
        yield found


@pytest.fixture
def faults() -> list[str]:
    """What the console said, and what went wrong on a page."""
    return []


@pytest.fixture
def page(chrome: Browser, address: str, faults: list[str]) -> Iterator[Page]:
    with opened(chrome, address, faults) as found:
        yield found
    assert faults == []


@contextmanager
def opened(chrome: Browser, address: str, faults: list[str], **more: Any) -> Iterator[Page]:
    """A page in a context of its own; `more` are options of the context."""
    context = chrome.new_context(base_url=address, **more)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        yield page
    finally:
        context.close()


def addresses(seed: Seed) -> list[str]:
    """Every page, with something on it."""
    return [
        *PAGES, f"job?id={seed.running}", f"job?id={seed.failed}", f"job?id={seed.ready}", "schedule?key=nightly-report",
        "gate?ref=bank:acct", "act?do=backfill&of=heartbeat", "act?do=retry-many", "act?do=blow&of=bank:acct", "job?id=1234567",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_quiet(chrome: Browser, address: str, seed: Seed, scheme: Any) -> None:
    faults: list[str] = []
    with opened(chrome, address, faults, color_scheme=scheme) as page:
        for one in addresses(seed):
            page.goto(f"/{one}")
            page.wait_for_load_state("load")
            assert problems_of(page) == [], one
    # The one that is not there is a 404, which the console tells.
    assert [fault for fault in faults if "404" not in fault] == []


def test_every_page_fits_a_phone(chrome: Browser, address: str, seed: Seed) -> None:
    with opened(chrome, address, [], viewport={"width": 360, "height": 740}, is_mobile=True) as page:
        for one in addresses(seed):
            page.goto(f"/{one}")
            width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert width[0] <= 360, one


def told(page: Page) -> str:
    return page.locator("p.told").inner_text()


def test_schedules_are_run_paused_resumed_and_filled(page: Page, database: Database) -> None:
    page.goto("/schedules")
    row = page.locator("tr", has_text="nightly-report")
    row.get_by_role("button", name="Run now").click()
    assert "trigger schedule nightly-report: job" in told(page)
    page.get_by_role("link", name="Pause").click()
    page.get_by_label("Until").fill("2h")
    page.get_by_label("Note").fill("deploy")
    page.get_by_role("button", name="Pause").click()
    assert "paused" in told(page)
    assert page.locator("h1 .badge").inner_text() == "paused"
    page.get_by_role("button", name="Resume").click()
    assert "resumed" in told(page)
    page.get_by_role("link", name="Backfill").click()
    page.get_by_label("From").fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-04")
    page.get_by_label("Also ticks older").check()
    page.get_by_role("button", name="Look what it would do").click()
    assert "3 ticks from 2026-01-01" in page.locator(".preview").inner_text()
    page.get_by_role("button", name="Backfill").click()
    assert "3 of 3 jobs inserted" in told(page)


def test_jobs_are_retried_cancelled_and_discarded(page: Page, seed: Seed) -> None:
    page.goto(f"/job?id={seed.failed}")
    page.get_by_role("link", name="Retry").click()
    page.get_by_role("button", name="Retry").click()
    assert "ready again" in told(page)
    page.goto(f"/job?id={seed.scheduled}")
    page.get_by_role("button", name="Run now").click()
    assert "run job" in told(page)
    page.goto(f"/job?id={seed.running}")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel").click()
    assert "asked to end" in told(page)
    page.goto(f"/job?id={seed.ready}")
    page.get_by_role("link", name="Discard").click()
    page.get_by_role("button", name="Discard").click()
    assert "discarded" in told(page)
    page.goto("/jobs?state=failed")
    page.get_by_role("link", name="Retry many").click()
    assert page.get_by_label("State").input_value() == "failed"
    page.get_by_role("button", name="Look what it would do").click()
    page.get_by_role("button", name="Retry many").click()
    assert "jobs" in told(page)


def test_gates_are_blown_reset_and_closed(page: Page) -> None:
    page.goto("/gate?ref=bank:acct")
    page.get_by_role("button", name="Reset").click()
    assert "reset" in told(page)
    page.get_by_role("link", name="Blow").click()
    page.get_by_label("Until").fill("10m")
    page.get_by_role("button", name="Blow").click()
    assert "blown" in told(page)
    page.get_by_role("link", name="Close for a while").click()
    page.get_by_label("For").fill("60s")
    page.get_by_role("button", name="Close for a while").click()
    assert "closed" in told(page)


def test_queues_tasks_and_labels_are_paused_and_resumed(page: Page) -> None:
    page.goto("/queues")
    page.locator("#queues tr", has_text="default").get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Pause queue").click()
    assert "paused" in told(page)
    page.locator("#queues tr", has_text="default").get_by_role("button", name="Resume").click()
    assert "resumed" in told(page)


def test_changes_show_within_a_second(page: Page, database: Database, seed: Seed) -> None:
    page.goto("/jobs?state=ready")
    page.wait_for_selector("#live-state[data-state=live]")
    for _ in range(3):
        job = database.value("SELECT pqclock.enqueue('mail.later')")
        page.wait_for_selector(f"#j-{job}", timeout=1_000)
    page.goto("/queues")
    page.wait_for_selector("#live-state[data-state=live]")
    database.session.conn.execute("INSERT INTO pqclock.queue (name, paused_until) VALUES ('fresh', 'infinity')")
    page.wait_for_selector("#q-fresh", timeout=1_000)


def test_a_change_keeps_what_somebody_does(page: Page, database: Database, seed: Seed) -> None:
    page.goto(f"/job?id={seed.failed}")
    page.wait_for_selector("#live-state[data-state=live]")
    page.get_by_text("Traceback").click()
    assert page.locator("details").get_attribute("open") is not None
    page.evaluate("document.querySelector('details').dataset.seen = 'yes'; scrollTo(0, 40)")
    with page.expect_response(lambda answer: "/job?" in answer.url):
        database.session.conn.execute("UPDATE pqclock.leader SET beat_at = now()")
    page.wait_for_timeout(200)
    assert page.locator("details pre").is_visible()


def test_a_hidden_tab_is_left_alone(page: Page, database: Database) -> None:
    page.goto("/jobs?state=ready")
    page.wait_for_selector("#live-state[data-state=live]")
    page.wait_for_timeout(1_000)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    turn = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true" + turn)
    page.wait_for_selector("#live-state[data-state=paused]")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    job = database.value("SELECT pqclock.enqueue('mail.later')")
    page.wait_for_timeout(1_500)
    assert asked == []
    page.evaluate(hide % "false" + turn)
    page.wait_for_selector(f"#j-{job}", timeout=2_000)


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto("/schedules")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/jobs")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "queue"
    page.keyboard.type("mice")
    page.keyboard.press("Enter")
    page.wait_for_url("**queue=mice**")
    assert page.locator("#jobs tbody tr").count() > 0


def test_light_and_dark_are_kept(page: Page) -> None:
    page.goto("/jobs")
    ground = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(ground)
    page.get_by_role("button", name="Light or dark").click()
    second = page.evaluate(ground)
    assert first != second
    page.goto("/queues")
    assert page.evaluate(ground) == second


def test_all_of_it_works_without_javascript(chrome: Browser, address: str, seed: Seed) -> None:
    faults: list[str] = []
    with opened(chrome, address, faults, java_script_enabled=False) as page:
        for one in addresses(seed)[:-1]:
            page.goto(f"/{one}")
            assert page.locator("h1").count() == 1
        page.goto("/schedules")
        page.locator("tr", has_text="heartbeat").get_by_role("link", name="Pause").click()
        page.get_by_role("button", name="Pause").click()
        assert "paused" in told(page)


@pytest.mark.parametrize("evil", CORPUS)
def test_stored_text_is_inert(chrome: Browser, database: Database, evil: str) -> None:
    faults: list[str] = []
    seed = fill(database.session, text=evil, word=evil, task=evil)
    with dashboard(database.url) as address, opened(chrome, address, faults) as page:
        for one in addresses(seed)[:-1]:
            page.goto(f"/{one}")
            assert page.evaluate("window.__xss") is None, one
    assert faults == []


class Evil(BaseHTTPRequestHandler):
    """A page of somebody else that sends a form to the dashboard."""

    target = ""

    def do_GET(self) -> None:
        text = (
            f'<form method="post" action="{self.target}/act"><input name="do" value="trigger">'
            '<input name="of" value="heartbeat"></form><script>document.forms[0].submit()</script>'
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def evil_page(address: str) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), type("EvilHere", (Evil,), {"target": address}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://evil.example:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_forms_of_others_are_refused(chrome: Browser, address: str, evil_page: str, database: Database) -> None:
    with opened(chrome, address, []) as page:
        for site in (
            evil_page,
            evil_page.replace("evil.example", "127.0.0.1"),
            evil_page.replace("evil.example", "localhost"),
        ):
            with page.expect_response(lambda answer: answer.url.endswith("/act")) as sent:
                page.goto(site)
            assert sent.value.status == 403
    assert database.value("SELECT count(*) FROM pqclock.audit WHERE action = 'trigger'") == 0


def test_deeds_are_done_by_a_name_that_is_not_this_machines(chrome: Browser, database: Database, seed: Seed) -> None:
    token = "a-token-of-the-tests"
    with dashboard(database.url, "--web-hosts", "clock.example", PQCLOCK_WEB_TOKEN=token) as address:
        named = address.replace("127.0.0.1", "clock.example")
        with opened(chrome, named, [], http_credentials={"username": "ada", "password": token}) as page:
            page.goto("/schedules")
            page.locator("tr", has_text="heartbeat").get_by_role("button", name="Run now").click()
            assert "trigger schedule heartbeat" in told(page)
    assert database.value("SELECT actor FROM pqclock.audit ORDER BY id DESC LIMIT 1") == "ada"


def test_foreign_names_are_refused(chrome: Browser, address: str) -> None:
    with opened(chrome, address.replace("127.0.0.1", "evil.example"), []) as page:
        answer = page.goto("/jobs")
        assert answer is not None and answer.status == 421
        assert "not known by that host" in page.content()
