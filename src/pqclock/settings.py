"""Settings: flag, then environment (`PQCLOCK_*`), then file, then default; all faults of all sources at once.

The fields of `Settings` are the one table: each carries how it is read, what is allowed and what it means.
The flags of the command, the variables, the keys of the file and their checks come from there. The file is
`[tool.pqclock]` of `pyproject.toml`, or `pqclock.toml` with the same keys at its top, in the current folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from pqclock.errors import SettingsError
from pqclock.rules.addresses import check_database_url
from pqclock.setting_files import Given, from_files, nearest
from pqclock.setting_values import (
    read_command,
    read_count,
    read_dashboard,
    read_duration,
    read_endpoint,
    read_keep,
    read_limit,
    read_memory,
    read_names,
    read_paths,
    read_pools,
    read_switch,
    read_text,
    read_token,
    read_url,
)  # fmt: skip

PREFIX = "PQCLOCK_"
LOG_FORMATS = ("auto", "text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_SCHEMA = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,39}", re.ASCII)
_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_TASK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}", re.ASCII)
_SLUG = re.compile(r"[a-z0-9_-]{1,50}", re.ASCII)
_APP = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
# So alike that a letter or two were missed, and not another word put in (PQCLOCK_TEST_DATABASE_URL is no slip).
_MISSPELT = 0.92


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting: `read` makes the value of what a source gives, or raises ValueError (bare: say `allowed`)."""

    read: Callable[[object], object]
    allowed: str
    help: str
    metavar: str
    secret: bool = False
    switch: bool = False


def _setting(default: Any, spec: Spec) -> Any:
    return field(default=default, repr=not spec.secret, metadata={"spec": spec})


def _matching(pattern: re.Pattern[str]) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = read_text(value)
        if pattern.fullmatch(text) is None:
            raise ValueError
        return text

    return read


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = read_text(value).lower()
        if text not in words:
            raise ValueError
        return text

    return read


_ADDRESS = "an address such as postgresql://user:password@host:5432/database"
_DURATION = "a duration such as 500ms, 25s or 1m30s, in quotes in a file"
_ENDPOINT = "HOST:PORT such as 127.0.0.1:8081, or :8081 for all addresses of the machine"
_TOKEN = "a secret of 16 characters or more, without spaces"  # noqa: S105
_SCHEMA_WORDS = "up to 40 of a-z, 0-9 and _, not beginning with a digit or pg_"
_SET_WORDS = "up to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit"
_PATH_WORDS = f"paths of files and folders, parted by '{os.pathsep}' (a list in a file)"
_SLUG_WORDS = "up to 50 of a-z, 0-9, - and _"
_STOP_TIMEOUT = timedelta(seconds=25)
_WAIT = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a process of pqclock runs with; `origins` tells where each value that is no default came from."""

    database_url: str | None = _setting(
        None, Spec(check_database_url, _ADDRESS, "The PostgreSQL to use.", "URL", secret=True)
    )
    clock_database_url: str | None = _setting(
        None, Spec(check_database_url, _ADDRESS, "The clock's direct address, past a pooler.", "URL", secret=True)
    )
    allow_session_pooler: bool = _setting(
        False, Spec(read_switch, "true or false", "Let the clock use a session pooler.", "true|false", switch=True)
    )
    schema: str = _setting(
        "pqclock", Spec(_matching(_SCHEMA), _SCHEMA_WORDS, "The schema that holds the tables.", "NAME")
    )
    set: str = _setting("default", Spec(_matching(_SET), _SET_WORDS, "The set that the files make.", "NAME"))
    schedules: tuple[str, ...] = _setting(
        ("schedules",), Spec(read_paths, _PATH_WORDS, "The schedule files, and folders of them.", "PATH")
    )
    watch: bool = _setting(
        False,
        Spec(read_switch, "true or false", "Apply the schedule files when they change.", "true|false", switch=True),
    )
    app: str | None = _setting(
        None,
        Spec(_matching(_APP), "a module and the name of its App, such as shop.jobs:app", "Where the tasks are.", "APP"),
    )
    queues: str = _setting(
        "*:10", Spec(read_pools, "pools such as '*:10' or 'mice:2;elephants:1'", "The pools of executors.", "POOLS")
    )
    processes: int = _setting(1, Spec(read_count, "a whole number from 1 to 64", "How many worker processes.", "N"))
    keep: str = _setting(
        "succeeded:7d;failed:30d;cancelled:14d;discarded:14d;ticks:90d",
        Spec(
            read_keep,
            "'succeeded:7d;failed:30d' or a table of them",
            "How long finished jobs and ticks are kept.",
            "KEEP",
        ),
    )
    max_jobs: int | None = _setting(
        None, Spec(read_limit, "a whole number above 0", "A worker process is replaced after so many jobs.", "N")
    )
    max_memory: int | None = _setting(
        None,
        Spec(read_memory, "a size from 64MB, such as 1GB", "A worker process is replaced when it has so much.", "SIZE"),
    )
    poll_only: bool = _setting(
        False, Spec(read_switch, "true or false", "Workers look for jobs without listening.", "true|false", switch=True)
    )
    stop_timeout: timedelta = _setting(  # noqa: RUF009
        _STOP_TIMEOUT, Spec(read_duration, _DURATION, "How long running jobs may go on at a shutdown.", "T")
    )
    health: str | None = _setting(
        None, Spec(read_endpoint, _ENDPOINT, "Where /livez and /readyz are served.", "HOST:PORT")
    )
    health_hosts: tuple[str, ...] = _setting(
        (), Spec(read_names, "names of hosts, parted by commas", "Public names by which health is asked for.", "NAME")
    )
    alarm_task: str | None = _setting(
        None, Spec(_matching(_TASK), "the name of a task", "A task that is enqueued for each alarm.", "TASK")
    )
    alarm_command: str | None = _setting(
        None,
        Spec(
            read_command,
            "a program and its arguments as one text, quoted as for a shell",
            "A program that is run for each alarm, and its arguments, quoted as for a shell.",
            "COMMAND",
        ),
    )
    alarm_ping: str | None = _setting(
        None,
        Spec(read_url, "an http or https URL", "A check of healthchecks that hears of alarms.", "URL", secret=True),
    )
    alarm_sentry: str | None = _setting(
        None, Spec(_matching(_SLUG), _SLUG_WORDS, "A Sentry monitor that hears of alarms, by SENTRY_DSN.", "SLUG")
    )
    web: str = _setting(
        "127.0.0.1:8484", Spec(read_dashboard, f"{_ENDPOINT}, or off", "Where the dashboard is served.", "HOST:PORT")
    )
    web_token: str | None = _setting(None, Spec(read_token, _TOKEN, "Who has it may act.", "SECRET", secret=True))
    web_view_token: str | None = _setting(None, Spec(read_token, _TOKEN, "Who has it may look.", "SECRET", secret=True))
    web_hosts: tuple[str, ...] = _setting(
        (), Spec(read_names, "names of hosts, parted by commas", "Names by which the dashboard is called.", "NAME")
    )
    web_read_only: bool = _setting(
        False, Spec(read_switch, "true or false", "Nobody acts from the dashboard.", "true|false", switch=True)
    )
    web_args: tuple[str, ...] = _setting(
        (), Spec(read_names, "names parted by commas, * for all", "Arguments of jobs whose values may show.", "NAME")
    )
    wait: timedelta = _setting(  # noqa: RUF009
        _WAIT, Spec(read_duration, _DURATION, "How long a role waits for its first connection.", "T")
    )
    log_format: str = _setting(
        "auto",
        Spec(_one_of(LOG_FORMATS), ", ".join(LOG_FORMATS), "Text or JSON lines; auto: text on a terminal.", "FORMAT"),
    )
    log_level: str = _setting(
        "info", Spec(_one_of(LOG_LEVELS), ", ".join(LOG_LEVELS), "The least grave messages to show.", "LEVEL")
    )
    folder: str = _setting(
        ".pqclock", Spec(read_text, "the path of a folder", "The folder of the embedded server.", "PATH")
    )
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        """Where the value of a setting came from: a flag, a variable, `file:key`, or `default`."""
        return self.origins.get(name, "default")

    def is_set(self, name: str) -> bool:
        """Whether somebody gave this value, even if it equals the default."""
        return name in self.origins


SPECS: Mapping[str, Spec] = {
    entry.name: entry.metadata["spec"] for entry in fields(Settings) if "spec" in entry.metadata
}


def flag(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def load(
    flags: Mapping[str, object] | None = None, *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """Read all sources; a flag that is None or empty of values was not given.

    Raises SettingsError with all faults of all sources, also of values that a stronger source covers.
    """
    faults: list[str] = []
    sources = [
        *_from_flags(flags or {}),
        *_from_environment(os.environ if environ is None else environ, faults),
        *from_files(Path() if folder is None else folder, SPECS, faults),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, value, origin in sources:
        read = _read(name, value, origin, faults)
        if name not in origins:
            values[name], origins[name] = read, origin
    if faults:
        raise SettingsError(faults)
    return Settings(**values, origins=origins)


def _read(name: str, value: object, origin: str, faults: list[str]) -> object:
    spec = SPECS[name]
    try:
        return spec.read(value)
    except ValueError as error:
        reason = str(error)
        if not reason:
            shown = "the value" if spec.secret else f"{value!r:.60}"
            reason = f"{shown} is not allowed: use {spec.allowed}"
        faults.append(f"{origin}: {reason}")
        return None


def _from_flags(flags: Mapping[str, object]) -> Iterator[Given]:
    for name, value in flags.items():
        if value is not None and value != ():
            yield name, value, flag(name)


def _from_environment(environ: Mapping[str, str], faults: list[str]) -> Iterator[Given]:
    known = {variable(name): name for name in SPECS}
    for key in sorted(environ):
        # A variable set to nothing is how compose files and shells say "not set".
        if key in known and environ[key]:
            yield known[key], environ[key], key
        elif key.startswith(PREFIX) and key not in known:
            # Others use the prefix too, as Kubernetes for a service of this name: a fault is what looks misspelt.
            suggestion = nearest(key, known, _MISSPELT)
            if suggestion:
                faults.append(f"{key} is not a setting: did you mean {suggestion}?")
