"""The pages on a real database: what they show, what is done from them, and that nothing stored ever runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from pqclock.web import Access, create_app
from pqclock.web.actions import ACTIONS
from web.seed import Seed, fill

if TYPE_CHECKING:
    from conftest import Database

HERE = ("127.0.0.1", 50_000)
OWN = {"Sec-Fetch-Site": "same-origin"}
PAGES = ("schedules", "calendar", "jobs", "gates", "queues", "processes", "alarms", "database", "audit")


@pytest.fixture
def seed(database: Database) -> Seed:
    return fill(database.session)


@pytest.fixture
def page(database: Database) -> Iterator[TestClient]:
    with TestClient(create_app(database.url), base_url="http://localhost:8484", headers=OWN, client=HERE) as client:
        yield client


def do(page: TestClient, slug: str, of: object = "", **values: str) -> Any:
    return page.post("/act", data={"do": slug, "of": str(of), **values}, follow_redirects=False)


def done(page: TestClient, slug: str, of: object = "", **values: str) -> str:
    """The page after a deed, with what it says of it."""
    answer = do(page, slug, of, **values)
    assert answer.status_code == 303, answer.text
    after = page.get("/" + answer.headers["location"])
    assert after.status_code == 200
    told = re.search(r'<p class="told" role="status">(.*?)</p>', after.text, re.DOTALL)
    assert told is not None
    return re.sub(r"<[^>]+>", "", told[1])


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_something_to_show(page: TestClient, seed: Seed, name: str) -> None:
    answer = page.get(f"/{name}")
    assert answer.status_code == 200
    assert f'href="{name}"' in answer.text and 'aria-current="page"' in answer.text


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_an_empty_database(page: TestClient, name: str) -> None:
    assert page.get(f"/{name}").status_code == 200


def test_schedules(page: TestClient, seed: Seed) -> None:
    text = page.get("/schedules").text
    for told in (
        "nightly-report",
        "At 02:00",
        "Europe/Berlin",
        "every 30s",
        "paused",
        "is set aside",
        "set default".title(),
    ):
        assert told.lower() in text.lower(), told
    assert text.count('class="strip"') == 5
    assert "nightly-report" not in page.get("/schedules?state=disabled").text
    assert "archived" in page.get("/schedules?state=disabled").text
    assert "nightly-report" in page.get("/schedules?task=report.build").text


def test_one_schedule(page: TestClient, seed: Seed) -> None:
    text = page.get("/schedule?key=nightly-report").text
    for told in ("Ticks", "Coming", "Definition", ".toml:3", "skipped", "coalesced", "02:00:00 CE"):
        assert told in text, told
    assert page.get("/schedule?key=heartbeat").status_code == 200
    assert page.get("/schedule?key=none").status_code == 404
    assert page.get("/schedule").status_code == 404


def test_jobs(page: TestClient, seed: Seed) -> None:
    text = page.get("/jobs?limit=10").text
    assert text.count('<tr id="j-') == 10 and 'rel="next"' in text
    following = re.search(r'rel="next" href="([^"]+)"', text)
    assert following is not None
    second = page.get("/" + following[1].replace("&amp;", "&")).text
    assert not set(re.findall(r'id="j-(\d+)"', text)) & set(re.findall(r'id="j-(\d+)"', second))
    failed = page.get("/jobs?state=failed").text
    assert "the bank did not answer" in failed and "b-failed" in failed
    assert page.get("/jobs?queue=mice&state=running").text.count('<tr id="j-') == 2
    assert page.get("/jobs?label=nothing").text.count("No such jobs") == 1


def test_one_job_hides_its_arguments(page: TestClient, database: Database, seed: Seed) -> None:
    text = page.get(f"/job?id={seed.running}").text
    assert "ada@example.org" not in text and "•••" in text
    assert "1,200 of 5,000" in text and "<progress" in text
    failed = page.get(f"/job?id={seed.failed}").text
    assert "Traceback" in failed and "Attempts" in failed
    assert "Why it is not running" in page.get(f"/job?id={seed.ready}").text
    assert page.get("/job?id=999999999").status_code == 404
    app = create_app(database.url, shown_args=["to"])
    with TestClient(app, base_url="http://localhost", headers=OWN, client=HERE) as client:
        assert "ada@example.org" in client.get(f"/job?id={seed.running}").text


def test_gates(page: TestClient, seed: Seed) -> None:
    text = page.get("/gates").text
    assert "stripe" in text and "bank:acct" in text and "100/1m" in text and "blown" in text
    one = page.get("/gate?ref=bank:acct").text
    assert "Last failures" in one and "Lanes that wait" in one and "Terms" in one
    assert page.get("/gate?ref=nowhere").status_code == 404


def test_queues_and_processes(page: TestClient, seed: Seed) -> None:
    text = page.get("/queues").text
    assert "latency_15m" in text and ">15m" in text and "mail.send" in text and "finance" in text
    # What files promise, and what is wrong now, on every page.
    assert ">7m" in text and "<strong>2 alarms:</strong>" in text
    listed = page.get("/alarms").text
    assert (
        "schedule?key=nightly-report" in listed
        and "the clocks" in listed
        and "<strong>2 alarms:</strong>" not in listed
    )
    processes = page.get("/processes").text
    assert "leader" in processes and "standby" in processes and "silent, " in processes and "/10" in processes
    assert "xmin" in page.get("/database").text


def test_a_queue_in_which_nothing_has_begun(page: TestClient, database: Database) -> None:
    for _ in range(2):
        job = database.value("SELECT pqclock.enqueue('mail', queue => 'fresh')")
    done(page, "cancel", job)
    assert "fresh" in page.get("/queues").text


def test_a_schedule_that_cannot_be_planned_here_hides_no_other(
    page: TestClient, database: Database, seed: Seed
) -> None:
    database.session.conn.execute(
        "UPDATE pqclock.schedule SET definition = definition || '{\"timezone\": \"Moon/Crater\"}' WHERE key = 'invoices'"
    )
    assert "nightly-report" in page.get("/calendar").text
    answer = page.get("/schedule?key=invoices")
    assert answer.status_code == 200 and "cannot be planned here" in answer.text
    assert page.get("/schedules").status_code == 200


def test_what_somebody_holds_is_not_waited_for(page: TestClient, database: Database, seed: Seed) -> None:
    other = database.connect()
    with other.transaction():
        other.conn.execute("SELECT FROM pqclock.schedule WHERE key = 'heartbeat' FOR UPDATE")
        answer = do(page, "backfill", "heartbeat", since="2026-01-01", until="2026-01-02", force="yes")
    other.close()
    assert answer.status_code == 400 and 'role="alert"' in answer.text


def test_forms_that_are_none(page: TestClient) -> None:
    assert page.post("/act", data={f"f{n}": "x" for n in range(60)}).status_code == 413
    answer = page.post("/act", data={"do": "x" * 70_000})
    assert answer.status_code == 413 and "content-security-policy" in answer.headers


def test_verbs_of_schedules(page: TestClient, database: Database, seed: Seed) -> None:
    assert "job " in done(page, "trigger", "nightly-report")
    assert "paused" in done(page, "pause-schedule", "nightly-report", until="2h", note="deploy")
    assert database.value("SELECT note FROM pqclock.schedules WHERE key = 'nightly-report'") == "deploy"
    assert "resumed" in done(page, "resume-schedule", "nightly-report")
    assert "nothing changed" in done(page, "resume-schedule", "nightly-report")


def test_a_backfill_is_shown_before_it_is_done(page: TestClient, database: Database, seed: Seed) -> None:
    span = {"since": "2026-01-01", "until": "2026-01-04"}
    before = database.value("SELECT count(*) FROM pqclock.job")
    shown = do(page, "backfill", "nightly-report", force="yes", **span)
    assert shown.status_code == 200 and "3 ticks from" in shown.text and 'name="sure" value="yes"' in shown.text
    assert database.value("SELECT count(*) FROM pqclock.job") == before
    assert "3 of 3 jobs inserted" in done(page, "backfill", "nightly-report", force="yes", sure="yes", **span)
    assert database.value("SELECT count(*) FROM pqclock.job") == before + 3  # type: ignore[operator]
    too_many = do(page, "backfill", "heartbeat", since="2026-01-01", until="2026-06-01", force="yes", sure="yes")
    assert too_many.status_code == 400 and "pqclock schedules backfill heartbeat" in too_many.text


def test_verbs_of_a_job(page: TestClient, database: Database, seed: Seed) -> None:
    assert "due now" in done(page, "run", seed.scheduled) or "ready" in done(page, "run", seed.scheduled)
    assert "ready" in done(page, "retry", seed.failed)
    assert "has succeeded" in done(page, "retry", seed.succeeded)
    assert "ready" in done(page, "retry", seed.succeeded, succeeded="yes")
    assert "asked to end" in done(page, "cancel", seed.running, note="wrong customer")
    assert "discarded" in done(page, "discard", seed.ready)
    gone = do(page, "discard", 999_999_999)
    assert gone.status_code == 400 and "has no job 999999999" in gone.text
    assert do(page, "retry", "x").status_code == 400


def test_many_jobs_at_once(page: TestClient, database: Database, seed: Seed) -> None:
    failed = database.value("SELECT count(*) FROM pqclock.jobs WHERE state = 'failed'")
    shown = do(page, "retry-many", state="failed")
    assert f"{failed} jobs: {failed} failed." in shown.text
    assert f"{failed} of {failed} jobs" in done(page, "retry-many", state="failed", sure="yes")
    assert do(page, "discard-many", sure="yes").status_code == 400


def test_verbs_of_gates_and_queues(page: TestClient, database: Database, seed: Seed) -> None:
    assert "blown until it is reset" in done(page, "blow", "bank:acct", note="maintenance")
    assert "reset" in done(page, "reset", "bank:acct")
    assert "closed" in done(page, "cool", "bank:acct", length="60s")
    assert do(page, "cool", "bank:acct").status_code == 400
    assert do(page, "blow", "nowhere").status_code == 400
    for kind, name in (("queue", "default"), ("task", "beat"), ("label", "slow")):
        assert "paused" in done(page, f"pause-{kind}", name)
        assert "resumed" in done(page, f"resume-{kind}", name)


def test_all_verbs_have_a_form_and_are_audited(page: TestClient, database: Database, seed: Seed) -> None:
    for slug in ACTIONS:
        assert page.get(f"/act?do={slug}&of=x").status_code == 200
    assert page.get("/act?do=none").status_code == 404
    done(page, "pause-schedule", "heartbeat", note="why not")
    row = database.rows("SELECT actor, action, target, note, outcome FROM pqclock.audit ORDER BY id DESC LIMIT 1")
    assert row == [
        (
            "local",
            "pause-schedule",
            "schedule heartbeat",
            "why not",
            "paused: its ticks are skipped until it is resumed",
        )
    ]
    refused = do(page, "pause-schedule", "nobody")
    assert refused.status_code == 400 and "nobody" in refused.text
    (outcome,) = database.rows("SELECT outcome FROM pqclock.audit ORDER BY id DESC LIMIT 1")[0]
    assert str(outcome).startswith("refused: ")
    assert "why not" in page.get("/audit").text


def test_a_name_as_long_as_one_may_be_is_audited(page: TestClient, database: Database) -> None:
    answer = do(page, "pause-schedule", "\U0001f600" * 3_000)
    assert answer.status_code == 400
    assert database.value("SELECT count(*) FROM pqclock.audit") == 1


def test_viewers_see_no_verbs_and_have_none(database: Database, seed: Seed) -> None:
    app = create_app(database.url, access=Access(read_only=True))
    with TestClient(app, base_url="http://localhost", headers=OWN, client=HERE) as client:
        for name in (*PAGES, f"job?id={seed.ready}", "schedule?key=heartbeat", "gate?ref=bank:acct"):
            text = client.get(f"/{name}").text
            assert "act?do=" not in text and 'method="post"' not in text, name
        assert client.get("/act?do=trigger&of=heartbeat").status_code == 403
        assert do(client, "trigger", "heartbeat").status_code == 403
    assert database.value("SELECT count(*) FROM pqclock.audit") == 1


CORPUS = (
    '"><script>window.__xss=1</script>',
    "<img/src=x/onerror=window.__xss=1>",
    "'onfocus=window.__xss=1/autofocus='",
    "</pre></textarea><svg/onload=window.__xss=1>",
    "{{constructor.constructor('window.__xss=1')()}}",
    "javascript:window.__xss=1",
)


class Elements(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(text)
    return parser.found


@pytest.mark.parametrize("evil", CORPUS)
def test_nothing_stored_becomes_part_of_a_page(page: TestClient, database: Database, evil: str) -> None:
    seed = fill(database.session, text=evil, word=evil, task=evil)
    stripe = database.value("SELECT rule || ':' || key FROM pqclock.gate WHERE rule = 'stripe'")
    addresses = [
        *PAGES, f"job?id={seed.running}", f"job?id={seed.failed}", f"job?id={seed.ready}", "schedule?key=nightly-report",
        "gate?ref=bank:acct", "schedules?state=paused",
    ]  # fmt: skip
    pages = [page.get(f"/{address}") for address in addresses]
    pages.append(page.get("/gate", params={"ref": str(stripe)}))
    pages.append(page.get("/act", params={"do": "pause-queue", "of": evil, "note": evil, "until": evil}))
    pages.append(do(page, "pause-schedule", evil, note=evil))
    pages.append(do(page, "cool", evil, length=evil))
    pages.append(
        page.get("/jobs", params=dict.fromkeys(("queue", "task", "label", "schedule", "state", "before"), evil))
    )
    pages.append(page.get("/" + evil))
    for answer in pages:
        for tag, attributes in elements(answer.text):
            assert tag != "img" and not any(name.startswith("on") for name in attributes), answer.url
            assert tag != "script" or str(attributes.get("src", "")).startswith("static/"), answer.url
            assert not any("javascript:" in str(attributes.get(name)) for name in ("href", "src", "action")), answer.url
            assert "style" not in attributes, answer.url
    assert sum(evil in _unescaped(answer.text) for answer in pages) > len(addresses) - 4


def _unescaped(text: str) -> str:
    from html import unescape

    return unescape(text)


@pytest.mark.parametrize(
    "address",
    [
        "job?id=9223372036854775808",
        "jobs?before=0",
        "jobs?limit=-1",
        "jobs?state=%00",
        "gates?after=%F0%9F",
        "schedule?key=" + "x" * 5000,
        "jobs?task=%00",
        "jobs?deed=99999999999999999999999",
    ],
)
def test_odd_addresses_are_no_errors(page: TestClient, address: str) -> None:
    assert page.get("/" + address).status_code in (200, 404)


def test_static_files_are_kept_for_ever(page: TestClient) -> None:
    names = re.findall(r"static/[a-z.0-9-]+", page.get("/schedules").text)
    assert len(set(names)) == 5
    for name in set(names):
        answer = page.get("/" + name)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"], name
    assert page.get("/static/page.css").status_code == 404
    assert page.get("/static/..%2fapp.py").status_code == 404


def test_mounted_behind_somebody_elses_sign_in(database: Database, seed: Seed) -> None:
    access = Access(
        authorize=lambda scope: ("ada", "operate") if "admin" in scope["path"] else None, hosts=["shop.example"]
    )
    shop = Starlette(routes=[Mount("/admin/clock", create_app(database.url, access=access))])
    with TestClient(shop, base_url="https://shop.example", headers=OWN) as client:
        home = client.get("/admin/clock/")
        assert home.status_code == 200 and str(home.url).endswith("/admin/clock/schedules")
        answer = client.post("/admin/clock/act", data={"do": "trigger", "of": "heartbeat"})
        assert answer.status_code == 200 and "/admin/clock/schedule?key=heartbeat" in str(answer.url)
        style = re.search(r'href="(static/page[^"]+)"', answer.text)
        assert style is not None and client.get("/admin/clock/" + style[1]).status_code == 200
    assert database.value("SELECT actor FROM pqclock.audit ORDER BY id DESC LIMIT 1") == "ada"


def test_without_a_database_pages_say_so(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app("postgresql://nobody@127.0.0.1:9/nothing?connect_timeout=1")
    with TestClient(app, base_url="http://localhost", client=HERE) as client:
        answer = client.get("/jobs")
    assert answer.status_code == 503
    assert "PostgreSQL at 127.0.0.1:9/nothing cannot be reached" in answer.text
    assert "Connection refused" in answer.text and "check that it runs" in answer.text
    # The pool tries again and again; once is enough to say so.
    assert not [record for record in caplog.records if record.name == "psycopg.pool"]
