"""Ticks taken out of the ledger's rows: whatever the rows were, each tick is accounted for exactly once after it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from pqclock.rules import ticks
from pqclock.rules.calendars import Calendar, excluded_by
from pqclock.rules.schedule import Schedule
from pqclock.store.splitting import LedgerRow, take_out
from store.samples import DAY, HOUR, MINUTE, NOW, SECOND

INSTANT = timedelta(microseconds=1)
CLOSED = excluded_by(["closed"], [Calendar(frozenset([date(2026, 11, 25)]), frozenset(["sat", "sun"]))])
SCHEDULES = [
    Schedule("a", "mail", cron="*/20 * * * *"),
    Schedule("a", "mail", cron="30 */2 * * *", timezone="Europe/Berlin"),
    Schedule("a", "mail", every=HOUR),
    Schedule("a", "mail", cron="0 */3 * * *", exclude=CLOSED),
    Schedule("a", "mail", cron="0 */6 * * *", exclude=CLOSED, on_excluded="next_business_day"),
    Schedule("a", "mail", cron="0 */6 * * *", exclude=CLOSED, on_excluded="previous_business_day"),
]


def skipped(first: datetime, last: datetime, count: int, reason: str = "paused") -> LedgerRow:
    return LedgerRow(first, last, count, first, "skipped", reason, "clock", None, NOW)


def inserted(tick: datetime) -> LedgerRow:
    return LedgerRow(tick, tick, 1, tick, "inserted", None, "clock", 1, NOW)


def random_ledger(found: list[datetime], dice: random.Random) -> list[LedgerRow]:
    """Rows for all of the ticks but some: runs that are skipped, single ones that are inserted."""
    rows, at = [], 0
    while at < len(found):
        number = min(dice.choice([1, 1, 2, 5, 20]), len(found) - at)
        kind = dice.choice(["run", "run", "inserted", "none"])
        if kind == "run":
            rows.append(skipped(found[at], found[at + number - 1], number))
        elif kind == "inserted":
            rows += [inserted(tick) for tick in found[at : at + number]]
        at += number
    return rows


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.cron or s.every} {s.on_excluded}")
@pytest.mark.parametrize("seed", range(40))
def test_each_tick_is_accounted_for_once(schedule: Schedule, seed: int) -> None:
    dice, timing = random.Random(seed), schedule.ticking()
    found = list(timing.ticks(NOW, NOW + 9 * DAY))
    rows = random_ledger(found, dice)
    # What calendars leave out has rows of its own, which no backfill touches.
    left_out = [entry for entry in ticks.plan_skip(schedule, NOW, NOW + 9 * DAY, "x") if entry.reason != "x"]
    others = [skipped(e.tick, e.through, e.count, e.reason or "moved") for e in left_out]
    begin, end = sorted(dice.sample(range(len(found)), 2))
    handled = found[begin : end + 1]
    have = {row.tick for row in rows if row.outcome == "inserted"}
    taken = {tick for tick in handled if tick not in have}
    meant = [row for row in [*rows, *others] if row.tick <= handled[-1] and row.through >= handled[0]]
    gone, parts = take_out(timing, meant, handled[0], handled[-1], taken)
    after = [row for row in rows if row.tick not in gone] + parts
    assert not set(gone) & {row.tick for row in others}
    assert len({row.tick for row in [*after, *others]} | taken) == len(after) + len(others) + len(taken)
    seen = sorted(taken)
    for row in after:
        covered = list(timing.ticks(row.tick - INSTANT, row.through + INSTANT))
        assert (covered[0], covered[-1], len(covered)) == (row.tick, row.through, row.count)
        seen += covered
    known = {tick for row in rows for tick in timing.ticks(row.tick - INSTANT, row.through + INSTANT)}
    assert sorted(seen) == sorted(known | taken)


def test_a_run_of_another_definition_gives_up_only_what_is_known_of_it() -> None:
    """Once every 20 minutes, now every 30: of the old run only the first and the last tick are known."""
    timing = Schedule("a", "mail", cron="*/30 * * * *").ticking()
    old = skipped(NOW, NOW + HOUR, 4)
    handled = [NOW, NOW + 30 * MINUTE, NOW + HOUR]
    gone, parts = take_out(timing, [old], NOW, NOW + HOUR, handled)
    assert gone == [NOW]
    assert parts == [replace(old, tick=NOW + INSTANT, through=NOW + HOUR - INSTANT, count=2)]
    gone, parts = take_out(timing, [old], handled[1], handled[1], handled[1:2])
    assert (gone, parts) == ([], [])


@pytest.mark.parametrize("reason", ["excluded", "gap", "moved", "ended", "paused"])
def test_a_single_row_gives_way_to_what_is_a_tick_now(reason: str) -> None:
    timing = Schedule("a", "mail", cron="0 * * * *").ticking()
    assert take_out(timing, [skipped(NOW, NOW, 1, reason)], NOW, NOW + HOUR, [NOW]) == ([NOW], [])
    beside = skipped(NOW + SECOND, NOW + SECOND, 1, reason)
    assert take_out(timing, [beside], NOW, NOW + HOUR, [NOW, NOW + HOUR]) == ([], [])


def test_the_ends_of_the_calendar_stop_nothing() -> None:
    timing = Schedule("a", "mail", cron="0 0 1 1 *").ticking()
    last = datetime(9999, 1, 1, tzinfo=UTC)
    assert take_out(timing, [skipped(last, last, 1)], last, last, [last]) == ([last], [])
