"""The JSON Schema of schedule files, from the table of fields: for completion and checks in editors.

It declares draft-07 but keeps to keywords that draft-04 has, the newest that Taplo handles in full.
"""

from __future__ import annotations

from pqclock.rules.files.fields import SECTIONS, Section
from pqclock.rules.files.tables import table_schema


def json_schema() -> dict[str, object]:
    """The schema; whatever the validator accepts is accepted by it, though not the other way round."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pqclock schedule file",
        "type": "object",
        "properties": {section.name: _section(section) for section in SECTIONS.values()},
        "additionalProperties": False,
    }


def _section(section: Section) -> dict[str, object]:
    table = table_schema(section.fields)
    if section.name == "schedule":
        pairs = (("cron", "every"), ("cron", "at"), ("every", "at"))
        table["not"] = {"anyOf": [{"required": list(pair)} for pair in pairs]}
    if not section.named:
        return {"description": section.description, **table}
    return {
        "description": section.description,
        "type": "object",
        "patternProperties": {f"^{section.pattern}$": table},
        "additionalProperties": False,
    }
