"""The checks of `pqclock doctor` that ask the database: each gives a state, and a sentence with the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from pqclock.cli.checking import count
from pqclock.cli.verdicts import Result, ok, problem, some, warning
from pqclock.cli.zones import check_zones
from pqclock.clock.skew import REFUSE_ABOVE
from pqclock.errors import ArgumentError
from pqclock.rules.durations import format_duration
from pqclock.rules.files.findings import hint
from pqclock.rules.moments import span
from pqclock.store import alarms, health, listings, migrate, tasks
from pqclock.store.database import Session
from pqclock.store.jobs import LEADER_SILENCE, LEASE_LENGTH
from pqclock.store.partitions import AHEAD

_OLDEST_SERVER = 140_000
_SKEW = timedelta(milliseconds=500)
_MACHINES = 5
_LOOKS = 3
_OLD = timedelta(minutes=10)
_BEHIND = timedelta(seconds=30)
_FEW_CONNECTIONS = 10
_FULL, _OVERFLOWING = 0.1, 0.5
_MANY_DEAD = 50_000
# What our connections ask for, and some patience.
_GONE_WITHIN = 30


def check_server(session: Session) -> Result:
    """The server's version, and whether it can be written to."""
    server = health.server(session)
    if server.number < _OLDEST_SERVER:
        return problem(f"PostgreSQL {server.version} is too old: pqclock needs 14 or later")
    if server.in_recovery:
        return problem(f"PostgreSQL {server.version} is a standby, which takes no writes: use the primary's address")
    return ok(f"PostgreSQL {server.version}")


def check_skew(session: Session) -> Result:
    """This machine's time against the database's, read in the middle of the shortest of some round trips."""
    from pqclock.loop import now
    from pqclock.store import listings

    looks = []
    for _ in range(_LOOKS):
        sent = now()
        there = listings.now(session)
        looks.append((now() - sent, there - sent))
    trip, ahead = min(looks)
    skew = ahead - trip / 2
    about = (
        f"the database is {abs(skew) / timedelta(milliseconds=1):,.0f} ms {'ahead' if skew > timedelta() else 'behind'}"
    )
    if abs(skew) > _SKEW:
        return warning(f"{about}, and its time is the one that counts: set both machines by NTP")
    return ok(f"{about}, at a round trip of {trip / timedelta(milliseconds=1):,.1f} ms")


def check_schema(session: Session) -> Result:
    """The version of our tables."""
    migrate.check_schema(session)
    return ok(f"{session.schema!r} at version {max(migrate.applied(session))}")


def _limits(session: Session) -> Result:
    limits = health.limits(session)
    free = limits.max_connections - limits.reserved - limits.used
    if not limits.autovacuum or not limits.track_counts:
        return problem("autovacuum does not run, so the tables swell: set autovacuum and track_counts on")
    if not limits.idle_timeout:
        return problem(
            "idle_session_timeout cannot be set, so a clock that hangs keeps the lead: use PostgreSQL 14 or later"
        )
    if free < _FEW_CONNECTIONS:
        return warning(f"only {max(free, 0)} of {limits.max_connections} connections are free: raise max_connections")
    return ok(f"autovacuum on, {limits.used} of {limits.max_connections} connections in use")


def _privileges(session: Session) -> Result:
    lacking = health.lacking(session)
    if not lacking:
        return ok("the role may do everything that clock and workers do")
    told = "; ".join(f"{what} ({who})" for who, what in lacking)
    role = session.conn.info.user
    judge = problem if any(who == "everybody" for who, _ in lacking) else warning
    return judge(f"role {role} lacks {told}: grant it, or use the role that ran `pqclock migrate`")


def _partitions(session: Session) -> Result:
    missing = health.missing_partitions(session, AHEAD)
    if missing:
        days = min(day for _, day in missing)
        judge = problem if days <= 1 else warning
        return judge(
            f"{len(missing)} daily partitions are missing, the first {days} days ahead: keep a clock running, which makes them"
        )
    strays = health.strays(session)
    if strays:
        told = ", ".join(f"{name} ({rows:,})" for name, rows in strays)
        return warning(
            f"rows lie outside the daily partitions, in {told}: a running clock moves them when it makes their day"
        )
    return ok(f"made for the coming {AHEAD.days} days, nothing outside them")


def _clock(session: Session) -> Result:
    clock = health.clock(session)
    if clock.pid is None or clock.beat_age is None:
        judge = problem if clock.schedules else warning
        return judge("no clock leads, so no schedule ticks: start one with `pqclock` or `pqclock clock`")
    leader = f"{clock.host}:{clock.pid}, term {clock.epoch}"
    if clock.beat_age < -LEADER_SILENCE:
        return problem(
            f"the last beat, of {leader}, is {span(-clock.beat_age)} in the future: the database's clock was set back"
        )
    if clock.beat_age > LEADER_SILENCE:
        return problem(
            f"the leader {leader} has not beaten for {span(clock.beat_age)}: look at its log, or start a clock"
        )
    if clock.behind is not None and clock.behind > _BEHIND:
        return problem(f"the leader {leader} plans {span(clock.behind)} late: look at its log")
    return ok(f"{leader} leads {count(clock.schedules, 'schedule')}, beat {span(clock.beat_age)} ago")


def _clock_times(session: Session) -> Result:
    off = health.skews(session, _SKEW)
    if not off:
        return ok(f"no clock's machine is further than {format_duration(_SKEW)} from the database's time")
    told = "; ".join(f"{one.host}:{one.pid} by {one.skew:+,.1f} s" for one in off[:_MACHINES])
    judge = problem if any(abs(one.skew) > REFUSE_ABOVE for one in off) else warning
    return judge(f"machines of clocks are off the database's time, {told}: set them and the database's by NTP")


def _workers(session: Session) -> Result:
    alive = [worker for worker in health.workers(session) if worker.beat_age <= LEASE_LENGTH]
    if alive:
        return ok(f"{len(alive)} alive")
    judge = problem if health.waiting(session) else warning
    return judge("none is alive, so no job runs: start one with `pqclock worker --app MODULE:APP`")


def _queues(session: Session) -> Result:
    alive = [worker.doing for worker in health.workers(session) if worker.beat_age <= LEASE_LENGTH]
    waiting = health.waiting(session)
    unknown = sorted({one.task for one in waiting if not one.published})
    unworked = some({one.queue for one in waiting if not any(_works(doing, one.queue) for doing in alive)})
    if unworked:
        return problem(f"jobs wait in queues that no worker takes, {unworked}: start a worker with --queues for them")
    if unknown:
        meant = hint(unknown[0], tasks.names(session))
        told = f"jobs wait for tasks that nobody has published, {some(unknown)}: start a worker whose App has them"
        return problem(f"{told}{meant}")
    if not waiting:
        return ok("no job is ready")
    return ok(f"{sum(one.jobs for one in waiting):,} jobs ready, all for tasks and queues that are worked")


def _schedules(session: Session) -> Result:
    found = listings.set_aside(session)
    if not found:
        return ok("the clock plans all of them")
    told = "; ".join(f"{one.key}: {one.fault}" for one in found[:_LOOKS])
    more = f"; and {len(found) - _LOOKS} more" if len(found) > _LOOKS else ""
    return problem(
        f"the clock has set aside, and does not plan, {told}{more}: change them, or publish their tasks anew"
    )


def _alarms(session: Session) -> Result:
    found = alarms.open_alarms(session)
    untold = alarms.untold(session)
    told = [one.message for one in found[:_LOOKS]]
    if len(found) > _LOOKS:
        told.append(f"and {len(found) - _LOOKS} more: see `pqclock alarms`")
    if untold:
        told.append(
            f"{count(len(untold), 'alarm')} could not be told, the last one because of {untold[0].untold}: mend that, and "
            "try `pqclock alarms test`"
        )
    return problem("; ".join(told)) if told else ok("none is open")


def check_alarm_task(session: Session, task: str) -> Result:
    """Whether a worker could run what hears of alarms."""
    known = tasks.names(session)
    if task in known:
        return ok(f"{task} is published")
    return problem(f"no worker has published the task {task}, which is to hear of alarms{hint(task, known)}")


def _gates(session: Session) -> Result:
    stuck = health.stuck(session)
    undeclared = some([one.rule for one in stuck if one.rate is None])
    over = some(
        [f"{one.rule} ({one.units} units, and its rate is {one.rate})" for one in stuck if one.rate is not None]
    )
    told = []
    if undeclared:
        told.append(
            f"jobs wait behind rules that nobody has declared, {undeclared}: declare them in schedule files, or by "
            "`pqclock rules put`, or cancel the jobs"
        )
    if over:
        told.append(
            f"jobs need more units than the rate, and never start, of {over}: raise the rate, or cancel the jobs"
        )
    return warning("; ".join(told)) if told else ok("no job waits for a rule that would never let it start")


def _works(doing: str, queue: str) -> bool:
    from pqclock.rules.pools import parse_pools

    try:
        pools = parse_pools(doing)
    except ArgumentError:
        return False
    return any(queue in pool.queues if pool.queues is not None else queue not in pool.excluded for pool in pools)


def _horizon(session: Session) -> Result:
    holders = health.holders(session, _OLD)
    if holders:
        return warning(f"dead rows cannot be removed, because of {_held(holders)}: end what is not needed")
    everything = "" if health.sees_all(session) else "; sessions of other roles are not seen without pg_read_all_stats"
    return ok(f"no transaction is older than {span(_OLD)}{everything}")


def _held(holders: Sequence[health.Holder]) -> str:
    return "; ".join(f"{one.kind} {one.name}" + (f" for {span(one.age)}" if one.age else "") for one in holders)


def _notifications(session: Session) -> Result:
    used = health.notifications(session)
    if used < _FULL:
        return ok(f"the queue is {used:.0%} full")
    judge = problem if used > _OVERFLOWING else warning
    return judge(f"the queue of notifications is {used:.0%} full: end the session that listens in a long transaction")


def _dead_rows(session: Session) -> Result:
    rows = health.dead_rows(session)
    if rows.dead > max(_MANY_DEAD, rows.live):
        return warning(f"table job has {rows.dead:,} dead rows for {rows.live:,} live ones: see what vacuum waits for")
    return ok(f"table job has {rows.dead:,} dead rows for {rows.live:,} live ones")


def check_keepalives(session: Session) -> Result:
    """Whether each end of the connection notices that the other one is gone."""
    found = health.keepalives(session)
    if found is None:
        return ok("a local socket needs none")
    for who, seconds in (("this machine", found.client), ("the server", found.server)):
        if seconds is None or seconds > _GONE_WITHIN:
            told = "never notices" if seconds is None else f"takes {seconds} s to notice"
            return warning(
                f"{who} {told} that the other end is gone, so a clock may stand still or be waited for as long: "
                "connect without a relay that answers for it, from and to systems with TCP keepalives"
            )
    return ok(
        f"this machine notices after {found.client} s that the other end is gone, the server after {found.server} s"
    )


# Name, check, and whether it needs our tables.
CHECKS: tuple[tuple[str, Callable[[Session], Result], bool], ...] = (
    ("limits", _limits, False),
    ("privileges", _privileges, True),
    ("partitions", _partitions, True),
    ("clock", _clock, True),
    ("clocks' time", _clock_times, True),
    ("workers", _workers, True),
    ("queues", _queues, True),
    ("alarms", _alarms, True),
    ("gates", _gates, True),
    ("schedules", _schedules, True),
    ("zones", check_zones, True),
    ("old snapshots", _horizon, False),
    ("notifications", _notifications, False),
    ("dead rows", _dead_rows, True),
)
