"""Log lines: for people, as JSON, and harmless whatever they hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from freezegun import freeze_time

from pqclock import logs
from pqclock.errors import Refused

HOSTILE = "a\nb\x1b[31mred\x1b[0m \u202egnp \ud800 \x00"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("pqclock")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def logged(stream: io.StringIO, log_format: str = "auto", level: str = "info") -> logging.Logger:
    logs.set_up(log_format, level, stream)
    return logging.getLogger("pqclock.clock")


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        logged(stream).info("hello")
        assert stream.getvalue().startswith("{") is is_json


def test_text_line() -> None:
    stream = io.StringIO()
    with freeze_time("2026-11-22 02:00:00.125"):
        logged(stream, "text").warning("tick %s is late", 7, extra={"schedule": "nightly", "late": 1.5})
    assert stream.getvalue() == "2026-11-22 02:00:00.125Z warning clock: tick 7 is late  schedule=nightly  late=1.5\n"


def test_json_line() -> None:
    stream = io.StringIO()
    tick = datetime(2026, 11, 22, tzinfo=UTC)
    with freeze_time("2026-11-22 02:00:00.125"):
        logged(stream, "json").info("planned", extra={"tick": tick, "level": "own", "count": 3, "what": {"a": [1]}})
    assert json.loads(stream.getvalue()) == {
        "time": "2026-11-22T02:00:00.125Z",
        "level": "info",
        "logger": "pqclock.clock",
        "message": "planned",
        "tick": "2026-11-22T00:00:00Z",
        "level_": "own",
        "count": 3,
        "what": {"a": [1]},
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_hostile_text_stays_on_its_line(log_format: str) -> None:
    stream = io.StringIO()
    logged(stream, log_format).info(HOSTILE, extra={"key": HOSTILE, HOSTILE: 1})
    line = stream.getvalue()
    assert line.count("\n") == 1 and line.endswith("\n")
    assert line[:-1].isprintable()
    line.encode()


def test_json_takes_any_value() -> None:
    stream = io.StringIO()
    loop: list[object] = []
    loop.append(loop)
    logged(stream, "json").info("odd", extra={"object": object(), "bytes": b"x", "keys": {1: {2}}})
    logged(stream, "json").info("loop", extra={"loop": loop})
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["bytes"] == "b'x'" and first["keys"] == {"1": "{2}"}
    assert second["message"] == "loop"


def test_an_expected_error_has_no_traceback_and_an_unexpected_one_does() -> None:
    stream = io.StringIO()
    logger = logged(stream, "text")
    for error in (Refused("too old"), KeyError("bug")):
        try:
            raise error
        except Exception:
            logger.exception("failed")
    first, second = stream.getvalue().split("failed")[1:]
    assert first.splitlines()[1] == "  too old" and "Traceback" not in first
    assert "  Traceback (most recent call last):" in second and "KeyError: 'bug'" in second


def test_a_message_that_does_not_fit_its_arguments_is_shown() -> None:
    stream = io.StringIO()
    logged(stream, "text").info("%d jobs", "many")
    assert "%d jobs ('many',)" in stream.getvalue()


def test_level_and_setting_up_twice() -> None:
    first, second = io.StringIO(), io.StringIO()
    logged(first, "text", "warning")
    logger = logged(second, "text", "warning")
    logger.info("no")
    logger.warning("yes")
    assert first.getvalue() == "" and second.getvalue().count("\n") == 1


def test_a_reader_that_went_away_is_no_noise(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    logged(Gone(), "text").info("hello")
    assert capsys.readouterr().err == ""
