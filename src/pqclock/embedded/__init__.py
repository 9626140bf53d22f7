"""A private PostgreSQL server for a folder, started at need and gone with its last user.

The model. A folder (`.pqclock/`) has at most one *keeper*: a detached process that owns the folder's
lock and runs `postgres` as its direct child. *Users* are processes that called `start` or `attach`; each
holds a shared lock on `users.lock`, which the kernel frees however the process ends. Twice a second the
keeper tries to take that lock for itself alone. When it succeeds nobody is left: it stops the server, still
holding the lock, so that a newcomer waits and then begins a new keeper. When the server crashes under its
users the keeper starts it again at the same address; when the keeper dies the kernel asks the server for a
fast shutdown.

In the folder: `keeper.lock`, `users.lock`, `state.json` (where the server is; believed only while its writer
lives, see `state`), `server.log`, and `data/`, or `data-location.txt` if the server's user could not reach a
`data/` there.
"""

from __future__ import annotations

from pqclock.embedded.client import Server, attach, erase, start

__all__ = ["Server", "attach", "erase", "start"]
