"""The text of an expression: cleaned, or refused with the reason before any other work is done."""

from __future__ import annotations

import re

from pqclock.errors import CronError

LONGEST = 256
NICKNAMES = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}
_PRINTABLE = re.compile(r"[ \t!-~]*")
_NO_SCHEDULE = (
    (
        r"@REBOOT\b.*",
        "a leader-elected clock has no boot: give the job a time, or run it from the deployment",
    ),
    (r"@?EVERY\b.*", 'a period is not a cron expression: write `every = "90m"` in place of `cron`'),
    (r"(CRON_)?TZ=.*", 'the zone does not stand in the expression: write `timezone = "Europe/Berlin"`'),
    (r"@.*", f"the nicknames, each alone, are {', '.join(NICKNAMES).lower()}"),
)
_YEAR = re.compile(r"\*|\?|[12][0-9]{3}([-,/].*)?")


def clean(expr: object) -> str:
    """`expr` with single spaces and no others around; CronError for what cannot be an expression."""
    if not isinstance(expr, str):
        raise CronError(f"a cron expression is text of five or six fields, not {type(expr).__name__[:40]}")
    if len(expr) > LONGEST:
        raise CronError(f"the cron expression {quoted(expr)} is too long: {LONGEST} characters are the most")
    if not expr.isascii() or not _PRINTABLE.fullmatch(expr):
        way_out = "write ASCII, with spaces or tabs between fields"
        raise CronError(f"the cron expression {quoted(expr)} holds {_foreign(expr)}: {way_out}")
    if not expr.strip():
        raise CronError("the cron expression is empty: write five fields, as in '0 2 * * *'")
    return " ".join(expr.split())


def split(text: str) -> tuple[str, ...]:
    """The five fields, or six with seconds first, of a cleaned text, in capitals and without nicknames."""
    capitals = text.upper()
    capitals = NICKNAMES.get(capitals, capitals)
    for refused, way_out in _NO_SCHEDULE:
        if re.fullmatch(refused, capitals):
            raise CronError(f"the cron expression {quoted(text)} is refused: {way_out}")
    fields = tuple(capitals.split(" "))
    if len(fields) not in (5, 6):
        raise CronError(f"the cron expression {quoted(text)} has {_count(fields)}: {_allowed(fields)}")
    return fields


def quoted(value: str) -> str:
    """`value` for a message: in quotes, ASCII only, and cut to some forty characters."""
    shown = ascii(value[:41])
    return shown if len(value) <= 40 and len(shown) <= 50 else f"{shown[:41]}...{shown[0]}"


def _foreign(expr: str) -> str:
    return next(ascii(letter) for letter in expr if not _PRINTABLE.fullmatch(letter))


def _count(fields: tuple[str, ...]) -> str:
    return "1 field" if len(fields) == 1 else f"{len(fields)} fields"


def _allowed(fields: tuple[str, ...]) -> str:
    if any(field.startswith("#") for field in fields):
        return "a comment does not belong in it, leave it out"
    if len(fields) == 7 and _YEAR.fullmatch(fields[6]):
        return "there is no year field, `start` and `end` bound a schedule"
    if len(fields) > 6:
        return "write five, or six with seconds first, and leave out a user, a command and a year"
    return "write five (minute hour day month weekday), or six with seconds first"
