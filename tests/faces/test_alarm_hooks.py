"""Who is told of alarms, by a real server, a real program and a real database; and what happens when they cannot be told."""

from __future__ import annotations

import json
import logging
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import Database
from pqclock import SettingsError
from pqclock import alarming as alarming_module
from pqclock.alarm_hooks import Hook, hooks_of
from pqclock.alarming import Alarming
from pqclock.alarms import Told
from pqclock.settings import load
from pqclock.store import alarms
from processes.fleet import eventually

LOG = logging.getLogger("pqclock.test")


class Listener:
    """A server that notes what it is sent, and answers with `status`."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.status = 200
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
                listener.heard.append((self.path, body))
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


class Process:
    """One process's alarms, with the hooks of its settings."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._made: list[Alarming] = []

    def with_hooks(self, environ: Mapping[str, str] | None = None, /, **settings: Any) -> Alarming:
        return self.of(hooks_of(load(settings, environ={}), environ or {}))

    def of(self, hooks: Mapping[str, Hook]) -> Alarming:
        made = Alarming(self.database.url, "pqclock", hooks, LOG)
        self._made.append(made)
        return made

    def end(self) -> None:
        for one in self._made:
            one.stop()


@pytest.fixture
def process(database: Database) -> Iterator[Process]:
    found = Process(database)
    yield found
    found.end()


def raised(message: str = "no clock leads") -> Told:
    return Told("silence", "raised", 0.0, message)


OVER = Told("silence", "over", 3.0, "no clock leads")


def states(database: Database) -> list[tuple[Any, ...]]:
    return database.rows(
        "SELECT kind, raised_told_at IS NOT NULL, ended_told_at IS NOT NULL FROM pqclock.alarm ORDER BY id"
    )


def test_a_check_of_healthchecks_hears_of_alarms_and_of_their_end(
    process: Process, listener: Listener, database: Database
) -> None:
    alarming = process.with_hooks(alarm_ping=f"http://{listener.host}/uuid")
    alarming.tell(raised())
    eventually(lambda: states(database) == [("silence", True, False)])
    alarming.tell(OVER)
    eventually(lambda: states(database) == [("silence", True, True)])
    assert listener.heard == [("/uuid/fail", "no clock leads"), ("/uuid", "is over after 0s: no clock leads")]


def test_a_monitor_of_sentry_checks_in(process: Process, listener: Listener, database: Database) -> None:
    dsn = {"SENTRY_DSN": f"http://key@{listener.host}/sub/42"}
    alarming = process.with_hooks(dsn, alarm_sentry="the-clock")
    alarming.tell(raised())
    alarming.tell(OVER)
    eventually(lambda: states(database) == [("silence", True, True)])
    assert [path for path, _ in listener.heard] == ["/sub/api/42/cron/the-clock/key/"] * 2
    assert [json.loads(body)["status"] for _, body in listener.heard] == ["error", "ok"]
    assert json.loads(listener.heard[0][1])["monitor_config"]["schedule"] == {
        "type": "interval", "value": 1, "unit": "minute",
    }  # fmt: skip


def test_a_leader_says_that_all_is_well_and_nobody_does_when_it_is_not(
    process: Process, listener: Listener, database: Database
) -> None:
    ping = f"http://{listener.host}/uuid"
    first = process.with_hooks(alarm_ping=ping)
    first.lead(True)
    eventually(lambda: listener.heard == [("/uuid", "")])
    first.stop()
    alarms.begin(database.session, "missed", "nightly", "late")
    other = process.with_hooks(alarm_ping=ping)
    other.lead(True)
    eventually(lambda: len(listener.heard) > 1)
    other.stop()
    assert listener.heard[1:] == [("/uuid/fail", "late")]


def test_a_check_and_a_monitor_stay_failing_until_the_last_alarm_is_over(
    process: Process, listener: Listener, database: Database
) -> None:
    alarms.begin(database.session, "missed", "nightly", "late")
    dsn = {"SENTRY_DSN": f"http://key@{listener.host}/42"}
    alarming = process.with_hooks(dsn, alarm_ping=f"http://{listener.host}/uuid", alarm_sentry="clock")
    alarming.tell(raised())
    alarming.tell(OVER)
    eventually(lambda: ("silence", True, True) in states(database))
    alarms.end(database.session, "missed", "nightly")
    alarming.tell(OVER)
    eventually(lambda: ("missed", True, True) in states(database))
    alarming.stop()
    checks = [(path, body) for path, body in listener.heard if path.startswith("/uuid")]
    assert sorted(checks[:2]) == [("/uuid/fail", "late"), ("/uuid/fail", "no clock leads")]
    assert checks[2:] == [("/uuid/log", "is over after 0s: no clock leads"), ("/uuid", "is over after 0s: late")]
    monitored = [json.loads(body)["status"] for path, body in listener.heard if path.startswith("/api")]
    assert monitored == ["error", "error", "ok"]


def test_a_task_gets_one_job_for_each_piece_of_news(process: Process, database: Database) -> None:
    alarming = process.with_hooks(alarm_task="ops.page")
    alarming.tell(raised('"; DROP TABLE'))
    alarming.tell(OVER)
    eventually(lambda: states(database) == [("silence", True, True)])
    found: Any = database.rows("SELECT task, args FROM pqclock.job ORDER BY id")
    assert [task for task, _ in found] == ["ops.page"] * 2
    assert [args["alarm"]["state"] for _, args in found] == ["raised", "over"]
    assert found[0][1]["alarm"].keys() == {"id", "kind", "subject", "state", "message", "raised_at", "ended_at"}
    assert found[0][1]["alarm"]["message"] == '"; DROP TABLE' and found[0][1]["alarm"]["ended_at"] is None


def test_a_program_hears_it_by_its_input_and_environment(process: Process, tmp_path: Path, database: Database) -> None:
    program = tmp_path / "page me"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"told = [sys.argv[1:], json.load(sys.stdin), os.environ['PQCLOCK_ALARM_KIND'], os.environ['PQCLOCK_ALARM_MESSAGE']]\n"
        f"open({str(tmp_path / 'told')!r}, 'a').write(json.dumps(told) + chr(10))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    process.with_hooks(alarm_command=f"'{program}' -x '$(no shell)'").tell(raised())
    eventually(lambda: states(database) == [("silence", True, False)])
    ((argv, told, kind, message),) = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert (
        argv == ["-x", "$(no shell)"] and (kind, message) == ("silence", "no clock leads") and told["state"] == "raised"
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/no/such/program", "cannot be run"),
        (f"{sys.executable} -c 'import sys; sys.exit(\"no phone\")'", "code 1: no phone"),
    ],
)
def test_a_hook_that_fails_is_tried_again_and_keeps_nobody_else_from_hearing(
    command: str, words: str, process: Process, listener: Listener, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    alarming = process.with_hooks(alarm_command=command, alarm_ping=f"http://{listener.host}/x")
    alarming.tell(raised())
    eventually(lambda: "alarm_command did not hear of alarm" in caplog.text and len(listener.heard) == 1)
    assert words in caplog.text and states(database) == [("silence", False, False)]
    (untold,) = eventually(lambda: alarms.untold(database.session))
    assert untold.untold is not None and words in untold.untold
    # A minute later; who has heard it hears nothing twice.
    caplog.clear()
    database.session.conn.execute("UPDATE pqclock.alarm SET telling_at = telling_at - interval '61 seconds'")
    alarming.tell(Told("silence", "lasts", 60.0, "no clock leads"))
    eventually(lambda: "alarm_command did not hear of alarm" in caplog.text)
    assert len(listener.heard) == 1


def test_a_server_that_refuses_is_told_by_its_host_alone(
    process: Process, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.status = 503
    process.with_hooks(alarm_ping=f"http://{listener.host}/secret-uuid").tell(raised())
    eventually(lambda: "alarm_ping did not hear of alarm" in caplog.text)
    assert "127.0.0.1 answered 503" in caplog.text and "secret-uuid" not in caplog.text


def test_of_many_processes_one_tells(process: Process, listener: Listener, database: Database) -> None:
    many = [process.with_hooks(alarm_ping=f"http://{listener.host}/x") for _ in range(8)]
    for one in many:
        one.tell(raised())
    eventually(lambda: states(database) == [("silence", True, False)])
    for one in many:
        one.stop()
    assert len(listener.heard) == 1


def test_a_fault_of_a_hook_is_told_and_the_rest_goes_on(
    process: Process, listener: Listener, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def tell(self, *_: object) -> None:
            raise RuntimeError("an error of ours")

        def alive(self) -> None: ...

    hooks: dict[str, Any] = {
        "broken": Broken(),
        **hooks_of(load({"alarm_ping": f"http://{listener.host}/x"}, environ={}), {}),
    }
    alarming = process.of(hooks)
    alarming.tell(raised())
    eventually(lambda: "alarms have to wait: RuntimeError: an error of ours" in caplog.text)
    hooks["broken"].tell = lambda *_: None
    database.session.conn.execute("UPDATE pqclock.alarm SET telling_at = telling_at - interval '61 seconds'")
    alarming.tell(Told("silence", "lasts", 60.0, "no clock leads"))
    eventually(lambda: states(database) == [("silence", True, False)])


def test_of_very_many_most_are_told_in_one_sentence_each_minute(
    process: Process, listener: Listener, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarming_module, "LOOK_EVERY", 0.05)
    for number in range(200):
        alarms.begin(database.session, "missed", f"s{number}", f"no run of {number}")
    alarming = process.with_hooks(alarm_ping=f"http://{listener.host}/x")
    alarming.lead(True)
    eventually(lambda: len(listener.heard) == 21)
    assert listener.heard[-1][1].startswith("and 180 more alarms, the first of them: no run of 20; see")
    alarms.begin(database.session, "missed", "one more", "one more")
    looked, looks = alarms.look, []

    def look(*given: Any) -> alarms.Look:
        looks.append(1)
        return looked(*given)

    monkeypatch.setattr(alarms, "look", look)
    eventually(lambda: len(looks) > 3)
    alarming.stop()
    assert len(listener.heard) == 21


def test_what_is_told_in_one_sentence_is_told_again_until_somebody_hears_it(
    process: Process, listener: Listener, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    paged = "SELECT count(*) FROM pqclock.job WHERE task = 'ops.page'"
    listener.status = 503
    for number in range(50):
        alarms.begin(database.session, "missed", f"s{number}", f"no run of {number}")
    first = process.with_hooks(alarm_ping=f"http://{listener.host}/x", alarm_task="ops.page")
    first.stand_in()
    eventually(lambda: caplog.text.count("alarm_ping did not hear") == 21)
    first.stop()
    assert database.value(paged) == 21
    listener.status, listener.heard = 200, []
    database.session.conn.execute("UPDATE pqclock.alarm SET telling_at = telling_at - interval '61 seconds'")
    process.with_hooks(alarm_ping=f"http://{listener.host}/x", alarm_task="ops.page").stand_in()
    eventually(lambda: all(heard for _, heard, _ in states(database)))
    assert len(listener.heard) == 21
    assert listener.heard[-1][1].startswith("and 30 more alarms, the first of them: no run of 20; see")
    # The task has heard all of it before.
    assert database.value(paged) == 21


def test_a_slow_hook_keeps_no_news_from_those_who_could_tell_it(
    process: Process, listener: Listener, database: Database
) -> None:
    held, go_on = threading.Event(), threading.Event()

    class Slow:
        def tell(self, *_: object) -> None:
            held.set()
            go_on.wait(10)

        def alive(self) -> None: ...

    for subject in ("a", "b"):
        alarms.begin(database.session, "missed", subject, subject)
    process.of({"slow": Slow()}).stand_in()
    assert held.wait(10)
    process.with_hooks(alarm_ping=f"http://{listener.host}/x").stand_in()
    try:
        eventually(lambda: listener.heard == [("/x/fail", "b")])
    finally:
        go_on.set()
    eventually(lambda: all(heard for _, heard, _ in states(database)))
    assert len(listener.heard) == 1


def test_without_hooks_it_is_written_down_for_others(process: Process, listener: Listener, database: Database) -> None:
    process.of({}).tell(raised())
    eventually(lambda: states(database) == [("silence", False, False)])
    other = process.with_hooks(alarm_ping=f"http://{listener.host}/x")
    other.stand_in()
    eventually(lambda: states(database) == [("silence", True, False)])


def test_a_new_leader_judges_when_what_waited_has_had_time_to_begin(
    process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarming_module, "LOOK_EVERY", 0.05)
    looked, judged_queues = alarms.look, alarms.judge_queues
    looks: list[int] = []
    judged: list[int] = []

    def look(*given: Any) -> alarms.Look:
        looks.append(1)
        return looked(*given)

    def judge_queues(*given: Any) -> list[alarms.Change]:
        judged.append(1)
        return judged_queues(*given)

    monkeypatch.setattr(alarms, "look", look)
    monkeypatch.setattr(alarms, "judge_queues", judge_queues)
    process.of({}).lead(True)
    eventually(lambda: len(looks) > 3)
    assert not judged
    monkeypatch.setattr(alarming_module, "SETTLES_WITHIN", 0.1)
    process.of({}).lead(True)
    eventually(lambda: judged)


def test_a_new_leader_ends_the_silence_that_others_have_found(process: Process, database: Database) -> None:
    alarms.begin(database.session, "silence", "", "nobody")
    alarms.begin(database.session, "ledger", "", "late")
    deputy = process.of({})
    deputy.tell(Told("silence", "lasts", 60.0, "nobody"))
    deputy.stand_in()
    deputy.stop()
    assert len(alarms.open_alarms(database.session)) == 2
    process.of({}).lead(True)
    eventually(lambda: not alarms.open_alarms(database.session))


@pytest.mark.parametrize(
    ("name", "value", "environ", "words"),
    [
        ("alarm_ping", "ftp://x/y", {}, "use an http or https URL"),
        ("alarm_ping", "hc-ping.com/x", {}, "use an http or https URL"),
        ("alarm_command", "'open", {}, "No closing quotation"),
        ("alarm_task", "no task", {}, "the name of a task"),
        ("alarm_sentry", "Big Slug", {}, "up to 50 of a-z"),
        ("alarm_sentry", "clock", {}, "--alarm-sentry: the monitor needs SENTRY_DSN, as https://KEY@HOST/PROJECT"),
        ("alarm_sentry", "clock", {"SENTRY_DSN": "https://sentry.io/42"}, "needs SENTRY_DSN"),
    ],
)
def test_settings_that_reach_nobody_are_refused(name: str, value: str, environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        hooks_of(load({name: value}, environ={}), environ)
    assert words in str(caught.value) and "ftp://x/y" not in str(caught.value)
