"""The over-admission checker: holds what was written down outside of the database against the limits."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One run of a job: when it was granted and began, and when it was over; in seconds since 1970."""

    key: str
    pid: int
    granted: float
    began: float
    ended: float


def read_runs(folder: Path, killed: Mapping[int, float]) -> list[Run]:
    """All runs that were written down; one without an end went on until its process was `killed`."""
    open_runs: dict[tuple[int, int, float], dict[str, float | str | int]] = {}
    runs = []
    for file in folder.glob("runs-*.jsonl"):
        for text in file.read_text().splitlines():
            line = json.loads(text)
            place = (line["pid"], line["job"], line["granted"])
            if line["what"] == "began":
                open_runs[place] = line
            else:
                began = open_runs.pop(place)
                runs.append(Run(line["key"], line["pid"], line["granted"], float(began["at"]), line["at"]))
    for line in open_runs.values():
        pid = int(line["pid"])
        runs.append(
            Run(str(line["key"]), pid, float(line["granted"]), float(line["at"]), killed.get(pid, float("inf")))
        )
    return runs


def most_in_a_window(grants: Iterable[float], window: float) -> int:
    """The most starts in any half-open window of this length."""
    ordered = sorted(grants)
    most, first = 0, 0
    for last, instant in enumerate(ordered):
        # A microsecond is the grain of the database's time.
        while instant - ordered[first] >= window - 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_at_once(runs: Iterable[Run]) -> int:
    """The most runs that went on at the same instant."""
    changes = sorted([(run.began, 1) for run in runs] + [(run.ended, -1) for run in runs])
    most = running = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def by_key(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each key."""
    found = defaultdict(list)
    for run in runs:
        found[run.key].append(run)
    return found
