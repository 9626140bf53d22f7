"""The demo: one at a time, an end that is told, and a summary that a lost database does not take away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from conftest import Database
from pqclock.demo.run import Demo
from pqclock.errors import PqclockError
from pqclock.store import leadership, processes
from pqclock.supervisor import Supervisor
from processes.fleet import Fleet, eventually

ACTIVE = "SELECT count(*) FROM pqclock.schedule WHERE set_name = 'demo' AND state = 'active'"


def test_a_second_demo_is_refused_and_leaves_the_first_alone(fleet: Fleet, database: Database, tmp_path: Path) -> None:
    first = fleet.start("demo", "--json")
    active = eventually(lambda: database.value(ACTIVE))
    second = subprocess.run(
        [sys.executable, "-m", "pqclock", "demo", "--for", "1s"],
        env={**os.environ, "PQCLOCK_DATABASE_URL": database.url},
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == 4
    assert second.stderr == "pqclock: error: a demo runs on this database already: end that one first\n"
    assert database.value(ACTIVE) == active
    first.terminate()
    assert first.wait(15) == 0
    summary = json.loads(fleet.log_of(first).splitlines()[-1])
    assert "jobs_run" in summary["demo"]
    assert database.value(ACTIVE) == 0


class Children:
    """Stands for the supervisor: a clock and a worker that are there, until they are stopped."""

    def __init__(self, failure: Exception | None = None, code: int = 0) -> None:
        self.failure = failure
        self.code = code
        self.stopped = threading.Event()

    def run(self) -> int:
        if self.failure is not None:
            raise self.failure
        if not self.code:
            self.stopped.wait(30)
        return self.code

    def stop(self) -> None:
        self.stopped.set()


@contextmanager
def demo_of(database: Database, children: Children, seconds: float | None = None) -> Iterator[Demo]:
    """A demo with these children, and a leader and a worker in the tables."""
    clock, _ = (
        processes.register(database.session, kind, pid=1, host="box", code_version="1") for kind in ("clock", "worker")
    )
    leadership.elect(database.session, clock)
    with closing(database.connect()) as session:
        yield Demo(session, cast(Supervisor, children), seconds, watch=False)


def test_a_demo_whose_children_cannot_be_kept_ends_with_the_reason(database: Database) -> None:
    with (
        demo_of(database, Children(failure=OSError("no more processes"))) as demo,
        pytest.raises(PqclockError, match=r"could not be kept running \(no more processes\)"),
    ):
        demo.run()


def test_a_demo_whose_children_refuse_ends_with_that(database: Database) -> None:
    with demo_of(database, Children(code=4)) as demo, pytest.raises(PqclockError, match="could not be started"):
        demo.run()


def test_a_database_that_is_lost_at_the_end_leaves_the_summary(database: Database) -> None:
    class Last(Children):
        def stop(self) -> None:
            demo_session: Any = vars(demo)["_session"]
            database.rows("SELECT pg_terminate_backend(%s)", demo_session.conn.info.backend_pid)
            super().stop()

    with demo_of(database, Last(), seconds=0.1) as demo:
        assert demo.run().ticks_inserted == 0
