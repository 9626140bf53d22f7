"""Reports of failures: told where the handler ran, or apart where nobody may be held up by them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from pqclock.store import running
from pqclock.store.database import Session
from pqclock.tasks.hooks import Failure, Hooks

# With so many that nobody was told of yet, whoever comes next tells himself.
UNTOLD_LIMIT = 1_000
# So many that no worker saw are looked for at once.
HEAR_LIMIT = 100


class Reporting:
    """Tells the app's reports. Those of the event loop and of the deadlines are told on a thread of their own, in order."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._lock = threading.Lock()
        self._untold = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pqclock-reports")

    @property
    def idle(self) -> bool:
        """True when nothing is left to be told apart."""
        return self._untold == 0

    def tell(self, failure: Failure, *, apart: bool) -> None:
        """Tell all reports of a failure; `apart` without waiting for them."""
        if not self._hooks.reports:
            return
        if not apart or self._untold >= UNTOLD_LIMIT:
            self._hooks.tell(failure)
            return
        with self._lock:
            self._untold += 1
        try:
            self._thread.submit(self._tell, failure)
        except RuntimeError:
            # There is no thread to be had, or the worker has ended.
            self._tell(failure)

    def _tell(self, failure: Failure) -> None:
        try:
            self._hooks.tell(failure)
        finally:
            with self._lock:
                self._untold -= 1

    def hear_failures(self, session: Session, tasks: Sequence[str]) -> None:
        """Tell of failures of these tasks that no worker saw; elsewhere, since a report may take its time."""
        if not self._hooks.reports:
            return
        for found in running.hear_failures(session, tasks, HEAR_LIMIT):
            failure = Failure(
                found.job_id, found.task, found.reason, found.message, found.attempt,
                retry_in=timedelta(0) if found.retried else None,
            )  # fmt: skip
            self.tell(failure, apart=True)

    def stop(self) -> None:
        """Take nothing more; does not wait for what is being told."""
        self._thread.shutdown(wait=False)
