"""The examples work: the files are right, their tasks exist, and all of it runs for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Database
from pqclock import App, JobFailed
from pqclock.clock.clock import Clock
from pqclock.rules.pools import parse_pools
from pqclock.schedule_files import read_paths
from pqclock.settings import load
from pqclock.worker.worker import Worker

SHOP = ROOT / "examples" / "shop"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the shop's jobs, loaded anew."""
    monkeypatch.syspath_prepend(str(SHOP))
    monkeypatch.delitem(sys.modules, "jobs", raising=False)
    module = import_module("jobs")
    yield module
    module.app.close()
    del sys.modules["jobs"]


@contextmanager
def working(app: App, url: str) -> Iterator[None]:
    """A clock and a worker in threads, for as long as the block lasts; what is tried again is promoted by the clock."""
    pools = parse_pools(load(environ={}, folder=SHOP).queues)
    worker = Worker(app, url, "pqclock", pools, stop_timeout=timedelta(seconds=5))
    clock = Clock(url)
    threads = [threading.Thread(target=run) for run in (clock.run, worker.run)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        clock.stop()
        worker.stop()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("folder", [SHOP / "schedules", ROOT / "schedules"], ids=["shop", "demo"])
def test_the_files_have_no_findings(folder: Path, command: Callable[..., Any]) -> None:
    done = command("check", "--strict", str(folder))
    assert (done.code, done.out) == (0, "")


def test_the_shop_needs_no_arguments(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SHOP)
    assert command("check").code == 0
    assert len(command("next", "--json", "-n", "5").json["ticks"]) == 5


def test_every_schedule_fits_its_task(shop: Any) -> None:
    found = read_paths([SHOP / "schedules"])
    assert len(found.schedules) >= 5
    for schedule in found.schedules:
        shop.app.tasks[schedule.task].arguments((), dict(schedule.args))
    by_code = {"invoices.send"}
    assert {schedule.task for schedule in found.schedules} | by_code == set(shop.app.tasks)


def test_every_task_runs(shop: Any, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQCLOCK_DATABASE_URL", database.url)
    with working(shop.app, database.url):
        assert [shop.place_order.enqueue(customer="ada").result("20s") for _ in range(2)] == [1, 2]
        assert shop.refresh_prices.enqueue(supplier="north").result("20s") == "prices of north"
        assert shop.empty_carts.enqueue().result("20s") == "carts older than 48 h are gone"
        report = shop.report_sales.enqueue(title="all", since="2026-01-01", until="infinity").result("20s")
        assert report == {"title": "all", "orders": 2, "asked_by": None}
        assert shop.invoice_orders.enqueue().result("20s") == 2
        late = shop.send_invoice.enqueue(order=4, customer="grace")
        assert late.result("20s") == "invoice 4 sent to grace"
        until(lambda: database.value("SELECT count(*) FROM pqclock.jobs WHERE state = 'succeeded'") == 9)
    runs = database.rows("SELECT outcome, error_type FROM pqclock.attempt WHERE job_id = %s ORDER BY attempt", late.id)
    assert runs == [("failed", "ConnectionError"), ("succeeded", None)]
    assert database.value("SELECT count(*) FROM pqclock.jobs WHERE task = 'invoices.send' AND labels = '{mail}'") == 3


def test_an_invoice_is_enqueued_only_with_its_order(
    shop: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PQCLOCK_DATABASE_URL", database.url)
    shop.connect().close()
    database.session.conn.execute("INSERT INTO shop_order (customer) VALUES ('ada')")
    enqueue_many = shop.app.enqueue_many

    def enqueue_and_fail(*args: Any, **kwargs: Any) -> None:
        enqueue_many(*args, **kwargs)
        raise RuntimeError("after the enqueue, before the commit")

    with monkeypatch.context() as broken, working(shop.app, database.url):
        handle = shop.invoice_orders.enqueue()
        broken.setattr(shop.app, "enqueue_many", enqueue_and_fail)
        with pytest.raises(JobFailed):
            handle.result("20s")
    assert database.value("SELECT count(*) FROM pqclock.jobs WHERE task = 'invoices.send'") == 0
    assert database.value("SELECT invoiced FROM shop_order") is False


def test_pqclock_alone_runs_the_shop(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns(".pqclock", "__pycache__"))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pqclock"],
            cwd=folder,
            env=os.environ | {"PQCLOCK_DATABASE_URL": database.url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        done = "SELECT count(*) FROM pqclock.jobs WHERE schedule_key = %s AND state = 'succeeded'"
        until(lambda: process.poll() is not None or int(str(database.value(done, "customers"))) >= 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    assert not (folder / ".pqclock").exists()
    # Every job of a schedule has its tick in the ledger, and every tick of the ledger its one job.
    ticks = database.rows("SELECT job_id FROM pqclock.ticks WHERE outcome = 'inserted' ORDER BY 1")
    assert ticks == database.rows("SELECT id FROM pqclock.jobs WHERE schedule_key IS NOT NULL ORDER BY 1")
    assert database.rows("SELECT id FROM pqclock.processes") == []
