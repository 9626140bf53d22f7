"""What docs/integrations.md shows, as it is there, by a worker in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import ROOT, Database

SETTINGS = """
import os
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "CONN_MAX_AGE": 600}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
LOGGING_CONFIG = None
"""
RUN = """
from {module} import app
states = []
with app.worker("*:2"):
    for name, arguments in {jobs!r}:
        handle = app.tasks[name].using(max_attempts=1).enqueue(**arguments)
        states.append((handle.wait("10s"), app.job_result(handle.id).result))
app.close()
print(states)
"""
COUNTS: list[Any] = [("users.count", {}), ("users.count_async", {}), ("users.count", {}), ("users.count_async", {})]
PAGE: list[Any] = [
    ("django_jobs", COUNTS, [("succeeded", 3)] * 4),
    ("sqlalchemy_jobs", COUNTS, [("succeeded", 3)] * 4),
    ("sentry_jobs", [("cards.charge", {"card": 1})], [("failed", None)]),
    ("healthchecks_jobs", [("reports.nightly", {})], [("succeeded", None)]),
    ("otel_jobs", [("invoices.print", {"number": 7})], [("succeeded", None)]),
    ("logging_jobs", [("orders.check", {"order": 7})], [("succeeded", None)]),
]


def programs() -> dict[str, str]:
    text = (ROOT / "docs" / "integrations.md").read_text()
    return dict(re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def test_every_program_of_the_page_is_run() -> None:
    assert list(programs()) == [module for module, *_ in PAGE]
    assert (ROOT / "docs" / "integrations.md").read_text().count("```python") == len(PAGE)


@pytest.mark.parametrize(("module", "jobs", "ends"), PAGE, ids=[module for module, *_ in PAGE])
def test_the_page(module: str, jobs: Any, ends: Any, tmp_path: Path, database: Database) -> None:
    database.session.conn.execute("CREATE TABLE auth_user AS SELECT generate_series(1, 3) AS id")
    (tmp_path / "django_settings.py").write_text(SETTINGS)
    (tmp_path / f"{module}.py").write_text(programs()[module])
    found = conninfo_to_dict(database.url)
    variables = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    libpq = {name: str(found[key]) for name, key in variables.items() if key in found}
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PQCLOCK_DATABASE_URL": database.url}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(module=module, jobs=jobs)], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False, env={"PATH": os.environ["PATH"], **places, **libpq},
    )  # fmt: skip
    assert repr(ends) in done.stdout.splitlines(), done.stderr
    if module == "otel_jobs":
        assert '"name": "enqueue invoices.print"' in done.stdout and '"name": "run invoices.print"' in done.stdout
    if module == "logging_jobs":
        assert re.search(r"^WARNING \d+ orders.check: order 7 has no address$", done.stderr, re.MULTILINE)
