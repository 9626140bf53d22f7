"""What plain psycopg does with SQL of its own: the floor that the benchmarks compare with. It has none of the features.

It loses nothing that it claimed: a claim is committed before anything runs, and what ran is deleted in batches.
"""

from __future__ import annotations

import sys

import psycopg

from benchmarks import slots

BATCH = 1_000
TABLE = """
CREATE TABLE floor (
    id bigserial PRIMARY KEY, state smallint NOT NULL DEFAULT 0, run_by integer,
    run_at timestamptz NOT NULL DEFAULT now(), payload jsonb);
CREATE INDEX floor_ready ON floor (id) WHERE state = 0"""
INSERT = "WITH i AS (INSERT INTO floor (payload) VALUES (%s) RETURNING id) SELECT id, pg_notify('floor', '') FROM i"
CLAIM = f"""
UPDATE floor SET state = 1, run_by = 1
WHERE id = ANY(ARRAY(SELECT id FROM floor WHERE state = 0 ORDER BY id LIMIT {BATCH} FOR UPDATE SKIP LOCKED))
RETURNING id, payload"""
FINISH = "DELETE FROM floor WHERE id = ANY(%s)"


def create(url: str) -> None:
    """The table of the floor, in a database of a benchmark."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(TABLE.encode())


def copy(conn: psycopg.Connection, count: int) -> None:
    """So many jobs at once."""
    with conn.transaction(), conn.cursor() as cursor:
        with cursor.copy(b"COPY floor (payload) FROM STDIN") as rows:
            for n in range(count):
                rows.write_row((f'{{"n":{n}}}',))
        cursor.execute(b"SELECT pg_notify('floor', '')")


def insert(conn: psycopg.Connection, number: int) -> object:
    """One job, committed, with a notification."""
    return conn.execute(INSERT.encode(), (f'{{"n":{number}}}',)).fetchone()


def work(url: str) -> None:
    """Claim, run and finish until the process is killed."""
    mapped = slots.own()
    assert mapped is not None
    begin, claim, finish = mapped.begin, CLAIM.encode(), FINISH.encode()
    conn = psycopg.connect(url, autocommit=True)
    conn.execute(b"LISTEN floor")
    while True:
        rows = conn.execute(claim).fetchall()
        for _, payload in rows:
            begin(payload.get("n") if mapped.numbered else None)
        if rows:
            conn.execute(finish, ([row[0] for row in rows],))
        else:
            for _ in conn.notifies(timeout=1.0, stop_after=1):
                pass


if __name__ == "__main__":
    work(sys.argv[1])
