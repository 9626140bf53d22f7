"""Settings: which source wins, where a value came from, and all faults at once."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from pathlib import Path

import pytest

from pqclock.errors import SettingsError
from pqclock.settings import SPECS, Settings, flag, load, variable

URL = "postgresql://alice:secret@db.example:5433/shop"


def faults_of(folder: Path, flags: dict[str, object] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ=environ or {}, folder=folder)
    return list(caught.value.faults)


def test_every_field_has_a_spec_and_a_default_that_its_own_reader_takes() -> None:
    settings = Settings()
    assert {entry.name for entry in fields(Settings)} == {*SPECS, "origins"}
    for name, spec in SPECS.items():
        default = getattr(settings, name)
        assert default in (None, ()) or spec.read(default) == default
        assert spec.help.endswith(".") and spec.allowed and spec.metavar


def test_without_sources_all_values_are_defaults(tmp_path: Path) -> None:
    settings = load(environ={}, folder=tmp_path)
    assert settings == Settings()
    assert settings.schedules == ("schedules",)
    assert settings.stop_timeout == timedelta(seconds=25)
    assert settings.origin("schema") == "default"
    assert not settings.is_set("schema")


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "pqclock.toml").write_text('schema = "file"\nset = "file"\nprocesses = 3\n')
    environ = {"PQCLOCK_SCHEMA": "env", "PQCLOCK_SET": "env"}
    settings = load({"schema": "flag", "set": None}, environ=environ, folder=tmp_path)
    assert (settings.schema, settings.set, settings.processes, settings.queues) == ("flag", "env", 3, "*:10")
    origins = [settings.origin(name) for name in ("schema", "set", "processes", "queues")]
    assert origins == ["--schema", "PQCLOCK_SET", "pqclock.toml:processes", "default"]


def test_a_value_that_equals_the_default_is_set_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "pqclock.toml").write_text('schema = "file"\n')
    settings = load(environ={"PQCLOCK_SCHEMA": "pqclock"}, folder=tmp_path)
    assert settings.schema == "pqclock"
    assert settings.is_set("schema")


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_setting_has_flag_and_variable(name: str, tmp_path: Path) -> None:
    texts = {
        "database_url": URL, "clock_database_url": "host=db user=alice", "schedules": "a.toml", "app": "shop.jobs:app",
        "queues": "mice:2;elephants:1", "processes": "4", "stop_timeout": "1m", "keep": "failed:60d", "wait": "500ms",
        "log_format": "JSON", "log_level": "DEBUG", "watch": "Yes", "allow_session_pooler": "yes",
        "health": ":8081", "web": "off", "web_token": "0123456789abcdef", "web_view_token": "fedcba9876543210",
        "web_read_only": "true", "max_jobs": "1000", "alarm_ping": "https://hc.example/x",
        "max_memory": "500 MB", "poll_only": "on",
    }  # fmt: skip
    text = texts.get(name, "other")
    by_flag = load({name: text}, environ={}, folder=tmp_path)
    by_variable = load(environ={variable(name): text}, folder=tmp_path)
    assert getattr(by_flag, name) == getattr(by_variable, name) != getattr(Settings(), name)
    assert (by_flag.origin(name), by_variable.origin(name)) == (flag(name), variable(name))


def test_pyproject_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname="x"\n[tool.pqclock]\nschedules = ["a", "b.toml"]\nwait="5s"\n'
    )
    settings = load(environ={}, folder=tmp_path)
    assert settings.schedules == ("a", "b.toml")
    assert settings.origin("wait") == "pyproject.toml:tool.pqclock.wait"


def test_an_empty_variable_is_not_set_but_an_empty_flag_is_a_fault(tmp_path: Path) -> None:
    assert load(environ={"PQCLOCK_SCHEMA": ""}, folder=tmp_path).origin("schema") == "default"
    assert faults_of(tmp_path, {"schema": ""})[0].startswith("--schema: '' is not allowed: use up to 40")


def test_all_faults_of_all_sources_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "pqclock.toml").write_text('processes = "many"\nquues = "*:1"\nwait = 30\nset = "fine"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.pqclock]\nlog_level = "loud"\n')
    faults = faults_of(
        tmp_path,
        {"schema": "Bad-Name", "app": "shop.jobs", "queues": "a:0"},
        {"PQCLOCK_STOP_TIMEOUT": "soon", "PQCLOCK_DATABSE_URL": "x", "PQCLOCK_SCHEMA": "pg_temp"},
    )
    told = "\n".join(faults)
    for part in (
        "--schema: 'Bad-Name' is not allowed: use up to 40 of a-z",
        "--app: 'shop.jobs' is not allowed: use a module and the name of its App, such as shop.jobs:app",
        "--queues: pool 'a:0' has the size '0'",
        "PQCLOCK_STOP_TIMEOUT: 'soon' is not a duration: write for example",
        "PQCLOCK_DATABSE_URL is not a setting: did you mean PQCLOCK_DATABASE_URL?",
        "PQCLOCK_SCHEMA: 'pg_temp' is not allowed",
        "pqclock.toml:processes: 'many' is not allowed: use a whole number from 1 to 64",
        "pqclock.toml:'quues' is not a setting: did you mean queues?",
        "pqclock.toml:wait: 30 is not allowed: use a duration",
        "pyproject.toml:tool.pqclock.log_level: 'loud' is not allowed: use debug, info",
        "both hold settings: keep one of them",
    ):
        assert part in told
    assert len(faults) == 11


def test_variables_of_others_with_our_prefix_are_left_alone(tmp_path: Path) -> None:
    others = {"PQCLOCK_SERVICE_HOST": "10.0.0.1", "PQCLOCK_PORT": "tcp://10.0.0.1:80", "PQCLOCK_PG_BIN": "/usr/bin"}
    others["PQCLOCK_TEST_DATABASE_URL"] = "anything"
    assert load(environ=others, folder=tmp_path) == Settings()


@pytest.mark.parametrize(
    "address",
    [
        "mysql://alice:secret@db/x",
        "alice:secret@db/x",
        "postgresql://alice:se%cret@db/x",
        "secret",
        "host=x\nport=secret",
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(address: str, tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, {"database_url": address})
    assert fault.startswith("--database-url: ")
    assert "cret" not in fault


def test_the_address_does_not_show_in_the_repr(tmp_path: Path) -> None:
    assert "secret" not in repr(load({"database_url": URL}, environ={}, folder=tmp_path))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"schema = ", "pqclock.toml is not TOML"),
        (b"\xff\xfe", "pqclock.toml is not TOML"),
        (b"[schema]\nx = 1\n", "pqclock.toml:schema: {'x': 1} is not allowed"),
        (b"processes = true\n", "pqclock.toml:processes: True is not allowed"),
        (b"schedules = [1]\n", "pqclock.toml:schedules: [1] is not allowed"),
        (b"watch = 1\n", "pqclock.toml:watch: 1 is not allowed: use true or false"),
        (b"watch = [true]\n", "pqclock.toml:watch: [True] is not allowed: use true or false"),
        (b"nonsense = 1\n", "pqclock.toml:'nonsense' is not a setting: there are database_url"),
    ],
)
def test_faults_of_a_file(content: bytes, part: str, tmp_path: Path) -> None:
    (tmp_path / "pqclock.toml").write_bytes(content)
    assert part in faults_of(tmp_path)[0]


def test_a_folder_in_place_of_the_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "pqclock.toml").mkdir()
    assert "pqclock.toml is not a file" in faults_of(tmp_path)[0]


def test_tool_pqclock_must_be_a_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\npqclock = 3\n")
    assert faults_of(tmp_path) == ["pyproject.toml:tool.pqclock: 3 is not allowed: use a table, [tool.pqclock]"]


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().schema = "other"  # type: ignore[misc]


@pytest.mark.parametrize("password", ["p@ss", "p@ss/w#rd", "a/b@c", "x#y"])
def test_a_password_that_takes_the_address_apart_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(SettingsError, match="%40") as refused:
        load({"database_url": f"postgresql://me:{password}@127.0.0.1:5432/shop"}, environ={})
    assert password not in str(refused.value)


@pytest.mark.parametrize(("given", "read"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)])
def test_a_switch_is_read_in_the_words_of_shells(tmp_path: Path, given: str, read: bool) -> None:
    settings = load(environ={"PQCLOCK_ALLOW_SESSION_POOLER": given}, folder=tmp_path)
    assert settings.allow_session_pooler is read


def test_a_switch_is_a_flag_a_variable_and_a_truth_value_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "pqclock.toml").write_text("allow_session_pooler = true\n")
    assert load(environ={}, folder=tmp_path).allow_session_pooler
    assert not load(environ={"PQCLOCK_ALLOW_SESSION_POOLER": "false"}, folder=tmp_path).allow_session_pooler
    assert load({"allow_session_pooler": True}, environ={}, folder=tmp_path).allow_session_pooler
    (fault,) = faults_of(tmp_path, environ={"PQCLOCK_ALLOW_SESSION_POOLER": "maybe"})
    assert fault == "PQCLOCK_ALLOW_SESSION_POOLER: 'maybe' is not allowed: use true or false"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500_000_000),
        ("1.5GB", None),
        ("2 g", 2_000_000_000),
        ("64000000", 64_000_000),
        ("500", None),
        ("MB", None),
    ],
)
def test_sizes_are_whole_numbers_with_a_unit(text: str, size: int | None, tmp_path: Path) -> None:
    if size is not None:
        assert load({"max_memory": text}, environ={}, folder=tmp_path).max_memory == size
        return
    with pytest.raises(SettingsError, match="a size from 64MB, such as 1GB"):
        load({"max_memory": text}, environ={}, folder=tmp_path)
