"""What surrounds each run of a job, and who hears of failures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pqclock.errors import ArgumentError
from pqclock.tasks.context import CurrentJob

log = logging.getLogger("pqclock.worker")

REASONS = ("retried", "retries used up", "discarded", "timed out", "crashed", "expired")

Surrounding = Callable[[CurrentJob], AbstractContextManager[object] | AbstractAsyncContextManager[object]]


@dataclass(frozen=True, slots=True)
class Failure:
    """What a report hears of a run that failed, or of a job that never ran.

    `reason` is one of REASONS; `error` is the exception, None where there is none (crashed, expired), and `message`
    says what happened in one line. `job` is None where no handler ran here. `retry_in` is None when the job has ended.
    """

    job_id: int
    task: str
    reason: str
    message: str
    attempt: int
    error: BaseException | None = None
    job: CurrentJob | None = None
    retry_in: timedelta | None = None


Report = Callable[[Failure], object]


class Carrying(Protocol):
    """The jobs of a call, which carry a trace context to where they run."""

    trace: Mapping[str, str] | None

    @property
    def tasks(self) -> Sequence[str]:
        """Of which tasks they are, as far as that is known before they are sent."""


# Around an enqueue of jobs of these tasks; gives the trace context that they carry.
Tracing = Callable[[Sequence[str]], AbstractContextManager[Mapping[str, str]]]

_UNTRACED = nullcontext()


class Hooks:
    """The context managers around runs, in the order of their registration, the reports, and what traces enqueues."""

    tracing: Tracing | None = None

    def __init__(self) -> None:
        self.around: list[Surrounding] = []
        self.reports: list[Report] = []

    def add_around(self, factory: Surrounding) -> Surrounding:
        """Have each run happen inside of `factory(job)`; the first one added is the outermost."""
        if not callable(factory):
            raise ArgumentError(
                f"app.around_job({factory!r:.60}) must be given a function of the job, such as a context manager's"
            )
        self.around.append(factory)
        return factory

    def add_report(self, report: Report) -> Report:
        """Have `report(failure)` called for each failure."""
        if not callable(report):
            raise ArgumentError(f"app.on_error({report!r:.60}) must be given a function that takes a Failure")
        self.reports.append(report)
        return report

    def enqueueing(self, jobs: Carrying) -> AbstractContextManager[None]:
        """Around the sending of jobs, which are given what they carry."""
        return _UNTRACED if self.tracing is None else _traced(self.tracing, jobs)

    def tell(self, failure: Failure) -> None:
        """Tell all reports; one that fails is logged, and keeps nobody else from hearing."""
        for report in self.reports:
            try:
                report(failure)
            except KeyboardInterrupt:
                raise
            except BaseException:
                # Also one that wants to end the program: that is not a report's to decide.
                log.exception("the report %r of the failure of job %s failed itself", report, failure.job_id)


@contextmanager
def _traced(tracing: Tracing, jobs: Carrying) -> Iterator[None]:
    with tracing(jobs.tasks) as jobs.trace:
        yield
