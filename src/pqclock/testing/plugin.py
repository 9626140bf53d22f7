"""The pytest plugin. pytest loads it always, so it loads nothing of pqclock before a test asks for a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pqclock import App
    from pqclock.testing.asserting import AssertEnqueued
    from pqclock.testing.databases import TestDatabase
    from pqclock.testing.draining import Ran
    from pqclock.testing.moments import Moments

_NO_APP = (
    "no app is named: set `pqclock_app = package.module:app` in pytest's settings, `app` in [tool.pqclock], or define a "
    "fixture `pqclock_app` that gives your App"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the app is."""
    parser.addini("pqclock_app", "The App under test, as package.module:app (default: `app` of pqclock's settings)")


@pytest.fixture(scope="session")
def pqclock_schema(pytestconfig: pytest.Config) -> str:
    """The schema of the tables, as the settings name it."""
    import os

    from pqclock.settings import load

    return load(environ=os.environ, folder=pytestconfig.rootpath).schema


@pytest.fixture(scope="session")
def pqclock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server: PQCLOCK_TEST_SERVER, else an embedded one for this run. Override it for another one."""
    from pqclock.testing.databases import server

    with server(tmp_path_factory.mktemp("pqclock-server") / ".pqclock") as url:
        yield url


@pytest.fixture(scope="session")
def pqclock_template(pqclock_server: str, pqclock_schema: str) -> Iterator[str]:
    """The name of a migrated database of which every test's is a copy. Override it to add tables of your own."""
    from pqclock.testing.databases import template

    with template(pqclock_server, pqclock_schema) as name:
        yield name


@pytest.fixture
def pqclock_db(pqclock_server: str, pqclock_template: str, pqclock_schema: str) -> Iterator[TestDatabase]:
    """A new, migrated database: `.url`, and `.rows(sql, *params)`."""
    from pqclock.testing.databases import database

    with database(pqclock_server, pqclock_template, pqclock_schema) as found:
        yield found


@pytest.fixture
def pqclock_app(pytestconfig: pytest.Config) -> App:
    """The app under test, by the setting `pqclock_app`. Override it to make one."""
    from pqclock.settings import load
    from pqclock.worker.loading import load_app

    place = pytestconfig.getini("pqclock_app") or load(folder=pytestconfig.rootpath).app
    if not place:
        pytest.fail(_NO_APP, pytrace=False)
    return load_app(str(place))


@pytest.fixture
def pqclock(pqclock_app: App, pqclock_db: TestDatabase) -> Iterator[App]:
    """The app under test, on a database of its own for the test."""
    from pqclock.testing.binding import bound

    with bound(pqclock_app, pqclock_db.url, pqclock_db.schema) as app:
        yield app


@pytest.fixture
def pqclock_drain(pqclock: App) -> Callable[..., list[Ran]]:
    """`pqclock_drain(queues="*", raise_errors=False, limit=1000)` runs what is due, here; gives every run."""
    from functools import partial

    from pqclock.testing.draining import drain

    return partial(drain, pqclock)


@pytest.fixture
def pqclock_time(pqclock: App, pqclock_db: TestDatabase) -> Iterator[Moments]:
    """`.move_to(when)`, `.move_by("1h")`, `.now`, `.apply("schedules")`: the time of jobs and schedules."""
    from pqclock.testing.moments import Moments

    yield Moments(pqclock, pqclock_db.session)
    pqclock.as_of = None


@pytest.fixture
def assert_enqueued(pqclock: App) -> AssertEnqueued:
    """`assert_enqueued(task, **args)` gives the job; `assert_enqueued.never(task, **args)`."""
    from pqclock.testing.asserting import AssertEnqueued

    return AssertEnqueued(pqclock)


@pytest.fixture
def pqclock_inline(pqclock_app: App) -> Iterator[App]:
    """The app under test, which runs jobs at their enqueue and needs no database."""
    from pqclock.testing.inlining import inline

    with inline(pqclock_app) as app:
        yield app
