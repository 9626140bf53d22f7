"""`/metrics` of real processes: what they have counted, and what only the leader tells."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

from conftest import Database
from pqclock.metrics.bounds import MOST_QUEUES, OTHERS
from pqclock.metrics.prometheus import JobMetrics
from pqclock.pulse import Reading
from pqclock.scraping import Scraped
from processes.fleet import Fleet, children_of, eventually

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
SCHEDULES = """
[schedule.beat]
task = "note"
every = "1s"
args = { text = "k" }

[throttle.bank]
rate = "5/1s"
"""


def scraped(fleet: Fleet, process: subprocess.Popen[bytes]) -> Samples:
    """All samples of a process's page."""

    def served() -> str | None:
        found = re.search(r"health: (http://[0-9.:]+)/livez", fleet.log_of(process))
        return found and found[1]

    with urllib.request.urlopen(f"{eventually(served)}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def total(samples: Samples, name: str) -> float:
    return sum(value for (found, _), value in samples.items() if found == name)


def test_leader_standby_and_worker(fleet: Fleet, database: Database) -> None:
    fleet.schedules(SCHEDULES)
    first = fleet.start("clock", "--health", "127.0.0.1:0")
    eventually(lambda: value(scraped(fleet, first), "pqclock_leads", process="clock") == 1)
    second = fleet.start("clock", "--health", "127.0.0.1:0")
    eventually(lambda: value(scraped(fleet, second), "pqclock_ready", process="clock") == 1)
    worker = fleet.worker("*:4", "--health", "127.0.0.1:0")
    eventually(lambda: total(scraped(fleet, worker), "pqclock_attempts_total") >= 2)
    leading, standing, working = (scraped(fleet, process) for process in (first, second, worker))
    assert value(leading, "pqclock_database_up") == 1
    assert value(leading, "pqclock_term") == 1
    assert value(leading, "pqclock_terms_total") == 1
    assert value(leading, "pqclock_processes", kind="clock") == 2
    assert (value(leading, "pqclock_ticks_total", outcome="inserted") or 0) >= 2
    assert total(leading, "pqclock_jobs_promoted_total") >= 1
    assert value(leading, "pqclock_schedules") == 1
    assert (value(leading, "pqclock_leader_beat_age_seconds") or 9) < 5
    assert abs(total(leading, "pqclock_skew_seconds")) < 1
    # A sum over all pages counts nothing twice.
    assert value(standing, "pqclock_leads", process="clock") == 0
    assert value(standing, "pqclock_database_up") is None and value(working, "pqclock_database_up") is None
    done = value(working, "pqclock_attempts_total", queue="default", task="note", outcome="succeeded")
    assert done is not None and done >= 2
    assert value(working, "pqclock_lateness_seconds_count", queue="default") == done
    assert value(working, "pqclock_run_seconds_count", queue="default", task="note") == done
    assert (value(working, "pqclock_jobs_claimed_total", queue="default") or 0) >= done


def test_a_worker_that_follows_another_one_goes_on_counting(fleet: Fleet, database: Database) -> None:
    worker = fleet.worker("*:4", "--health", "127.0.0.1:0")
    for text in "abc":
        database.session.conn.execute("SELECT pqclock.enqueue('note', jsonb_build_object('text', %s::text))", (text,))
    eventually(lambda: total(scraped(fleet, worker), "pqclock_attempts_total") == 3)
    eventually(lambda: database.value("SELECT count(*) FROM pqclock.job") == 0)
    (child,) = children_of(worker)
    os.kill(child, signal.SIGKILL)
    database.session.conn.execute("SELECT pqclock.enqueue('note', jsonb_build_object('text', 'd'::text))")
    eventually(lambda: total(scraped(fleet, worker), "pqclock_attempts_total") == 4)


def test_gates_and_queues_are_told(fleet: Fleet, database: Database) -> None:
    fleet.schedules(SCHEDULES + '\n[fuse.shop]\nfailures = 3\nwithin = "1m"\ncool_down = "1m"\n')
    clock = fleet.start("clock", "--health", "127.0.0.1:0")
    eventually(lambda: value(scraped(fleet, clock), "pqclock_leads", process="clock") == 1)
    database.session.conn.execute("INSERT INTO pqclock.queue (name, paused_until) VALUES ('mice', 'infinity')")
    from pqclock.store import gates
    from store.gated import enqueue_gated

    enqueue_gated(database.session, "fuse:shop:a", count=3, queue="mice")
    gates.blow(database.session, "shop:a")
    # The page is made once a second.
    eventually(lambda: value(scraped(fleet, clock), "pqclock_gates_closed", kind="fuse", rule="shop") == 1)
    samples = scraped(fleet, clock)
    assert value(samples, "pqclock_jobs", queue="mice", state="ready") == 3
    assert value(samples, "pqclock_queue_paused", queue="mice") == 1
    assert (value(samples, "pqclock_oldest_ready_seconds", queue="mice") or 0) > 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_that_is_being_made_keeps_the_rest_from_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    (tmp_path / "counter_worker-1.db").touch()
    readings = {"worker 1": Reading(0.0, ready=True, state="working")}
    status, _, text = Scraped("", "pqclock", lambda: readings).page()
    assert status == 200 and b'pqclock_alive{process="worker 1"} 1.0' in text


def test_queues_beyond_a_hundred_share_a_name() -> None:
    metrics = JobMetrics()
    for number in range(MOST_QUEUES + 50):
        metrics.ended(f"q{number}", "t", "succeeded", 0.1, None)
    queues = {s.labels["queue"] for family in metrics.registry.collect() for s in family.samples}
    assert len(queues) == MOST_QUEUES + 1 and OTHERS in queues
