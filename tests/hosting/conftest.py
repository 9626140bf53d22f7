"""An app with a task, and schedule files beside it, on a database of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Database
from pqclock import App

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def app(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """An app with the task `double`, in a folder with one schedule of it; whatever threads it makes are gone after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "all.toml").write_text(
        '[schedule.often]\ntask = "double"\nevery = "1s"\nargs = { n = 4 }\n'
    )
    before = set(threading.enumerate())
    app = App(database.url)

    @app.task("double")
    def double(n: int) -> int:
        return 2 * n

    yield app
    app.close()
    assert ours(but=before) == []


def ours(but: set[threading.Thread]) -> list[str]:
    """The names of pqclock's living threads but these, without those of idle executors, which end by themselves."""
    found = [thread for thread in threading.enumerate() if thread not in but and thread.name.startswith("pqclock-")]
    return [thread.name for thread in found if alive(thread)]


def alive(thread: threading.Thread) -> bool:
    """True when a thread does not end within a second."""
    thread.join(1)
    return thread.is_alive()


@pytest.fixture
def script(database: Database, tmp_path: Path) -> Script:
    """Run a program of `app` in a process of its own, as a user's."""

    def run(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        head = f"""
import logging, os, signal, sys, threading, time
sys.path.insert(0, {str(ROOT / "tests")!r})
from pqclock import App, current_job
from processes.fleet import eventually
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
app = App()
"""
        path = tmp_path / "program.py"
        path.write_text(head + text)
        (tmp_path / "schedules").mkdir(exist_ok=True)
        (tmp_path / "schedules" / "all.toml").write_text('[schedule.rare]\ntask = "double"\nevery = "1h"\n')
        variables: dict[str, Any] = {
            "PQCLOCK_DATABASE_URL": database.url,
            "TMPDIR": str(tmp_path),
            "PATH": "/usr/bin:/bin",
        }
        return subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            timeout=40,
            cwd=tmp_path,
            env=variables | environment,
            check=False,
        )

    return run
