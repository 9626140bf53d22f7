"""How values are written on pages: times with their zone, lengths, arguments that are hidden."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from markupsafe import Markup, escape

from pqclock.rules.moments import absolute, known_zone, relative, span

ENDLESS = 9999
HIDDEN = "•••"
MOST_ARGS = 4_000
MOST_TRACEBACK = 8_000


def instant(value: datetime | None, now: datetime, zone: str | None = None) -> Markup:
    """An instant in its zone, and how far it is; the page's script keeps the latter true."""
    if value is None:
        return Markup('<span class="none">–</span>')
    if value.year == ENDLESS:
        return Markup("for ever")
    place: tzinfo = known_zone(zone) if zone else UTC
    local, today = value.astimezone(place), now.astimezone(place).date()
    shown = local.strftime("%H:%M:%S %Z") if local.date() == today else local.strftime("%Y-%m-%d %H:%M:%S %Z")
    return Markup('<time datetime="{}" title="{}">{} <small data-relative>{}</small></time>').format(
        value.astimezone(UTC).isoformat(), absolute(value, UTC), shown, relative(value, now)
    )


def until(value: datetime | None, now: datetime, zone: str | None = None, end: str = "resumed") -> Markup:
    """When something ends: at an instant, or by somebody's hand."""
    if value is None or value.year == ENDLESS:
        return Markup("until it is {}").format(end)
    return Markup("until {}").format(instant(value, now, zone))


def ago(value: datetime | None, now: datetime) -> Markup:
    """Only how far it is; the instant shows when it is pointed at."""
    if value is None:
        return Markup('<span class="none">–</span>')
    return Markup('<time datetime="{}" title="{}"><span data-relative>{}</span></time>').format(
        value.astimezone(UTC).isoformat(), absolute(value, UTC), relative(value, now)
    )


def length(value: timedelta | float | None) -> str:
    """A length of time: `12 ms`, `3.4 s`, `1h5m`."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if abs(seconds) < 60 else span(timedelta(seconds=seconds))


def size(value: int) -> str:
    """A number of bytes."""
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def count(value: int | None, most: int) -> str:
    """A number that was counted up to a bound."""
    if value is None:
        return "–"
    return f"{value:,}" if value <= most else f"{most:,}+"


def first_line(text: str | None, longest: int = 160) -> str:
    """The first line of an error."""
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= longest else line[: longest - 1] + "…"


def cut(text: str | None, longest: int = MOST_TRACEBACK) -> str:
    """A long text without its middle."""
    if text is None or len(text) <= longest:
        return text or ""
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out …\n{text[-half:]}"


def shown_args(value: Any, allowed: Collection[str]) -> str:
    """Arguments or a result as JSON: of what is not allowed only the names show, at every depth."""
    if "*" in allowed:
        return cut(json.dumps(value, ensure_ascii=False, indent=1), MOST_ARGS)
    return cut(json.dumps(_masked(value, allowed), ensure_ascii=False, indent=1), MOST_ARGS)


def _masked(value: Any, allowed: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: inner if key in allowed and not isinstance(inner, (dict, list)) else _masked(inner, allowed)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_masked(inner, allowed) for inner in value[:20]]
    return HIDDEN


def badge(state: str) -> Markup:
    """A state, by word and by shape."""
    return Markup('<span class="badge b-{}">{}</span>').format(escape(state.replace(" ", "-")), state)
