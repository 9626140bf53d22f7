"""Tasks for child processes that use what is integrated; a worker and its children find them in this module."""

from __future__ import annotations

import atexit
import json
import logging
import os
import time
from typing import Any

import sentry_sdk
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sqlalchemy.orm import scoped_session, sessionmaker

from pqclock import App, Failure, current_job
from pqclock.integrations.sentry import sentry
from pqclock.integrations.sqlalchemy import sessions_handed_back


class ToFile(Transport):
    """Writes events to a file of the current folder."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """One line each."""
        event: Any = envelope.get_event()
        if event is not None:
            with open("events", "a") as file:
                file.write(json.dumps(event, default=str) + "\n")


if "SHOP_DATABASE_URL" in os.environ:
    # In the children alone: the SDK of the tests' process is that of other tests.
    sentry_sdk.init("https://key@sentry.invalid/1", transport=ToFile, default_integrations=False)
app = App()
engine = sqlalchemy.create_engine(
    "postgresql+psycopg://", connect_args=conninfo_to_dict(os.environ.get("SHOP_DATABASE_URL", ""))
)
Shop = scoped_session(sessionmaker(engine))
sentry(app)
app.around_job(sessions_handed_back(Shop))


@app.task("order", executor="process")
def order(commit: bool) -> dict[str, int]:
    """Writes an order; without a commit it has left the session open."""
    pid = Shop.execute(sqlalchemy.text("INSERT INTO orders VALUES ('ada') RETURNING pg_backend_pid()")).scalar_one()
    if commit:
        Shop.commit()
    return {"backend": pid, "process": os.getpid()}


@app.task("fail", executor="process")
def fail() -> None:
    """Fails with an exception."""
    raise ValueError("bad")


@app.task("log", executor="process")
def log(text: str) -> None:
    """Writes a log line."""
    current_job().log(text)


@app.task("warn")
def warn(text: str) -> None:
    """Warns by a logger that nobody has set up."""
    logging.getLogger("shop").warning(text)


@app.on_error
def slowly(failure: Failure) -> None:
    """Takes its time to report."""
    if failure.task == "fail.slowly":
        time.sleep(0.3)
        with open("reported", "a") as file:
            file.write(f"{failure.job_id}\n")


@app.task("fail.slowly", executor="process")
def fail_slowly() -> None:
    """Fails, and is not reported at once."""
    atexit.register(lambda: open("ended", "w").close())
    raise ValueError("bad")
