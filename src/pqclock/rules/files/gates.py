"""The unique key and the gates of a schedule, as far as they can be told from its own arguments."""

from __future__ import annotations

from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import Fault
from pqclock.rules.files.positions import Path
from pqclock.rules.keys import unfit, unknown_field
from pqclock.rules.unique import Unique


def read_gates(values: dict[str, Any]) -> list[Fault]:
    """The faults of templates that the arguments cannot fill; the terms of `unique` become one value."""
    faults: list[Fault] = []
    templates: list[tuple[Path, str]] = []
    terms = values.get("unique")
    if terms is not None and not isinstance(terms, Unique):
        templates.append((("unique", "key"), terms["key"]))
        try:
            values["unique"] = Unique.from_options(terms)
        except ArgumentError as error:
            faults.append(Fault(f": {error}", ("unique",)))
    for name in ("throttle", "fuse"):
        templates += [((name, number), item) for number, item in enumerate(values.get(name) or ())]
    args = values.get("args", {})
    for path, template in templates:
        problem = unfit(template, args, path[0] != "unique")
        if problem is not None:
            faults.append(Fault(f"{show(template)} {problem}", path))
        elif (field := unknown_field(template, args)) is not None:
            text = (
                f"{show(template)} names {{{field}}}, which is not in args: nothing is inserted unless the task has a"
            )
            faults.append(Fault(f"{text} default for it", path, "warning"))
    return faults
