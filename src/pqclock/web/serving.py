"""Serves the dashboard by uvicorn, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EADDRINUSE

import uvicorn

from pqclock.drift import Files
from pqclock.errors import PqclockError, SettingsError
from pqclock.pulse import Pulse
from pqclock.rules.listening import Endpoint, parse_endpoint
from pqclock.settings import Settings
from pqclock.store import migrate
from pqclock.store.database import DatabaseError, Session
from pqclock.store.waiting import within
from pqclock.web.access import LOCAL_HOSTS, Access
from pqclock.web.app import Dashboard

log = logging.getLogger("pqclock.web")

# What runs ends within this; streams are ended by us.
GRACE = 2
# uvicorn's loop turns ten times a second.
TICKS_BETWEEN_LOOKS = 50
MOST_TRIED = 20


def access_of(settings: Settings) -> Access:
    """Who may do what; raises SettingsError when anybody on the network might do everything."""
    endpoint = parse_endpoint(settings.web)
    access = Access(
        operate_token=settings.web_token,
        view_token=settings.web_view_token,
        hosts=settings.web_hosts or LOCAL_HOSTS,
        read_only=settings.web_read_only,
    )
    if access.open and not endpoint.local:
        raise SettingsError(
            [f"{settings.origin('web')}: {settings.web} is open to others: set PQCLOCK_WEB_TOKEN to a secret of your own, "
             f"or listen on 127.0.0.1"]
        )  # fmt: skip
    return access


def free_endpoint(settings: Settings) -> Endpoint:
    """Where to listen: the next free port when the default one is taken, and nobody has asked for that one."""
    endpoint = parse_endpoint(settings.web)
    if settings.is_set("web"):
        return endpoint
    for port in range(endpoint.port, endpoint.port + MOST_TRIED):
        try:
            bind(endpoint._replace(port=port), "default").close()
        except SettingsError:
            continue
        return endpoint._replace(port=port)
    return endpoint._replace(port=0)


def bind(endpoint: Endpoint, origin: str) -> socket.socket:
    """The listening socket; raises SettingsError."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    # Named as TCP, so that asyncio has its connections send at once: a page would wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((endpoint.host, endpoint.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        way_out = "use another port" if error.errno == EADDRINUSE else "use an address of this machine"
        raise SettingsError([f"{origin}: nothing can listen on {endpoint} ({error.strerror}): {way_out}"]) from error
    return listener


class Service:
    """The dashboard of these settings, on a socket of its own from the first moment."""

    def __init__(self, settings: Settings, url: str, paths: Sequence[str], pulse: Pulse) -> None:
        access = access_of(settings)
        self._pulse, self._wait = pulse, settings.wait
        self._listener = bind(parse_endpoint(settings.web), settings.origin("web"))
        files = Files(settings.set, paths) if paths else None
        self._dashboard = Dashboard(url, settings.schema, access, settings.web_args, files=files)
        application = self._dashboard.application()
        # What these have to say is said in our form.
        for name in ("uvicorn", "psycopg.pool"):
            logging.getLogger(name).parent = logging.getLogger("pqclock")
            logging.getLogger(name).setLevel(logging.WARNING)
        config = uvicorn.Config(
            application, log_config=None, access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=GRACE, lifespan="on",
        )  # fmt: skip
        self._server = _Server(config, self._dashboard, pulse)

    @property
    def address(self) -> str:
        """Where it is to be found."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{Endpoint(host, port).nearest}/"

    def run(self) -> None:
        """Serve until `stop()`; raises SchemaMismatch where the schema is not there, or another version's."""
        with self._listener:
            self._pulse.say("waiting for the database")
            if within(self._wait, lambda: self._dashboard.views.look(_fits), self._stopped) is None:
                return
            log.info("dashboard: %s", self.address)
            self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """Have `run()` return; callable from any thread and from signal handlers."""
        self._server.should_exit = True

    def _stopped(self, seconds: float) -> bool:
        self._pulse.turn(seconds)
        time.sleep(min(seconds, 0.2))
        return self._server.should_exit


def _fits(session: Session) -> bool:
    migrate.check_schema(session)
    return True


class _Server(uvicorn.Server):
    """One that leaves signals to us, and says that its loop turns."""

    def __init__(self, config: uvicorn.Config, dashboard: Dashboard, pulse: Pulse) -> None:
        super().__init__(config)
        self._dashboard = dashboard
        self._pulse = pulse
        self._look: asyncio.Future[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        self._pulse.turn(1.0)
        if counter % TICKS_BETWEEN_LOOKS == 0 and (self._look is None or self._look.done()):
            self._look = asyncio.get_running_loop().run_in_executor(None, self._reach)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Streams last for as long as pages are open, unless they are ended.
        self._dashboard.end_streams()
        await super().shutdown(sockets)

    def _reach(self) -> None:
        try:
            self._dashboard.views.look(_fits)
        except (PqclockError, DatabaseError) as error:
            log.debug("the database does not answer: %s", error)
            self._pulse.say("waiting for the database")
        else:
            self._pulse.reach()
            self._pulse.say("working")
