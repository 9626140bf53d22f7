"""Looking without touching: what an application of files would meet, and whether everything is in order.

Nothing here writes or locks; the callers run it inside `listings.reading`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from pqclock.store.database import Session
from pqclock.store.schedules import DueSchedule, KnownSchedule

# What is counted no further: enough to know that there is too much.
MOST = 10_000
_TWO_HOURS = 7200


@dataclass(frozen=True, slots=True)
class Server:
    """The server's version, as text and as number, and whether it is a standby."""

    version: str
    number: int
    in_recovery: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of the server that matter to us."""

    autovacuum: bool
    track_counts: bool
    idle_timeout: bool
    max_connections: int
    reserved: int
    used: int


@dataclass(frozen=True, slots=True)
class ClockState:
    """The leader and what it may owe."""

    epoch: int
    host: str | None
    pid: int | None
    beat_age: timedelta | None
    schedules: int
    behind: timedelta | None


@dataclass(frozen=True, slots=True)
class SkewState:
    """A clock, and by how many seconds its machine's clock is ahead of the database's."""

    host: str
    pid: int
    skew: float


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker, the pools it works, and when it was last heard of."""

    id: int
    host: str
    pid: int
    doing: str
    beat_age: timedelta


@dataclass(frozen=True, slots=True)
class Waiting:
    """Ready jobs of one task in one queue, and whether anybody has published the task."""

    queue: str
    task: str
    jobs: int
    published: bool


@dataclass(frozen=True, slots=True)
class Stuck:
    """A rule, KIND.NAME, that keeps ready jobs for good: undeclared without a `rate`, else by the units they need."""

    rule: str
    rate: int | None
    units: int


@dataclass(frozen=True, slots=True)
class Holder:
    """What keeps dead rows from being removed; None in `age` is not known."""

    kind: str
    name: str
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class DeadRows:
    """Dead and live rows of the table of live jobs, by the server's statistics."""

    dead: int
    live: int


@dataclass(frozen=True, slots=True)
class Keepalives:
    """After how many seconds each end of a TCP connection notices that the other one is gone; None is never."""

    client: int | None
    server: int | None


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone that schedules use, and whether the server knows it."""

    zone: str
    known: bool


def known(session: Session, set_name: str, keys: Iterable[str]) -> list[KnownSchedule]:
    """The schedules of a set and of these keys, also removed ones, without locking them."""
    return session.fetch(KnownSchedule, "health.known", set_name=set_name, keys=list(keys))


def behind(session: Session, now: datetime, limit: int = MOST) -> list[DueSchedule]:
    """The schedules with ticks that should have been planned by now."""
    return session.fetch(DueSchedule, "health.behind", now=now, limit=limit)


def keepalives(session: Session) -> Keepalives | None:
    """What the system at each end really does, once it was asked as the clock asks it; None on a local socket."""
    with socket.socket(fileno=os.dup(session.conn.fileno())) as here:
        if here.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        client = _probing(here)
    session.run("health.ask_for_keepalives")
    row = session.run("health.keepalives").fetchone()
    idle, interval, times = (int(value) for value in row) if row else (0, 0, 0)
    return Keepalives(client, idle + interval * times if idle else None)


def _probing(here: socket.socket) -> int | None:
    """Seconds until this end gives up; where the system does not tell, the two hours of most."""
    if not here.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        return None
    if not hasattr(socket, "TCP_KEEPIDLE"):
        return _TWO_HOURS
    idle, interval, times = (
        here.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )
    return idle + interval * times


def server(session: Session) -> Server:
    """Which server this is."""
    return session.fetch(Server, "health.server")[0]


def limits(session: Session) -> Limits:
    """What the server's settings allow."""
    return session.fetch(Limits, "health.limits")[0]


def lacking(session: Session) -> list[tuple[str, str]]:
    """(who needs it, privilege) of what this role may not do."""
    return session.run("health.lacking").fetchall()


def missing_partitions(session: Session, ahead: timedelta) -> list[tuple[str, int]]:
    """(table, days from today) of the daily partitions that should exist and do not."""
    row = session.conn.execute("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date").fetchone()
    assert row is not None
    wanted = session.run("partitions.wanted", first=row[0], last=row[0] + ahead).fetchall()
    return [(parent, (day - row[0]).days) for parent, _, day in wanted]


def strays(session: Session, limit: int = MOST) -> list[tuple[str, int]]:
    """(partition, rows) of the DEFAULT partitions that hold rows; counted up to `limit`."""
    found = []
    for (name,) in session.run("health.default_partitions").fetchall():
        counting = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) AS stray").format(
            sql.Identifier(session.schema, name), limit
        )
        row = session.conn.execute(counting).fetchone()
        if row is not None and row[0]:
            found.append((name, int(row[0])))
    return found


def clock(session: Session) -> ClockState:
    """The leader, and how far planning is behind."""
    return session.fetch(ClockState, "health.clock")[0]


def skews(session: Session, limit: timedelta) -> list[SkewState]:
    """The clocks whose machine is further from the database's time than this."""
    return session.fetch(SkewState, "health.skews", limit=limit.total_seconds())


def workers(session: Session) -> list[WorkerState]:
    """The workers that were not declared dead."""
    return session.fetch(WorkerState, "health.workers", limit=MOST)


def waiting(session: Session) -> list[Waiting]:
    """What is ready to run, by queue and task."""
    return session.fetch(Waiting, "health.waiting", limit=MOST)


def stuck(session: Session) -> list[Stuck]:
    """Rules that ready jobs can never pass as they are."""
    return session.fetch(Stuck, "health.stuck", limit=MOST)


def holders(session: Session, older: timedelta) -> list[Holder]:
    """What has kept dead rows from being removed for longer than this."""
    return session.fetch(Holder, "health.holders", older=older)


def sees_all(session: Session) -> bool:
    """Whether this role sees the sessions of others."""
    row = session.run("health.sees_all").fetchone()
    return bool(row and row[0])


def notifications(session: Session) -> float:
    """How full the queue of notifications is, from 0 to 1."""
    row = session.run("health.notifications").fetchone()
    return float(row[0]) if row else 0.0


def dead_rows(session: Session) -> DeadRows:
    """Dead and live rows of the table of live jobs."""
    return session.fetch(DeadRows, "health.dead_rows")[0]


def differing_zones(session: Session, samples: Sequence[tuple[str, datetime, float]]) -> dict[str, datetime]:
    """Of (zone, instant, offset from UTC in seconds): zones with another offset on the server, and when first."""
    zones, instants, offsets = ([sample[at] for sample in samples] for at in range(3))
    return dict(session.run("health.differing_zones", zones=zones, instants=instants, offsets=offsets).fetchall())


def zones(session: Session) -> list[Zone]:
    """The time zones of the schedules."""
    return session.fetch(Zone, "health.zones")
