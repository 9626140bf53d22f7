"""What may surprise the reader of an expression, in words, for `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pqclock.rules.cron import fields
from pqclock.rules.cron.fields import LAST, WEEKDAY, Field, Written
from pqclock.rules.cron.months import SHORTEST, DayRule, Days

_NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_STEPPED = re.compile(r"(?:\*|([0-9A-Z]+)(?:-([0-9A-Z]+))?)/([0-9]+)")


def notes(written: Sequence[Written], days: Days) -> list[str]:
    """The surprises of an expression, as written and as compiled, a sentence each."""
    found = [note for part in written for note in _step_notes(part)]
    return [*found, *_either_notes(days.rule), *_missing_day_notes(days)]


def _step_notes(written: Written) -> Iterator[str]:
    field = written.field
    for item in written.items:
        stepped = _STEPPED.fullmatch(item)
        if stepped is None:
            continue
        step, values = int(stepped[3]), _stepped_values(field, stepped)
        if len(values) == 1:
            yield f"{field.name} '{_short(item)}' fires {_when(field, values)} only: a wide step"
        elif stepped[2] is None and step > 1 and (field is fields.DAY or field.size % step):
            yield f"{field.name} '{_short(item)}' fires {_when(field, values)}, then starts anew"


def _stepped_values(field: Field, stepped: re.Match[str]) -> list[int]:
    low, high = field.low, field.high
    if stepped[1]:
        low = _number(field, stepped[1])
        high = _number(field, stepped[2]) if stepped[2] else max(high, low)
    if stepped[2] == "SUN" and stepped[1] != "SUN":
        high = 7
    return list(range(low, high + 1, int(stepped[3])))


def _number(field: Field, text: str) -> int:
    return field.names.index(text) + field.low if text in field.names else int(text)


def _when(field: Field, values: Sequence[int]) -> str:
    if field in (fields.SECOND, fields.MINUTE):
        return "at " + _list([f":{value:02}" for value in values])
    if field is fields.HOUR:
        return "at hour " + _list([str(value) for value in values])
    if field is fields.MONTH:
        return "in " + _list([field.names[value - 1].capitalize() for value in values])
    if field is WEEKDAY:
        return "on " + _list([_NAMES[value % 7] for value in values])
    return "on the " + _list([_nth(value) for value in values])


def _either_notes(rule: DayRule) -> Iterator[str]:
    if not rule.both:
        day, weekday = _days(rule), _weekdays(rule)
        yield f"day and weekday are both restricted: fires on {day} OR on {weekday}, not only where both meet"


def _missing_day_notes(days: Days) -> Iterator[str]:
    rule = days.rule
    others = rule.last or rule.last_workday or not rule.both
    earliest = rule.nearest or (rule.days & -rule.days).bit_length() - 1
    if not others and any(earliest > SHORTEST[month - 1] for month in days.months):
        yield f"fires only in months that have the {_nth(earliest)}: L is the last day of every month"


def _days(rule: DayRule) -> str:
    numbered = [day for day in range(1, 32) if rule.days >> day & 1]
    words = [
        f"the {_nth(first)}" + (f" to the {_nth(last)}" if last > first else "") for first, last in _runs(numbered)
    ]
    if rule.last:
        words.append("the last day of the month")
    if rule.last_workday:
        words.append("the last Monday-to-Friday of the month")
    if rule.nearest:
        words.append(f"the Monday-to-Friday nearest to the {_nth(rule.nearest)}")
    return _list(words)


def _weekdays(rule: DayRule) -> str:
    named = [_NAMES[day] + "s" for day in range(7) if rule.weekdays >> day & 1]
    if len(named) == len(_NAMES):
        named = ["every day"]
    nths = [f"the {'last' if nth == LAST else _nth(nth)} {_NAMES[day]}" for day, nth in rule.nth]
    return _list(named + nths)


def _runs(values: list[int]) -> list[tuple[int, int]]:
    """Neighbouring values as (first, last)."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return list(zip(starts, ends, strict=True))


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}th" if number in (11, 12, 13) else f"{number}{ending}"


def _list(words: Sequence[str]) -> str:
    if len(words) > 8:
        words = [*words[:6], "...", words[-1]]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _short(item: str) -> str:
    return item if len(item) <= 20 else item[:20] + "..."
