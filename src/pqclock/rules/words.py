"""When a schedule ticks, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pqclock.rules.durations import format_duration

if TYPE_CHECKING:
    from pqclock.rules.schedule import Schedule


def describe(schedule: Schedule) -> str:
    """`At 02:00`, `every 15m` or `once`."""
    if schedule.cron is not None:
        return describe_cron(schedule.cron)
    return f"every {format_duration(schedule.every)}" if schedule.every is not None else "once"


def describe_cron(expression: str) -> str:
    """The expression in words; the expression itself where there are none for it."""
    if expression.startswith("@"):
        return expression[1:].capitalize()
    if "#L" in expression.upper():
        return expression
    from cron_descriptor import CasingTypeEnum, Options, get_description  # type: ignore[import-untyped]

    options = Options(CasingTypeEnum.Sentence, use_24hour_time_format=True, locale_code="en_US")
    try:
        return str(get_description(expression, options))
    except Exception:
        # Our grammar is the wider one, and words are a service: no fault of theirs may hide the ticks.
        return expression
