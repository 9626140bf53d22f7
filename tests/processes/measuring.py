"""What a soak measures: how long each fault kept ticks away, how late jobs began, and which law that breaks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import median

from pqclock.store.database import Session
from processes import laws

# So long after the next tick a fault may still be felt, since workers have to catch up.
AFTERMATH = timedelta(seconds=2)
# The wait for a tick that was not inserted.
NEVER = timedelta(days=1)

OUTCOMES = "SELECT outcome, coalesce(reason, ''), sum(count)::bigint FROM pqclock.ticks GROUP BY 1, 2 ORDER BY 1, 2"
INSERTIONS = "SELECT schedule_key, min(inserted_at) FROM pqclock.ticks WHERE schedule_key = ANY(%s) GROUP BY 1"
STARTS = """
    SELECT run_at, started_at FROM pqclock.jobs
    WHERE tick IS NOT NULL AND started_at IS NOT NULL AND run_at >= %s ORDER BY 1"""


@dataclass(frozen=True)
class Fault:
    """Something done to the leader, in the database's time.

    `begun` is when the wait for the next tick begins: with the fault, or when a server that was restarted takes
    connections again. `elected` is the beginning of the next leader's term. `probe` is the key of a schedule that was
    put as the wait began: the instant at which its tick is inserted is the end of the wait, whatever else was due then.
    """

    kind: str
    struck: datetime
    begun: datetime
    elected: datetime
    probe: str


@dataclass(frozen=True)
class Limits:
    """The longest waits that are allowed, in seconds: until the next tick was inserted, for a stop until the next term."""

    killed_median: float = 0.5
    killed: float = 2.0
    stopped: float = 0.3
    frozen: float = 8.0
    restarted: float = 2.0

    @classmethod
    def times(cls, slack: float) -> Limits:
        """The limits on a machine that does other things as well."""
        return cls(**{name: limit * slack for name, limit in asdict(cls()).items()})


@dataclass(frozen=True)
class Waits:
    """Seconds, of many."""

    count: int
    p50: float
    p99: float
    most: float


@dataclass(frozen=True)
class Felt:
    """What one kind of fault did: waits for the next term and tick, and how late jobs began that came due meanwhile."""

    elected: Waits
    next_tick: Waits
    late: Waits


@dataclass(frozen=True)
class Report:
    """What was measured, and what of it breaks a law."""

    ticks: dict[str, int]
    unlawful: dict[str, int]
    faults: dict[str, Felt]
    late: Waits
    late_in_calm: Waits

    def broken(self, limits: Limits) -> list[str]:
        """A sentence for each law that was broken."""
        sentences = [f"{count} x {law}" for law, count in self.unlawful.items()]
        waits = {kind: (felt.elected if kind == "stopped" else felt.next_tick) for kind, felt in self.faults.items()}
        for kind, limit in asdict(limits).items():
            of, _, measure = kind.partition("_")
            if of in waits:
                found = waits[of].p50 if measure else waits[of].p99
                if found > limit:
                    sentences.append(f"{of}: {measure or 'p99'} of the waits is {found:.3f} s, more than {limit} s")
        return sentences

    def as_json(self) -> dict[str, object]:
        """The report as plain values."""
        return asdict(self)

    def as_table(self) -> str:
        """The report for people."""
        kinds = [
            (f"{kind}: {name}", waits)
            for kind, felt in self.faults.items()
            for name, waits in (("next term", felt.elected), ("next tick", felt.next_tick), ("due -> begun", felt.late))
        ]
        rows = [*kinds, ("all: due -> begun", self.late), ("in calm: due -> begun", self.late_in_calm)]
        lines = [f"{'ticks ' + outcome:32}{count:>10,}" for outcome, count in self.ticks.items()]
        lines += [f"{law:32}{self.unlawful.get(law, 0):>10,}" for law in laws.LAWS]
        lines += ["", f"{'seconds':32}{'count':>10}{'p50':>10}{'p99':>10}{'max':>10}"]
        lines += [f"{name:32}{w.count:>10,}{w.p50:>10.3f}{w.p99:>10.3f}{w.most:>10.3f}" for name, w in rows]
        return "\n".join(lines)


def report_of(session: Session, faults: Sequence[Fault], since: datetime, until: datetime) -> Report:
    """Hold the ledger to its laws up to an instant, and measure what the faults did since another one."""
    inserted: dict[str, datetime] = dict(
        session.conn.execute(INSERTIONS.encode(), [[fault.probe for fault in faults]]).fetchall()
    )
    starts = session.conn.execute(STARTS.encode(), [since]).fetchall()
    next_ticks = [inserted.get(fault.probe, fault.begun + NEVER) for fault in faults]
    felt = {}
    for kind in sorted({fault.kind for fault in faults}):
        ones = [(fault, tick) for fault, tick in zip(faults, next_ticks, strict=True) if fault.kind == kind]
        felt[kind] = Felt(
            elected=waits((fault.elected - fault.begun).total_seconds() for fault, _ in ones),
            next_tick=waits((tick - fault.begun).total_seconds() for fault, tick in ones),
            late=waits(late for fault, tick in ones for late in _late(starts, fault.struck, tick)),
        )
    shaken = [(fault.struck, tick + AFTERMATH) for fault, tick in zip(faults, next_ticks, strict=True)]
    calm = [row for row in starts if not any(since <= row[0] <= to for since, to in shaken)]
    outcomes = session.conn.execute(OUTCOMES.encode()).fetchall()
    return Report(
        ticks={f"{outcome} {reason}".strip(): count for outcome, reason, count in outcomes},
        unlawful={law: len(rows) for law, rows in laws.broken(session, until=until).items()},
        faults=felt,
        late=waits((begun - due).total_seconds() for due, begun in starts),
        late_in_calm=waits((begun - due).total_seconds() for due, begun in calm),
    )


def waits(seconds: Iterable[float]) -> Waits:
    """What many waits come to; below zero is the clocks' own inaccuracy."""
    ordered = sorted(max(each, 0.0) for each in seconds)
    if not ordered:
        return Waits(0, 0.0, 0.0, 0.0)
    p99 = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return Waits(len(ordered), round(median(ordered), 4), round(p99, 4), round(ordered[-1], 4))


def _late(starts: Sequence[tuple[datetime, datetime]], since: datetime, to: datetime) -> list[float]:
    """How late those jobs began that came due between two instants."""
    first, last = bisect_left(starts, since, key=lambda row: row[0]), bisect_right(starts, to, key=lambda row: row[0])
    return [(begun - due).total_seconds() for due, begun in starts[first:last]]
