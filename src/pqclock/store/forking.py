"""Connections and forks: a child never speaks on a connection of its parent, nor keeps one open.

Two processes on one socket mix up their answers, and a goodbye of the child would end the parent's session. A socket
that the child merely keeps has the server take the parent for alive after its death: its locks would stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

import psycopg

_open: WeakSet[psycopg.Connection[Any]] = WeakSet()


def remember(conn: psycopg.Connection[Any]) -> None:
    """Close this connection in every child that is forked from now on."""
    _open.add(conn)


def abandon(connections: Iterable[psycopg.Connection[Any] | psycopg.AsyncConnection[Any]]) -> None:
    """Close inherited sockets without a word to the server, which would end the parent's sessions."""
    null = os.open(os.devnull, os.O_RDWR)
    for conn in list(connections):
        try:
            # What libpq says at the end goes nowhere then.
            os.dup2(null, conn.pgconn.socket)
        except psycopg.Error:
            # It has no socket any more.
            pass
        conn.pgconn.finish()
    os.close(null)


def _abandon_all() -> None:
    abandon(_open)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
