"""The law beside two oracles: a scan of every minute by Debian's rules, and cronsim."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from pqclock.errors import CronError
from pqclock.rules.cron import Cron
from rules.cron_examples import CLOCK_PATTERNS, LONG, PATTERNS, ZONES, examples, instants
from rules.virtual_cron import WEEKDAYS, VirtualCron, change_days

INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)
# Not the zones in which cronsim loses ticks: changes of half an hour or at midnight, and a whole date left out.
CRONSIM_ZONES = ("UTC", "Europe/Paris", "America/New_York", "Europe/Dublin", "Australia/Sydney", "Europe/Lisbon")


def ticks(cron: Cron, begin: datetime, end: datetime) -> list[datetime]:
    return list(cron.ticks(begin - INSTANT, end))


@examples(120)
@given(data=st.data(), expr=CLOCK_PATTERNS, zone=st.sampled_from(ZONES))
def test_the_scan_of_every_minute_agrees_near_changes(data: st.DataObject, expr: str, zone: str) -> None:
    gap = data.draw(st.sampled_from(("shift", "shift", "skip")))
    fold = data.draw(st.sampled_from(("first", "first", "second", "both")))
    day = data.draw(instants(zone)).replace(hour=0, minute=0, second=0)
    assume(day - DAY not in change_days(zone, day.year))
    scanned = list(VirtualCron(expr).ticks(zone, day, day + 2 * DAY, gap, fold))
    assert ticks(Cron(expr, zone, gap, fold), day, day + 2 * DAY) == scanned


@pytest.mark.parametrize("zone", ZONES)
def test_the_scan_agrees_at_every_change_of_some_years(zone: str) -> None:
    random = Random(zone)
    texts = ("30 2 * * *", "0 0 * * *", "15,45 23,0-3 * * *", "*/30 1-3 * * *", "5 * * * *", "0-59/20 */2 * * *")
    days = [day for year in range(1975, 2028) for day in change_days(zone, year)]
    for day in random.sample(days, min(len(days), 200 if LONG else 3)):
        expr = random.choice(texts)
        begin, end = day - DAY / 2, day + 3 * DAY / 2
        scanned = list(VirtualCron(expr).ticks(zone, begin, end))
        assert ticks(Cron(expr, zone), begin, end) == scanned, (expr, day)


@examples(150)
@given(expr=PATTERNS, year=st.integers(1999, 2030))
def test_every_day_of_a_year_is_the_one_that_the_scan_names(expr: str, year: int) -> None:
    first = datetime(year, 1, 1, tzinfo=UTC)
    oracle = VirtualCron(expr)
    days = [first.date() + n * DAY for n in range(365)]
    named = [day for day in days if oracle.names_date(day)]
    try:
        cron = Cron("0 0 " + " ".join(expr.split()[2:]))
    except CronError:
        years = [date(2000, 1, 1) + n * DAY for n in range(28 * 366)]
        assert not any(oracle.names_date(day) for day in years)
        return
    assert [tick.date() for tick in ticks(cron, first, first + 365 * DAY)] == named


def cronsim_doubtful(expr: str) -> bool:
    """Forms that cronsim lacks (nW) or reads otherwise: N/step of a weekday, since its week ends on 7."""
    day, weekday = expr.split()[2], expr.split()[4]
    opened = any("/" in item and "-" not in item and item[0] != "*" for item in weekday.split(","))
    return opened or day[-1] == "W" != day[-2:-1]


def cronsim_spelling(expr: str) -> str:
    """The same schedule in the forms that cronsim knows, numbers and one value for `A-A/step`."""
    expr = re.sub(r"\b(\d+)-\1(/\d+)?\b", r"\1", expr)
    expr = expr.replace("#L", "L").replace("-SUN", "-7")
    for number, name in enumerate(WEEKDAYS):
        expr = expr.replace(name, str(number))
    return expr


@examples(150)
@given(
    data=st.data(),
    expr=PATTERNS,
    zone=st.sampled_from(CRONSIM_ZONES),
)
def test_cronsim_agrees(data: st.DataObject, expr: str, zone: str) -> None:
    assume(not cronsim_doubtful(expr))
    start = data.draw(instants(zone, 1995, 2037))
    local = start.astimezone(ZoneInfo(zone))
    assume(not local.fold)
    try:
        cron = Cron(expr, zone)
    except CronError:
        assert "never comes" in refusal(expr)
        return
    theirs = CronSim(cronsim_spelling(expr), local)
    ours = start
    for _ in range(12):
        ours = cron.next(ours)
        assert next(theirs).astimezone(UTC) == ours


def refusal(expr: str) -> str:
    with pytest.raises(CronError) as caught:
        Cron(expr)
    return str(caught.value)
