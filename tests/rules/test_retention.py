"""How long things are kept: what is said, what is not, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pqclock.errors import ArgumentError, SettingsError
from pqclock.rules.retention import DEFAULT, format_keep, parse_keep, partitions_kept
from pqclock.settings import Settings, load

DAY = timedelta(days=1)


def test_what_is_not_named_is_kept_as_by_default() -> None:
    keep = parse_keep(" failed:1w; ticks : 400d ")
    assert keep == {**DEFAULT, "failed": 7 * DAY, "ticks": 400 * DAY}
    assert parse_keep(format_keep(keep)) == keep
    assert parse_keep(Settings().keep) == DEFAULT


def test_attempts_are_kept_as_long_as_their_jobs_may_be() -> None:
    kept = partitions_kept(parse_keep("succeeded:2d;failed:3d;cancelled:50d;discarded:1d"))
    assert (kept["attempt_succeeded"], kept["attempt_failed"], kept["attempt_crashed"]) == (2 * DAY, 50 * DAY, 50 * DAY)
    assert (kept["job_history_failed"], kept["tick"]) == (3 * DAY, 90 * DAY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names nothing"), ("lost:3d", "names nothing that is kept"), ("failed", "names nothing that is kept"),
        ("failed:3d;failed:4d", "names failed twice"), ("failed:23h", "is out of bounds: use 1d to"),
        ("failed:soon", "keep failed: "), ("ticks:99999d", "out of range"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(text: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        parse_keep(text)


def test_the_setting_takes_a_table_or_a_text(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    from pathlib import Path

    Path("pqclock.toml").write_text('keep = { failed = "60d" }\n')
    assert parse_keep(load().keep)["failed"] == 60 * DAY
    with pytest.raises(SettingsError, match="PQCLOCK_KEEP: keep 'x' names nothing that is kept"):
        load(environ={"PQCLOCK_KEEP": "x"})
