"""`pqclock gates replay`: what a rule would have delayed, from history, before it is switched on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pqclock.cli.checking import count
from pqclock.cli.coming import Instant
from pqclock.cli.options import MAX_LIMIT, TEXT, Asked, asking
from pqclock.cli.output import details, heading, plain, print_json, say, show, table
from pqclock.cli.root import EXIT_CODES
from pqclock.cli.rule_options import defining, definition
from pqclock.errors import DurationError, ScheduleFileError
from pqclock.rules.durations import format_duration, parse_duration

if TYPE_CHECKING:
    from pqclock.rules.replaying import Delays
    from pqclock.rules.rule import Rule
    from pqclock.store.database import Session
    from pqclock.store.replaying import Question, Replayed

_COLUMNS = ("key", "runs", "delayed", "share", "total", "median", "p95", "max", "worst at")


class Since(Instant):
    """An instant, or how long ago: `7d`."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The aware datetime or the timedelta, or a usage error."""
        try:
            return parse_duration(value)
        except DurationError:
            if isinstance(value, datetime | timedelta) or any(mark in str(value) for mark in "-:"):
                return super().convert(value, param, ctx)
            self.fail(f"{value!r:.60} is no time: write for example 7d, 12h or 2026-11-15", param, ctx)


@click.command("replay", epilog=EXIT_CODES)
@click.argument("rule", type=TEXT)
@click.option(
    "--since", type=Since(), default="7d", show_default=True, metavar="D|T", help="How far back, or from when."
)
@click.option(
    "--file", "files", multiple=True, metavar="PATH", help="Take the rule from schedule files not applied yet."
)
@click.option("--task", "tasks", type=TEXT, multiple=True, metavar="NAME", help="Only runs of this task.")
@click.option("--key", type=TEXT, metavar="TEMPLATE", help="As if the tasks passed it, by this key: '{account}'.")
@click.option("--all", "all_runs", is_flag=True, help="As if the tasks passed it, all by one gate.")
@click.option("--units", type=click.IntRange(1), default=1, show_default=True, help="Units of each job.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LIMIT), default=50, show_default=True, help="The most keys to show."
)
@defining
@asking("database_url", "schema")
def replay(
    asked: Asked,
    *,
    rule: str,
    since: datetime | timedelta,
    files: tuple[str, ...],
    tasks: tuple[str, ...],
    limit: int,
    **given: Any,
) -> None:
    """Tell what a rule would have delayed: runs of the past go through it, as early as it lets them.

    RULE is throttle.NAME or fuse.NAME, in the database, in files, or given by the options, which also change single
    fields of one that is there. Without --task it is about the runs of jobs that passed the rule; with --task and --key
    or --all about jobs that do not pass it yet. It takes the runs as they were: those that other gates had delayed
    count from when they started then. Classes for --only and --ignore are compared with the error's own.

    \b
    Examples:
      pqclock gates replay throttle.stripe --since 7d
      pqclock gates replay throttle.stripe --rate 100/1m --since 1d
      pqclock gates replay fuse.warehouse --file schedules/ --task stock.sync --all
      pqclock gates replay throttle.new --rate 5/1s --task mail.send --key '{account}' --json
    """
    from pqclock.cli.connection import connected
    from pqclock.store.replaying import replay as run

    question = _question(since, tasks, **{name: given[name] for name in ("key", "all_runs", "units")})
    with connected(asked.settings) as session:
        meant = _rule(session, rule, files, definition(given))
        found = run(session, meant, question)
    if asked.json:
        _print(found, limit)
    else:
        _show(found, limit, passing=not (question.key or question.all_runs))


def _question(
    since: datetime | timedelta, tasks: tuple[str, ...], *, key: str | None, all_runs: bool, units: int
) -> Question:
    from pqclock.store.replaying import Question

    if key is not None or all_runs:
        if not tasks:
            raise click.UsageError("--key and --all are about jobs that do not pass the rule yet: name their --task.")
        if key is not None and all_runs:
            raise click.UsageError("--key and --all both say how the tasks pass the rule: give one of them.")
    return Question(since, tasks, key, all_runs, units)


def _rule(session: Session, given: str, files: tuple[str, ...], fields: Mapping[str, Any]) -> Rule:
    """The rule that is meant, from files or the database, with single fields changed."""
    from pqclock.store.rules import find_meant

    if not files:
        return find_meant(session, given, fields)
    return _from_files(given, files, fields)


def _from_files(given: str, paths: tuple[str, ...], fields: Mapping[str, Any]) -> Rule:
    from pqclock.errors import UnknownRule
    from pqclock.rules.files import rule_from_fields
    from pqclock.rules.files.declarations import hint_label
    from pqclock.rules.rule import meant
    from pqclock.schedule_files import read_paths

    found = read_paths(paths)
    if not found.ok:
        raise ScheduleFileError([finding.render() for finding in found.findings if finding.severity == "error"])
    rules = {rule.label: rule for rule in found.rules}
    label = meant(given, rules, fields)
    if label not in rules:
        raise UnknownRule(f"these files declare no rule {label!r:.120}{hint_label(label, rules)}")
    base = rules[label]
    return replace(base, definition=rule_from_fields(label, {**base.definition, **fields}).definition)


def _print(found: Replayed, limit: int) -> None:
    summary = {
        "rule": found.rule,
        "definition": plain(found.definition),
        "since": found.since,
        "until": found.until,
        "keys": len(found.keys),
        "left_out": found.left_out,
        **{name: value for name, value in plain(found.overall).items() if name != "key"},
    }
    print_json("replay", found.keys[:limit], summary=[summary])


def _show(found: Replayed, limit: int, *, passing: bool) -> None:
    from pqclock.cli.rules import limits

    if found.left_out:
        say(f"{count(found.left_out, 'run')} left out: the arguments lack a field of the key")
    if not found.overall.starts:
        words = f"jobs that pass {found.rule}" if passing else "these tasks"
        more = "; --task with --key or --all asks about jobs that do not pass it yet" if passing else ""
        say(f"history has no runs of {words} since {found.since:%Y-%m-%d %H:%M:%S} UTC{more}")
        return
    all_keys = found.overall
    pairs: list[tuple[str, object]] = [
        ("rule", f"{found.rule} ({limits(found.definition)})"),
        ("runs", f"{all_keys.starts:,} of {count(len(found.keys), 'key')} "
                 f"since {found.since:%Y-%m-%d %H:%M:%S} UTC"),
        ("delayed", f"{all_keys.delayed:,} ({all_keys.share:.1%}), by {_time(all_keys.total)} in all"),
    ]  # fmt: skip
    if all_keys.delayed:
        pairs.append(("by", f"median {_time(all_keys.median)}, p95 {_time(all_keys.p95)}, max {_time(all_keys.max)}"))
    blows = found.rule.startswith("fuse.")
    if blows:
        pairs.append(("blown", f"{count(all_keys.blown, 'time')}, for {_time(all_keys.blown_for)} in all"))
    show(details(pairs))
    shown = [one for one in found.keys if one.delayed or one.blown][:limit]
    if shown:
        columns = (*_COLUMNS, *(("blown", "blown for") if blows else ()))
        show(heading("by key"), table(columns, [_row(one, blows) for one in shown]))
    left = sum(bool(one.delayed or one.blown) for one in found.keys) - len(shown)
    if left:
        say(f"and {left:,} more keys with delays: --limit shows more")


def _row(one: Delays, blows: bool) -> tuple[object, ...]:
    lengths = [_time(length) if one.delayed else "" for length in (one.total, one.median, one.p95, one.max)]
    worst = f"{one.worst_at:%Y-%m-%d %H:%M:%S} UTC" if one.worst_at else ""
    fuse = (one.blown, _time(one.blown_for)) if blows else ()
    return (one.key or "(none)", one.starts, one.delayed, f"{one.share:.1%}", *lengths, worst, *fuse)


def _time(length: timedelta) -> str:
    """Two units at most: nobody reads the milliseconds of an hour."""
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    step = timedelta(milliseconds=1) if length < 10 * second else second if length < hour else timedelta(minutes=1)
    return format_duration(round(length / step) * step)
