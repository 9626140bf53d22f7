"""Where the database is: argument or flag, variables, file, libpq's own variables, else the embedded server.

A missing address never makes a private, empty database: only a server that runs already is joined.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pqclock.errors import SettingsError
from pqclock.rules.addresses import check_database_url
from pqclock.settings import PREFIX, Settings, load

if TYPE_CHECKING:
    from pqclock.embedded import Server

# Where one of these is set, libpq finds the server by itself, given an empty address.
_LIBPQ = ("PGHOST", "PGSERVICE")


@dataclass(frozen=True, slots=True)
class Address:
    """An address and who gave it; as long as `server` is kept, the embedded server runs on."""

    url: str
    origin: str
    server: Server | None = None

    def close(self) -> None:
        """Give up the share in the embedded server, if there is one."""
        if self.server is not None:
            self.server.close()

    def __repr__(self) -> str:
        return f"<Address from {self.origin}>"


def find_address(
    url: str | None = None, *, settings: Settings | None = None, environ: Mapping[str, str] | None = None
) -> Address:
    """The database's address: `url` if given, else what the settings and the environment say.

    Raises SettingsError when there is none, or when it is no address; EmbeddedServerError when the folder's
    server cannot be joined.
    """
    environ = os.environ if environ is None else environ
    if url is not None:
        return _checked(url, "the argument")
    settings = load(environ=environ) if settings is None else settings
    return given_address(settings, environ) or _embedded(settings)


def given_address(settings: Settings, environ: Mapping[str, str] | None = None) -> Address | None:
    """The address that somebody gave, None where nobody did; never the embedded server's."""
    environ = os.environ if environ is None else environ
    origin = settings.origin("database_url")
    # DATABASE_URL is not ours alone, so it is looked at only when the database is: it may name another kind.
    if environ.get("DATABASE_URL") and not origin.startswith(("--", PREFIX)):
        return _checked(environ["DATABASE_URL"], "DATABASE_URL")
    if settings.database_url is not None:
        return Address(settings.database_url, origin)
    named = next((name for name in _LIBPQ if environ.get(name)), None)
    return Address("", named) if named else None


def _checked(url: str, origin: str) -> Address:
    try:
        return Address(check_database_url(url), origin)
    except ValueError as error:
        reason = str(error) or "the address is empty or holds control characters"
        raise SettingsError([f"{origin}: {reason}"]) from None


def _embedded(settings: Settings) -> Address:
    from pqclock.embedded import attach

    server = attach(Path(settings.folder))
    if server is None:
        raise SettingsError(
            [
                "no database address: set PQCLOCK_DATABASE_URL or give --database-url; DATABASE_URL, the "
                f"settings file and PGHOST name none, and no embedded server runs in {settings.folder!r} "
                "(`pqclock` without a command starts one there)"
            ]
        )
    return Address(server.url, f"the embedded server in {settings.folder}", server)
