"""What the command says when it is used wrongly, or when the database is not as it should be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from pqclock import __version__
from pqclock.cli.root import ENTRIES
from pqclock.embedded import erase, start
from pqclock.store import migrate

Command = Callable[..., Any]

# Roles are built beside this floor and loaded by the same table.
LOADED = [name for name, entry in ENTRIES.items() if not entry.place.startswith("pqclock.cli.roles:")]


def leaves() -> Iterator[tuple[str, click.Command]]:
    for name in LOADED:
        module, _, attribute = ENTRIES[name].place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, click.Group):
            yield from ((f"{name} {verb}", leaf) for verb, leaf in found.commands.items())
        else:
            yield name, found


def test_version(command: Command) -> None:
    assert command("--version").out == f"pqclock {__version__}\n"


@pytest.mark.parametrize("name", LOADED)
def test_every_command_has_help_with_codes(name: str, command: Command) -> None:
    done = command(name, "--help")
    assert done.code == 0
    assert "Exit codes: 0 done" in " ".join(done.out.split())


def test_every_leaf_has_an_example_and_names_its_variables(command: Command) -> None:
    for path, leaf in leaves():
        text = command(*path.split(), "-h").out
        assert "Example" in text and f"pqclock {path.removesuffix(' list').removesuffix(' show')}" in text, path
        for param in leaf.params:
            if param.name in ("database_url", "schema"):
                assert f"PQCLOCK_{param.name.upper()}" in re.sub(r"\s+", "", text)
        assert {"--json", "--debug"} <= {option for param in leaf.params for option in param.opts}


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["jbos"], "No such command 'jbos'. Did you mean 'jobs'?\nTry 'pqclock --help'."),
        (["jobs", "shw"], "Did you mean 'show'?\nTry 'pqclock jobs --help'."),
        (["jobs", "--quue", "x"], "Did you mean '--queue'?\nTry 'pqclock jobs list --help'."),
        (["jobs", "--state", "lost"], "'lost' is not one of 'scheduled', 'ready'"),
        (["jobs", "--limit", "0"], "0 is not in the range 1<=x<=1000"),
        (["jobs", "--cursor", "x"], "'x' is no cursor of jobs"),
        (["processes", "--cursor", "-"], "'-' is no cursor of processes"),
        (["jobs", "--queue", "a\0b"], "holds characters that the database cannot have"),
        (["jobs", "--task", "\udcff"], "holds characters that the database cannot have"),
        (["jobs", "show", "x"], "'x' is none: a job id is a whole number, such as 4711"),
        (["jobs", "show"], "Missing argument 'JOB'"),
        (["migrate", "--sql", "--check"], "--sql and --check do not go together"),
    ],
)
def test_wrong_usage(args: list[str], part: str, command: Command) -> None:
    done = command(*args, PQCLOCK_DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("pqclock: error: ")
    assert part in done.err
    as_json = command(*args, "--json")
    assert as_json.code == 2
    assert as_json.json["error"]["code"] == "usage"
    assert as_json.json["error"]["where"].startswith("pqclock")


def test_switches_may_stand_before_the_command(command: Command) -> None:
    assert "Traceback" in command("--json", "--debug", "jobs", "--limit", "1").err
    assert command("--json", "jobs", "list").json["error"]["code"] == "settings"


def test_faults_of_settings_come_together(command: Command) -> None:
    Path("pqclock.toml").write_text("nonsense = 1\n")
    done = command("jobs", "--schema", "Bad", "--json", PQCLOCK_PROCESSES="0")
    assert done.code == 2
    assert done.json["error"]["code"] == "settings"
    assert done.json["error"]["message"].count("\n") == 2
    assert "--schema: 'Bad' is not allowed" in done.err and "PQCLOCK_PROCESSES" in done.err


def test_no_address(command: Command) -> None:
    done = command("jobs")
    assert done.code == 2
    assert done.err.startswith("pqclock: error: no database address: set PQCLOCK_DATABASE_URL")


def test_a_database_out_of_reach(command: Command) -> None:
    done = command("jobs", "--database-url", "postgresql://a:secret@127.0.0.1:1/none", "--json")
    assert done.code == 3
    assert done.json["error"]["code"] == "database_unreachable"
    assert "secret" not in done.out + done.err and "Traceback" not in done.err
    assert "Traceback" in command("jobs", "--database-url", "postgresql://127.0.0.1:1/none", "--debug").err


def test_a_schema_that_is_missing_old_or_too_new(database: Any, command: Command) -> None:
    asked = ("jobs", "--database-url", database.url)
    done = command(*asked, "--schema", "elsewhere", "--json")
    assert (done.code, done.json["error"]["code"]) == (4, "refused")
    assert "run `pqclock migrate`" in done.err
    newest = migrate.expected_version()
    database.session.conn.execute(
        "UPDATE pqclock.migration SET number = 9999, serves_from = 9999 WHERE number = %s", [newest]
    )
    done = command(*asked)
    assert done.code == 4 and "too new for this pqclock" in done.err
    assert command("migrate", "--check", "--database-url", database.url).code in (1, 4)
    database.session.conn.execute("DELETE FROM pqclock.migration WHERE number = 9999")
    done = command(*asked)
    assert done.code == 4 and "run `pqclock migrate`" in done.err


def test_migrate(database: Any, command: Command) -> None:
    asked = ("migrate", "--database-url", database.url, "--schema", "second")
    last = migrate.migrations()[-1]
    assert command(*asked, "--check").code == 1
    found = command(*asked, "--json").json["migrations"]
    assert found[-1] == {"number": last.number, "name": last.name, "applied": True}
    assert command(*asked, "--check").code == 0
    assert command(*asked).err == "schema 'second' is up to date\n"
    assert command("jobs", "--database-url", database.url, "--schema", "second").code == 0


def test_the_printed_sql_makes_the_same_schema(database: Any, command: Command) -> None:
    sql = command("migrate", "--sql", "--schema", "printed").out
    assert sql == command("migrate", "--sql", "--schema", "printed").out
    database.session.conn.execute(sql.encode())
    assert command("migrate", "--check", "--schema", "printed", "--database-url", database.url).code == 0


def test_what_postgresql_refuses_is_one_sentence(database: Any, command: Command) -> None:
    database.session.conn.execute("DROP VIEW pqclock.queues")
    done = command("queues", "--database-url", database.url, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "database")
    assert done.err.startswith("pqclock: error: PostgreSQL refused: UndefinedTable")
    assert "Traceback" not in done.err


def test_a_fault_of_our_own_is_one_sentence(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    def broken(*_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("pqclock.rules.files.json_schema", broken)
    done = command("schema")
    assert done.code == 1
    assert done.err == "pqclock: error: a fault of pqclock itself, KeyError: 'bug': see --debug, and please report it\n"
    assert "Traceback" in command("schema", "--debug").err


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pqclock.rules.files.json_schema", interrupted)
    done = command("schema")
    assert (done.code, done.err) == (130, "")


def test_the_embedded_server_is_joined_and_migrated_by_itself(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / ".pqclock"
    try:
        with start(folder, durable=False):
            assert command("jobs", "--json").json["jobs"] == []
            assert command("migrate", "--check").code == 0
    finally:
        erase(folder)
