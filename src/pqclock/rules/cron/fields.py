"""One field of an expression: plain values as croniter reads them rightly, and the L, W and # forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from pqclock.errors import CronError
from pqclock.rules.cron.hints import hint
from pqclock.rules.cron.text import quoted

LAST = -1


@dataclass(frozen=True, slots=True)
class Field:
    """What a field is called and which values it takes; those of the time of day have the unit of `every`."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    unit: str = ""

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    @property
    def allowed(self) -> str:
        if self is WEEKDAY:
            return "0 to 7 (0 and 7 are Sunday) or SUN to SAT"
        return f"{self.low} to {self.high}" + (f" or {self.names[0]} to {self.names[-1]}" if self.names else "")


MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SECOND = Field("second", 0, 59, unit="s")
MINUTE = Field("minute", 0, 59, unit="m")
HOUR = Field("hour", 0, 23, unit="h")
DAY = Field("day", 1, 31)
MONTH = Field("month", 1, 12, MONTHS)
# 7 is a second name of Sunday, not a value of its own: `*` and N/step end on Saturday.
WEEKDAY = Field("weekday", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))


class Special(NamedTuple):
    """`L`, `LW`, `15W` (day 15) or `5#2` (weekday 5; nth 2, or LAST)."""

    kind: str
    day: int = 0
    nth: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A field as written: its items, `plain` ones in croniter's spelling, and the special ones."""

    field: Field
    items: tuple[str, ...]
    plain: tuple[str, ...]
    special: tuple[Special, ...]

    @property
    def starred(self) -> bool:
        return self.items[0][0] in "*?"


_VALUE = r"([0-9]+|[A-Z]{3})"
_RANGE = re.compile(rf"{_VALUE}(?:-{_VALUE})?(?:/([0-9]+))?")
_STAR = re.compile(r"\*(?:/([0-9]+))?")
_NEAREST = re.compile(r"([0-9]+)W")
_NTH = re.compile(rf"{_VALUE}#([1-5L])|{_VALUE}(L)")


def read(field: Field, text: str, names_only: bool) -> Written:
    """The field written as `text`, else CronError; `names_only` refuses the weekday as a number."""
    items = tuple(text.split(","))
    if field in (DAY, WEEKDAY) and text == "?":
        return Written(field, items, ("*",), ())
    plain: list[str] = []
    special: list[Special] = []
    for item in items:
        form = _special(field, item, len(items) == 1, names_only)
        if form:
            special.append(form)
        else:
            plain.append(_plain(field, item, names_only))
    return Written(field, items, tuple(plain), tuple(special))


def _special(field: Field, item: str, alone: bool, names_only: bool) -> Special | None:
    if field is DAY and item in ("L", "LW"):
        return Special(item)
    if field is DAY and (nearest := _NEAREST.fullmatch(item)):
        if not alone:
            _refuse(field, item, "W stands alone in its field: give each such day a schedule of its own")
        return Special("W", _value(field, nearest[1]))
    if field is WEEKDAY and (nth := _NTH.fullmatch(item)):
        which = nth[2] or nth[4]
        weekday = _value(field, nth[1] or nth[3], names_only) % 7
        return Special("#", weekday, LAST if which == "L" else int(which))
    return None


def _plain(field: Field, item: str, names_only: bool) -> str:
    if star := _STAR.fullmatch(item):
        return item if star[1] is None else _starred_step(field, item, star[1])
    span = _RANGE.fullmatch(item)
    if span is None:
        _refuse_unknown(field, item)
    low = _value(field, span[1], names_only)
    step = _step(field, item, span[3]) if span[3] else None
    if span[2] is None:
        return _values(low, low if step is None else field.high, step or 1)
    high = low if span[2] == span[1] else _end(field, span[2], names_only)
    if low > high:
        forwards = _unwrapped(field, span, low, high, step)
        _refuse(field, item, f"a range does not run backwards: write {forwards}")
    return _values(low, high, step or 1)


def _starred_step(field: Field, item: str, digits: str) -> str:
    step = _step(field, item, digits)
    if field.unit and step >= field.size:
        every = f'`every = "{step}{field.unit}"`' if step < 10_000 else "`every`"
        _refuse(field, item, f"a step of `*` is below {field.size}: for a period write {every}, not `cron`")
    return _values(field.low, field.high, step)


def _values(low: int, high: int, step: int) -> str:
    """Croniter reads `5-5` as the whole field, so one value is written as one value."""
    if low + step > high:
        return str(low)
    return f"{low}-{high}" if step == 1 else f"{low}-{high}/{step}"


def _step(field: Field, item: str, digits: str) -> int:
    step = int(digits)
    if step < 1:
        _refuse(field, item, "a step is 1 or more")
    return step


def _end(field: Field, text: str, names_only: bool) -> int:
    return 7 if field is WEEKDAY and text == "SUN" else _value(field, text, names_only)


def _value(field: Field, text: str, names_only: bool = False) -> int:
    if text in field.names:
        return field.names.index(text) + field.low
    if not text.isdigit():
        _refuse_unknown(field, text)
    if names_only and field is WEEKDAY:
        _refuse(
            field,
            text,
            "with `?` a number may mean another day (2 is Monday in Quartz): write names, as in MON",
        )
    value = int(text)
    if not field.low <= value <= (7 if field is WEEKDAY else field.high):
        _refuse(field, text, f"write {field.allowed}")
    return value


def _unwrapped(field: Field, span: re.Match[str], low: int, high: int, step: int | None) -> str:
    """The backward range `span` in two forward ones, by name if it was written so."""
    if step is not None:
        around = range(low, high + field.size + 1, min(step, field.size))
        return ",".join(str((value - field.low) % field.size + field.low) for value in around)
    if low == 7:
        return f"0-{high}"
    if field is WEEKDAY and high == 0:
        return f"{span[1]}-{'SUN' if span[2] == 'SUN' else 7}"
    names = field.names or tuple(map(str, range(field.low, field.high + 1)))
    first, last = (names[0], names[-1]) if span[1] in names else (str(field.low), str(field.high))
    before = span[1] if span[1] == last else f"{span[1]}-{last}"
    after = span[2] if span[2] == first else f"{first}-{span[2]}"
    return f"{before},{after}"


def _refuse_unknown(field: Field, item: str) -> NoReturn:
    way_out = hint(field.name, field.names, item)
    if way_out is None:
        way_out = f"write {field.allowed}, a list, a range A-B or a step */N"
        if field is WEEKDAY and item[:1].isalpha():
            way_out += "; a user or a command does not belong in an expression"
    _refuse(field, item, way_out)


def _refuse(field: Field, item: str, way_out: str) -> NoReturn:
    raise CronError(f"the {field.name} field does not take {quoted(item)}: {way_out}")
