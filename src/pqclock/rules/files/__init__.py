"""Schedule files: from TOML text to schedules, with findings as precise as a compiler's.

    positions     where every key and value stands
    toml          one file: bytes to tables, or why not
    fields        the table of all sections and fields; `kinds`, `tables` and `arguments` are what fields take
    entry         one schedule, from a file or from the API
    declarations  throttles, fuses, queues and calendars, and who refers to them
    report        faults, which know paths, become findings, which know lines
    document      a set of files
    schema        the JSON Schema, from the table
    reference     the reference page, from the table

Reading the disk is done elsewhere: this takes names and bytes.
"""

from pqclock.rules.files.declarations import rule_from_fields
from pqclock.rules.files.document import FileSet, read_set
from pqclock.rules.files.entry import schedule_from_fields
from pqclock.rules.files.findings import Finding
from pqclock.rules.files.schema import json_schema

__all__ = ["FileSet", "Finding", "json_schema", "read_set", "rule_from_fields", "schedule_from_fields"]
