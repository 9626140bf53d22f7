"""Fuses in the store: what counts, what does not, and who gets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pqclock.store import jobs
from store.gated import claim, end, enqueue_gated, fuse, throttle
from store.samples import MINUTE, NOW, SECOND

if TYPE_CHECKING:
    from conftest import Database

BLOWN = "SELECT blown_until FROM pqclock.gate WHERE name = 'fuse:api'"


def test_failures_that_have_left_the_window_do_not_count(database: Database) -> None:
    fuse(database.session, "api")
    enqueue_gated(database.session, "fuse:api", count=4)
    four = claim(database.session).jobs
    for job, at in zip(four, (NOW, NOW + 30 * SECOND, NOW + 60 * SECOND, NOW + 89 * SECOND), strict=True):
        assert database.value(BLOWN) is None
        assert end(database.session, job, "failed", at, "OSError", state="failed")
    assert database.value(BLOWN) == NOW + 89 * SECOND + 5 * MINUTE


@pytest.mark.parametrize(
    ("terms", "names", "trips"),
    [
        ({"only": ["OSError"]}, ["ConnectionError", "OSError", "Exception"], True),
        ({"only": ["TimeoutError"]}, ["ConnectionError", "OSError", "Exception"], False),
        ({"ignore": ["OSError"]}, ["ConnectionError", "OSError", "Exception"], False),
        ({"ignore": ["ValueError"]}, ["ConnectionError", "OSError", "Exception"], True),
        ({"only": ["OSError"], "ignore": ["ConnectionError"]}, ["ConnectionError", "OSError"], False),
    ],
)
def test_only_the_exceptions_that_the_rule_names_count(
    database: Database, terms: dict[str, list[str]], names: list[str], trips: bool
) -> None:
    fuse(database.session, "api", **terms)
    enqueue_gated(database.session, "fuse:api", count=3)
    for job in claim(database.session).jobs:
        end(database.session, job, "failed", NOW, *names, state="failed")
    assert (database.value(BLOWN) is not None) is trips


def test_a_share_of_failures_counts_once_there_are_enough_outcomes(database: Database) -> None:
    fuse(database.session, "api", failures=None, failure_rate=0.5, minimum=6)
    enqueue_gated(database.session, "fuse:api", count=6)
    *five, last = claim(database.session).jobs
    for job, outcome in zip(five, ("failed", "succeeded", "failed", "succeeded", "failed"), strict=True):
        end(database.session, job, outcome, NOW)
        assert database.value(BLOWN) is None
    end(database.session, last, "succeeded", NOW + SECOND)
    assert database.value(BLOWN) == NOW + SECOND + 5 * MINUTE


@pytest.mark.parametrize("outcome", ["snoozed", "cancelled", "interrupted", None])
def test_neutral_outcomes_leave_a_probe_undecided_and_give_its_place_to_the_next(
    database: Database, outcome: str | None
) -> None:
    fuse(database.session, "api", failures=1)
    enqueue_gated(database.session, "fuse:api", count=3)
    (job,) = claim(database.session, room=1).jobs
    end(database.session, job, "failed", NOW, state="failed")
    opens = NOW + 5 * MINUTE
    (probe,) = claim(database.session, now=opens).jobs
    assert claim(database.session, now=opens).jobs == []
    end(database.session, probe, outcome, opens, state="cancelled" if outcome == "cancelled" else "ready")  # type: ignore[arg-type]
    assert database.rows("SELECT epoch, passed FROM pqclock.gate") == [(1, 0)]
    assert len(claim(database.session, now=opens).jobs) == 1


def test_half_open_it_lets_exactly_its_probes_through_and_all_must_pass(database: Database) -> None:
    fuse(database.session, "api", failures=1, probes=2)
    enqueue_gated(database.session, "fuse:api", count=9)
    (job,) = claim(database.session, room=1).jobs
    end(database.session, job, "failed", NOW, state="failed")
    opens = NOW + 5 * MINUTE
    first, second = claim(database.session, now=opens).jobs
    assert claim(database.session, now=opens).jobs == []
    end(database.session, first, "succeeded", opens)
    (third,) = claim(database.session, now=opens).jobs
    end(database.session, second, "succeeded", opens)
    assert len(claim(database.session, now=opens).jobs) == 5
    end(database.session, third, "failed", opens)  # its epoch is over
    assert database.value(BLOWN) is None


def test_a_probe_whose_worker_died_is_a_failure_unless_the_rule_leaves_crashes_out(database: Database) -> None:
    for only, blown_until in ((None, NOW + 15 * MINUTE), (["OSError"], NOW + 5 * MINUTE)):
        database.session.conn.execute("TRUNCATE pqclock.job, pqclock.gate, pqclock.lane, pqclock.rule, pqclock.slot")
        fuse(database.session, "api", failures=1, only=only)
        enqueue_gated(database.session, "fuse:api", count=3)
        (job,) = claim(database.session, room=1).jobs
        end(database.session, job, "failed", NOW, "OSError", state="failed")
        (probe,) = claim(database.session, now=NOW + 5 * MINUTE, worker_id=77).jobs
        assert jobs.rescue(database.session, 10, NOW + 5 * MINUTE) == [(probe.id, "ready")]
        assert database.value(BLOWN) == blown_until
        assert database.value("SELECT count(*) FROM pqclock.slot") == 0
        assert len(claim(database.session, now=NOW + 15 * MINUTE).jobs) == 1


def test_the_cool_down_doubles_up_to_its_maximum(database: Database) -> None:
    fuse(database.session, "api", failures=1, cool_down="10 minutes", max_cool_down="25 minutes")
    enqueue_gated(database.session, "fuse:api", count=9)
    at = NOW
    for minutes in (10, 20, 25, 25):
        (job,) = claim(database.session, room=1, now=at).jobs
        end(database.session, job, "failed", at, state="failed")
        at += minutes * MINUTE
        assert database.value(BLOWN) == at


def test_an_outcome_is_counted_by_each_fuse_of_the_job(database: Database) -> None:
    fuse(database.session, "api", failures=1)
    fuse(database.session, "db", failures=2)
    throttle(database.session, "all", concurrency=5)
    enqueue_gated(database.session, "fuse:api", "fuse:db", "throttle:all", count=2)
    one, two = claim(database.session).jobs
    end(database.session, one, "failed", NOW, state="failed")
    assert database.rows("SELECT name FROM pqclock.gate WHERE blown_until IS NOT NULL") == [("fuse:api",)]
    end(database.session, two, "failed", NOW, state="failed")
    assert database.value("SELECT count(*) FROM pqclock.gate WHERE blown_until IS NOT NULL") == 2
    assert database.value("SELECT count(*) FROM pqclock.slot") == 0
