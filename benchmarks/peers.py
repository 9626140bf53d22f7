"""Other queues for Python beside ours, where they are installed: `python -m benchmarks drain --peers`.

Each is a program of its own, which fills its tables (`fill URL COUNT`) or works them off (`work URL`), with the settings that
its documentation gives for many small jobs.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import draining, slots
from benchmarks.processes import program
from benchmarks.server import Server
from benchmarks.suite import Cell, Figures

UNDONE = {
    "procrastinate": "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))",
    "pgqueuer": "SELECT EXISTS (SELECT FROM pgqueuer)",
}
# The slow ones get fewer jobs: a rate needs no more.
COUNTS = {"procrastinate": 5_000, "pgqueuer": draining.JOBS}


def cells() -> dict[str, Cell]:
    """Those that can be imported here."""
    return {name: partial(drain, name=name) for name in UNDONE if find_spec(name)}


def drain(server: Server, *, name: str) -> Figures:
    """What `draining.drain` measures, of a peer."""
    with server.database() as url, tempfile.TemporaryDirectory() as place:
        folder, count = Path(place), COUNTS[name]
        subprocess.run([sys.executable, "-m", "benchmarks.peers", name, "fill", url, str(count)], check=True)
        server.settle(url)
        mapped = slots.Slots(folder / "slots")
        environment = {slots.VARIABLE: str(folder / "slots")}
        with program(folder, "benchmarks.peers", name, "work", url, **environment) as process:
            return draining.measure(server, url, UNDONE[name], mapped, [process.pid], count)


async def procrastinate(verb: str, url: str, count: int) -> None:
    """procrastinate: five coroutines, finished jobs deleted."""
    import procrastinate as peer  # type: ignore[import-not-found, unused-ignore]

    begin = slots.beginning()
    app = peer.App(connector=peer.PsycopgConnector(conninfo=url))

    @app.task(name="noop", queue="bench")
    async def noop() -> None:
        begin(None)

    async with app.open_async():
        if verb == "fill":
            await app.schema_manager.apply_schema_async()
            await noop.batch_defer_async(*[{} for _ in range(count)])
        else:
            await app.run_worker_async(concurrency=5, delete_jobs="always", install_signal_handlers=True)


async def pgqueuer(verb: str, url: str, count: int) -> None:
    """pgqueuer: a thousand jobs at a time."""
    import asyncpg  # type: ignore[import-untyped, unused-ignore]
    from pgqueuer import PgQueuer, Queries  # type: ignore[import-not-found, unused-ignore]
    from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found, unused-ignore]
    from psycopg.conninfo import conninfo_to_dict

    begin = slots.beginning()
    place = conninfo_to_dict(url)
    conn = await asyncpg.connect(
        user=place["user"], host=place["host"], port=place.get("port"), database=place["dbname"]
    )
    driver = AsyncpgDriver(conn)
    if verb == "fill":
        await Queries(driver).install()
        for _ in range(0, count, 10_000):
            many: list[Any] = [None] * min(10_000, count)
            await Queries(driver).enqueue(["noop"] * len(many), many, [0] * len(many))
        return
    pgq = PgQueuer(driver)

    @pgq.entrypoint("noop")
    async def noop(_job: object) -> None:
        begin(None)

    await pgq.run(batch_size=1000)


if __name__ == "__main__":
    _, name, verb, url, *more = sys.argv
    asyncio.run({"procrastinate": procrastinate, "pgqueuer": pgqueuer}[name](verb, url, int(more[0]) if more else 0))
