"""A real PgBouncer in front of a server, where this machine has one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import psycopg

from processes.fleet import eventually

BINARY = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


class Bouncer:
    """PgBouncer on loopback, `mode` being `transaction` or `session`."""

    def __init__(self, url: str, mode: str, pool_size: int = 5) -> None:
        params = psycopg.conninfo.conninfo_to_dict(url)
        self._host = str(params.get("host", ""))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="pqclock-bouncer-"))
        target = " ".join(
            f"{key}={value}" for key, value in params.items() if key in ("host", "port", "user", "password")
        )
        settings = {
            "listen_addr": "127.0.0.1", "listen_port": self._port, "unix_socket_dir": "", "auth_type": "any",
            "pool_mode": mode, "default_pool_size": pool_size, "server_idle_timeout": 5,
        }  # fmt: skip
        lines = [
            "[databases]",
            f"* = {target}",
            "[pgbouncer]",
            *(f"{key} = {value}" for key, value in settings.items()),
        ]
        self._settings = self._folder / "pgbouncer.ini"
        self._settings.write_text("\n".join(lines) + "\n")
        self.url = psycopg.conninfo.make_conninfo(
            "", host="127.0.0.1", port=self._port, dbname=params["dbname"], user=params.get("user") or "pqclock"
        )

    def __enter__(self) -> Bouncer:
        assert BINARY is not None
        command = [BINARY, str(self._settings)]
        if os.geteuid() == 0:
            # It refuses to run as root; whom the server's socket belongs to may use it.
            account = pwd.getpwuid(os.stat(self._host).st_uid) if self._host.startswith("/") else pwd.getpwnam("nobody")
            for path in (self._folder, self._settings):
                os.chown(path, account.pw_uid, -1)
            command[1:1] = ["-u", account.pw_name]
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            eventually(self._answers)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            psycopg.connect(self.url, connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder)
