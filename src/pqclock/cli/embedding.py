"""The embedded server where no address is set: started, brought to this version, and said aloud."""

from __future__ import annotations

from pathlib import Path

import click

from pqclock.address import Address, given_address
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import connect


def find_or_start(settings: Settings) -> Address:
    """The database's address; where nobody gave one, that of the folder's embedded server, which is then started."""
    given = given_address(settings)
    if given is not None:
        return given
    from pqclock.embedded import start

    server = start(Path(settings.folder))
    where = f"PostgreSQL {server.version} in {settings.folder}/"
    click.secho(
        f"pqclock: no database address is set: using the embedded {where} - set PQCLOCK_DATABASE_URL to use your own",
        err=True,
        fg="yellow",
        bold=True,
    )
    address = Address(server.url, f"the embedded server in {settings.folder}", server)
    session = connect(address.url, settings.schema, "start")
    try:
        migrate.migrate(session)
    finally:
        session.close()
    return address
