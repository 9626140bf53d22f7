"""The job on the log records of its handler."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock.integrations.logging import JobFields
from pqclock.store import jobs
from pqclock.store.jobs import NewJob
from processes.fleet import Fleet, eventually
from worker.bench import Bench

log = logging.getLogger("shop")


class Kept(logging.Handler):
    """Keeps its records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self.records.append(record)

    def seen(self) -> list[tuple[object, ...]]:
        """Message, job, task and attempt of each."""
        names = ("msg", "job_id", "task", "attempt")
        return [tuple(getattr(record, name, "none") for name in names) for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What the logger `shop` writes."""
    handler = Kept()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


def test_records_of_handlers_carry_their_job(bench: Bench, kept: Kept) -> None:
    kept.addFilter(JobFields())

    @bench.app.task("plain")
    def plain() -> None:
        log.warning("plain")
        log.warning("own", extra={"task": "own"})

    @bench.app.task("async")
    async def asynchronous() -> None:
        log.warning("async")
        await asyncio.to_thread(log.warning, "thread")

    bench.start("*:1")
    first, second = bench.put("plain"), bench.put("async")
    bench.comes_to(first, "succeeded")
    bench.comes_to(second, "succeeded")
    log.warning("outside")
    assert sorted(kept.seen()) == sorted([
        ("plain", first, "plain", 1), ("own", first, "own", 1), ("async", second, "async", 1),
        ("thread", second, "async", 1), ("outside", "none", "none", "none"),
    ])  # fmt: skip


def test_formats_may_name_them_always(kept: Kept) -> None:
    kept.addFilter(JobFields(always=True))
    log.warning("outside")
    assert kept.seen() == [("outside", None, None, None)]


def test_lines_of_the_worker_command_carry_it(tmp_path: Path, database: Database) -> None:
    fleet = Fleet(tmp_path, database.url)
    try:
        fleet.start("worker", "--app", "integrations.child_app:app", "--queues", "*:1", "--log-format", "json")
        tasks = ("warn", "log")
        ids = [jobs.insert(database.session, [NewJob(task, '{"text": "look"}')])[0][0] for task in tasks]
        eventually(lambda: database.value("SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded'") == 2)
        fleet_log = next(tmp_path.glob("*.log"))
        found = eventually(lambda: [line for line in fleet_log.read_text().splitlines() if "look" in line][1:])
    finally:
        fleet.end()
    lines = [json.loads(line) for line in fleet_log.read_text().splitlines() if "look" in line]
    assert found and [(line["logger"], line["job_id"], line["task"], line["attempt"]) for line in lines] == [
        ("shop", ids[0], "warn", 1), ("pqclock.job", ids[1], "log", 1),
    ]  # fmt: skip
