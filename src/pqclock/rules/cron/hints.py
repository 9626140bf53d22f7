"""Items that other crons take and this one refuses, each with the spelling that works."""

from __future__ import annotations

import re

_JITTER = "random times would differ between leaders: write a fixed time and set `jitter`"
_SPREAD = "there is no H: write a fixed time and set `spread`, which is fixed by the key of the schedule"
_WEEKDAY_FORM = "this form stands in the weekday field"

_EVERYWHERE = (
    (r"H([(/-].*)?", _SPREAD),
    (r"R([(/-].*)?", _JITTER),
    (r".*~.*", _JITTER),
    (
        r"\+.*",
        "there is no `+`: both day fields must match once one begins with `*`, and MON#1 is the first Monday",
    ),
    (r".*\?.*", "`?` stands alone and in the two day fields only: write `*`"),
    (r"#.*", "a comment does not belong in an expression: leave it out"),
    (r"", "an item is missing beside a comma: leave the comma out"),
    (r"\*-.*", "`*` has no end: write `*`, or a range of two values"),
)
_DAY = (
    (r"L-[0-9]+", "days are not counted back from the last: write L, LW or the days"),
    (r"([0-9]+)-L", r"the last day as the end of a range is 31: write \1-31"),
    (r"W([0-9]+)", r"write \1W"),
    (r"WL", r"write LW"),
    (r"([0-9]+|[A-Z]{3})L|.+#.*", _WEEKDAY_FORM + ", as in 5L or TUE#1"),
    (r"L[0-7]|L[A-Z]{3}", "the last weekday of a kind stands in the weekday field, as in 5L or FRI#L"),
    (r".*[^,]W.*", "W follows one day and stands alone in its field, as in 15W"),
)
_WEEKDAY = (
    (r"L([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)", r"write \1L"),
    (r"L", "L alone stands in the day field: write 5L or FRI#L for the last Friday, SAT for Saturday"),
    (r"LW|[0-9]+W|W[0-9]*", "LW and W stand in the day field, as in 15W"),
    (r".*#.*", "write a weekday, # and 1 to 5 or L, as in TUE#1 or FRI#L"),
)
_BY_FIELD = {"day": _EVERYWHERE + _DAY, "weekday": _EVERYWHERE + _WEEKDAY}
_LETTERS = re.compile(r"[A-Z]{4,}(-[A-Z]{3,})?")


def hint(field: str, names: tuple[str, ...], item: str) -> str | None:
    """What to write in place of `item` in the field called `field`, if it is a known form."""
    for form, way_out in _BY_FIELD.get(field, _EVERYWHERE):
        match = re.fullmatch(form, item)
        if match:
            return match.expand(way_out)
    short = "-".join(word[:3] for word in item.split("-"))
    if _LETTERS.fullmatch(item) and all(word in names for word in short.split("-")):
        return f"names have three letters: write {short}"
    return None
