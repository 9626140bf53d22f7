"""What follows from a schedule being one set of instants, over many expressions, zones and years."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqclock.errors import CronError
from pqclock.rules.cron import Cron
from pqclock.rules.cron.text import clean
from rules.cron_examples import CLOCK_PATTERNS, PATTERNS, ZONES, examples, instants

SECOND = timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)


@st.composite
def crons(draw: st.DrawFn) -> Cron:
    expr = draw(st.one_of(CLOCK_PATTERNS, PATTERNS))
    if draw(st.integers(0, 4)) == 0:
        expr = draw(st.sampled_from(("0 ", "30,45 ", "*/20 ", "59 "))) + expr
    zone = draw(st.sampled_from(ZONES))
    gap = draw(st.sampled_from(("shift", "skip")))
    fold = draw(st.sampled_from(("first", "second", "both")))
    try:
        return Cron(expr, zone, gap, fold)
    except CronError as refused:
        assert "never comes" in str(refused)
        return Cron(" ".join([*expr.split()[:-3], "* * *"]), zone, gap, fold)


@st.composite
def starts(draw: st.DrawFn) -> tuple[Cron, datetime]:
    cron = draw(crons())
    return cron, draw(instants(cron.timezone, 1900, 2100))


@examples(200)
@given(starts())
def test_rising_and_closed_forwards_and_backwards(start: tuple[Cron, datetime]) -> None:
    cron, tick = start
    forwards = [tick := cron.next(tick) for _ in range(6)]
    assert all(earlier < later for earlier, later in pairwise(forwards))
    assert all(found.tzinfo is UTC and not found.microsecond for found in forwards)
    for earlier, later in pairwise(forwards):
        assert cron.previous(later) == earlier
        assert cron.next(cron.previous(later)) == later
        assert cron.previous(cron.next(earlier)) == earlier
    assert cron.previous(forwards[0]) <= start[1]
    assert list(islice(cron.ticks(start[1], forwards[-1] + INSTANT), 10)) == forwards


@examples(150)
@given(starts(), st.fractions(0, 1))
def test_between_two_ticks_next_is_the_later_and_previous_the_earlier(
    start: tuple[Cron, datetime], part: float
) -> None:
    cron = start[0]
    earlier = cron.next(start[1])
    later = cron.next(earlier)
    between = earlier + timedelta(microseconds=int((later - earlier) // INSTANT * part))
    assert cron.next(earlier) == later
    assert cron.next(min(between, later - INSTANT)) == later
    assert cron.previous(max(between, earlier + INSTANT)) == earlier
    assert cron.next(later - INSTANT) == later
    assert cron.previous(earlier + INSTANT) == earlier


@examples(100)
@given(starts(), st.sampled_from(ZONES), st.integers(-86_399, 86_399))
def test_the_zone_of_the_argument_does_not_matter(start: tuple[Cron, datetime], zone: str, seconds: int) -> None:
    cron, instant = start
    for written in (instant.astimezone(ZoneInfo(zone)), instant.astimezone(timezone(timedelta(seconds=seconds)))):
        assert cron.next(written) == cron.next(instant)
        assert cron.previous(written) == cron.previous(instant)


@examples(100)
@given(starts(), st.integers(0, 172_800), st.integers(0, 172_800))
def test_ticks_of_a_whole_are_those_of_its_parts(start: tuple[Cron, datetime], left: int, right: int) -> None:
    cron, after = start
    middle, before = after + left * SECOND, after + (left + right) * SECOND
    whole = cron.ticks(after, before)
    parts = [*cron.ticks(after, middle + INSTANT), *cron.ticks(middle, before)]
    assert list(islice(whole, 4000)) == parts[:4000]
    assert list(cron.ticks(middle, after)) == []


@examples(100)
@given(starts())
def test_skipped_ones_are_what_shift_adds(start: tuple[Cron, datetime]) -> None:
    cron, after = start
    before = after + 400 * DAY
    if cron.wildcard or len(cron.expression.split()) == 6:
        return
    skip, shift = (Cron(cron.expression, cron.timezone, gap, cron.fold) for gap in ("skip", "shift"))
    skipped = list(skip.skipped_in_gap(after, before))
    for end in skipped:
        assert shift.next(end - INSTANT) == end
        assert skip.next(end - INSTANT) != end
        assert skip.local_date(end) == shift.local_date(end)
        day = (end - DAY, end + DAY)
        assert sorted([*skip.ticks(*day), end]) == list(shift.ticks(*day))


@examples(60)
@given(starts())
def test_second_0_in_front_changes_nothing(start: tuple[Cron, datetime]) -> None:
    cron, after = start
    five = Cron(" ".join(cron.expression.split()[-5:]), cron.timezone, cron.gap, cron.fold)
    six = Cron("0 " + five.expression, cron.timezone, cron.gap, cron.fold)
    assert six.wildcard == five.wildcard
    assert list(islice(six.ticks(after, after + 2 * DAY), 2000)) == list(
        islice(five.ticks(after, after + 2 * DAY), 2000)
    )


@examples(40)
@given(st.sampled_from(ZONES), st.data())
def test_every_second_is_every_second(zone: str, data: st.DataObject) -> None:
    after = data.draw(instants(zone))
    seconds = [after + n * SECOND for n in range(1, 200)]
    assert list(Cron("* * * * * *", zone).ticks(after, after + 200 * SECOND)) == seconds
    thirds = list(Cron("*/3 * * * * *", zone).ticks(after, after + 200 * SECOND))
    assert thirds == [tick for tick in seconds if tick.astimezone(ZoneInfo(zone)).second % 3 == 0]


@examples(60)
@given(crons())
def test_the_arguments_make_the_value(cron: Cron) -> None:
    twin = Cron(f"\t{cron.expression.lower().replace(' ', '  ')} ", cron.timezone, cron.gap, cron.fold)
    assert twin == cron
    assert hash(twin) == hash(cron)
    assert clean(cron.expression) == cron.expression


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expr", ["0 0 * * *", "0 0 29 2 *", "* * * * *", "*/7 3 4 5 *"])
def test_the_calendar_ends_and_begins_with_an_error(zone: str, expr: str) -> None:
    cron = Cron(expr, zone)
    last = cron.previous(datetime.max.replace(tzinfo=UTC))
    first = cron.next(datetime.min.replace(tzinfo=UTC))
    assert (last.year, first.year) == ((9996, 4) if "29 2" in expr else (9999, 1))
    assert list(cron.ticks(last - SECOND, datetime.max.replace(tzinfo=UTC))) == [last]
    with pytest.raises(CronError, match="9999"):
        cron.next(last)
    with pytest.raises(CronError, match="calendar begins"):
        cron.previous(datetime.min.replace(tzinfo=UTC))


def test_instants_beyond_the_calendar_in_utc() -> None:
    cron = Cron("* * * * *", "Pacific/Kiritimati")
    beyond = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    ahead = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert cron.previous(beyond).year == 9999
    assert cron.next(ahead).year == 1
    assert cron.local_date(beyond).year == 9999
    assert cron.local_date(ahead).year == 1
    with pytest.raises(CronError):
        cron.next(beyond)
    with pytest.raises(CronError):
        cron.previous(ahead)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01T00:00Z", 0, None, datetime(2026, 1, 1).date()])
def test_only_aware_datetimes(value: datetime) -> None:
    cron, aware = Cron("* * * * *"), datetime(2026, 1, 1, tzinfo=UTC)
    for call in (cron.next, cron.previous, cron.local_date):
        with pytest.raises(CronError, match="is not an instant"):
            call(value)
    for ends in ((value, aware), (aware, value)):
        with pytest.raises(CronError, match="is not an instant"):
            cron.ticks(*ends)
        with pytest.raises(CronError, match="is not an instant"):
            Cron("0 2 * * *", gap="skip").skipped_in_gap(*ends)


@examples(200)
@given(starts(), st.timedeltas(timedelta(0), timedelta(days=900)))
def test_count_is_the_number_of_ticks(start: tuple[Cron, datetime], length: timedelta) -> None:
    cron, after = start
    # As many as a walk is willing to take: the count itself does not care.
    ticks = list(islice(cron.ticks(after, after + length), 3000))
    before = after + length if len(ticks) < 3000 else ticks[-1]
    assert cron.count(after, before) == len(list(cron.ticks(after, before)))


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("fold", ["first", "second", "both"])
@pytest.mark.parametrize("gap", ["shift", "skip"])
@pytest.mark.parametrize("expr", ["30 2 * * *", "0,30 1-3 * * *", "*/7 * * * *", "* * * * * *", "59 59 1,2 * * *"])
def test_count_holds_on_the_nights_of_clock_changes(expr: str, gap: str, fold: str, day: str) -> None:
    cron = Cron(expr, "Europe/Berlin", gap, fold)
    after = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(hours=3)
    for hours in range(1, 9):
        before = after + timedelta(hours=hours)
        assert cron.count(after, before) == sum(1 for _ in cron.ticks(after, before))
