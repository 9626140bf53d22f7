"""The table of fields: every section and field of a schedule file, once.

It drives the validation, the defaults, the JSON Schema (`schema`) and the reference page (`reference`). A field
that is not `supported` yet is checked for its form, and then refused where saying nothing would mislead; a later
version only flips the flag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pqclock.rules.cron.zones import known_zone
from pqclock.rules.files.arguments import Arguments
from pqclock.rules.files.kinds import Choice, Kind, Share, Switch, Text, Whole
from pqclock.rules.files.tables import Checked, Either, Several, Table
from pqclock.rules.files.times import Day, Duration, Instant, Rate
from pqclock.rules.keys import check_file_reference, check_file_template

KEY_PATTERN = "[a-z0-9][a-z0-9._-]{0,99}"
NAME_PATTERN = "[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_SMALL = 32_767
_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)

_CRON = Text("a cron expression", 256)
_ZONE = Checked(Text("the IANA name of a time zone, such as Europe/Berlin", 64), known_zone)
_TASK = Text("the name of a task: letters, digits, _ . : and -", 200, "[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_QUEUE = Text("the name of a queue: letters, digits, _ . and -", 100, NAME_PATTERN)
REFERENCES_LIMIT = 16
_RULE = Checked(Text("the name of a rule, or NAME:KEY", 512), check_file_reference)
_CALENDAR = Text("the name of a calendar", 100, NAME_PATTERN)
_CLASS = Text("the name of an exception class", 200, "[A-Za-z_][A-Za-z0-9_.]*")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what it takes, what it means, and what holds when it is not given."""

    name: str
    kind: Kind
    description: str
    example: str
    default: object = None
    required: bool = False
    supported: bool = True
    aliases: tuple[str, ...] = ()  # what other tools call it, for suggestions

    def is_default(self, value: object) -> bool:
        """Whether a value that was read says no more than leaving the field out."""
        if self.default is None:
            return value == ()
        return value == self.kind.read(self.default)


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of table: `[defaults]`, `[schedule.KEY]`, `[throttle.NAME]` and so on."""

    name: str
    description: str
    table: tuple[Field, ...]
    named: bool = True
    pattern: str = NAME_PATTERN
    supported: bool = True
    fields: Mapping[str, Field] = field(init=False, repr=False)
    required: tuple[str, ...] = field(init=False, repr=False)
    unsupported: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", {entry.name: entry for entry in self.table})
        object.__setattr__(self, "required", tuple(entry.name for entry in self.table if entry.required))
        object.__setattr__(self, "unsupported", frozenset(e.name for e in self.table if not e.supported))

    def accepts(self, name: object) -> bool:
        """Whether `name` may stand as KEY or NAME."""
        return isinstance(name, str) and re.fullmatch(self.pattern, name, re.ASCII) is not None

    @property
    def title(self) -> str:
        """The header as the contract writes it."""
        if not self.named:
            return f"[{self.name}]"
        return f"[{self.name}.{'KEY' if self.name == 'schedule' else 'NAME'}]"


UNIQUE = (
    Field(
        "key",
        Checked(Text("a text", 512), check_file_template),
        "Template of the key, with `{args.NAME}` for an argument; keys are scoped to the task.",
        '"report:{args.day}"',
        required=True,
    ),
    Field(
        "until",
        Either(Choice(("started", "finished")), Duration(_SECOND)),
        "How long the key is taken: until the first start, until the end, or for a time from the enqueue on.",
        '"finished"',
        "finished",
    ),
    Field(
        "on_conflict",
        Choice(("skip", "replace", "raise")),
        "What happens to a job whose key is taken.",
        '"skip"',
        "skip",
    ),
    Field(
        "replace",
        Several(Choice(("args", "run_at", "priority", "queue", "labels", "max_attempts")), "fields", 6),
        'The fields that `on_conflict = "replace"` takes over from the new job.',
        '["args", "run_at"]',
    ),
)

SCHEDULE = (
    Field(
        "task", _TASK, "Registered name of the task to run.", '"reports.nightly"', required=True,
        aliases=("command", "function", "func", "job", "job_class", "class", "target"),
    ),
    Field(
        "cron", _CRON, "When, as a cron expression of five fields, or of six with the seconds first.",
        '"0 2 * * *"',
        aliases=("crontab", "schedule", "expression", "cron_expression"),
    ),
    Field(
        "every", Duration(_SECOND, whole_seconds=True),
        "When, as a period, counted from 1970-01-01T00:00Z or from `start`; real time, whatever the zone.",
        '"15m"',
        aliases=("interval", "period"),
    ),
    Field(
        "at", Instant(local=True),
        "When, as a single instant; without an offset it is a local time of the `timezone`, which must be given then.",
        "2027-01-01T09:00:00Z", aliases=("date", "run_at", "once", "when"),
    ),
    Field(
        "timezone", _ZONE, "The IANA zone in which `cron` is read and template formats are written.",
        '"America/New_York"', "UTC", aliases=("tz", "zone", "time_zone"),
    ),
    Field(
        "args", Arguments(),
        "Arguments of the job. Every text is a template: `{tick}`, `{tick:FORMAT}`, `{previous_tick}`, `{key}`.",
        '{ day = "{tick:%Y-%m-%d}", account = "acme" }', aliases=("kwargs", "arguments", "params",
        "payload", "data"),
    ),
    Field("description", Text("a text", 1000, lines=True), "For people.", '"Totals for finance"',
          aliases=("comment",)),
    Field("queue", _QUEUE, "The queue of the job; else that of the task.", '"latency_15m"'),
    Field(
        "priority", Whole(-_SMALL, _SMALL), "Lower runs first; else that of the task.", "0",
    ),
    Field(
        "labels", Several(Text("a text of 1 to 64 characters", 64), "labels", 16),
        "Labels of the job, to list, pause and count by.", '["finance"]', aliases=("tags",),
    ),
    Field("enabled", Switch(), "false: kept, but no ticks.", "true", True, aliases=("active",)),
    Field("start", Instant(), "No tick before it; the anchor of `every`.", "2026-12-01T00:00:00Z",
          aliases=("start_date",)),
    Field("end", Instant(), "No tick at or after it.", "2027-12-01T00:00:00Z", aliases=("end_date", "until")),
    Field(
        "was", Several(Text("a former key", 100, KEY_PATTERN), "former keys", 16),
        "Former keys: the watermark and the history carry over.", '["nightly"]', aliases=("renamed_from", "formerly"),
    ),
    Field(
        "gap", Choice(("shift", "skip")),
        "A local time that does not exist: the first instant after the gap, or no tick.", '"shift"', "shift",
    ),
    Field("fold", Choice(("first", "second", "both")), "A local time that exists twice.", '"first"', "first"),
    Field(
        "grace", Duration(), "A tick at most this late is on time, whatever `catch_up` says.", '"1m"', "1m",
        aliases=("misfire_grace_time",),
    ),
    Field(
        "catch_up", Choice(("none", "latest", "all")), "Which of the missed ticks still run.", '"latest"',
        "latest",
        aliases=("catchup", "backfill", "coalesce"),
    ),
    Field("catch_up_window", Duration(), "Older misses are skipped, with a ledger row.", '"1d"', "1d"),
    Field("catch_up_limit", Whole(1, 10_000), "Most ticks of one catch-up, the newest ones.", "100", 100),
    Field(
        "overlap", Choice(("allow", "skip", "wait", "replace")),
        "The previous job is unfinished: run both, skip, wait (one at most), or cancel the previous one.",
        '"allow"', "allow", aliases=("concurrency_policy", "max_instances"),
    ),
    Field(
        "spread", Duration(),
        "The start moves by a fixed offset up to this, by hash of the key; the tick does not.",
        '"5m"', "0s", aliases=("splay",),
    ),
    Field(
        "jitter", Duration(),
        "The start moves by up to this, by hash of key and tick: the same after a failover.",
        '"30s"', "0s",
    ),
    Field(
        "exclude", Several(_CALENDAR, "calendars", REFERENCES_LIMIT),
        "Calendars on whose days no tick falls.", '["de-holidays"]',
    ),
    Field(
        "on_excluded", Choice(("skip", "next_business_day", "previous_business_day")),
        "What becomes of a tick on an excluded day: none, or its local time on the nearest day that is not.",
        '"skip"', "skip",
    ),
    Field("expires_in", Duration(_MILLISECOND), "A job not started by then is discarded.", '"30m"',
          aliases=("expires",)),
    Field(
        "unique", Table(UNIQUE), "Lets one job with the same key in.",
        '{ key = "report:{args.day}", until = "finished", on_conflict = "skip" }',
    ),
    Field(
        "throttle", Several(_RULE, "rules", REFERENCES_LIMIT),
        "Throttles that the job passes; the text before the first `:` names the rule, the rest is the key.",
        '["warehouse", "stripe:{args.account}"]',
    ),
    Field(
        "fuse", Several(_RULE, "rules", REFERENCES_LIMIT), "Fuses that the job passes; read as `throttle`.",
        '["warehouse"]',
    ),
    Field("alert_after", Duration(_SECOND), "No run begun so long after the tick: the alarm.", '"10m"'),
    Field(
        "history", Choice(("all", "failures", "none")), "Which ended jobs are kept; else those that the task says.", '"failures"',
    ),
    Field("keep", Duration(_SECOND), "How long finished jobs are kept.", '"90d"', supported=False),
    Field(
        "max_attempts", Whole(1, _SMALL), "Runs before the job fails for good; else that of the task.", "5",
        aliases=("retries", "retry", "attempts"),
    ),
    Field("timeout", Duration(_SECOND), "A run that is longer is interrupted, and has failed; else that of the task.", '"10m"'),
)  # fmt: skip

THROTTLE = (
    Field("rate", Rate(), "Never more starts than this in any half-open window of this length.", '"100/1m"'),
    Field("burst", Whole(1, 1_000_000), "Starts that may come at once; by default 1 + 4 % of the rate.", "5"),
    Field("concurrency", Whole(1, 1_000_000), "Jobs running at the same time.", "4", aliases=("limit", "max_running")),
)

FUSE = (
    Field("failures", Whole(1, 1_000_000), "Trips at this many failures within the window.", "5"),
    Field("failure_rate", Share(), "Trips at this share of failures, once there are `minimum` outcomes.",
          "0.5"),
    Field("minimum", Whole(1, 1_000_000), "Outcomes before `failure_rate` counts.", "20"),
    Field("within", Duration(_SECOND), "The window.", '"1m"', required=True),
    Field("cool_down", Duration(_SECOND), "How long it stays blown before the first probe.", '"5m"',
          required=True),
    Field("max_cool_down", Duration(_SECOND),
          "The cool-down doubles at each failed probe, up to this; by default it does not grow.", '"1h"'),
    Field("probes", Whole(1, 1000), "Jobs let through while half open.", "1", 1),
    Field("only", Several(_CLASS, "class names", 64),
          "Names of classes, also of bases, that count as failures; without it all do.",
          '["ConnectionError", "TimeoutError"]'),
    Field("ignore", Several(_CLASS, "class names", 64), "Names of classes, also of bases, that count neither way.",
          '["ValueError"]'),
)  # fmt: skip

QUEUE = (
    Field(
        "slo",
        Duration(_SECOND),
        "The oldest ready job may wait this long; else the alarm. A name like `latency_15m` says it by itself.",
        '"15m"',
    ),
)

CALENDAR = (
    Field("dates", Several(Day(), "dates", 10_000), "Days.", "[2026-12-25, 2026-12-26]"),
    Field("weekdays", Several(Choice(("mon", "tue", "wed", "thu", "fri", "sat", "sun")), "weekdays", 7),
          "Days of every week.", '["sat", "sun"]'),
    Field("file", Text("the name of a file", 300), "A TOML or ICS file beside this one.", '"holidays.ics"'),
)  # fmt: skip

NOT_DEFAULTS = ("cron", "every", "task")

SECTIONS = {
    section.name: section
    for section in (
        Section(
            "defaults",
            "Values for the schedules of this file: any field of a schedule but `cron`, `every` and `task`.",
            tuple(entry for entry in SCHEDULE if entry.name not in NOT_DEFAULTS),
            named=False,
        ),
        Section("schedule", "One piece of recurring work; KEY is its identity.", SCHEDULE,
        pattern=KEY_PATTERN),
        Section(
            "throttle",
            "A limit on starts or on jobs running at the same time: `rate`, `concurrency` or both.",
            THROTTLE,
        ),
        Section("fuse", "A circuit breaker: `failures`, `failure_rate` or both.", FUSE),
        Section("queue", "What is known of a queue. Queues need no declaration.", QUEUE),
        Section("calendar", "Days, by date, by weekday, or from a file.", CALENDAR),
    )
}  # fmt: skip
