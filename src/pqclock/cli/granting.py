"""`pqclock grants`: the SQL of the least-privilege roles."""

from __future__ import annotations

import click

from pqclock.cli.options import Asked, asking
from pqclock.cli.output import print_json
from pqclock.cli.root import EXIT_CODES


@click.command(epilog=EXIT_CODES)
@click.option("--role-prefix", default="pqclock", show_default=True, metavar="P", help="How the roles' names begin.")
@asking("schema")
def grants(asked: Asked, role_prefix: str) -> None:
    """Print the SQL that makes roles with least privileges: owner, migrator, clock, worker, enqueuer, reader.

    It can be run again, and is to be run again after each `pqclock migrate`. Nothing is connected.

    \b
    Examples:
      pqclock grants | psql
      pqclock grants --role-prefix shop --schema jobs
    """
    from pqclock.store.grants import ROLES, script

    text = script(asked.settings.schema, role_prefix)
    if asked.json:
        print_json("grants", [{"roles": [f"{role_prefix}_{role}" for role in ROLES], "sql": text}])
    else:
        click.echo(text)
