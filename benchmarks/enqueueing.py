"""What enqueueing costs: many jobs in one call against COPY of the same rows, single ones against a plain INSERT.

    python -m benchmarks.enqueueing [JOBS] [SINGLES]

Each round does all of it in turn, so that what else the machine does meets all of them; told is the median of rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import psycopg

from benchmarks.server import migrated_database
from pqclock import App, Unique
from pqclock.store.jobs import NewJob

ROUNDS = 5
ROW = ("2026-11-23 00:00:00+00", "2026-11-23 00:00:00+00", "ready", 0, 1, "mail", "mail.send")
COLUMNS = "id, ready_seq, run_at, created_at, state, priority, max_attempts, queue, task, args, labels"
INSERT = f"""
INSERT INTO pqclock.job ({COLUMNS})
VALUES (nextval('pqclock.job_id'), nextval('pqclock.ready_seq'), now(), now(), 'ready', 0, 1, 'mail', 'mail.send', %s, '{{}}')
RETURNING id
"""


def args(n: int) -> str:
    """The arguments of a job as JSON text."""
    return f'{{"n":{n},"to":"someone@example.org"}}'


class Bench:
    """An app on a database of its own, and a plain connection beside it."""

    def __init__(self, url: str, count: int, singles: int) -> None:
        self.count = count
        self.singles = singles
        self.app = App(url)
        self.plain = psycopg.connect(url, autocommit=True)
        self.send = self.app.task("mail.send", queue="mail")(lambda n, to: (n, to))
        self.send.enqueue(n=0, to="")
        self.described = list(self.jobs())

    def jobs(self) -> Iterator[NewJob]:
        """As many plain jobs, described one after another."""
        return (self.send.job(n=n, to="someone@example.org") for n in range(self.count))

    def copy(self) -> None:
        """The floor: the rows by COPY into the table of jobs, with its indexes and constraints, ids made up."""
        with self.plain.cursor() as cursor, cursor.copy(f"COPY pqclock.job ({COLUMNS}) FROM STDIN".encode()) as copy:
            for n in range(self.count):
                copy.write_row((n, n, *ROW, args(n), "{}"))

    def many(self) -> None:
        """Plain jobs that were described before."""
        self.app.enqueue_many(self.described)

    def generated(self) -> None:
        """Plain jobs that are described on the way."""
        self.app.enqueue_many(self.jobs())

    def unique(self) -> None:
        """Jobs with a unique key each."""
        unique = self.send.using(unique=Unique(key="{n}"))
        self.app.enqueue_many(unique.job(n=n, to="someone@example.org") for n in range(self.count))

    def gated(self) -> None:
        """Jobs that pass a throttle by a key of their own."""
        gated = self.send.using(throttle="mail:{n}")
        self.app.enqueue_many(gated.job(n=n % 1000, to="someone@example.org") for n in range(self.count))

    def one_by_one(self) -> None:
        """Single jobs."""
        for n in range(self.singles):
            self.send.enqueue(n=n, to="someone@example.org")

    def insert(self) -> None:
        """The floor of those: one INSERT each, committed."""
        for n in range(self.singles):
            self.plain.execute(INSERT.encode(), (args(n),)).fetchone()

    def measured(self, work: Callable[[], None]) -> float:
        """Seconds that it takes on empty tables."""
        self.plain.execute("TRUNCATE pqclock.job, pqclock.unique_key, pqclock.arrival")
        self.plain.execute("CHECKPOINT")
        started = time.perf_counter()
        work()
        return time.perf_counter() - started


def main(count: int = 100_000, singles: int = 500) -> None:
    """Print the medians."""
    with migrated_database() as url:
        bench = Bench(url, count, singles)
        works = (bench.copy, bench.many, bench.generated, bench.unique, bench.gated, bench.insert, bench.one_by_one)
        taken: dict[str, list[float]] = {work.__name__: [] for work in works}
        for _ in range(ROUNDS):
            for work in works:
                taken[work.__name__].append(bench.measured(work))
        bench.app.close()
        bench.plain.close()
    seconds = {name: statistics.median(rounds) for name, rounds in taken.items()}
    print(f"{count:,} jobs in one call, median of {ROUNDS} rounds")
    for name in ("copy", "many", "generated", "unique", "gated"):
        print(f"  {name:10} {count / seconds[name]:10,.0f}/s   {seconds['copy'] / seconds[name]:4.2f} of COPY")
    print(f"{singles:,} jobs one by one")
    for name in ("insert", "one_by_one"):
        print(
            f"  {name:10} {seconds[name] / singles * 1e6:8,.0f} us   {seconds[name] / seconds['insert']:4.2f} of INSERT"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
