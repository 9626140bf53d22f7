"""The contract's own example of a schedule file: every field and section there is."""

# ruff: noqa: E501
from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pqclock.rules.files import read_set
from pqclock.rules.files.fields import SECTIONS

EXAMPLE = r"""
[defaults]                      # for this file: timezone, queue, catch_up, ... any field of a schedule but cron/every/task
timezone = "Europe/Berlin"

[schedule.nightly-report]       # KEY: [a-z0-9][a-z0-9._-]{0,99}
task        = "reports.nightly" # required: registered task name
cron        = "0 2 * * *"       # exactly one of cron, every, at
# every     = "15m"             # durations: 500ms 15s 5m 2h 1d 1w, combinable "1h30m" (every: whole seconds); anchored to 1970-01-01T00:00Z, or to `start`
# at        = 2027-01-01T09:00:00Z
timezone    = "America/New_York"
args        = { day = "{tick:%Y-%m-%d}", previous = "{previous_tick}", key = "{key}", account = "acme" }
description = "Totals for finance"
queue       = "latency_15m"
priority    = 0                 # lower runs first
labels      = ["finance"]
enabled     = true
start       = 2026-12-01T00:00:00Z   # no tick before; optional
end         = 2027-12-01T00:00:00Z   # no tick at or after; optional
was         = ["nightly"]       # former keys: the watermark and the history carry over
gap         = "shift"           # local time that does not exist: shift | skip
fold        = "first"           # local time that exists twice: first | second | both
grace       = "1m"
catch_up    = "latest"          # missed ticks: none | latest | all
catch_up_window = "1d"          # older misses are skipped, with a ledger row
catch_up_limit  = 100           # most ticks of one catch-up, newest first
overlap     = "allow"           # previous job unfinished (retrying counts): allow | skip | wait (one at most) | replace (cancels it)
spread      = "5m"              # fixed offset by hash of the key; identity stays the nominal tick
jitter      = "30s"             # per tick, by hash of (key, tick): the same after a failover
exclude     = ["de-holidays"]   # calendars
on_excluded = "skip"            # skip | next_business_day | previous_business_day
expires_in  = "30m"             # not started by then: discarded, with the reason
unique      = { key = "report:{args.day}", until = "finished", on_conflict = "skip" }
throttle    = ["warehouse", "stripe:{args.account}"]   # text before the first ":" names the rule, the rest is the key
alert_after = "10m"             # no run begun by then: the alarm
history     = "all"             # all | failures | none; keep = "90d"
fuse        = ["warehouse"]
max_attempts = 5
timeout     = "10m"

[throttle.warehouse]
rate        = "100/1m"          # never more than 100 starts in any half-open minute, whatever the burst (GCRA, database clock)
burst       = 5                 # starts that may come at once; default 1 + floor(4 % of the rate); interval = window / (rate - burst + 1)
concurrency = 4                 # running at the same time; rate, concurrency or both

[throttle.stripe]
rate        = "25/1s"

[queue.latency_15m]             # optional: queues need no declaration
slo         = "15m"             # the oldest ready job may wait this long; else the alarm. latency_15m says it by its name

[fuse.warehouse]
failures    = 5                 # trips at 5 failures within the window ...
# failure_rate = 0.5            # ... or at this share of failures, once there are `minimum` outcomes
# minimum   = 20
within      = "1m"
cool_down   = "5m"              # doubled at each failed probe up to max_cool_down
max_cool_down = "1h"
probes      = 1                 # jobs let through while half open
only        = ["ConnectionError", "TimeoutError"]   # class names that count as failures; without it all do
ignore      = ["ValueError"]

[calendar.de-holidays]
dates       = [2026-12-25, 2026-12-26]
weekdays    = ["sat", "sun"]
# file      = "holidays.ics"    # or a TOML/ICS file beside this one
"""  # fmt: skip


def test_only_what_is_not_supported_yet_is_found() -> None:
    found = read_set([("example.toml", EXAMPLE.encode())])
    assert all("not supported yet" in finding.message for finding in found.findings)
    errors = {finding.key.rpartition(".")[2] for finding in found.findings if finding.severity == "error"}
    assert errors == {finding.key.rpartition(".")[2] for finding in found.findings}
    schedule = SECTIONS["schedule"]
    # `overlap` and `history` stand at their defaults, which need no support.
    unsupported = schedule.unsupported - {"overlap", "keep"}
    assert errors == unsupported


def test_without_the_fields_that_are_not_supported_it_is_a_schedule() -> None:
    unsupported = SECTIONS["schedule"].unsupported
    lines = [line for line in EXAMPLE.splitlines() if line.split(" ")[0] not in unsupported]
    found = read_set([("example.toml", "\n".join(lines).encode())])
    assert found.ok
    (schedule,) = found.schedules
    assert schedule.source == "example.toml:5"
    assert schedule.timezone == "America/New_York"
    assert schedule.args == {
        "day": "{tick:%Y-%m-%d}", "previous": "{previous_tick}", "key": "{key}", "account": "acme",
    }  # fmt: skip
    assert (schedule.queue, schedule.priority, schedule.labels) == ("latency_15m", 0, ("finance",))
    assert (schedule.start, schedule.end) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 12, 1, tzinfo=UTC))
    assert (schedule.spread, schedule.jitter) == (timedelta(minutes=5), timedelta(seconds=30))
    assert (schedule.expires_in, schedule.max_attempts) == (timedelta(minutes=30), 5)
    assert found.throttles == {
        "warehouse": {"rate": "100/1m", "burst": 5, "concurrency": 4},
        "stripe": {"rate": "25/1s"},
    }
    assert found.queues == {"latency_15m": {"slo": "15m"}} and found.slos == {"latency_15m": "15m"}
    assert schedule.alert_after == timedelta(minutes=10)
    assert found.fuses["warehouse"]["only"] == ["ConnectionError", "TimeoutError"]
    assert found.calendars == {"de-holidays": {"dates": ["2026-12-25", "2026-12-26"], "weekdays": ["sat", "sun"]}}
