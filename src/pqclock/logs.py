"""Log lines on stderr, for people or as one JSON object a line; the standard library's logging, `pqclock.*`.

Whatever a message or field holds, one record is one line (a traceback follows indented): control characters,
bidirectional marks and lone surrogates are written as escapes.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from pqclock.errors import PqclockError

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RESERVED = frozenset({"time", "level", "logger", "message", "exception"})


_chosen: tuple[str, str] | None = None


def set_up(
    log_format: str = "auto",
    level: str = "info",
    stream: TextIO | None = None,
    *,
    fields: logging.Filter | None = None,
) -> None:
    """Send the records of pqclock to `stream` (stderr), in place of what an earlier call set up.

    `auto` is text on a terminal and JSON elsewhere. With `fields`, which adds to records, the warnings of loggers that
    nobody has set up go the same way.
    """
    global _chosen  # noqa: PLW0603
    _chosen = log_format, level
    stream = sys.stderr if stream is None else stream
    json_lines = log_format == "json" or (log_format == "auto" and not stream.isatty())
    handler = _Handler(stream)
    handler.setFormatter(JsonLines() if json_lines else TextLines())
    logger = logging.getLogger("pqclock")
    for old in [handler for handler in logger.handlers if isinstance(handler, _Handler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    if fields is not None:
        handler.addFilter(fields)
        others = _Handler(stream)
        others.setLevel(logging.WARNING)
        others.setFormatter(handler.formatter)
        others.addFilter(fields)
        logging.lastResort = others


def chosen() -> tuple[str, str] | None:
    """Format and level of the last `set_up()`, for child processes; None where the log is somebody else's."""
    return _chosen


class _Handler(logging.StreamHandler[TextIO]):
    """Ours to replace; a reader of stderr that went away is no reason to complain on stderr."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class TextLines(logging.Formatter):
    """`2026-11-22 02:00:00.123Z info    clock: message  key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the indented traceback of an unexpected exception."""
        name = record.name.removeprefix("pqclock.")
        line = f"{_time(record, ' ')} {record.levelname.lower():<7} {name}: {_message(record)}"
        fields = "".join(f"  {printable(key)}={_short(value)}" for key, value in _fields(record).items())
        return "\n  ".join([printable(line) + fields, *map(printable, _trace(record))])


class JsonLines(logging.Formatter):
    """One JSON object in ASCII: time, level, logger, message, `extra=` fields, and exception if there is any."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        entry: dict[str, Any] = {
            "time": _time(record, "T"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for key, value in _fields(record).items():
            entry[f"{key}_" if key in _RESERVED else key] = value
        if trace := _trace(record):
            entry["exception"] = "\n".join(trace)
        try:
            return json.dumps(storable(entry), default=_plain)
        except (TypeError, ValueError, RecursionError):
            return json.dumps({key: _short(value) for key, value in entry.items()})


def printable(text: str) -> str:
    """`text` on one line, with escapes for what a terminal would obey or hide."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def storable(value: Any) -> Any:
    """A JSON value whose texts hold no lone surrogates, which other readers of JSON refuse."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # A message that does not fit its arguments is still worth reading.
        return f"{record.msg} {record.args!r}"


def _time(record: logging.LogRecord, joint: str) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(joint, "milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _OWN}


def _trace(record: logging.LogRecord) -> list[str]:
    """The lines of the traceback; an error of our own says it all in its sentence."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return []
    if isinstance(error, PqclockError):
        return [str(error)]
    return "".join(traceback.format_exception(error)).splitlines()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def _short(value: object) -> str:
    try:
        text = value if isinstance(value, str) and value else json.dumps(value, default=_plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        # A value that JSON cannot have, such as one that holds itself.
        text = repr(value)
    return printable(text if len(text) <= 500 else text[:497] + "...")
