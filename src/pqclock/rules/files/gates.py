"""The unique key and the gates of a schedule, as far as they can be told from its own arguments."""

from __future__ import annotations

from typing import Any

from pqclock.errors import ArgumentError
from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import Fault
from pqclock.rules.files.positions import Path
from pqclock.rules.keys import unfit
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
    for path, template in templates:
        problem = unfit(template, values.get("args", {}))
        if problem is not None:
            faults.append(Fault(f"{show(template)} {problem}", path))
    return faults
