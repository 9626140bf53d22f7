"""The jobs of a small shop. `pqclock` in this folder runs them by the files in `schedules/`."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from typing import Any

import psycopg

from pqclock import App, Retry, current_job

app = App()

TABLE = """
    SELECT pg_advisory_xact_lock(7307);
    CREATE TABLE IF NOT EXISTS shop_order (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer   text NOT NULL,
        invoiced   boolean NOT NULL DEFAULT false,
        placed_at  timestamptz NOT NULL DEFAULT now()
    );
"""


@app.task("orders.place", queue="orders", max_attempts=3)
def place_order(customer: str) -> int:
    """A customer orders something; the result is the number of the order."""
    with connect() as conn:
        row = conn.execute("INSERT INTO shop_order (customer) VALUES (%s) RETURNING id", [customer]).fetchone()
    assert row is not None
    return int(row[0])


@app.task("orders.invoice", queue="orders")
def invoice_orders() -> int:
    """Mark the new orders as invoiced and enqueue their letters: both are committed, or neither is."""
    with connect() as conn:
        orders = conn.execute(
            "UPDATE shop_order SET invoiced = true WHERE NOT invoiced RETURNING id, customer"
        ).fetchall()
        app.enqueue_many([send_invoice.job(order=order, customer=customer) for order, customer in orders], conn=conn)
    return len(orders)


@app.task("invoices.send", queue="mail", labels=["mail"], retry=Retry(max_attempts=4, base="1s", limit="1m"))
def send_invoice(order: int, customer: str) -> str:
    """Send a letter. The mail server turns every fourth one away, and takes it the second time."""
    if order % 4 == 0 and current_job().attempt == 1:
        raise ConnectionError(f"the mail server is busy, order {order} has to wait")
    return f"invoice {order} sent to {customer}"


@app.task("prices.refresh", queue="orders")
async def refresh_prices(supplier: str) -> str:
    """Ask a supplier for prices. An asynchronous task waits without holding a thread."""
    await asyncio.sleep(0.1)
    return f"prices of {supplier}"


@app.task("carts.empty", queue="reports")
def empty_carts(older_than_hours: int = 48) -> str:
    """Forget the carts that nobody came back for."""
    return f"carts older than {older_than_hours} h are gone"


@app.task("reports.sales", queue="reports", max_attempts=3)
def report_sales(title: str, since: str, until: str) -> dict[str, Any]:
    """Count the orders between two instants, and say which schedule asked."""
    with connect() as conn:
        row = conn.execute(
            "SELECT count(*) FROM shop_order WHERE placed_at >= %s::timestamptz AND placed_at < %s::timestamptz",
            [since, until],
        ).fetchone()
    assert row is not None
    return {"title": title, "orders": row[0], "asked_by": current_job().schedule_key}


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    """The shop's own tables, here in the database that pqclock works on: workers find it in this variable."""
    address = os.environ.get("PQCLOCK_DATABASE_URL", "")
    _create_table(address)
    return psycopg.connect(address)


@cache
def _create_table(address: str) -> None:
    with psycopg.connect(address) as conn:
        conn.execute(TABLE)
