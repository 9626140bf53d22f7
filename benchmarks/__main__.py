"""The benchmarks: `python -m benchmarks [WORKLOAD ...] [--rounds N] [--json FILE] [--svg FILE]`; `--list` names them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import draining, entering, paralleling, peers, pressing, showing, ticking
from benchmarks.plot import svg
from benchmarks.report import table, with_figures
from benchmarks.server import running_server
from benchmarks.suite import Result, Workload, machine, run

MODULES = (entering, draining, paralleling, pressing, ticking, showing)
WORKLOADS = {workload.name: workload for module in MODULES for workload in module.WORKLOADS}


def measured(workloads: Sequence[Workload], rounds: int) -> list[Result]:
    """Run them on a server of their own."""
    with running_server() as server:
        return [run(server, workload, rounds, lambda line: print(line, file=sys.stderr)) for workload in workloads]


def kept(paths: Sequence[Path]) -> list[Result]:
    """What earlier runs came to."""
    told = [result for path in paths for result in json.loads(path.read_text())["results"]]
    return [Result(WORKLOADS[result["workload"]], result["rounds"]) for result in told]


def main() -> None:
    """Run what is asked for, print tables, and write everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="all, where none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the goals as a picture")
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help="the goals as a table in a page that has marks for it"
    )
    parser.add_argument("--told", type=Path, nargs="+", metavar="FILE", help="run nothing: tell what --json has kept")
    parser.add_argument("--peers", action="store_true", help="drain: other queues too, those that are installed")
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
    if asked.peers:
        chosen = [replace(w, cells={**w.cells, **peers.cells()}) if w.name == "drain" else w for w in chosen]
    results = kept(asked.told) if asked.told else measured(chosen, asked.rounds)
    for result in results:
        print(table(result))
    if asked.json:
        told = {"machine": machine(), "results": [result.as_json() for result in results]}
        asked.json.write_text(json.dumps(told, indent=1))
    if asked.into:
        asked.into.write_text(with_figures(asked.into.read_text(), results))
    if asked.svg:
        asked.svg.write_text(svg(results))


if __name__ == "__main__":
    main()
