"""`pqclock explain`: why a job is not running, and until when."""

from __future__ import annotations

import click

from pqclock.cli.options import JOB_ID, Asked, asking
from pqclock.cli.output import cell, print_json, show
from pqclock.cli.root import EXIT_CODES
from pqclock.rules.explained import explained
from pqclock.store import listings


@click.command(epilog=EXIT_CODES)
@click.argument("job_id", type=JOB_ID, metavar="JOB")
@asking("database_url", "schema")
def explain(asked: Asked, job_id: int) -> None:
    """Tell why a job is not running and until when: its time, pauses, workers, and every gate in its way.

    Of one that runs it tells whether it was cancelled and is still to end, and of an iteration how far it has come.

    \b
    Example:
      pqclock explain 4711
    """
    from pqclock.cli.connection import connected
    from pqclock.store import explaining

    with connected(asked.settings) as session, listings.reading(session):
        found = explaining.explain(session, job_id)
        now = listings.now(session)
    if asked.json:
        print_json("explain", [found])
    else:
        from rich.text import Text

        show(*(Text(cell(line, 2000)) for line in explained(found, now)))
