"""The root command and the table of all commands."""

from __future__ import annotations

import click

from pqclock import __version__
from pqclock.cli.lazy import Entry, LazyGroup

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed or findings, 2 wrong usage or settings, 3 database out of reach, "
    "4 refused for safety (pooler, schema version, lock)."
)

_RUN, _FILES, _LOOK, _CARE = "Run", "Schedule files", "Look", "Care"

ENTRIES = {
    "everything": Entry("", "pqclock.cli.roles:everything", "Clock, workers and dashboard in one process."),
    "clock": Entry(_RUN, "pqclock.cli.roles:clock", "Run a clock: it leads, or stands by."),
    "worker": Entry(_RUN, "pqclock.cli.roles:worker", "Run workers."),
    "demo": Entry(_RUN, "pqclock.cli.roles:demo", "Something to watch, at once, on the embedded server."),
    "web": Entry(_RUN, "pqclock.cli.serving:web", "Serve the dashboard."),
    "check": Entry(_FILES, "pqclock.cli.checking:check", "Validate schedule files."),
    "schema": Entry(_FILES, "pqclock.cli.checking:schema", "The JSON Schema of schedule files."),
    "simulate": Entry(
        _FILES, "pqclock.cli.simulating:simulate", "Ticks, load and clock changes of files; no database."
    ),
    "next": Entry(_FILES, "pqclock.cli.coming:coming", "Coming ticks, in words and times."),
    "plan": Entry(_FILES, "pqclock.cli.planning:plan", "What applying schedule files would change."),
    "apply": Entry(_FILES, "pqclock.cli.roles:apply", "Put schedule files into effect."),
    "status": Entry(_LOOK, "pqclock.cli.status:status", "Leader, workers, queues, next ticks, last failures."),
    "schedules": Entry(
        _LOOK,
        "pqclock.cli.schedules:schedules",
        "Schedules: list, show, put, remove, pause, resume, trigger, backfill.",
    ),
    "jobs": Entry(_LOOK, "pqclock.cli.jobs:jobs", "Jobs: list, show, retry, run, cancel, discard."),
    "explain": Entry(_LOOK, "pqclock.cli.explaining:explain", "Why a job is not running, and until when."),
    "queues": Entry(_LOOK, "pqclock.cli.fleet:queues", "Queues: list, pause, resume."),
    "tasks": Entry(_LOOK, "pqclock.cli.fleet:tasks", "Published tasks: list, pause, resume."),
    "labels": Entry(_LOOK, "pqclock.cli.fleet:labels", "Labels of jobs: list, pause, resume."),
    "gates": Entry(
        _LOOK, "pqclock.cli.gates:gates", "Throttles and fuses by key: list, show, blow, reset, cool, replay."
    ),
    "rules": Entry(_LOOK, "pqclock.cli.rules:rules", "Throttles and fuses: list, show, put, remove."),
    "alarms": Entry(_LOOK, "pqclock.cli.alarms:alarms", "What is wrong and who was told: list, test."),
    "processes": Entry(_LOOK, "pqclock.cli.fleet:processes", "Clocks and workers."),
    "doctor": Entry(_CARE, "pqclock.cli.doctoring:doctor", "Is everything in order? With the way out where not."),
    "healthcheck": Entry(_CARE, "pqclock.cli.healthchecking:healthcheck", "Does the process here reach its database?"),
    "migrate": Entry(_CARE, "pqclock.cli.migrating:migrate", "Bring the database's schema to this version."),
    "grants": Entry(_CARE, "pqclock.cli.granting:grants", "The SQL of the least-privilege roles."),
}


@click.group(
    cls=LazyGroup,
    entries=ENTRIES,
    default="everything",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="pqclock", message="%(prog)s %(version)s")
def root() -> None:
    """A leader-elected clock and a job queue on PostgreSQL.

    Without a command, pqclock runs clock, workers and dashboard in one supervised process, on the embedded server unless an
    address is set (--database-url, PQCLOCK_DATABASE_URL, DATABASE_URL, pqclock.toml or [tool.pqclock] in pyproject.toml, PGHOST).

    \b
    Examples:
      pqclock demo                        something to watch, at once
      pqclock check                       are the files in schedules/ right?
      pqclock next --cron "0 2 * * MON"   when would that be?
      pqclock jobs --state failed --json  for people a table, for tools JSON
    """
