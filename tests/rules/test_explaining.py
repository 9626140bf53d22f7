"""Why a job is not running: which reasons there are, and what they come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pqclock.rules.explaining import Explanation, ended, explain
from pqclock.rules.explaining_facts import GateFacts, LiveJob, PauseFacts

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ENDLESS = datetime(9999, 12, 31, tzinfo=UTC)
JOB = LiveJob(
    7, "ready", "mice", "mail", [], NOW, False, False, None, None, None, ["throttle:stripe:a"], 1, None, None, True, None, None,
    0, None,
)  # fmt: skip
GATE = GateFacts(
    "throttle:stripe:a", "throttle", "stripe", "a", "active", None, None, 0, None, [], None, None, None, None, None, None, 0,
    None, None, None,
)  # fmt: skip
RATED: dict[str, Any] = {"rate": 60, "per": MINUTE, "burst": 1, "interval": timedelta(seconds=1)}


def told(
    job: LiveJob = JOB, *gates: GateFacts, pauses: list[PauseFacts] | None = None, workers: tuple[str, ...] = ("*",)
) -> Any:
    return explain(job, list(gates), pauses or [], list(workers), NOW)


def only(found: Explanation) -> tuple[Any, ...]:
    (reason,) = found.reasons
    return reason.kind, reason.text, reason.until, reason.endless


def test_nothing_in_the_way() -> None:
    found = told(JOB, GATE)
    assert (found.starts, found.starts_at, found.estimate, found.reasons) == ("now", None, False, ())
    assert told(replace(JOB, ahead=3), GATE).estimate is True


@pytest.mark.parametrize(
    ("facts", "kind", "words", "until"),
    [
        ({"closed_until": NOW + MINUTE}, "closed", "the throttle stripe for a is closed", NOW + MINUTE),
        ({"closed_until": ENDLESS}, "closed", "the throttle stripe for a is closed", None),
        ({"declared": None, "closed_until": NOW + MINUTE}, "undeclared", "counts as closed: declare [throttle.stripe]", None),
        ({"places": 2, "running": 2, "running_jobs": [1, 2]}, "concurrency", "has 2 of 2 running", None),
        ({"kind": "fuse", "places": 1, "running": 1, "blown_until": NOW}, "probes", "half open, and probes with 1 of 1", None),
        ({"kind": "fuse", "blown_until": NOW + MINUTE, "failure": "OSError: no"}, "fuse",
         "is blown; its last failure was OSError: no", NOW + MINUTE),
        ({"kind": "fuse", "blown_until": ENDLESS}, "fuse", "until `pqclock gates reset stripe:a`", None),
        ({**RATED, "due_at": NOW + MINUTE}, "rate", "has let its 60 in 1m start", NOW + MINUTE),
    ],
)  # fmt: skip
def test_a_gate_in_the_way(facts: dict[str, Any], kind: str, words: str, until: datetime | None) -> None:
    found = told(JOB, replace(GATE, **facts))
    assert only(found)[0::2] == (kind, until)
    assert words in only(found)[1]
    assert (found.starts, found.starts_at) == ("at" if until else "unknown", until)


@pytest.mark.parametrize(
    "facts",
    [
        {"declared": "removed", "closed_until": ENDLESS},
        {"closed_until": NOW},
        {"blown_until": NOW - MINUTE, "places": 1},
        {"kind": "pause"},
        {"places": 2, "running": 1},
        RATED,
    ],
)
def test_gates_that_are_open(facts: dict[str, Any]) -> None:
    assert told(JOB, replace(GATE, **facts)).starts == "now"


def test_more_units_than_the_rate_never_start() -> None:
    found = told(replace(JOB, units=61), replace(GATE, **RATED, due_at=NOW + MINUTE))
    assert (found.starts, found.starts_at, found.reasons[0].kind) == ("never", None, "units")


def test_its_place_in_the_lane_counts_with_a_rate() -> None:
    gate = replace(GATE, **RATED, due_at=NOW + MINUTE, tat=NOW + MINUTE)
    assert told(JOB, gate).estimate is False
    crowded = told(JOB, replace(gate, others=1))
    assert crowded.estimate is True
    assert crowded.reasons[0].text.endswith("; 1 job of another lane waits for it too, and may go first")
    assert "; more than 10,000 jobs of other lanes wait" in told(JOB, replace(gate, others=10_001)).reasons[0].text
    found = told(replace(JOB, ahead=30, units=2), gate)
    assert (found.starts, found.starts_at, found.estimate) == ("at", NOW + timedelta(seconds=121), True)
    assert (found.ahead, found.ahead_in) == (30, "lane")


def test_those_before_it_count_where_the_gate_is_open_now() -> None:
    gate = replace(GATE, **(RATED | {"burst": 3}), tat=NOW - MINUTE)
    assert told(replace(JOB, ahead=2), gate).reasons == ()
    found = told(replace(JOB, ahead=9), gate)
    assert (found.starts, found.starts_at, found.estimate) == ("at", NOW + timedelta(seconds=7), True)
    assert found.reasons[0].text.endswith("lets 60 in 1m start, and those before it go first")


def test_the_latest_instant_counts() -> None:
    gates = [replace(GATE, closed_until=NOW + n * MINUTE) for n in (3, 5, 1)]
    found = told(JOB, GATE, *gates, replace(GATE, closed_until=NOW - MINUTE))
    assert (found.starts, found.starts_at, len(found.reasons)) == ("at", NOW + 5 * MINUTE, 3)
    found = told(JOB, *gates, replace(GATE, places=1, running=1))
    assert (found.starts, found.starts_at) == ("unknown", NOW + 5 * MINUTE)


def test_scheduled_and_held() -> None:
    job = replace(JOB, state="scheduled", run_at=NOW + MINUTE, gates=None, error="OSError: no\nmore")
    assert only(told(job)) == ("scheduled", "it waits for its next attempt, after OSError: no", NOW + MINUTE, False)
    found = told(replace(job, held=True, held_by=3, schedule_key="nightly"))
    assert only(found)[1] == "the schedule nightly lets one job run at a time: it waits until job 3 has ended"
    assert (found.starts, found.reasons[0].jobs, found.ahead_in) == ("unknown", (3,), None)


def test_pauses() -> None:
    job = replace(JOB, queue_paused_until=NOW + MINUTE, queue_note="moved")
    label = PauseFacts("label", "finance", NOW - MINUTE, ENDLESS, None)
    found = told(job, pauses=[label, PauseFacts("task", "mail", NOW, NOW + 2 * MINUTE, None)])
    assert [reason.kind for reason in found.reasons] == ["queue", "label", "task"]
    assert (found.starts, found.starts_at) == ("unknown", NOW + 2 * MINUTE)
    assert found.reasons[0].note == "moved"
    assert found.reasons[1].text.endswith("until `pqclock labels resume finance`")


@pytest.mark.parametrize(
    ("workers", "published", "words"),
    [
        ((), True, "no worker is alive"),
        (("elephants:2", "-mice", "nonsense::"), True, "no worker takes the queue mice"),
        (("mice:2",), False, "no worker has published the task mail"),
    ],
)
def test_workers(workers: tuple[str, ...], published: bool, words: str) -> None:
    found = told(replace(JOB, published=published), workers=workers)
    assert words in only(found)[1] and found.starts == "unknown"


def test_a_task_that_is_misspelt_is_told_the_one_that_was_meant() -> None:
    found = told(replace(JOB, published=False, tasks=("male", "mail.send", "maill")), workers=("*",))
    assert only(found)[1].endswith('whose App has it; did you mean "maill"?')


def test_one_that_runs_may_have_been_told_to_end() -> None:
    job = replace(
        JOB, state="running", worker_id=3, cancel_requested_at=NOW, cancel_reason="cancelled by ada: wrong list"
    )
    (reason,) = told(job).reasons
    assert (reason.kind, reason.since, reason.note) == ("cancel", NOW, "cancelled by ada: wrong list")


def test_running_and_ended() -> None:
    found = told(replace(JOB, state="running", worker_id=3, running_since=NOW))
    assert (found.starts, found.starts_at, found.text) == ("running", NOW, "job 7 of task mail is running on worker 3")
    assert ended(7, "failed", "mail", "mice", "OSError: no\nmore").text == "job 7 of task mail has failed: OSError: no"
    assert ended(7, "cancelled", "mail", "mice", None).text == "job 7 of task mail has been cancelled"
