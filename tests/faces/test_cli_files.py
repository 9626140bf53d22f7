"""`check`, `schema` and `next`: schedule files and expressions, without a database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from pqclock.schedule_files import READ_LIMIT, find_sources, read_paths

GOOD = '[schedule.nightly]\ntask = "reports.nightly"\ncron = "0 2 * * *"\ntimezone = "Europe/Berlin"\n'
BAD = '[schedule.nightly]\ntask = "reports.nightly"\ncrn = "0 2 * * *"\n'
WARNED = '[schedule.once]\ntask = "x"\ncron = "0 0 1 * MON"\n'

Command = Callable[..., Any]


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


def test_check_clean(command: Command) -> None:
    write("schedules/a.toml", GOOD)
    done = command("check")
    assert (done.code, done.out, done.err) == (0, "", "1 schedule in 1 file: no findings\n")
    assert command("check", "--json").json == {"version": 1, "findings": [], "next": None}


def test_check_tells_all_findings_of_all_paths(command: Command) -> None:
    write("schedules/a.toml", BAD)
    write("other/b.toml", "nonsense")
    done = command("check", "schedules", "other/b.toml", "missing.toml")
    assert done.code == 1
    assert "schedules/a.toml:3:1: error: " in done.out and '"cron"' in done.out and "^^^" in done.out
    assert "other/b.toml:1:" in done.out
    assert "missing.toml:1:1: error: there is no such file or folder" in done.out
    findings = command("check", "schedules", "other/b.toml", "missing.toml", "--json").json["findings"]
    assert {finding["file"] for finding in findings} == {"schedules/a.toml", "other/b.toml", "missing.toml"}
    assert {"severity", "file", "line", "column", "key", "value", "message"} <= set(findings[0])


def test_warnings_alone_are_findings_only_when_strict(command: Command) -> None:
    write("schedules/a.toml", WARNED)
    assert [command("check").code, command("check", "--strict").code] == [0, 1]
    assert "1 warning" in command("check").err


def test_without_files_check_says_where_it_looked(command: Command) -> None:
    done = command("check")
    assert done.code == 1
    assert done.out.startswith("schedules:1:1: error: there is no such file or folder")


def test_check_takes_the_paths_of_the_settings(command: Command) -> None:
    write("pqclock.toml", 'schedules = ["mine"]')
    write("mine/a.toml", GOOD)
    assert command("check").err == "1 schedule in 1 file: no findings\n"


def test_schema(command: Command) -> None:
    done = command("schema")
    assert done.code == 0
    assert "schedule" in json.loads(done.out)["properties"]


def test_next_of_an_expression_through_a_change_of_the_clocks(command: Command) -> None:
    asked = (
        "next",
        "--cron",
        "30 2 * * *",
        "--timezone",
        "Europe/Berlin",
        "--from",
        "2026-10-24T12:00+02:00",
        "-n",
        "2",
    )
    found = command(*asked, "--json").json
    assert found["next"] is None
    assert [tick["tick"] for tick in found["ticks"]] == ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    assert [tick["local"] for tick in found["ticks"]] == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert "comes twice" in found["ticks"][0]["note"] and "+0200 to +0100" in found["ticks"][1]["note"]
    with freeze_time("2026-10-24 00:30:00"):
        text = command(*asked).out
    assert "2026-10-25 02:30:00 CEST" in text and "2026-10-25T00:30:00Z" in text
    assert "in 1d" in text and "At 02:30" in text


@pytest.mark.parametrize("expression", ["*/7 * * * *", "0 0 LW * *", "0 0 * * FRI#L", "@hourly", "10 0 2 * * *"])
def test_next_takes_every_form_of_expression(expression: str, command: Command) -> None:
    done = command("next", "--cron", expression, "-n", "3")
    assert done.code == 0 and len(done.out.splitlines()) == 4


def test_next_from_includes_the_instant_itself(command: Command) -> None:
    found = command("next", "--cron", "0 0 * * *", "--from", "2026-10-25", "-n", "1", "--json").json
    assert found["ticks"][0]["tick"] == "2026-10-25T00:00:00Z"
    assert command("next", "--cron", "0 0 * * *", "--from", "0001-01-01", "-n", "1").code == 2
    assert command("next", "--cron", "0 0 * * *", "--from", "9999-12-31T23:59Z", "-n", "1").err == "no ticks to come\n"


def test_next_of_the_files_in_order_of_time(command: Command) -> None:
    write("schedules/a.toml", GOOD)
    more = '[schedule.hourly]\ntask="x"\nevery="1h"\n[schedule.off]\ntask="x"\nevery="1s"\nenabled=false\n'
    write("schedules/b.toml", more + '[schedule.once]\ntask="x"\nat=2026-11-22T00:30:00Z\n')
    with freeze_time("2026-11-22 00:15:00"):
        found = command("next", "-n", "4", "--json").json["ticks"]
        assert [tick["key"] for tick in found] == ["once", "hourly", "nightly", "hourly"]
        assert [tick["words"] for tick in found[:3]] == ["once", "every 1h", "At 02:00"]
        assert [tick["key"] for tick in command("next", "nightly", "-n", "2", "--json").json["ticks"]] == [
            "nightly"
        ] * 2
    off = command("next", "off")
    assert (off.code, off.out) == (0, "") and "off: not enabled" in off.err


def test_next_explains_what_may_surprise(command: Command) -> None:
    assert "note: day and weekday are both restricted" in command("next", "--cron", "0 0 1 * MON").err


def test_next_faults(command: Command) -> None:
    write("schedules/a.toml", GOOD)
    unknown = command("next", "nighly")
    assert unknown.code == 1 and 'did you mean "nightly"?' in unknown.err
    wrong = command("next", "--cron", "0 25 * * *", "--json")
    assert wrong.code == 1 and wrong.json["error"]["code"] == "cron"
    assert command("next", "--cron", "0 2 * * *", "--timezone", "Mars/Base").code == 1
    for args in (["--from", "soon"], ["--timezone", "UTC"], ["nightly", "--cron", "* * * * *"], ["-n", "0"]):
        assert command("next", *args).code == 2
    write("schedules/a.toml", BAD)
    assert "schedules/a.toml:3:1: error" in command("next").err


def test_next_without_files_comes_from_the_database(database: Any, command: Command) -> None:
    from datetime import UTC, datetime

    from pqclock.store import schedules

    now = datetime(2026, 11, 22, tzinfo=UTC)
    definition = {"task": "x", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}
    row = {"key": "kept", "source": "api", "state": "active", "definition": definition, "planned_to": now}
    schedules.add(database.session, None, [row], now)
    found = command("next", "-n", "1", "--from", "2026-11-22", "--json", PQCLOCK_DATABASE_URL=database.url).json
    assert [(tick["key"], tick["tick"]) for tick in found["ticks"]] == [("kept", "2026-11-22T01:00:00Z")]
    assert 'did you mean "kept"?' in command("next", "ketp").err


def test_next_with_neither_files_nor_database(command: Command) -> None:
    done = command("next")
    assert done.code == 2
    assert "there are no schedule files in 'schedules'" in done.err and "PQCLOCK_DATABASE_URL" in done.err


def test_which_files_a_folder_stands_for(tmp_path: Path) -> None:
    for name in ("b.toml", "a.toml", ".hidden.toml", "#a.toml#", "~a.toml", "a.toml~", "note.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "deep.toml").mkdir()
    (tmp_path / "deep.toml" / "c.toml").write_text("")
    (tmp_path / "link.toml").symlink_to("a.toml")
    names = [name for name, _ in find_sources([tmp_path, tmp_path / "b.toml"]).files]
    assert names == [str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]


def test_what_cannot_be_read_is_a_finding_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "broken.toml").symlink_to("nowhere")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "empty").mkdir()
    found = read_paths([tmp_path, tmp_path / "empty", "/dev/zero", "nul\0"])
    told = {Path(finding.file).name: (finding.severity, finding.message) for finding in found.findings}
    assert [schedule.key for schedule in found.schedules] == ["nightly"]
    assert not found.ok
    assert told["pipe.toml"] == told["zero"] == ("error", "is not a file: give a TOML file, or a folder of them")
    assert told["broken.toml"][1].startswith("there is no such file")
    assert told["loop.toml"][1].startswith("cannot be read (")
    assert told["empty"] == ("warning", "the folder holds no *.toml file")
    assert "nul\0" in told


def test_a_file_without_permission_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.toml").write_text(GOOD)
    # Not by chmod: root, as whom tests may run, reads everything.
    monkeypatch.setattr("os.open", refuse)
    (finding,) = find_sources([tmp_path]).findings
    assert finding.message == "cannot be read (permission denied): check its kind and its permissions"


def test_a_huge_file_is_read_only_as_far_as_it_takes_to_refuse_it(tmp_path: Path) -> None:
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(READ_LIMIT * 100)
    sources = find_sources([tmp_path])
    assert len(sources.files[0][1]) == READ_LIMIT
    assert not sources.read().ok
