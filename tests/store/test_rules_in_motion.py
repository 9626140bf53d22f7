"""Rules that change while several claims are under way: nobody is stuck, and no window sees too much."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pqclock.rules.files import rule_from_fields
from pqclock.store import rules
from store.gated import claim, end, enqueue_gated

if TYPE_CHECKING:
    from conftest import Database

SECONDS = 4
FORMS: list[dict[str, Any]] = [
    {"rate": "60/1s"},
    {"rate": "60/1s", "concurrency": 500},
    {"rate": "60/1s", "burst": 1},
    {"rate": "50/1s"},
]


def test_a_rule_that_changes_all_the_time_holds_all_the_time(database: Database) -> None:
    rules.put(database.session, [rule_from_fields("throttle.x", FORMS[0])])
    enqueue_gated(database.session, "throttle:x", count=1000)
    over, starts = threading.Event(), list[datetime]()

    def work(number: int) -> None:
        session = database.connect()
        lease = number * 100_000
        while not over.is_set():
            lease += 1
            for job in claim(session, 5, None, lease=lease).jobs:
                assert job.claimed_at is not None
                starts.append(job.claimed_at)
                assert end(session, job, "succeeded", job.claimed_at)
            time.sleep(0.002)
        session.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    begin, changes = time.monotonic(), 0
    while time.monotonic() < begin + SECONDS:
        changes += 1
        rules.put(database.session, [rule_from_fields("throttle.x", FORMS[changes % len(FORMS)])])
        time.sleep(0.02)
    over.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    starts.sort()
    for first, at in enumerate(starts):
        assert sum(later < at + timedelta(seconds=1) for later in starts[first:]) <= 60
    assert changes > 20 and len(starts) > 30 * SECONDS
