"""When a failed job runs again: the policy as a value, the delay as a pure function of job and attempt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b

from pqclock.errors import ArgumentError
from pqclock.rules.durations import format_duration, parse_duration

BACKOFFS = ("exponential", "linear", "constant")
MAX_ATTEMPTS = 1000


Backoff = str | Sequence[str | timedelta]
Names = Collection[str | type[BaseException]]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is tried, and how long it waits in between.

    The wait after attempt n is `base * 2 ** (n - 1)` (exponential), `base * n` (linear) or `base` (constant), at most
    `limit`; or the n-th of a list of durations as `backoff`, then the last one again and again. `jitter` takes off up to that
    share of it, by a hash of job and attempt, so that jobs which failed together do not come back together. Durations
    are texts such as "5s" or timedeltas.

    Exceptions are told apart by their classes and the classes above them, given themselves or by name: what `only`
    does not name (empty: everything) and what `never` names is not tried again, and what `discard` names ends the job
    as `discarded`. `per` has policies of their own for single ones, looked for from the exception's own class upwards; each
    counts all attempts so far against its own `max_attempts`. What a call says of attempts goes before `max_attempts` here,
    and holds for those as well.
    """

    max_attempts: int = 5
    backoff: Backoff = "exponential"
    base: str | timedelta = "5s"
    limit: str | timedelta = "1h"
    jitter: float = 0.1
    only: Names = ()
    never: Names = ()
    discard: Names = ()
    per: Mapping[str | type[BaseException], Retry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ArgumentError(
                f"Retry(max_attempts={self.max_attempts!r}) must be a whole number from 1 to {MAX_ATTEMPTS}"
            )
        if type(self.jitter) not in (int, float) or not 0 <= self.jitter <= 1:
            raise ArgumentError(f"Retry(jitter={self.jitter!r}) must be a share from 0 to 1")
        parse_duration(self.base)
        parse_duration(self.limit)
        object.__setattr__(self, "backoff", _checked_backoff(self.backoff))
        for name in ("only", "never", "discard"):
            object.__setattr__(self, name, _checked_names(name, getattr(self, name)))
        object.__setattr__(self, "per", _checked_policies(self.per))

    @property
    def most(self) -> int:
        """How often a job is tried at most, whatever its exceptions are."""
        return max(self.max_attempts, *(policy.max_attempts for policy in self.per.values()), 1)

    def policy(self, names: Sequence[str]) -> Retry:
        """The policy for an exception of these classes, its own first."""
        for name in names:
            if name in self.per:
                return self.per[name]
        return self

    def verdict(self, names: Sequence[str], attempt: int, max_attempts: int) -> str:
        """What follows the failed attempt number `attempt` of a job that may have so many: again, failed, discarded."""
        policy = self.policy(names)
        if not {*self.discard, *policy.discard}.isdisjoint(names):
            return "discarded"
        refused = not set(policy.never).isdisjoint(names) or (policy.only and set(policy.only).isdisjoint(names))
        # A job of which nobody else has said how often may have as many as the most patient policy.
        own = policy.max_attempts if policy is not self or max_attempts == self.most else max_attempts
        return "failed" if refused or attempt >= min(own, max_attempts) else "again"

    def delay(self, attempt: int, job_id: int) -> timedelta:
        """How long job `job_id` waits after its failed attempt number `attempt` (1 is the first)."""
        return timedelta(seconds=self._plain_delay(attempt) * (1 - self.jitter * _share(job_id, attempt)))

    def _plain_delay(self, attempt: int) -> float:
        if not isinstance(self.backoff, str):
            return parse_duration(self.backoff[min(attempt, len(self.backoff)) - 1]).total_seconds()
        base, limit = parse_duration(self.base), parse_duration(self.limit)
        # Beyond 2 ** 40 every base that is not zero has long passed every limit.
        factors = {"exponential": 2 ** min(attempt - 1, 40), "linear": attempt, "constant": 1}
        return min(base.total_seconds() * float(factors[self.backoff]), limit.total_seconds())

    def to_options(self) -> dict[str, object]:
        """The policy as JSON values, as it is published with the task."""
        options: dict[str, object] = {
            "max_attempts": self.max_attempts,
            "backoff": self.backoff if isinstance(self.backoff, str) else list(self.backoff),
            "base": format_duration(parse_duration(self.base)),
            "limit": format_duration(parse_duration(self.limit)),
            "jitter": self.jitter,
        }
        options |= {name: list(given) for name in ("only", "never", "discard") if (given := getattr(self, name))}
        if self.per:
            options["per"] = {name: policy.to_options() for name, policy in self.per.items()}
        return options


def class_names(kind: type[BaseException]) -> tuple[str, ...]:
    """The names of a class of exceptions and of the classes above it, its own first."""
    return tuple(parent.__name__ for parent in kind.__mro__ if parent is not object)


def _checked_backoff(backoff: Backoff) -> str | tuple[str, ...]:
    if isinstance(backoff, str):
        if backoff not in BACKOFFS:
            raise ArgumentError(
                f"Retry(backoff={backoff!r}) is not known: choose one of {', '.join(BACKOFFS)}, or list durations"
            )
        return backoff
    if not isinstance(backoff, Sequence) or not 1 <= len(backoff) <= MAX_ATTEMPTS:
        raise ArgumentError(f"Retry(backoff={backoff!r:.60}) must be a word or a list of 1 to {MAX_ATTEMPTS} durations")
    return tuple(format_duration(parse_duration(wait)) for wait in backoff)


def _checked_names(what: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise ArgumentError(f"Retry({what}={names!r:.60}) must be a list of exceptions, or of their names")
    return tuple(dict.fromkeys(_checked_name(what, name) for name in names))


def _checked_name(what: str, name: object) -> str:
    if isinstance(name, type) and issubclass(name, BaseException):
        return name.__name__
    if isinstance(name, str) and name.isidentifier():
        return name
    raise ArgumentError(
        f"Retry({what}=...) has {name!r:.60}, which is no exception: give the class, or its name without the module"
    )


def _checked_policies(per: object) -> dict[str, Retry]:
    if not isinstance(per, Mapping) or not all(isinstance(policy, Retry) for policy in per.values()):
        raise ArgumentError(
            f"Retry(per={per!r:.60}) must map exceptions, or their names, to policies: a pqclock.Retry each"
        )
    return {_checked_name("per", name): policy for name, policy in per.items()}


def _share(job_id: int, attempt: int) -> float:
    digest = blake2b(f"{job_id}:{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
