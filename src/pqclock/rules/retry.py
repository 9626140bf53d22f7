"""When a failed job runs again: the policy as a value, the delay as a pure function of job and attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

from pqclock.errors import ArgumentError
from pqclock.rules.durations import format_duration, parse_duration

BACKOFFS = ("exponential", "linear", "constant")
MAX_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is tried, and how long it waits in between.

    The wait after attempt n is `base * 2 ** (n - 1)` (exponential), `base * n` (linear) or `base` (constant), at most
    `limit`; `jitter` takes off up to that share of it, by a hash of job and attempt, so that jobs which failed together
    do not come back together. Durations are texts such as "5s" or timedeltas.
    """

    max_attempts: int = 5
    backoff: str = "exponential"
    base: str | timedelta = "5s"
    limit: str | timedelta = "1h"
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise ArgumentError(
                f"Retry(max_attempts={self.max_attempts!r}) must be a whole number from 1 to {MAX_ATTEMPTS}"
            )
        if self.backoff not in BACKOFFS:
            raise ArgumentError(f"Retry(backoff={self.backoff!r}) is not known: choose one of {', '.join(BACKOFFS)}")
        if type(self.jitter) not in (int, float) or not 0 <= self.jitter <= 1:
            raise ArgumentError(f"Retry(jitter={self.jitter!r}) must be a share from 0 to 1")
        parse_duration(self.base)
        parse_duration(self.limit)

    def delay(self, attempt: int, job_id: int) -> timedelta:
        """How long job `job_id` waits after its failed attempt number `attempt` (1 is the first)."""
        base, limit = parse_duration(self.base), parse_duration(self.limit)
        # Beyond 2 ** 40 every base that is not zero has long passed every limit.
        factor = {"exponential": 2 ** min(attempt - 1, 40), "linear": attempt, "constant": 1}[self.backoff]
        seconds = min(base.total_seconds() * factor, limit.total_seconds())
        return timedelta(seconds=seconds * (1 - self.jitter * _share(job_id, attempt)))

    def to_options(self) -> dict[str, object]:
        """The policy as JSON values, as it is published with the task."""
        return {
            "max_attempts": self.max_attempts,
            "backoff": self.backoff,
            "base": format_duration(parse_duration(self.base)),
            "limit": format_duration(parse_duration(self.limit)),
            "jitter": self.jitter,
        }


def _share(job_id: int, attempt: int) -> float:
    digest = blake2b(f"{job_id}:{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
