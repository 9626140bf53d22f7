"""Gates as people see them, and what they do to them by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pqclock.errors import ArgumentError, UnknownGate
from pqclock.rules.files import rule_from_fields
from pqclock.store import explaining, gates, jobs, listings, processes, rules, schedules, tasks
from pqclock.store.gate_rows import GateRow
from pqclock.store.jobs import NewJob
from store.gated import claim, end, enqueue_gated, fuse, throttle
from store.samples import HOUR, MINUTE

if TYPE_CHECKING:
    from conftest import Database

A_CENTURY = timedelta(days=36000)


def time(database: Database) -> Any:
    return database.value("SELECT clock_timestamp()")


def row(database: Database, name: str) -> GateRow:
    with listings.reading(database.session):
        (found,) = gates.named(database.session, [name])
    return found


def test_a_throttle_shows_tokens_places_and_what_waits(database: Database) -> None:
    throttle(database.session, "stripe", rate=100, per="1 hour", burst=3, concurrency=2)
    enqueue_gated(database.session, "throttle:stripe:a", count=1500)
    running = claim(database.session, now=None).jobs
    found = row(database, "throttle:stripe:a")
    assert (found.rule, found.kind, found.key, found.state, found.standing) == (
        "stripe",
        "throttle",
        "a",
        "waiting",
        "waiting",
    )
    assert (found.tokens, found.burst, found.running, found.concurrency, found.waiting) == (1, 3, 2, 2, 1)
    assert (found.waiting_jobs, found.opens_at) == (gates.MOST_LISTED + 1, None)
    shown = gates.one(database.session, "stripe:a")
    assert [slot.job_id for slot in shown.slots] == [job.id for job in running]
    (lane,) = shown.lanes
    assert (lane.kind, lane.task, lane.jobs, lane.job_id) == ("throttle", "mail", 1498, running[-1].id + 1)
    assert [(terms.kind, terms.rule, terms.state) for terms in shown.terms] == [("throttle", "stripe", "active")]


def test_standings(database: Database) -> None:
    fuse(database.session, "api")
    throttle(database.session, "gone", concurrency=1)
    enqueue_gated(database.session, "fuse:api")
    enqueue_gated(database.session, "throttle:gone:x")
    enqueue_gated(database.session, "throttle:nowhere")
    claim(database.session, now=None)
    database.session.conn.execute("UPDATE pqclock.rule SET state = 'removed' WHERE name = 'gone'")
    assert row(database, "fuse:api").standing == "open"
    assert row(database, "throttle:gone:x").standing == "removed"
    unknown = row(database, "throttle:nowhere")
    assert (unknown.state, unknown.standing) == ("waiting", "undeclared")
    gates.blow(database.session, "api", HOUR)
    assert (row(database, "fuse:api").state, row(database, "fuse:api").standing) == ("blown", "blown")
    database.session.conn.execute("UPDATE pqclock.gate SET blown_until = now() - interval '1 s' WHERE kind = 'fuse'")
    assert row(database, "fuse:api").standing == "half open"

    def names(**filters: Any) -> list[str]:
        return [one.gate for one in gates.listing(database.session, **filters).rows]

    assert names() == ["fuse:api", "throttle:gone:x", "throttle:nowhere"]
    assert names(state="half open") == names(kind="fuse") == names(rule="api") == ["fuse:api"]
    assert names(prefix="x") == ["throttle:gone:x"]
    assert names(state="waiting") == ["throttle:nowhere"]
    assert names(state="open") == ["throttle:gone:x"]
    first = gates.listing(database.session, limit=2)
    assert first.next == "throttle:gone:x"
    assert gates.listing(database.session, after=first.next, limit=2).next is None


def test_a_fuse_is_blown_by_hand_and_reset(database: Database) -> None:
    fuse(database.session, "api")
    enqueue_gated(database.session, "fuse:api:k", count=3)
    assert gates.blow(database.session, "api:k", note="asked") == ["fuse:api:k"]
    assert claim(database.session, now=time(database) + A_CENTURY).jobs == []
    found = row(database, "fuse:api:k")
    assert (found.state, found.note, found.waiting_jobs) == ("blown", "asked", 3)
    assert found.blown_until is not None and found.blown_until.year == 9999
    assert gates.reset(database.session, "api:k") == ["fuse:api:k"]
    assert row(database, "fuse:api:k").note is None
    assert len(claim(database.session, now=None).jobs) == 3


def test_after_its_time_a_fuse_is_half_open_and_probes(database: Database) -> None:
    fuse(database.session, "api")
    enqueue_gated(database.session, "fuse:api", count=3)
    gates.blow(database.session, "api", MINUTE)
    assert claim(database.session, now=None).jobs == []
    later = time(database) + MINUTE
    (probe,) = claim(database.session, now=later).jobs
    assert end(database.session, probe, "failed", later, "OSError")
    # As long again as its rule says, doubled.
    assert database.value("SELECT blown_until - %s FROM pqclock.gate", later) == 10 * MINUTE


def test_reset_forgets_failures_and_outcomes_of_before(database: Database) -> None:
    fuse(database.session, "api")
    enqueue_gated(database.session, "fuse:api", count=5)
    jobs = claim(database.session, now=None).jobs
    now = time(database)
    for job in jobs[:2]:
        assert end(database.session, job, "failed", now, "OSError")
    assert [one.counts for one in gates.one(database.session, "api").failures] == [True, True]
    gates.reset(database.session, "api")
    assert [one.counts for one in gates.one(database.session, "api").failures] == [False, False]
    assert end(database.session, jobs[2], "failed", time(database), "OSError")
    assert row(database, "fuse:api").state == "open"


def test_all_keys_of_a_rule(database: Database) -> None:
    fuse(database.session, "api")
    enqueue_gated(database.session, "fuse:api:a")
    enqueue_gated(database.session, "fuse:api:b")
    assert gates.blow(database.session, "api", all_keys=True) == []
    claim(database.session, now=None)
    assert gates.blow(database.session, "api", all_keys=True) == ["fuse:api:a", "fuse:api:b"]
    assert gates.reset(database.session, "api", all_keys=True) == ["fuse:api:a", "fuse:api:b"]


def test_cool_closes_throttle_and_fuse_and_reset_opens_them(database: Database) -> None:
    fuse(database.session, "api")
    throttle(database.session, "api", concurrency=5)
    enqueue_gated(database.session, "fuse:api:k", "throttle:api:k")
    assert gates.cool(database.session, "api:k", HOUR, "429") == 2
    assert gates.cool(database.session, "api:k", MINUTE) == 2
    assert claim(database.session, now=None).jobs == []
    assert claim(database.session, now=time(database) + 59 * MINUTE).jobs == []
    assert [one.note for one in gates.one(database.session, "api:k").gates] == ["429", "429"]
    gates.reset(database.session, "api:k")
    assert len(claim(database.session, now=None).jobs) == 1


@pytest.mark.parametrize("verb", [gates.blow, gates.reset, lambda s, r: gates.cool(s, r, MINUTE), gates.one])
def test_what_nobody_has_declared_gets_a_hint(verb: Any, database: Database) -> None:
    fuse(database.session, "stripe")
    with pytest.raises(UnknownGate, match=r'"strpe" is declared; did you mean "stripe"\?; see'):
        verb(database.session, "strpe:k")
    for reference in ("", ":k", "a\nb"):
        with pytest.raises(ArgumentError, match="names no"):
            verb(database.session, reference)


def test_a_throttle_cannot_be_blown(database: Database) -> None:
    throttle(database.session, "stripe", concurrency=1)
    with pytest.raises(UnknownGate, match="is a throttle and no fuse: close it with `pqclock gates cool`"):
        gates.blow(database.session, "stripe")
    with pytest.raises(ArgumentError, match="write the name alone"):
        gates.blow(database.session, "stripe:k", all_keys=True)


def test_a_locked_gate_is_waited_for_briefly(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PATIENCE", "100ms")
    fuse(database.session, "api")
    gates.blow(database.session, "api")
    other = database.connect()
    with other.transaction():
        other.conn.execute("SELECT FROM pqclock.gate FOR UPDATE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            gates.reset(database.session, "api")
    assert gates.reset(database.session, "api") == ["fuse:api"]
    other.close()


def test_the_last_of_a_lane_knows_how_long_those_before_it_take(database: Database) -> None:
    session = database.session
    throttle(session, "x", rate=1, per="1 hour", burst=1)
    tasks.publish(session, [{"name": "mail", "options": {}, "arg_defaults": {}, "code_version": ""}])
    processes.register(session, "worker", pid=1, host="box", code_version="1", doing="*:1")
    enqueue_gated(session, "throttle:x", count=10)
    first, last = (int(str(n)) for n in database.rows("SELECT min(id), max(id) FROM pqclock.job")[0])
    assert explaining.explain(session, first).starts == "now"
    found = explaining.explain(session, last)
    assert found.starts == "at"
    assert found.starts_at is not None
    hours = (found.starts_at - schedules.database_now(session, None)).total_seconds() / 3600
    assert 8.9 < hours <= 9.0


def test_the_view_is_readable_and_knows_of_removed_rules(database: Database) -> None:
    session = database.session
    rules.put(session, [rule_from_fields("fuse.bank", {"failures": 3, "within": "1m", "cool_down": "1m"})])
    gates.blow(session, "bank", None, None)
    view = "SELECT state, opens_at FROM pqclock.gates"
    assert database.rows(view) == [("blown", None)]
    rules.remove(session, "fuse.bank")
    assert database.rows(view) == [("open", None)]


def test_an_empty_key_is_no_key(database: Database) -> None:
    session = database.session
    rules.put(session, [rule_from_fields("throttle.api", {"concurrency": 1})])
    with pytest.raises(ArgumentError, match=r'"api:" has an empty key: write api for the gate without a key'):
        gates.cool(session, "api:", timedelta(minutes=1), None)
    job = NewJob("t", '{"acct": ""}', options='{"throttle": ["api:{acct}"]}')
    with pytest.raises(ArgumentError, match="is filled to a key that is empty"):
        jobs.insert(session, [job])
