"""`pqclock doctor`: is everything in order, and if not, the way out. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import click

from pqclock.cli.checking import count
from pqclock.cli.diagnoses import CHECKS, check_alarm_task, check_keepalives, check_schema, check_server, check_skew
from pqclock.cli.options import Asked, asking
from pqclock.cli.output import cell, plain, print_json, say, show, table
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.verdicts import Check, Result, ok, problem, warning
from pqclock.cli.zones import check_zone_data
from pqclock.errors import PqclockError
from pqclock.settings import SPECS, Settings
from pqclock.store.database import DatabaseError, Session

_LENGTH = 600


@click.command(epilog=EXIT_CODES)
@asking("database_url", "clock_database_url", "allow_session_pooler", "schema", "schedules", multiple=("schedules",))
def doctor(asked: Asked) -> int:
    """Check settings, address, server, schema, rights, clock, workers and queues; the code is 1 with problems.

    Each line is ok, a warning or a problem, with the way out. Nothing is changed, and passwords are never shown.

    \b
    Examples:
      pqclock doctor
      pqclock doctor --json
    """
    found = list(_checks(asked.settings))
    if asked.json:
        print_json("checks", found)
    else:
        show(table(("check", "state", "message"), [(one.name, one.state, cell(one.message, _LENGTH)) for one in found]))
        states = [one.state for one in found]
        say(f"{count(states.count('problem'), 'problem')}, {count(states.count('warning'), 'warning')}")
    return 1 if any(one.state == "problem" for one in found) else 0


def _checks(settings: Settings) -> Iterator[Check]:
    yield _guarded("settings", lambda: _settings(settings))
    yield _guarded("files", lambda: _files(settings))
    yield _guarded("who is told", lambda: _hooks(settings))
    yield _guarded("zone data", check_zone_data)
    yield from _database(settings)


def _guarded(name: str, check: Callable[[], Result]) -> Check:
    """The check's result; whatever goes wrong is a problem of this check, and no reason to leave the others out."""
    try:
        state, message = check()
    except (PqclockError, DatabaseError) as error:
        state, message = problem(" ".join(str(error).split()) or type(error).__name__)
    except Exception as error:
        state, message = problem(f"the check itself failed ({type(error).__name__}): {error}")
    return Check(name, state, message)


def _settings(settings: Settings) -> Result:
    given = [_setting(settings, name) for name in SPECS if settings.is_set(name)]
    return ok(f"{'; '.join(given)}; defaults otherwise" if given else "defaults only")


def _setting(settings: Settings, name: str) -> str:
    from pqclock.store.database import describe_url

    value = getattr(settings, name)
    shown = "(secret)" if SPECS[name].secret else plain(value)
    shown = describe_url(value) if name.endswith("database_url") else shown
    return f"{name} = {shown} ({settings.origin(name)})"


def _hooks(settings: Settings) -> Result:
    from pqclock.alarm_hooks import CommandHook, hooks_of

    hooks = hooks_of(settings)
    names = ", ".join(hooks)
    for hook in hooks.values():
        if isinstance(hook, CommandHook) and (fault := hook.fault()) is not None:
            return problem(fault)
    if names:
        return ok(f"{names} {'hears' if ',' not in names else 'hear'} of alarms")
    return ok(
        "nobody hears of alarms: they are in logs and in `pqclock status`; name somebody with --alarm-command or others"
    )


def _files(settings: Settings) -> Result:
    from pqclock.schedule_files import declared_paths, read_paths

    paths = declared_paths(settings)
    if not paths:
        return ok("none: only schedules put at run time tick")
    found = read_paths(paths)
    errors = sum(finding.severity == "error" for finding in found.findings)
    if errors:
        return problem(f"{count(errors, 'error')} in the schedule files: see `pqclock check`")
    message = f"{count(len(found.schedules), 'schedule')} in {', '.join(paths)}"
    return warning(f"{message}, with warnings: see `pqclock check`") if found.findings else ok(message)


def _database(settings: Settings) -> Iterator[Check]:
    """The checks that need the database, as far as it can be had."""
    from pqclock.address import Address, find_address
    from pqclock.store.database import describe_url

    addresses: list[Address] = []

    def find() -> Result:
        address = find_address(settings=settings)
        addresses.append(address)
        where = describe_url(address.url) if address.url else "where libpq's variables say"
        # Nobody needs a password for it, and its folder is not where anybody would look.
        psql = "" if address.server is None else f': psql "{address.url}"'
        return ok(f"{where} ({address.origin}){psql}")

    yield _guarded("address", find)
    try:
        for address in addresses:
            yield from _addressed(settings, address.url)
    finally:
        for address in addresses:
            address.close()


def _addressed(settings: Settings, url: str) -> Iterator[Check]:
    from pqclock.store.database import clean_url

    clock_url = settings.clock_database_url
    sessions: list[Session] = []
    yield _guarded("connection", lambda: _connect(url, settings.schema, sessions))
    try:
        for session in sessions:
            yield _guarded("pooler", partial(_pooler, session, settings, url))
            yield _guarded("keepalives", _reading(session, _keepalives))
            yield from _connected(session, settings)
    finally:
        for session in sessions:
            session.close()
    if clock_url is not None and clean_url(clock_url) != clean_url(url):
        yield _guarded("clock's address", lambda: _clock_address(clock_url, settings))


def _connect(url: str, schema: str, sessions: list[Session]) -> Result:
    from pqclock.store.database import connect

    # Nothing is prepared: behind a pooler the next statement may come to another backend.
    session = connect(url, schema, "doctor", prepare_threshold=None)
    sessions.append(session)
    info = session.conn.info
    return ok(
        f"as role {info.user} in database {info.dbname}, {'with' if session.conn.pgconn.ssl_in_use else 'no'} TLS"
    )


def _pooler(session: Session, settings: Settings, url: str) -> Result:
    from pqclock.store import poolers

    if poolers.is_direct(session):
        return ok("none: the address is the server's own")
    if settings.clock_database_url is not None:
        return ok("there is one; the clock has an address of its own")
    if settings.allow_session_pooler:
        poolers.refuse_unless_stable(session, url, allow=True)
        return ok("there is one that keeps sessions apart, and --allow-session-pooler is given")
    return problem(
        "the clock does not start behind a pooler: set PQCLOCK_CLOCK_DATABASE_URL to the server's own address"
    )


def _keepalives(session: Session) -> Result:
    from pqclock.store import poolers

    # A pooler's connection to the server is its own affair.
    return (
        check_keepalives(session) if poolers.is_direct(session) else ok("the pooler's affair, but for the clock's own")
    )


def _clock_address(url: str, settings: Settings) -> Result:
    from pqclock.store import poolers
    from pqclock.store.database import connect, describe_url

    session = connect(url, settings.schema, "doctor", prepare_threshold=None)
    try:
        if poolers.is_direct(session):
            state, message = _reading(session, check_keepalives)()
            return state, f"{describe_url(url)} is the server's own; keepalives: {message}"
        poolers.refuse_unless_stable(session, url, allow=settings.allow_session_pooler)
    finally:
        session.close()
    return ok(f"{describe_url(url)} is a pooler that keeps sessions, and --allow-session-pooler is given")


def _connected(session: Session, settings: Settings) -> Iterator[Check]:
    yield _guarded("server", _reading(session, check_server))
    yield _guarded("time", _reading(session, check_skew))
    schema = _guarded("schema", _reading(session, check_schema))
    yield schema
    for name, check, needs_schema in CHECKS:
        if schema.state == "ok" or not needs_schema:
            yield _guarded(name, _reading(session, check))
    if schema.state == "ok" and (task := settings.alarm_task) is not None:
        yield _guarded("alarm_task", _reading(session, partial(check_alarm_task, task=task)))


def _reading(session: Session, check: Callable[[Session], Result]) -> Callable[[], Result]:
    """Each check in a read-only transaction of its own: a refused statement ends no other check."""
    from pqclock.store import listings

    def run() -> Result:
        with listings.reading(session):
            return check(session)

    return run
