"""healthchecks: a check for each schedule, pinged when a run begins, when it has succeeded, and when it has failed for good.

    healthchecks(app, "https://hc-ping.com/PING-KEY", api_key="...")

The slug of a check is the key of its schedule. With the key of the management API checks are made and kept as the schedules
say; without it, the service makes them at the first ping, with a period of a day.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from pqclock.errors import ArgumentError
from pqclock.integrations.checkins import BEGUN, FAILED, CheckIn, CheckIns, checked_in
from pqclock.rules.monitors import Monitored, slug_of
from pqclock.tasks.app import App

WITHIN = 5.0
API = "https://healthchecks.io/api/v3"
_SHORTEST = timedelta(minutes=1)
_PATHS = {BEGUN: "/start", FAILED: "/fail"}


def healthchecks(
    app: App, ping_url: str, *, api_key: str | None = None, api_url: str = API, schedules: Iterable[str] = ("*",)
) -> CheckIns:
    """Ping a check for each run of a schedule's tick; `ping_url` is the project's, with its ping key.

    `schedules` are patterns of keys, such as `billing-*`. Raises ArgumentError for addresses that are none.
    """
    return checked_in(app, Healthchecks(ping_url, api_key, api_url), schedules)


class Healthchecks:
    """The service."""

    def __init__(self, ping_url: str, api_key: str | None, api_url: str) -> None:
        for name, url in (("ping_url", ping_url), ("api_url", api_url)):
            parts = urlsplit(url) if isinstance(url, str) else None
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                raise ArgumentError(f"healthchecks({name}=...) must be an http or https URL")
        self._ping_url = ping_url.rstrip("/")
        self._api_key = api_key
        self._api_url = api_url.rstrip("/")
        self._told: dict[str, Monitored] = {}

    def send(self, checked: CheckIn) -> None:
        """Ping; tell the service about the schedule before, when that has changed."""
        slug = slug_of(checked.key)
        if self._api_key and checked.schedule and self._told.get(slug) != checked.schedule:
            self._keep(slug, checked.key, checked.schedule)
        asked = urlencode({"rid": str(checked.id), "create": "1"})
        url = f"{self._ping_url}/{slug}{_PATHS.get(checked.status, '')}?{asked}"
        _post(url, checked.message.encode(), {"Content-Type": "text/plain; charset=utf-8"})

    def _keep(self, slug: str, key: str, schedule: Monitored) -> None:
        """Make the check, or change it, as the schedule says."""
        grace = round(max(_SHORTEST, schedule.margin, schedule.longest).total_seconds())
        if schedule.cron is not None:
            when: dict[str, object] = {"schedule": schedule.cron, "tz": schedule.timezone}
        else:
            assert schedule.every is not None
            when = {"timeout": round(max(_SHORTEST, schedule.every).total_seconds())}
        body = {"name": key, "slug": slug, "tags": "pqclock", "grace": grace, "unique": ["slug"], **when}
        headers = {"Content-Type": "application/json", "X-Api-Key": self._api_key or ""}
        _post(f"{self._api_url}/checks/", json.dumps(body).encode(), headers)
        self._told[slug] = schedule


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    # The scheme was checked at the beginning.
    request = urllib.request.Request(url, body, {**headers, "User-Agent": "pqclock"}, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=WITHIN):  # noqa: S310
        return
