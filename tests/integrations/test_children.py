"""Reports in child processes that are wanted no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Database
from integrations.child_app import app
from pqclock.worker.recycling import Limits
from processes.fleet import eventually
from worker.bench import Bench


@pytest.mark.parametrize("limits", [Limits(1, None), Limits(None, None)], ids=["recycled", "stopped"])
def test_a_child_tells_its_last_report(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limits: Limits
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    bench = Bench(database, app, "integrations.child_app:app")
    try:
        bench.start("*:1", limits=limits)
        job_id = bench.put("fail.slowly")
        bench.comes_to(job_id, "failed", within=15)
        assert not (tmp_path / "reported").exists()
    finally:
        bench.end()
    eventually((tmp_path / "ended").exists)
    assert (tmp_path / "reported").read_text() == f"{job_id}\n"
