"""How many jobs are claimed before executors are free for them; and which have begun, as another process sees it."""

from __future__ import annotations

import pytest

from pqclock.marks import PLACES, Marks, MarksFile
from pqclock.rules.pools import parse_pools
from pqclock.store.processes import TOKEN_VARIABLE
from pqclock.worker.pace import AHEAD, LIMIT, MEASURE_OVER, PATIENCE, Pace
from pqclock.worker.pool import WorkingPool


@pytest.mark.parametrize(
    ("ended", "seconds", "full", "ahead"),
    [
        (0, 0.1, True, 0),
        (1, 0.1, True, 0),
        (100, 0.1, True, 100 / 0.1 * AHEAD),
        (100, 0.1, False, 0),
        (100_000, 0.1, True, LIMIT),
        (100, MEASURE_OVER / 2, True, 0),
    ],
)
def test_what_ended_lately_says_how_many_will_begin_in_a_moment(
    ended: int, seconds: float, full: bool, ahead: float
) -> None:
    pace = Pace()
    pace.mark(100.0, full=True)
    pace.ended += ended
    pace.mark(100.0 + seconds, full=full)
    assert pace.ahead == pytest.approx(ahead, abs=1)


def test_a_rate_over_a_short_time_is_taken_later() -> None:
    pace = Pace()
    pace.mark(100.0, full=True)
    for step in range(1, 11):
        pace.ended += 1
        pace.mark(100.0 + step * MEASURE_OVER / 5, full=True)
    assert pace.ahead == pytest.approx(5 / MEASURE_OVER * AHEAD, abs=1)


def test_jobs_that_wait_although_none_ends_are_stuck_after_a_while() -> None:
    pace = Pace()
    assert not pace.stuck(100.0, waiting=0)
    pace.ended += 1
    assert not pace.stuck(100.0 + PATIENCE, waiting=5)
    assert not pace.stuck(100.0 + 1.9 * PATIENCE, waiting=5)
    assert not pace.stuck(100.0 + 2.1 * PATIENCE, waiting=0)
    assert not pace.stuck(100.0 + 3.0 * PATIENCE, waiting=5)
    assert pace.stuck(100.0 + 3.2 * PATIENCE, waiting=5)


def pool(*, ahead: bool = True) -> WorkingPool:
    (spec,) = parse_pools("*:4")
    working = WorkingPool(spec, ahead=ahead)
    working.measure(100.0, full=True)
    for _ in range(100):
        working.occupy()
        working.next()
    working.measure(100.1, full=True)
    return working


def test_a_pool_has_room_for_more_jobs_than_executors_only_where_it_may_claim_ahead() -> None:
    assert pool().room == pytest.approx(4 + 1_000 * AHEAD, abs=1)
    assert pool(ahead=False).room == 4


def inherited(file: MarksFile, token: str) -> Marks | None:
    return Marks.inherited({**file.environment, TOKEN_VARIABLE: token})


def test_the_supervisor_reads_what_its_child_has_begun_and_not_ended() -> None:
    file = MarksFile("t" * 32)
    marks = inherited(file, "t" * 32)
    assert marks is not None
    assert file.begun() == []
    first, second = marks.begin(7), marks.begin(8)
    assert sorted(file.begun() or []) == [7, 8]
    marks.end(first)
    assert file.begun() == [8]
    assert marks.begin(9) == first
    marks.end(second)
    assert file.begun() == [9]
    file.close()


def test_with_more_than_there_are_places_nobody_can_tell_until_they_have_ended() -> None:
    file = MarksFile("t" * 32)
    marks = inherited(file, "t" * 32)
    assert marks is not None
    places = [marks.begin(number) for number in range(1, PLACES + 2)]
    assert len(set(places)) == PLACES + 1
    assert file.begun() is None
    marks.end(places[-1])
    assert sorted(file.begun() or []) == list(range(1, PLACES + 1))
    file.close()


def test_the_file_of_another_process_is_left_alone() -> None:
    file = MarksFile("t" * 32)
    assert inherited(file, "u" * 32) is None
    assert Marks.inherited({TOKEN_VARIABLE: "t" * 32}) is None
    assert Marks.inherited({TOKEN_VARIABLE: "t" * 32, "PQCLOCK_CHILD_MARKS": "x"}) is None
    file.close()
