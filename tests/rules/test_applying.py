"""What applying files would change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pqclock.rules.applying import Difference, Standing, compare, state_of
from pqclock.rules.schedule import Schedule

SCHEDULE = Schedule("a", "mail.send", cron="0 2 * * *", source="one.toml:1")


def standing(schedule: Schedule, state: str | None = None) -> dict[str, Standing]:
    row = Standing(schedule.key, schedule.source, state or state_of(schedule), schedule.to_definition())
    return {schedule.key: row}


@pytest.mark.parametrize(
    ("before", "wanted", "change"),
    [
        ({}, [SCHEDULE], "added"),
        (standing(SCHEDULE), [SCHEDULE], "unchanged"),
        (standing(SCHEDULE), [], "removed"),
        (standing(SCHEDULE), [replace(SCHEDULE, source="two.toml:9")], "moved"),
        (standing(SCHEDULE), [replace(SCHEDULE, source="two.toml:9", cron="0 3 * * *")], "changed"),
        (standing(SCHEDULE), [replace(SCHEDULE, args={"day": "{tick}"})], "changed"),
        (standing(SCHEDULE), [replace(SCHEDULE, enabled=False)], "changed"),
        (standing(replace(SCHEDULE, enabled=False)), [SCHEDULE], "changed"),
        (standing(SCHEDULE, "removed"), [SCHEDULE], "changed"),
        (standing(SCHEDULE), [replace(SCHEDULE, priority=None, timezone="UTC")], "unchanged"),
    ],
)
def test_a_schedule_is_sorted_by_what_happens_to_it(
    before: dict[str, Standing], wanted: list[Schedule], change: str
) -> None:
    expected = {name: (("a",) if name == change else ()) for name in Difference.__dataclass_fields__}
    difference = compare(wanted, before)
    assert difference == Difference(**expected)
    assert difference.empty == (change in ("unchanged", "moved"))


def test_a_tombstone_is_not_removed_again() -> None:
    assert compare([], standing(SCHEDULE, "removed")).empty


def test_the_order_of_the_files_is_kept() -> None:
    wanted = [replace(SCHEDULE, key=key) for key in "cab"]
    assert compare(wanted, {}).added == ("c", "a", "b")
