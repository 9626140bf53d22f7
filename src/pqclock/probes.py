"""`/livez` and `/readyz` over HTTP, for those who restart processes and those who wait for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6

from pqclock.errors import SettingsError
from pqclock.rules.listening import Endpoint, is_private

log = logging.getLogger("pqclock.health")

# A page: its status, its media type and its content.
Page = tuple[int, str, bytes]
Pages = dict[str, Callable[[], Page]]

# Whoever asks says so within this time, or somebody else may have the thread.
ASKED_WITHIN = 5.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, endpoint: Endpoint, pages: Pages, hosts: Collection[str]) -> None:
        if ":" in endpoint.host:
            self.address_family = AF_INET6
        self.pages = pages
        self.hosts = {host.lower() for host in hosts}
        super().__init__((endpoint.host, endpoint.port), _Handler)

    def server_bind(self) -> None:
        # The inherited one looks the name of the address up, which may take as long as a resolver likes.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        log.debug("a request for health from %s was not answered", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = ASKED_WITHIN
    # One packet for head and content.
    wbufsize = -1
    server_version, sys_version = "pqclock", ""

    def do_GET(self) -> None:
        self._answer(content=True)

    def do_HEAD(self) -> None:
        self._answer(content=False)

    def _answer(self, *, content: bool) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if (stranger := self._stranger()) is not None:
            words = f"this is not known as {stranger!r:.100}: name it in PQCLOCK_HEALTH_HOSTS, or use an address\n"
            found: Page = HTTPStatus.MISDIRECTED_REQUEST, "text/plain", words.encode()
        else:
            found = page() if page else (HTTPStatus.NOT_FOUND, "text/plain", self._contents())
        status, media, body = found
        self.send_response(status)
        self.send_header("Content-Type", media if "charset=" in media else f"{media}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if content:
            self.wfile.write(body)

    def _stranger(self) -> str | None:
        """The name by which this was called, if it is not ours; who gives none is no browser."""
        given = self.headers.get_all("Host") or []
        if not given:
            return None
        name = given[0].rpartition(":")[0] if given[0].rpartition(":")[2].isdigit() else given[0]
        known = len(given) == 1 and ("*" in self.server.hosts or name.lower() in self.server.hosts or is_private(name))
        return None if known else ", ".join(given)

    def _contents(self) -> bytes:
        return f"there is {', '.join(self.server.pages)}\n".encode()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: probes come every few seconds."""


class Probes:
    """The server of these pages, by path, from `start()` to `stop()`."""

    def __init__(self, endpoint: Endpoint, pages: Pages, origin: str, hosts: Collection[str] = ()) -> None:
        try:
            self._server = _Server(endpoint, pages, hosts)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError([f"{origin}: {endpoint} cannot be listened on ({reason}): choose another"]) from None
        self.endpoint = Endpoint(endpoint.host, self._server.server_port)

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, name="pqclock-probes", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
