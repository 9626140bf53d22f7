"""Kinds made of other kinds: lists, alternatives, and tables with fields of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pqclock.rules.files.findings import hint, show
from pqclock.rules.files.kinds import FAULTS_LIMIT, BadValue, Choice, Fault, Kind, Text, must_be

if TYPE_CHECKING:
    from pqclock.rules.files.fields import Field


class Table:
    """A table in a field, read by a table of fields of its own."""

    words = "a table"

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = {field.name: field for field in fields}

    def read(self, value: object) -> dict[str, object]:
        if not isinstance(value, Mapping):
            required = [f"{field.name} = {field.example}" for field in self.fields.values() if field.required]
            raise must_be(f"a table such as {{ {', '.join(required)} }}", value)
        read, faults = read_fields(self.fields, value)
        missing = [name for name, field in self.fields.items() if field.required and name not in value]
        faults += [Fault(f"lacks {show(name)}") for name in missing]
        if faults:
            raise BadValue(*faults)
        return read

    def plain(self, value: object) -> object:
        assert isinstance(value, Mapping)
        return {name: self.fields[name].kind.plain(item) for name, item in value.items()}

    def schema(self) -> dict[str, object]:
        return table_schema(self.fields)


@dataclass(frozen=True, slots=True)
class Several:
    """A list, each item of one kind; all bad items are reported."""

    item: Kind
    items: str
    most: int

    @property
    def words(self) -> str:
        return f"a list of up to {self.most:,} {self.items}"

    def read(self, value: object) -> tuple[object, ...]:
        if not isinstance(value, (list, tuple)):
            more = f": write [{show(value)}]" if isinstance(value, str) else ""
            raise must_be(f"a list of {self.items}", value, more)
        if len(value) > self.most:
            raise BadValue(Fault(f"must have at most {self.most:,} {self.items}, not {len(value):,}"))
        read, faults = [], []
        for number, item in enumerate(value):
            try:
                read.append(self.item.read(item))
            except BadValue as bad:
                faults += [fault._replace(path=(number, *fault.path)) for fault in bad.faults]
        if faults:
            raise BadValue(*faults)
        return tuple(dict.fromkeys(read))

    def plain(self, value: object) -> object:
        assert isinstance(value, Sequence)
        return [self.item.plain(item) for item in value]

    def schema(self) -> dict[str, object]:
        return {"type": "array", "items": self.item.schema(), "maxItems": self.most}


@dataclass(frozen=True, slots=True)
class Either:
    """One of a few words, or else another kind."""

    choice: Choice
    other: Kind

    @property
    def words(self) -> str:
        return f"{', '.join(map(show, self.choice.options))} or {self.other.words}"

    def read(self, value: object) -> object:
        if value in self.choice.options:
            return value
        try:
            return self.other.read(value)
        except BadValue:
            more = hint(value, self.choice.options) if isinstance(value, str) else ""
            raise must_be(self.words, value, more) from None

    def plain(self, value: object) -> object:
        return value if value in self.choice.options else self.other.plain(value)

    def schema(self) -> dict[str, object]:
        return {"anyOf": [self.choice.schema(), self.other.schema()]}


@dataclass(frozen=True, slots=True)
class Checked:
    """A text that a function of the rules reads; a ValueError's sentence becomes the fault."""

    text: Text
    check: Callable[[str], object]

    @property
    def words(self) -> str:
        return self.text.words

    def read(self, value: object) -> str:
        text = self.text.read(value)
        try:
            self.check(text)
        except ValueError as error:
            raise BadValue(Fault(f": {error}")) from None
        return text

    def plain(self, value: object) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return self.text.schema()


def read_fields(fields: Mapping[str, Field], given: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    """What `given` says by a table of fields, and every fault; their paths begin with the field's name."""
    values: dict[str, object] = {}
    faults: list[Fault] = []
    for name, value in given.items():
        if len(faults) > FAULTS_LIMIT:
            break
        field = fields.get(name)
        if field is None:
            faults.append(_unknown(name, value, fields))
            continue
        try:
            values[name] = field.kind.read(value)
        except BadValue as bad:
            faults += [fault._replace(path=(name, *fault.path)) for fault in bad.faults]
    return values, faults


def _unknown(name: str, value: object, fields: Mapping[str, Field]) -> Fault:
    word = str(name)
    alias = next((field.name for field in fields.values() if word.lower() in field.aliases), None)
    more = f"; did you mean {show(alias)}?" if alias else hint(word, fields)
    if isinstance(value, Mapping) and not more:
        more = "; a key that holds a dot needs quotes"
    return Fault(f"is no field of this table{more}", (word,), on_key=True)


def table_schema(fields: Mapping[str, Field]) -> dict[str, object]:
    """The JSON Schema of a table with these fields."""
    schema: dict[str, object] = {
        "type": "object",
        "properties": {name: field_schema(field) for name, field in fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, field in fields.items() if field.required]
    return schema | ({"required": required} if required else {})


def field_schema(field: Field) -> dict[str, object]:
    """The JSON Schema of one field, with its description and default."""
    more = "" if field.supported else " (Not supported yet.)"
    schema = {"description": field.description + more, **field.kind.schema()}
    return schema | ({} if field.default is None else {"default": field.default})
