"""`app.gates.replay`: what a rule would have delayed, from history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pqclock.rules.durations import parse_duration
from pqclock.store import replaying
from pqclock.store.replaying import Question, Replayed
from pqclock.store.rules import find_meant

if TYPE_CHECKING:
    from pqclock.tasks.connections import Connections


class Replays:
    """The verb of gates that looks back."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def replay(
        self,
        rule: str,
        since: str | timedelta | datetime = "7d",
        *,
        tasks: Sequence[str] = (),
        key: str | None = None,
        all_runs: bool = False,
        units: int = 1,
        **fields: Any,
    ) -> Replayed:
        """What a rule would have delayed of the runs since an instant, or since so long ago; nothing is written.

        `fields` change single fields of a rule that is there, or make one up. Without `tasks` it is about the runs of
        jobs that passed the rule; with `tasks` and a `key` such as `{account}`, or `all_runs`, about jobs that do not pass
        it yet. Raises UnknownRule, ArgumentError, DurationError.
        """
        begin = since if isinstance(since, datetime) else parse_duration(since)
        with self._connections.session() as session:
            meant = find_meant(session, rule, {name: value for name, value in fields.items() if value is not None})
            return replaying.replay(session, meant, Question(begin, tuple(tasks), key, all_runs, units))
