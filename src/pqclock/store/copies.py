"""Databases for tests: made as copies of one that is migrated already, and dropped with whoever is still connected."""

from __future__ import annotations

from psycopg import conninfo, sql

from pqclock.store.database import clean_url, connect


def in_database(url: str, name: str) -> str:
    """The same server, another database."""
    return conninfo.make_conninfo(clean_url(url), dbname=name)


def create(server_url: str, name: str, schema: str, template: str = "template1") -> str:
    """Make a database, a copy of `template`, in which nobody may work meanwhile; gives its address."""
    admin = connect(server_url, schema, "testing")
    try:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.conn.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    finally:
        admin.close()
    return in_database(server_url, name)


def drop(server_url: str, name: str, schema: str) -> None:
    """Drop a database, and end the sessions on it."""
    admin = connect(server_url, schema, "testing")
    try:
        admin.conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    finally:
        admin.close()
