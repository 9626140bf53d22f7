"""Every block of code in README and docs is run, as it is there; pages made from the code say what the code says."""

from __future__ import annotations

import ast
import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from sqlalchemy.orm import Session

import pqclock
from conftest import ROOT, Database
from faces.test_docs import DOCS, README, fences
from pqclock import App
from pqclock.rules.job import LIVE, MOVES, TERMINAL
from processes.fleet import eventually
from tasks.callers import django_database, engine

# Whole programs, which other tests run in processes of their own: tests/hosting and tests/integrations count their blocks.
PROGRAMS = {"web.md", "testing.md", "integrations.md", "start.md"}
LANGUAGES = {"python", "sql", "toml", "json", "console", "sh", "ini", "text", ""}


def blocks(page: Path) -> list[str]:
    return list(fences(page.read_text(), "python"))


PAGES = [page for page in DOCS if blocks(page) and page.name not in PROGRAMS]


@pytest.fixture
def names(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a page may begin with: an app at the test's database, and the public names."""
    monkeypatch.setenv("PQCLOCK_DATABASE_URL", database.url)
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "shop"))
    found: dict[str, Any] = {name: getattr(pqclock, name) for name in pqclock.__all__}
    app = found["app"] = App()
    yield found
    found["app"].close()
    app.close()


def run(page: Path, names: dict[str, Any]) -> dict[str, Any]:
    for number, block in enumerate(blocks(page)):
        exec(compile(ast.parse(block), f"{page.name} python {number}", "exec"), names)
    return names


def test_every_fence_has_a_language_that_is_looked_at() -> None:
    for page in DOCS:
        fences_of = re.findall(r"^```([^\n`]*)\n.*?^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        assert {one.split(" ")[0] for one in fences_of} <= LANGUAGES | {"{toctree}"}, page.name
        assert page.read_text().count("\n```") == 2 * len(fences_of), page.name


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in ("jobs.md", "README.md")], ids=lambda p: p.name
)
def test_python_of_a_page_runs(page: Path, names: dict[str, Any]) -> None:
    if "mail.send" in page.read_text() and '"mail.send"' not in "".join(blocks(page)[:1]):
        # It goes on from where that page has ended.
        run(ROOT / "docs" / "jobs.md", names)
    run(page, names)


def test_the_readme_runs(names: dict[str, Any], database: Database) -> None:
    run(README, names)
    with psycopg.connect(database.url) as conn:
        conn.execute("CREATE TABLE orders (customer text)")
        names["order"](conn)
    assert database.rows("SELECT task, queue FROM pqclock.jobs") == [("mail.send", "mail")]


def test_jobs_in_transactions_of_every_library(names: dict[str, Any], database: Database) -> None:
    run(ROOT / "docs" / "jobs.md", names)
    assert names["handle"].state == "ready"
    with psycopg.connect(database.url) as conn:
        conn.execute("CREATE TABLE orders (customer text)")
        names["order_by_psycopg"](conn)
    with engine(database.url) as made, Session(made) as session:
        names["order_by_sqlalchemy"](session)
    with django_database(database.url):
        names["order_by_django"]()
    assert database.value("SELECT count(*) FROM orders") == 3
    for block in fences((ROOT / "docs" / "jobs.md").read_text(), "sql"):
        database.session.conn.execute(block.encode())
    rows = database.rows("SELECT queue, count(*) FROM pqclock.jobs GROUP BY queue ORDER BY queue")
    assert rows == [("mail", 12), ("slow", 2)]


MOVING: dict[str, tuple[str, dict[str, Any], str]] = {
    "from-cron.md": ("shell.run", {"command": [sys.executable, "-c", "print('done')"]}, "done\n"),
    "from-celery-beat.md": ("billing.charge", {"customer": 42}, "charged 42, attempt 1"),
    "from-apscheduler.md": ("reports.build", {"day": "2026-11-22"}, "report of 2026-11-22"),
    "from-procrastinate.md": ("accounts.sync", {"account": 7}, "synced 7"),
}


@pytest.mark.parametrize("page", MOVING)
def test_what_moves_here_runs_here(page: str, names: dict[str, Any], database: Database) -> None:
    """The tasks of a guide, by a worker, under the rules and schedules of the same guide."""
    task, arguments, result = MOVING[page]
    run(ROOT / "docs" / page, names)
    files = ROOT / "docs" / page
    for number, block in enumerate(fences(files.read_text(), "toml")):
        apply_files(database, f"set-{number}", block)
    app = names["app"]
    if page == "from-apscheduler.md":
        names["set_up"]()
        names["set_up"]()
        assert database.value("SELECT count(*) FROM pqclock.schedules") == 4
    if page == "from-procrastinate.md":
        assert names["later"]([1, 2, 1]) == 2
    with app.worker("*:2"):
        handle = app.tasks[task].enqueue(**arguments)
        assert handle.wait("20s") == "succeeded" and handle.result() == result


def apply_files(database: Database, set_name: str, text: str) -> None:
    from pqclock.clock.applier import apply
    from pqclock.rules.files import read_set

    files = read_set([("page.toml", text.encode())])
    assert files.ok
    apply(database.session, set_name, files.content_hash, files.schedules, files.rules, files.slos, explicit=True)


def test_the_first_application_runs_as_it_is_told(database: Database, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "start.md").read_text()
    for name, text in re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text)
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "shop.toml").write_text("".join(fences(page, "toml")))
    first, changed = fences(page, "ini")
    (tmp_path / "pqclock.toml").write_text(first)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path),
        "PQCLOCK_DATABASE_URL": database.url, "PQCLOCK_WEB": "127.0.0.1:0",
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        all_of_it = subprocess.Popen(
            [sys.executable, "-m", "pqclock"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        done = "SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded' AND attempt = 2"
        eventually(lambda: database.value(done), 40.0)
        lines = [line for block in fences(page, "console") for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE)]
        assert len(lines) >= 7
        for line in lines:
            if line == "pqclock alarms test":
                app, _ = first.splitlines()
                (tmp_path / "pqclock.toml").write_text(f"{app}\n{changed}")
            said = subprocess.run(
                line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert said.returncode == 0, said.stderr
        said = subprocess.run(
            [sys.executable, "enqueue.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert said.stdout == "succeeded sent 'welcome' to ada@example.org\n", said.stderr
        assert all_of_it.poll() is None
    finally:
        all_of_it.send_signal(signal.SIGTERM)
        assert all_of_it.wait(30) == 0, (tmp_path / "log").read_text()


# What is made from the code.


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_pages_of_reference_say_what_the_code_says(generator: ModuleType) -> None:
    for name, text in generator.pages().items():
        assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is old: run `make docs`"


def test_every_state_and_move_is_in_the_picture(generator: ModuleType) -> None:
    picture = (ROOT / "docs" / "states.svg").read_text()
    assert all(f">{state}</text>" in picture for state in (*LIVE, *TERMINAL))
    assert picture.count('class="arrow"') == sum(len(moves) for moves in MOVES.values())


def test_the_site_builds_without_a_warning_and_asks_nobody_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "html",
         "-d", tmp_path / "trees"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "html" / "index.html").read_text()
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert page.stem == "index" or f'href="{page.stem}.html"' in index, page.name
    for page in (tmp_path / "html").glob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?:[^\"]+)", page.read_text())
        assert loaded == [], page.name
