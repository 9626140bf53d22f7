"""What a job carries when it gets in: its unique key and its gates, checked where they are given."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from pqclock.errors import ArgumentError, PqclockError
from pqclock.rules.json_values import check_object
from pqclock.rules.keys import MAX_BYTES, check_reference, fields_of
from pqclock.rules.unique import Unique

MAX_REFERENCES = 16
MAX_UNITS = 1_000_000


def entrance_options(
    what: str,
    signature: inspect.Signature,
    *,
    unique: Unique | None = None,
    unique_key: str | None = None,
    throttle: str | Sequence[str] | None = None,
    fuse: str | Sequence[str] | None = None,
    units: int | None = None,
) -> dict[str, object]:
    """What was given, as JSON values for the database; raises ArgumentError, also for arguments that do not exist."""
    options: dict[str, object] = {}
    if unique is not None:
        options["unique"] = _checked_unique(unique, what)
        _check_fields([unique.key], signature, f"{what}: unique key")
    if unique_key is not None:
        if unique is not None:
            raise ArgumentError(f"{what}: give either unique or unique_key, not both")
        options["unique_key"] = _checked_key(unique_key, what)
    for name, given in (("throttle", throttle), ("fuse", fuse)):
        if given is not None:
            options[name] = references = _checked_references(given, f"{what}: {name}")
            _check_fields(references, signature, f"{what}: {name}")
    if units is not None:
        if type(units) is not int or not 1 <= units <= MAX_UNITS:
            raise ArgumentError(f"{what}: units {units!r:.40} must be a whole number from 1 to {MAX_UNITS}")
        options["units"] = units
    return options


def argument_defaults(signature: inspect.Signature) -> dict[str, object]:
    """The defaults of the parameters that are JSON values; the others stay the function's own affair."""
    found: dict[str, object] = {}
    for name, parameter in signature.parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            try:
                found |= json.loads(check_object({name: parameter.default}, name))
            except PqclockError:
                continue
    return found


def _checked_unique(unique: object, what: str) -> dict[str, object]:
    if not isinstance(unique, Unique):
        raise ArgumentError(f"{what}: unique {unique!r:.60} must be a pqclock.Unique")
    return unique.to_options()


def _checked_key(key: object, what: str) -> str:
    if not isinstance(key, str) or not key.isprintable() or not 1 <= len(key.encode()) <= MAX_BYTES:
        raise ArgumentError(f"{what}: unique_key {key!r:.60} must be a printable text of 1 to {MAX_BYTES} bytes")
    return key


def _checked_references(given: object, what: str) -> list[str]:
    references = [given] if isinstance(given, str) else given
    if not isinstance(references, Collection) or isinstance(references, Mapping) or len(references) > MAX_REFERENCES:
        raise ArgumentError(f"{what} {given!r:.60} must be a text, or a list of at most {MAX_REFERENCES}")
    return list(dict.fromkeys(_told(what, check_reference, reference) for reference in references))


def _told(what: str, check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except ArgumentError as error:
        raise ArgumentError(f"{what} {error}") from None


def _check_fields(templates: Iterable[str], signature: inspect.Signature, what: str) -> None:
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    for template in templates:
        for field in fields_of(template):
            if field.partition(".")[0] not in signature.parameters:
                raise ArgumentError(
                    f"{what} {template!r} names {{{field}}}, but the task has no such argument: there are {signature}"
                )
