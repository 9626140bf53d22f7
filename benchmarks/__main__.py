"""The benchmarks: `python -m benchmarks [WORKLOAD ...] [--rounds N] [--json FILE]`; `--list` names the workloads."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import draining, entering
from benchmarks.report import table
from benchmarks.server import running_server
from benchmarks.suite import machine, run

WORKLOADS = {workload.name: workload for workload in (*entering.WORKLOADS, *draining.WORKLOADS)}


def main() -> None:
    """Run what is asked for, print tables, and write everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="all, where none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    asked = parser.parse_args()
    if asked.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:16} {workload.title}")
        return
    unknown = [name for name in asked.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"there is no workload {unknown[0]!r}: see --list")
    chosen = [WORKLOADS[name] for name in asked.workloads] or list(WORKLOADS.values())
    with running_server() as server:
        results = [
            run(server, workload, asked.rounds, lambda line: print(line, file=sys.stderr)) for workload in chosen
        ]
    for result in results:
        print(table(result))
    if asked.json:
        told = {"machine": machine(), "results": [result.as_json() for result in results]}
        asked.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
