"""Who is told of alarms: a task, a program, a check of healthchecks, a monitor of Sentry.

Each hook raises when it could not tell; it is tried again. A hook that worked may be tried again too, after a crash: whoever
hears of the same alarm twice knows it by its id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from pqclock.errors import PqclockError, SettingsError
from pqclock.rules.promises import over_words
from pqclock.settings import Settings
from pqclock.store import alarms, jobs
from pqclock.store.alarms import Untold
from pqclock.store.database import Session
from pqclock.store.jobs import NewJob

COMMAND_WITHIN = 30.0
PING_WITHIN = 5.0
# How often a leader says that all is well, where somebody wants to hear it.
ALIVE_EVERY = 60.0


class NotTold(Exception):
    """A hook could not tell."""


class Hook(Protocol):
    """One of those who are told."""

    def tell(self, news: Untold, session: Session) -> None:
        """Tell of an alarm that was raised or is over. Raises NotTold."""

    def alive(self) -> None:
        """A leader beats, and no alarm is open. Raises NotTold."""


def hooks_of(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, Hook]:
    """The hooks that the settings name, by their settings. Raises SettingsError for a monitor without an address."""
    found: dict[str, Hook] = {}
    if settings.alarm_task is not None:
        found["alarm_task"] = TaskHook(settings.alarm_task)
    if settings.alarm_command is not None:
        found["alarm_command"] = CommandHook(settings.alarm_command)
    if settings.alarm_ping is not None:
        found["alarm_ping"] = PingHook(settings.alarm_ping)
    if settings.alarm_sentry is not None:
        dsn = (os.environ if environ is None else environ).get("SENTRY_DSN", "")
        found["alarm_sentry"] = SentryHook(check_in_url(dsn, settings), settings.alarm_sentry)
    return found


def said(news: Untold) -> str:
    """What is wrong, or that it is over."""
    return news.message if news.ended_at is None else over_words(news.message, news.ended_at - news.raised_at)


def described(news: Untold) -> dict[str, Any]:
    """An alarm as its hooks get it; `ended_at` is null while it is open."""
    state = "raised" if news.ended_at is None else "over"
    return {
        "id": news.id, "kind": news.kind, "subject": news.subject, "state": state, "message": said(news),
        "raised_at": _text(news.raised_at), "ended_at": _text(news.ended_at),
    }  # fmt: skip


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class TaskHook:
    """A job of a task, with the alarm as its argument `alarm`; one for each piece of news."""

    task: str

    def tell(self, news: Untold, session: Session) -> None:
        """Enqueue it."""
        told = described(news)
        unique = {
            "key": f"pqclock.alarm:{news.kind}:{news.id}:{told['state']}:{told['raised_at']}",
            "until": "1d",
            "on_conflict": "skip",
        }
        job = NewJob(self.task, json.dumps({"alarm": told}), options=json.dumps({"unique": unique}))
        try:
            jobs.enter(session, [job])
        except PqclockError as error:
            raise NotTold(str(error)) from None

    def alive(self) -> None:
        """Nobody needs a job for that."""


@dataclass(frozen=True, slots=True)
class CommandHook:
    """A program that gets the alarm as JSON on its standard input and as PQCLOCK_ALARM_... in its environment."""

    command: str

    def fault(self) -> str | None:
        """Why it could not be run here, as far as that can be seen."""
        import shlex
        import shutil

        program = shlex.split(self.command)[0]
        if shutil.which(program) is not None:
            return None
        return f"alarm_command: there is no program {program!r:.100} that can be run here: give its path, and make it executable"

    def tell(self, news: Untold, session: Session) -> None:  # noqa: ARG002
        """Run it; a code that is not 0 is a failure."""
        import shlex
        import subprocess

        told = described(news)
        fields = {f"PQCLOCK_ALARM_{name.upper()}": str(value or "") for name, value in told.items()}
        try:
            done = subprocess.run(
                shlex.split(self.command), input=json.dumps(told).encode(), env={**os.environ, **fields},
                capture_output=True, timeout=COMMAND_WITHIN, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotTold(f"{self.command!r:.100} took longer than {COMMAND_WITHIN:.0f} s") from None
        except (OSError, ValueError) as error:
            raise NotTold(f"{self.command!r:.100} cannot be run: {error}") from None
        if done.returncode != 0:
            words = " ".join(done.stderr.decode(errors="replace").split())
            raise NotTold(f"{self.command!r:.100} ended with code {done.returncode}: {words[-200:]}")

    def alive(self) -> None:
        """Nobody needs a program for that."""


@dataclass(frozen=True, slots=True)
class PingHook:
    """A check of healthchecks: `/fail` while something is wrong, and a ping each minute while nothing is.

    The end of one alarm beside others is but a line in its log.
    """

    url: str

    def tell(self, news: Untold, session: Session) -> None:
        """Ping it."""
        endpoint = "/fail" if news.ended_at is None else "/log" if alarms.look(session).open else ""
        parts = urlsplit(self.url)
        url = parts._replace(path=parts.path.rstrip("/") + endpoint).geturl() if endpoint else self.url
        _post(url, said(news).encode(), "text/plain; charset=utf-8")

    def alive(self) -> None:
        """Say so: when nobody does, the check raises the alarm."""
        _post(self.url, b"", "text/plain")


@dataclass(frozen=True, slots=True)
class SentryHook:
    """A monitor of Sentry: a check-in each minute, with `error` while something is wrong."""

    url: str
    slug: str

    def tell(self, news: Untold, session: Session) -> None:
        """Check in; the end of one alarm beside others is none of a monitor's states."""
        if news.ended_at is None:
            self._check_in("error")
        elif not alarms.look(session).open:
            self._check_in("ok")

    def alive(self) -> None:
        """Say so: when nobody does, the monitor raises the alarm."""
        self._check_in("ok")

    def _check_in(self, status: str) -> None:
        schedule = {"type": "interval", "value": 1, "unit": "minute"}
        config = {"schedule": schedule, "checkin_margin": 5, "max_runtime": 5}
        body = json.dumps({"monitor_config": config, "status": status}).encode()
        _post(self.url.replace("{slug}", self.slug), body, "application/json")


def check_in_url(dsn: str, settings: Settings) -> str:
    """Where check-ins go by HTTP for a DSN, with `{slug}` for the monitor."""
    parts = urlsplit(dsn)
    before, _, project = parts.path.rpartition("/")
    if parts.scheme not in ("http", "https") or not parts.username or not parts.hostname or not project.isdigit():
        raise SettingsError(
            [f"{settings.origin('alarm_sentry')}: the monitor needs SENTRY_DSN, as https://KEY@HOST/PROJECT"]
        )
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{before}/api/{project}/cron/{{slug}}/{parts.username}/"


def _post(url: str, body: bytes, kind: str) -> None:
    # Only where it is wanted: it takes its megabytes.
    import urllib.error
    import urllib.request

    headers = {"Content-Type": kind, "User-Agent": "pqclock"}
    # Its scheme was checked with the settings.
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310
    host = urlsplit(url).hostname
    try:
        with urllib.request.urlopen(request, timeout=PING_WITHIN):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        raise NotTold(f"{host} answered {error.code}") from None
    except (OSError, ValueError) as error:
        # Not the address: it is a secret.
        raise NotTold(f"{host} cannot be reached: {error}") from None
