"""The args of a schedule: JSON values with templates in their texts; every fault is told, with its path."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice

from pqclock.rules.files.findings import show
from pqclock.rules.files.kinds import FAULTS_LIMIT, BadValue, Fault, must_be
from pqclock.rules.files.positions import Path
from pqclock.rules.json_values import MAX_BYTES, MAX_DEPTH
from pqclock.rules.templates import TemplateFault, read_args

_LARGEST = 2**63
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Arguments:
    """A table of JSON values: texts (templates), numbers, true, false, lists and tables."""

    words = f"a table of JSON values, {MAX_BYTES // 1024} KiB and {MAX_DEPTH} levels at most"

    def read(self, value: object) -> dict[str, object]:
        if not isinstance(value, Mapping):
            raise must_be("a table of arguments by name", value)
        faults = list(islice(_json_faults(value, (), 1), FAULTS_LIMIT)) or _size_faults(value)
        if not any(len(fault.path) >= MAX_DEPTH for fault in faults):
            faults += [_template_fault(fault) for fault in read_args(value)[1][:FAULTS_LIMIT]]
        if faults:
            raise BadValue(*faults)
        return dict(value)

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {"type": "object"}


def _json_faults(value: object, path: Path, depth: int) -> Iterator[Fault]:
    # The depth is counted as json_values does at the enqueue, so what is accepted here is accepted there.
    if depth > MAX_DEPTH:
        yield Fault(f"is nested deeper than {MAX_DEPTH} levels: pass flatter data", path)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(name, str):
                yield from _text_faults(name, (*path, name))
                yield from _json_faults(item, (*path, name), depth + 1)
            else:
                yield Fault(f"has the key {show(name)}: the keys of JSON objects are texts", path)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _json_faults(item, (*path, number), depth + 1)
    elif isinstance(value, str):
        yield from _text_faults(value, path)
    else:
        yield from _scalar_faults(value, path)


def _text_faults(text: str, path: Path) -> Iterator[Fault]:
    if "\x00" in text:
        yield Fault("holds a NUL character, which PostgreSQL cannot store: remove it", path)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        yield Fault("holds half a surrogate pair, which is no Unicode text", path)


def _scalar_faults(value: object, path: Path) -> Iterator[Fault]:
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        yield Fault("is an integer of more than 64 bits: write it as a text", path)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(f"is {value}, which JSON does not have: leave it out or write a text", path)
    elif value is not None and not isinstance(value, bool | int | float):
        kind = type(value).__name__
        yield Fault(f"is {show(value)}, a {kind}, which JSON does not have: write a text in quotes", path)


def _size_faults(value: Mapping[str, object]) -> list[Fault]:
    size = len(_ENCODER.encode(value).encode())
    if size <= MAX_BYTES:
        return []
    more = "store the data elsewhere and pass its id"
    return [Fault(f"takes {size:,} bytes as JSON, the limit is {MAX_BYTES:,}: {more}")]


def _template_fault(fault: TemplateFault) -> Fault:
    return Fault(f"is no template: {fault.message}", fault.path, offset=fault.offset, length=fault.length)
