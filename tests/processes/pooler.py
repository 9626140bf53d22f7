"""What a client sees of a transaction pooler: it is told one backend, and its statements run on another.

A proxy between client and server that gives every client a made-up backend pid, as poolers do, in the message in which
the server would tell the real one. The rest of the traffic passes unchanged.
"""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType

import psycopg

_STARTUP_REQUESTS = 8  # the length of SSLRequest and GSSENCRequest, which are answered with "N"
_BACKEND_KEY = b"K"
MADE_UP_PID = 4242


class Pooler:
    """Listens on loopback, and leads to the server at `url`."""

    def __init__(self, url: str) -> None:
        self._params = psycopg.conninfo.conninfo_to_dict(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        params = {**self._params, "host": "127.0.0.1", "port": str(self._listener.getsockname()[1])}
        self.url = psycopg.conninfo.make_conninfo("", **{key: str(value) for key, value in params.items()})
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Pooler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        startup = _read_message(client)
        while len(startup) == _STARTUP_REQUESTS:
            client.sendall(b"N")
            startup = _read_message(client)
        server.sendall(startup)
        threading.Thread(target=_pass_on, args=[client, server], daemon=True).start()
        try:
            while head := _read(server, 5):
                body = _read(server, struct.unpack("!I", head[1:])[0] - 4)
                if head[:1] == _BACKEND_KEY:
                    body = struct.pack("!I", MADE_UP_PID) + body[4:]
                client.sendall(head + body)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def _connect(self) -> socket.socket:
        host, port = str(self._params["host"]), self._params.get("port") or "5432"
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server


def _read_message(source: socket.socket) -> bytes:
    head = _read(source, 4)
    return head + _read(source, struct.unpack("!I", head)[0] - 4) if head else b""


def _read(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            return b""
        data += part
    return data


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        target.close()
