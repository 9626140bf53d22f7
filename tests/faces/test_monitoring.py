"""The files of `examples/monitoring/`: they ask for nothing that is not there."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("prometheus_client")
from prometheus_client import generate_latest

from conftest import ROOT, Database
from pqclock.metrics.prometheus import ClockMetrics, JobMetrics
from pqclock.observing import UP, looked_at, of_processes
from pqclock.pulse import Reading
from pqclock.scraping import family
from web.seed import fill

PLACE = ROOT / "examples" / "monitoring"
NAME = re.compile(r"\bpqclock_[a-z_]+\b")


def names(database: Database) -> set[str]:
    """Of all that is ever told."""
    fill(database.session)
    jobs, clocks = JobMetrics(), ClockMetrics()
    jobs.claimed("q")
    jobs.ended("q", "t", "succeeded", 1.0, 1.0)
    clocks.ticks("inserted", 1)
    text = generate_latest(jobs.registry) + generate_latest(clocks.registry)
    gauges = [*looked_at(database.session), *of_processes({"clock": Reading(0.0, ready=True, state="leading")})]
    told = {sample.name for gauge in gauges for sample in family(gauge).samples}
    return {f"pqclock_{UP}"} | told | set(re.findall(r"^(pqclock_[a-z_]+)", text.decode(), re.MULTILINE))


def expressions() -> dict[str, str]:
    """Everything that is asked of Prometheus, by its title."""
    dashboard = json.loads((PLACE / "grafana-dashboard.json").read_text())
    found = {f"{p['title']} {t['refId']}": t["expr"] for p in dashboard["panels"] for t in p["targets"]}
    text = (PLACE / "alerts.yaml").read_text()
    blocks = re.findall(r"alert: (\w+)\n\s+expr: (?:>-\n)?(.*?)\n\s+for:", text, re.DOTALL)
    return found | dict(blocks)


def test_every_series_is_told(database: Database) -> None:
    told = names(database)
    asked = expressions()
    assert len(asked) > 30
    missing = {title: set(NAME.findall(text)) - told for title, text in asked.items()}
    assert {title: found for title, found in missing.items() if found} == {}
    # And nothing is told that nobody would see.
    shown = {name for text in asked.values() for name in NAME.findall(text)}
    series = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in told}
    unseen = series - {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}
    assert unseen == {"pqclock_terms", "pqclock_database_up", "pqclock_gates", "pqclock_schedules_paused"}


def test_parentheses_and_brackets_are_closed() -> None:
    for title, text in expressions().items():
        for opening, closing in ("()", "[]", "{}"):
            assert text.count(opening) == text.count(closing), title


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in json.loads((PLACE / "grafana-dashboard.json").read_text())["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_every_alert_says_what_to_do() -> None:
    text = (PLACE / "alerts.yaml").read_text()
    alerts = re.findall(r"- alert: .*?(?=\n      - alert|\Z)", text, re.DOTALL)
    assert len(alerts) > 10
    assert all("summary:" in one and "action:" in one and "severity:" in one for one in alerts)
