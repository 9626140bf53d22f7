"""How soon the pages of the dashboard are there, with a million jobs in the history and a backlog."""

from __future__ import annotations

import http.client
import re
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

from benchmarks.server import SCHEMA, Server
from benchmarks.suite import Figures, Goal, Workload
from pqclock import App
from pqclock.store.database import connect

HISTORY, BACKLOG, SCHEDULES, GATES, DAYS = 1_000_000, 50_000, 500, 2_000, 7
LOOKS = 15

PARTITIONS = """
SELECT pqclock.create_day_partition(w.parent, w.instant, w.day)
FROM pqclock.wanted_partitions(current_date - %(days)s::int, current_date + 1) AS w"""
# Every hundredth has failed, a thousandth was cancelled; ticks of schedules and jobs of two hundred queues.
FILL_HISTORY = """
INSERT INTO pqclock.job_history (id, state, queue, task, args, priority, labels, run_at, attempt, max_attempts, schedule_id, tick,
                                 created_at, started_at, finished_at, error)
SELECT n, CASE WHEN n % 100 = 0 THEN 'failed' WHEN n % 1000 = 1 THEN 'cancelled' ELSE 'succeeded' END, 'q' || n % 200,
       'task.' || n % 50, '{"to": "ada@example.org"}', 0, CASE WHEN n % 500 = 0 THEN ARRAY['rare'] ELSE ARRAY['often'] END, x.at,
       1, 3,
       n % %(schedules)s + 1, x.at, x.at, x.at + interval '5 ms', x.at + interval '30 ms',
       CASE WHEN n % 100 = 0 THEN 'no answer' END
FROM generate_series(1, %(history)s) AS n,
     LATERAL (SELECT now() - (%(history)s - n) * (%(days)s * interval '1 day' / %(history)s) AS at) AS x
""".replace(" % ", " %% ")
FILL_TICKS = """
INSERT INTO pqclock.tick (schedule_id, tick, through, count, nominal, outcome, origin, job_id, inserted_at)
SELECT h.schedule_id, h.tick, h.tick, 1, h.tick, 'inserted', 'clock', h.id, h.tick - interval '1 minute'
FROM pqclock.job_history AS h"""
FILL_ATTEMPTS = """
INSERT INTO pqclock.attempt (job_id, attempt, outcome, started_at, finished_at, error_type, error)
SELECT h.id, 1, h.state, h.started_at, h.finished_at, 'OSError', 'no answer'
FROM pqclock.job_history AS h WHERE h.state = 'failed'"""
FILL_GATES = """
INSERT INTO pqclock.gate (name, kind, rule, key) SELECT 'throttle:bank:' || n, 'throttle', 'bank', n::text
FROM generate_series(1, %(gates)s) AS n"""
SETTLE_IDS = "SELECT setval('pqclock.job_id', %(history)s)"
PAGES = {
    "schedules": "schedules", "schedule": "schedule?key=s7", "calendar": "calendar", "jobs": "jobs",
    "failed": "jobs?state=failed", "label": "jobs?label=rare", "nothing": "jobs?label=never",
    "queue": "jobs?queue=q7&state=succeeded",
    "old": "jobs?before=1000", "job": "job?id=500000", "ready": "job?id=1000100", "gates": "gates",
    "gate": "gate?ref=bank:7", "queues": "queues", "processes": "processes", "alarms": "alarms",
    "database": "database", "audit": "audit",
}  # fmt: skip


def show(server: Server) -> Figures:
    """The median of each page's time in milliseconds, from the request to its last byte, and the worst of these."""
    with server.database() as url:
        _fill(url)
        server.settle(url)
        command = [sys.executable, "-m", "pqclock", "web", "--web", "127.0.0.1:0", "--database-url", url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            times = _times(_address(process))
        finally:
            process.terminate()
            process.communicate(timeout=20)
    return {"worst_ms": max(times.values()), **times}


def _fill(url: str) -> None:
    app = App(url, schema=SCHEMA)
    app.task("bench.noop")(lambda: None)
    rows = [{"key": f"s{n}", "task": "bench.noop", "every": "10m"} for n in range(1, SCHEDULES + 1)]
    app.schedules.put_many(rows)
    values = {"days": DAYS, "history": HISTORY, "schedules": SCHEDULES, "gates": GATES}
    session = connect(url, SCHEMA, "bench")
    for statement in (PARTITIONS, FILL_HISTORY, FILL_TICKS, FILL_ATTEMPTS, FILL_GATES, SETTLE_IDS):
        session.conn.execute(statement.encode(), values)
    session.close()
    app.enqueue_many(app.tasks["bench.noop"].job() for _ in range(BACKLOG))
    app.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"dashboard: (\S+)/", line):
            return found[1]
    raise RuntimeError("the dashboard has ended")


def _times(address: str) -> dict[str, float]:
    place = urlsplit(address).netloc
    found = {}
    for name, path in PAGES.items():
        taken = []
        connection = http.client.HTTPConnection(place)
        for _ in range(LOOKS):
            began = time.perf_counter()
            connection.request("GET", f"/{path}")
            answer = connection.getresponse()
            answer.read()
            taken.append((time.perf_counter() - began) * 1e3)
            if answer.status != http.client.OK:
                raise RuntimeError(f"{path} was answered by {answer.status}")
        connection.close()
        found[f"{name}_ms"] = statistics.median(taken)
    return found


WORKLOADS = [
    Workload(
        "pages", "pages of the dashboard, with 1,000,000 jobs in the history", "worst_ms", "ms", {"pqclock": show},
        [Goal("pqclock", "worst_ms", 50, at_most=True)],
    ),
]  # fmt: skip
