"""What a rule would have delayed, from history: runs are streamed in the order of their starts, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from pqclock.errors import ArgumentError, PqclockError
from pqclock.rules.key_templates import compile_key
from pqclock.rules.replaying import Delays, Replay, Run
from pqclock.rules.rule import Rule
from pqclock.store.database import Session, query, unreachable

TIMEOUT = "10min"
_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: since when (an instant, or so long ago), and of which runs.

    Without tasks, of those that passed gates of the rule. With tasks and a key, or with `all_runs`, of all runs of
    these tasks, as if they had passed it: the key is a template over their arguments.
    """

    since: datetime | timedelta
    tasks: Sequence[str] = ()
    key: str | None = None
    all_runs: bool = False
    units: int = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it; `left_out` are the runs whose arguments lack a field of the key."""

    rule: str
    definition: Mapping[str, Any]
    since: datetime
    until: datetime
    overall: Delays
    keys: list[Delays]
    left_out: int


def replay(session: Session, rule: Rule, question: Question, now: datetime | None = None) -> Replayed:
    """Let the past run through a rule, which need not be in force. Raises ArgumentError for a key without tasks."""
    if question.key is not None and not question.tasks:
        raise ArgumentError("a key is for jobs that do not pass the rule yet: name their tasks as well")
    asked = Replay(rule.limits(), question.units)
    dsn = session.conn.info.dsn
    try:
        with session.transaction():
            session.run("listings.begin")
            session.run("listings.limit_time", timeout=TIMEOUT)
            return _replay(session, rule, question, asked, now)
    except psycopg.errors.QueryCanceled as error:
        raise PqclockError(f"the replay took longer than {TIMEOUT} and was given up: ask for less time") from error
    except psycopg.OperationalError as error:
        raise unreachable(dsn, error) from error


def _replay(session: Session, rule: Rule, question: Question, asked: Replay, now: datetime | None) -> Replayed:
    (moment,) = session.run("schedules.now", now=now).fetchone() or (None,)
    assert isinstance(moment, datetime)
    try:
        since = moment - question.since if isinstance(question.since, timedelta) else question.since
    except OverflowError:
        raise ArgumentError(f"since {question.since} is before all time: ask for less") from None
    template = compile_key(question.key) if question.key else None
    left_out = 0
    for run, args in _runs(session, rule, question, since, moment):
        key = run.key if template is None else template.render(args or {})
        if key is None:
            left_out += 1
        else:
            asked.run(run._replace(key=key))
    keys, overall = asked.results(moment)
    return Replayed(rule.label, rule.definition, since, moment, overall, keys, left_out)


def _runs(
    session: Session, rule: Rule, question: Question, since: datetime, until: datetime
) -> Iterator[tuple[Run, dict[str, Any] | None]]:
    """The runs, a slice at a time: the server keeps the rest."""
    everything = question.key is not None or question.all_runs
    statement = "replaying.runs" if everything else "replaying.carried"
    params: dict[str, Any] = {"since": since, "until": until, "tasks": list(question.tasks) or None}
    if not everything:
        params["gate"] = f"{rule.kind}:{rule.name}"
    with session.conn.cursor(name="pqclock_replay") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(query(statement, session.schema), params)
        for key, started_at, finished_at, outcome, error_type, args in cursor:
            yield Run(key, started_at, finished_at, outcome, (error_type,) if error_type else ()), args
