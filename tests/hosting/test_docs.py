"""What docs/web.md and docs/testing.md show, as it is there: under uvicorn, gunicorn and pytest, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from conftest import ROOT, Database
from processes.fleet import eventually


def files(page: str) -> dict[str, str]:
    """The programs of a page, by the names in their first lines."""
    text = (ROOT / "docs" / page).read_text()
    return dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def environment(folder: Path, database: Database) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "PQCLOCK_DATABASE_URL": database.url,
        "TMPDIR": str(folder),
        "HOME": str(folder),
    }


@contextmanager
def serving(folder: Path, database: Database, *command: str) -> Iterator[httpx.Client]:
    """A web server on a socket of the folder; it must end in order, and within seconds."""
    for name, text in files("web.md").items():
        # It belongs to the page's Flask alone.
        if name != "gunicorn.conf.py" or "flask_shop:web" in command:
            (folder / name).write_text(text)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment(folder, database), stdout=log, stderr=log
        )
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / "s")), base_url="http://shop", timeout=15)
    try:
        eventually(lambda: server.poll() is not None or (folder / "s").exists(), 20)
        with client:
            yield client
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in (0, -signal.SIGTERM), (folder / "log").read_text()
    except BaseException:
        print((folder / "log").read_text())
        raise
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in (folder / "log").read_text(), (folder / "log").read_text()
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.process") == 0)


def order(client: httpx.Client, header: str, wait: str) -> None:
    """Order reports, one to wait for and one to come back for, and ask for what there is not."""
    at_once = client.post("/reports?day=monday", headers={header: wait})
    assert (at_once.status_code, at_once.json()) == (200, {"report": "all of monday"}), at_once.text
    accepted = client.post("/reports?day=friday")
    assert (accepted.status_code, accepted.content) == (202, b"")
    found = client.get(accepted.headers["location"])
    deadline = time.monotonic() + 10
    while found.status_code == 200 and time.monotonic() < deadline:
        assert found.json()["state"] in ("ready", "running") and found.headers["retry-after"] == "1"
        found = client.get(accepted.headers["location"], headers={header: wait})
    assert found.status_code == 303
    result = client.get(found.next_request.url if found.next_request else "")
    assert (result.status_code, result.json()) == (200, {"report": "all of friday"})
    head = client.head(accepted.headers["location"])
    assert (head.status_code, head.content) == (303, b"")
    assert client.get("/jobs/1").status_code == 404
    assert client.get(f"/jobs/{'A' * 22}").json()["title"] == "Not Found"
    assert client.delete(accepted.headers["location"]).status_code == 405


def test_fastapi(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path, database, "uvicorn", "fastapi_shop:api", "--uds", "s") as client:
        order(client, "Expect", "200-ok")
        order(client, "Prefer", "wait=9")
        assert client.post("/reports?day=friday", headers={"Expect": "tea"}).status_code == 417
        eventually(lambda: database.value("SELECT count(*) FROM pqclock.process WHERE kind = 'clock'") == 1)


def test_flask_under_a_server_that_forks(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path, database, "gunicorn", "flask_shop:web", "-b", "unix:s", "-w", "2") as client:
        eventually(lambda: database.value("SELECT count(DISTINCT pid) FROM pqclock.process") == 2)
        order(client, "Prefer", "wait=9")


@pytest.mark.parametrize(("flags", "workers"), [([], 2), (["--preload"], 1)], ids=["each", "preloaded"])
def test_django_under_a_server_that_forks(tmp_path: Path, database: Database, flags: list[str], workers: int) -> None:
    with serving(tmp_path, database, "gunicorn", "wsgi", "-b", "unix:s", "-w", "2", *flags) as client:
        eventually(lambda: database.value("SELECT count(DISTINCT pid) FROM pqclock.process") == workers)
        order(client, "Prefer", "wait=9")


def test_django_under_asgi(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path, database, "uvicorn", "asgi:application", "--uds", "s") as client:
        eventually(lambda: database.value("SELECT count(*) FROM pqclock.process") == 2)
        order(client, "Prefer", "wait=9")


def test_the_tests_of_the_testing_page(tmp_path: Path, server_url: str) -> None:
    for name, text in files("testing.md").items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\npqclock_app = jobs:app\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:anyio"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PQCLOCK_TEST_SERVER": server_url}, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "7 passed" in done.stdout, done.stdout
