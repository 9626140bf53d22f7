"""How late ticks become ready, as another session sees it, and how soon another clock goes on where one was killed."""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.processes import clock, cpu_seconds, resident_mb
from benchmarks.server import Server
from benchmarks.suite import Figures, Goal, Workload
from pqclock import App

DUE = 10_000
TICKING, SECONDS, SETTLED = 1_000, 30, 5
TAKEOVERS = 8
# One row for each statement that makes jobs ready; it is seen when that is committed.
NOTE_READY = """
CREATE TABLE readied (id bigserial PRIMARY KEY, run_at timestamptz, jobs bigint);
CREATE FUNCTION note_ready() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO readied (run_at, jobs)
    SELECT n.run_at, count(*) FROM after AS n WHERE n.state = 'ready' AND n.schedule_id IS NOT NULL GROUP BY 1;
    RETURN NULL;
END $$;
CREATE TRIGGER note_promoted AFTER UPDATE ON pqclock.job
REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION note_ready();
CREATE TRIGGER note_inserted AFTER INSERT ON pqclock.job
REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION note_ready()"""
NEW = "SELECT id, extract(epoch FROM clock_timestamp() - run_at)::float8, jobs FROM readied WHERE id > %s ORDER BY id"
WORK_OFF = "DELETE FROM pqclock.job WHERE id = ANY(ARRAY(SELECT id FROM pqclock.job WHERE state = 'ready' LIMIT 2000))"


class Watch:
    """Looks a thousand times a second for ticks that have become ready: seconds late, and how many they are."""

    def __init__(self, url: str) -> None:
        self.seen: list[tuple[float, int]] = []
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            # What was there before is not of interest.
            last = (conn.execute("SELECT coalesce(max(id), 0) FROM readied").fetchone() or (0,))[0]
            while not self._over.wait(0.001):
                for number, late, count in conn.execute(NEW.encode(), [last]):
                    self.seen.append((late, count))
                    last = number

    @property
    def count(self) -> int:
        """How many ticks were seen."""
        return sum(count for _, count in self.seen)


def late_ms(seen: Sequence[tuple[float, int]], share: float) -> float:
    """Milliseconds that this share of the ticks was late at the most."""
    wanted = share * sum(count for _, count in seen)
    passed = 0
    for late, count in sorted(seen):
        passed += count
        if passed >= wanted:
            return late * 1e3
    return float("nan")


def due_together(server: Server) -> Figures:
    """Many schedules that tick in the same minute: a clock that has been there for a while makes all of them ready."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder:
        observe(url)
        # What is declared shortly before is late because it is new.
        while time.time() % 60 > 40:  # noqa: TID251
            time.sleep(1)
        declare(url, {"cron": "* * * * *"}, DUE)
        with clock(url, Path(folder)), Watch(url) as watch:
            until = time.monotonic() + 130
            while watch.count < DUE:
                assert time.monotonic() < until, "benchmark: the minute's ticks have not become ready"
                time.sleep(0.05)
        return {
            "p50_ms": late_ms(watch.seen, 0.5),
            "p99_ms": late_ms(watch.seen, 0.99),
            "max_ms": late_ms(watch.seen, 1),
        }


def each_second(server: Server, *, seconds: int) -> Figures:
    """Many schedules that tick each second, their jobs worked off on the side."""
    with server.database() as url, tempfile.TemporaryDirectory() as folder:
        observe(url)
        declare(url, {"every": "1s"}, TICKING)
        with clock(url, Path(folder)) as process, working_off(url):
            time.sleep(SETTLED)
            spent = cpu_seconds(process.pid)
            with Watch(url) as watch:
                time.sleep(seconds)
            percent = (cpu_seconds(process.pid) - spent) / seconds * 100
            peak = resident_mb(process.pid, most=True)
        with psycopg.connect(url) as conn:
            row = conn.execute("SELECT count(*) FROM pqclock.ticks WHERE outcome <> 'inserted'").fetchone()
        assert row is not None
        return {
            "p50_ms": late_ms(watch.seen, 0.5), "p99_ms": late_ms(watch.seen, 0.99), "ticks": watch.count,
            "missed": row[0], "clock_percent": percent, "clock_mb": peak,
        }  # fmt: skip


def takeover(server: Server) -> Figures:
    """Seconds from the kill of the leader until the other clock's term begins."""
    with server.database() as url, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        declare(url, {"every": "1s"}, 1)
        conn = stack.enter_context(psycopg.connect(url, autocommit=True))
        clocks = {process.pid: process for process in (stack.enter_context(clock(url, folder)) for _ in range(2))}
        waits = []
        epoch, pid = leader(conn, 0)
        for number in range(TAKEOVERS):
            time.sleep(1.0 + 0.13 * number)
            os.kill(pid, signal.SIGKILL)
            killed, dead = time.monotonic(), pid
            epoch, pid = leader(conn, epoch)
            waits.append(time.monotonic() - killed)
            clocks.pop(dead).wait()
            successor = stack.enter_context(clock(url, folder))
            clocks[successor.pid] = successor
            time.sleep(1.0)
        ticks, span = conn.execute(
            "SELECT count(DISTINCT tick), extract(epoch FROM max(tick) - min(tick))::bigint + 1 FROM pqclock.ticks"
        ).fetchone() or (0, 0)
    return {"median_s": statistics.median(waits), "worst_s": max(waits), "lost": span - ticks}


def leader(conn: psycopg.Connection, beyond: int) -> tuple[int, int]:
    """Waits for a term after this one; gives its number, and the leading process's id."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        row = conn.execute(
            "SELECT l.epoch, p.pid FROM pqclock.leader AS l JOIN pqclock.process AS p ON p.id = l.process_id"
        ).fetchone()
        if row is not None and row[0] > beyond:
            return row[0], row[1]
        time.sleep(0.001)
    raise AssertionError("benchmark: nobody leads")


def observe(url: str) -> None:
    """Have it written down when jobs become ready."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(NOTE_READY.encode())


def declare(url: str, when: dict[str, str], count: int) -> None:
    """So many schedules."""
    app = App(url)
    app.schedules.put_many(
        [{"key": f"bench-{n}", "task": "bench.noop", "args": {"n": n}, **when} for n in range(count)]
    )
    app.close()


@contextmanager
def working_off(url: str) -> Iterator[None]:
    """Deletes what is ready, as workers would, half a second after each second's ticks."""
    over = threading.Event()

    def work() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            while not over.wait((0.5 - time.monotonic_ns() / 1e9) % 1):
                conn.execute(WORK_OFF.encode())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


WORKLOADS = (
    Workload(
        "due", "10,000 schedules due in the same minute", "p99_ms", "ms", {"pqclock": due_together},
        [Goal("pqclock", "p99_ms", 80.0, at_most=True)],
    ),
    Workload(
        "ticking", "1,000 schedules each second", "p99_ms", "ms", {"pqclock": partial(each_second, seconds=SECONDS)},
        [Goal("pqclock", "p99_ms", 40.0, at_most=True), Goal("pqclock", "missed", 0, at_most=True)],
    ),
    Workload(
        "takeover", "the leading clock is killed", "median_s", "s", {"pqclock": takeover},
        [
            Goal("pqclock", "median_s", 1.0, at_most=True), Goal("pqclock", "worst_s", 2.0, at_most=True),
            Goal("pqclock", "lost", 0, at_most=True),
        ],
    ),
)  # fmt: skip
