"""What is declared beside schedules: throttles, fuses, queues and calendars, and who refers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.durations import format_duration
from pqclock.rules.files.entry import read_section, sentence
from pqclock.rules.files.fields import REFERENCES_LIMIT, SECTIONS, Section
from pqclock.rules.files.findings import hint, nearest, show
from pqclock.rules.files.kinds import Fault
from pqclock.rules.rule import KINDS, Rule, split_label

Declared = Mapping[str, Mapping[str, object]]

# field of a schedule -> the section in which what it names is declared
REFERENCES = {"throttle": "throttle", "fuse": "fuse", "exclude": "calendar"}


def read_declaration(section: Section, given: Mapping[str, object]) -> tuple[dict[str, Any], list[Fault]]:
    """The values of a table, and its faults."""
    values, faults = read_section(section, given)
    if section.name in _WHOLE:
        faults += _WHOLE[section.name](values, given)
    if not section.supported:
        faults.append(Fault(f"this {section.name} is declared, but not supported yet", severity="warning"))
    return values, faults


def rule_from_fields(label: str, fields: Mapping[str, object], source: str = "") -> Rule:
    """The rule `KIND.NAME` that plain Python values describe; raises ArgumentError with a line for each fault.

    The fields are those of files; None is not given.
    """
    kind, name = checked_label(label)
    section, given = SECTIONS[kind], {field: value for field, value in fields.items() if value is not None}
    values, faults = read_declaration(section, given)
    errors = [sentence(fault) for fault in faults if fault.severity == "error"]
    if errors:
        raise ArgumentError("\n".join(errors))
    return Rule(kind, name, plain(section, values), source)


def checked_label(label: object) -> tuple[str, str]:
    """Kind and name of `KIND.NAME`; raises ArgumentError for anything else."""
    found = split_label(label) if isinstance(label, str) else None
    if found is None:
        raise ArgumentError(
            f"the rule {show(label)} has no kind: write {' or '.join(f'{kind}.NAME' for kind in KINDS)}, such as "
            f"throttle.stripe"
        )
    if not SECTIONS[found[0]].accepts(found[1]):
        raise ArgumentError(f"the name {show(found[1])} must match {SECTIONS[found[0]].pattern}")
    return found


def hint_label(label: str, known: Iterable[str]) -> str:
    """`; did you mean "throttle.stripe"?`, or nothing: kinds do not make names alike."""
    labels = sorted(known)
    name = nearest(label.partition(".")[2] or label, [one.partition(".")[2] for one in labels])
    found = [one for one in labels if one.partition(".")[2] == name]
    meant = next(
        (one for one in found if one.partition(".")[0] == label.partition(".")[0]), found[0] if found else None
    )
    return f"; did you mean {show(meant)}?" if meant else ""


def plain(section: Section, values: Mapping[str, object]) -> dict[str, Any]:
    """Values that were read, as JSON."""
    return {name: section.fields[name].kind.plain(value) for name, value in values.items()}


def reference_faults(given: Mapping[str, object], declared: Declared) -> list[Fault]:
    """A fault for each name in a schedule's fields that is declared nowhere."""
    faults = []
    for field, section in REFERENCES.items():
        items = given.get(field)
        for number, item in enumerate(items[:REFERENCES_LIMIT] if isinstance(items, list) else ()):
            name = item.partition(":")[0] if isinstance(item, str) and section != "calendar" else item
            if isinstance(name, str) and name not in declared[section]:
                faults.append(Fault(_undeclared(section, name, declared[section]), (field, number)))
    return faults


def _undeclared(section: str, name: str, declared: Mapping[str, object]) -> str:
    more = hint(name, declared) or (f"; write a [{section}.{name}] table" if name.isalnum() else "")
    return f"names {show(name)}, but no file declares such a {section}{more}"


def _throttle_faults(values: Mapping[str, Any], given: Mapping[str, object]) -> list[Fault]:
    if "rate" not in given and "concurrency" not in given:
        return [Fault("a throttle needs rate, concurrency or both")]
    if "burst" in given and "rate" not in given:
        return [Fault("needs a rate", ("burst",), on_key=True)]
    rate = int(values["rate"].partition("/")[0]) if "rate" in values else None
    if rate is not None and values.get("burst", 1) > rate:
        return [Fault(f"= {values['burst']:,} must not be above the rate, {rate:,}", ("burst",))]
    return []


def _fuse_faults(values: Mapping[str, Any], given: Mapping[str, object]) -> list[Fault]:
    faults = []
    if "failures" not in given and "failure_rate" not in given:
        faults.append(Fault("a fuse needs failures, failure_rate or both"))
    if ("failure_rate" in given) != ("minimum" in given):
        one, other = ("minimum", "failure_rate") if "minimum" in given else ("failure_rate", "minimum")
        faults.append(Fault(f"needs {other} beside it", (one,), on_key=True))
    least, most = values.get("cool_down"), values.get("max_cool_down")
    if least is not None and most is not None and most < least:
        faults.append(
            Fault(
                f"= {format_duration(most)} must not be below cool_down, {format_duration(least)}", ("max_cool_down",)
            )
        )
    return faults


def _calendar_faults(_: Mapping[str, Any], given: Mapping[str, object]) -> list[Fault]:
    return [] if given else [Fault("a calendar needs dates, weekdays or a file")]


_WHOLE: dict[str, Callable[[Mapping[str, Any], Mapping[str, object]], list[Fault]]] = {
    "throttle": _throttle_faults,
    "fuse": _fuse_faults,
    "calendar": _calendar_faults,
}
