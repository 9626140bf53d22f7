"""The reference page of schedule files, from the table of fields: `docs/schedule-files.md` is its text."""

from __future__ import annotations

from pqclock.rules.calendars import DATES_LIMIT, MOVE_LIMIT
from pqclock.rules.durations import UNITS
from pqclock.rules.files.document import ENTRIES_LIMIT
from pqclock.rules.files.exclusions import MOVED_LIMIT
from pqclock.rules.files.fields import KEY_PATTERN, SECTIONS, Field, Section
from pqclock.rules.files.ics import REPEATED
from pqclock.rules.files.positions import DEPTH_LIMIT, VALUES_LIMIT
from pqclock.rules.files.report import FINDINGS_LIMIT
from pqclock.rules.files.tables import Table
from pqclock.rules.files.toml import BYTES_LIMIT
from pqclock.rules.json_values import MAX_BYTES, MAX_DEPTH
from pqclock.rules.templates import DIRECTIVES

_INTRODUCTION = f"""\
# Schedule files

All `*.toml` files of the `schedules/` folder, or the files and folders given to a command, make one set. A set is
checked as a whole and applied as a whole: one error anywhere, and nothing of it is applied. `pqclock check` reports
everything at once, each finding with its file, line and column; `pqclock schema` prints a JSON Schema for editors.

```toml
[defaults]
timezone = "Europe/Berlin"

[schedule.nightly-report]
task = "reports.nightly"
cron = "0 2 * * *"
args = {{ day = "{{tick:%Y-%m-%d}}" }}
```

KEY, the identity of a schedule, matches `{KEY_PATTERN}`. A key that holds a dot needs quotes:
`[schedule."customer.42"]`. The same key twice in a set is an error. Fields that are marked *not supported yet* are
checked for their form, and refused where they would change anything; the sections so marked are read with a warning.
"""

_VALUES = f"""\
## Values

**Durations** are numbers with a unit, the largest first: {", ".join(f"`{unit}`" for unit in UNITS)}; for example
`500ms`, `15s`, `1h30m`, `1w`. A hundred years at most.

**Instants** are TOML date-times with an offset, such as `2026-12-01T00:00:00Z`, of whole seconds.

**Defaults** of the file replace the built-in ones field by field: `args` and `labels` are not merged. A schedule's
own `cron`, `every` or `at` replaces a default `at`.

**`every`** counts from 1970-01-01T00:00Z, a Thursday, or from `start`. From a day on, `pqclock check` warns when
there is no `start`: `1w` ticks on Thursdays at 00:00 UTC.

**`at`** without an offset is a local time of the `timezone`, by `gap` and `fold`; one that does not exist, or exists
twice, is an error where these leave no single instant.

## Calendars

`exclude` names calendars; the days of all of them together are excluded. What counts is the date, in the schedule's
zone, of the time that a tick stands for. The ledger has a row for each tick that is not where it was named:
`skipped` with the reason `excluded`, or with `moved` where `on_excluded` brought it to another day, or `coalesced` with
`moved` where it came to another tick of the schedule. A moved tick keeps its local time, and `gap` and `fold` apply on
its new day; its row has the instant it came from as `nominal`. One that finds no day within {MOVE_LIMIT} days, or
would leave `start` and `end`, is skipped. At most {MOVED_LIMIT:,} ticks of a day can be moved.

`file` is the name of a file in the same folder, with its extension: a `.toml` file with `dates` and `weekdays` at the
top, or an iCalendar file, `.ics`, which needs `pip install 'pqclock[ics]'`. Its events of whole days count, and those
that repeat by day, week or year, from {REPEATED[0]} to {REPEATED[1]}; other repetitions are errors, and events with a
time of day are left out with a warning. A calendar has at most {DATES_LIMIT:,} dates, and leaves one weekday free.
The days are stored with the schedule when the files are applied: a calendar that changes is applied like any change.

## Templates

Every text in `args`, however deep, is a template; the keys of tables are not.

| template | becomes |
| --- | --- |
| `{{tick}}` | the tick, ISO 8601 in UTC: `2026-11-22T02:00:00Z` |
| `{{tick:FORMAT}}` | the tick in the schedule's zone, by FORMAT: `{{tick:%Y-%m-%d}}` |
| `{{previous_tick}}`, `{{previous_tick:FORMAT}}` | the tick before; empty for the first |
| `{{key}}` | the key of the schedule |
| `{{{{` and `}}}}` | a brace |

FORMAT takes {" ".join(f"`%{letter}`" for letter in DIRECTIVES)}. Names of days and months are English. The date is
the one by which the schedule names the tick: 23:30 on Saturday, moved by a change of the clock to midnight, is still
Saturday's. Anything else in braces is an error.

## Limits

A file has at most {BYTES_LIMIT // 1024**2} MiB, {ENTRIES_LIMIT:,} tables that declare something, {VALUES_LIMIT:,}
keys and list items, and {DEPTH_LIMIT} levels of nesting. Arguments take at most {MAX_BYTES // 1024} KiB as JSON and
{MAX_DEPTH} levels, and are JSON values: no dates, no `nan` or `inf`, integers of 64 bits. After {FINDINGS_LIMIT}
findings the rest of a file is not looked at.
"""


def reference_page() -> str:
    """The page, in Markdown."""
    sections = [_section(section) for section in SECTIONS.values() if section.name != "defaults"]
    return "\n".join((_INTRODUCTION, *sections, _VALUES))


def _section(section: Section) -> str:
    lines = [f"## `{section.title}`", "", _marked(section.description, section.supported), ""]
    if section.name == "schedule":
        lines[2] += " Exactly one of `cron`, `every` and `at` is required."
        lines += [f"`[defaults]` takes the same fields but {_left_out()}: values for the schedules of this file.", ""]
    lines += _table(section.table)
    for field in section.table:
        if isinstance(field.kind, Table):
            lines += ["", f"The table `{field.name}`:", "", *_table(tuple(field.kind.fields.values()))]
    return "\n".join(lines) + "\n"


def _left_out() -> str:
    names = [f"`{name}`" for name in SECTIONS["schedule"].fields if name not in SECTIONS["defaults"].fields]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _table(fields: tuple[Field, ...]) -> list[str]:
    return ["| field | takes | default | example | meaning |", "| --- | --- | --- | --- | --- |", *map(_row, fields)]


def _row(field: Field) -> str:
    default = "required" if field.required else "" if field.default is None else f"`{_toml(field.default)}`"
    cells = (
        f"`{field.name}`",
        field.kind.words,
        default,
        f"`{field.example}`",
        _marked(field.description, field.supported),
    )
    return f"| {' | '.join(cells)} |"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _marked(description: str, supported: bool) -> str:
    return description if supported else f"{description} *Not supported yet.*"
