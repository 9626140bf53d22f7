"""The dashboard as an ASGI application: to serve by `pqclock web`, or to mount in another one."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from pqclock.drift import Files
from pqclock.errors import DatabaseUnreachable, PqclockError
from pqclock.store import alarms, audit
from pqclock.store.database import DatabaseError, Session, check_schema_name, sentence
from pqclock.store.listing_rows import AlarmRow
from pqclock.store.viewing import Views
from pqclock.web import job_pages, schedule_pages
from pqclock.web.access import Access, Caller, Guard
from pqclock.web.actions import ACTIONS, Action, Order
from pqclock.web.fields import read
from pqclock.web.live import Hub
from pqclock.web.pages import FILES, render
from pqclock.web.params import Params

log = logging.getLogger("pqclock.web")

View = Callable[[Session, Params], "dict[str, Any] | None"]
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
# The browser asks for the page anew: to load it again does nothing again.
SEE_OTHER = 303


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its address, its view, and the entry of the menu under which it is found."""

    name: str
    view: View
    menu: str
    live: bool = True


def _pages(files: Files | None) -> list[Page]:
    return [
        Page("schedules", partial(schedule_pages.schedules, files=files), "schedules"),
        Page("schedule", schedule_pages.schedule, "schedules"),
        Page("calendar", schedule_pages.Calendar().view, "calendar", live=False),
        Page("jobs", job_pages.jobs, "jobs"),
        Page("job", job_pages.job, "jobs"),
        Page("gates", job_pages.all_gates, "gates"),
        Page("gate", job_pages.gate, "gates"),
        Page("queues", job_pages.queues, "queues"),
        Page("processes", job_pages.processes, "processes"),
        Page("alarms", job_pages.all_alarms, "alarms"),
        Page("database", job_pages.database, "database"),
        Page("audit", job_pages.deeds, "audit"),
    ]


def create_app(
    database_url: str,
    *,
    schema: str = "pqclock",
    access: Access | None = None,
    shown_args: Collection[str] = (),
    live: bool = True,
) -> ASGIApp:
    """The dashboard of one schema. Mount it behind your own sign-in with `Access(authorize=..., hosts=...)`.

    `shown_args` are the names of arguments whose values may show, `*` all of them. Without `live` pages stay as they
    were until they are loaded again. Raises SettingsError for a schema that is none.
    """
    dashboard = Dashboard(database_url, check_schema_name(schema), access or Access(), shown_args, live=live)
    return dashboard.application()


class Dashboard:
    """What the endpoints share."""

    def __init__(
        self,
        url: str,
        schema: str,
        access: Access,
        shown_args: Collection[str],
        *,
        live: bool = True,
        files: Files | None = None,
    ) -> None:
        self._url = url
        self._schema = schema
        self._access = access
        self._shown_args = frozenset(shown_args)
        self._live = live
        self._hub = Hub(url, schema)
        self._lock = threading.Lock()
        self._views: Views | None = None
        self._pages = _pages(files)

    def application(self) -> ASGIApp:
        """The routes behind their guard."""
        routes = [
            Route("/", self._home),
            Route("/act", self._ask, methods=["GET"]),
            Route("/act", self._act, methods=["POST"]),
            Route("/events", self._events),
            Route("/static/{name}", _static),
            *(Route(f"/{page.name}", self._endpoint(page)) for page in self._pages),
        ]
        pages = Starlette(routes=routes, exception_handlers={404: self._lost}, lifespan=self._lifespan)
        # Outside of all of it, so that what goes wrong has its headers too.
        return Guard(pages, self._access)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self.end_streams()
        if self._views is not None:
            self._views.close()

    def end_streams(self) -> None:
        """Have open pages know that it is over: they look whether somebody else answers."""
        self._hub.close()

    @property
    def views(self) -> Views:
        """The pool, which a mounted application has no other moment to open than its first request."""
        with self._lock:
            if self._views is None:
                self._views = Views(self._url, self._schema)
            return self._views

    async def _home(self, request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/schedules")

    def _endpoint(self, page: Page) -> Callable[[Request], Response]:
        def show(request: Request) -> Response:
            params = Params(request.query_params)

            def look(session: Session) -> tuple[dict[str, Any] | None, audit.Deed | None, list[AlarmRow]]:
                deed = params.number("deed")
                told = None if deed is None else audit.one(session, deed)
                return page.view(session, params), told, alarms.open_alarms(session)

            try:
                found, deed, open_alarms = self.views.look(look)
            except (PqclockError, DatabaseError) as error:
                return self._failed(request, error)
            if found is None:
                return self._page(request, "missing", 404, menu=page.menu, what=page.name)
            live = self._live and page.live
            shown = {"params": params, "deed": deed, "live": live, "alarms": open_alarms}
            return self._page(request, page.name, menu=page.menu, **shown, **found)

        return show

    def _page(self, request: Request, template: str, status: int = 200, /, **context: Any) -> HTMLResponse:
        caller: Caller = request.scope["caller"]
        shared = {"caller": caller, "schema": self._schema, "allowed": self._shown_args, "actions": ACTIONS}
        return HTMLResponse(
            render(
                template,
                {"live": False, "deed": None, "alarms": [], "fault": None, "preview": None, **shared, **context},
            ),
            status,
        )

    def _failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, DatabaseUnreachable):
            status = 503
        elif isinstance(error, PqclockError):
            status = 504
        else:
            log.warning("a page could not be shown: %s", sentence(error))
            status = 500
        return self._page(request, "failed", status, menu="", text=sentence(error))

    async def _lost(self, request: Request, _: Exception) -> Response:
        if "caller" not in request.scope:
            return PlainTextResponse("There is no such page.\n", 404)
        return await run_in_threadpool(self._page, request, "missing", 404, menu="", what="page")

    async def _events(self, request: Request) -> Response:  # noqa: ARG002
        if not self._live or self._hub.full:
            return PlainTextResponse("Live pages are switched off, or too many are open.\n", 503)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._hub.changes(), media_type="text/event-stream", headers=headers)

    def _ask(self, request: Request) -> Response:
        """The form of an action."""
        caller: Caller = request.scope["caller"]
        action = ACTIONS.get(request.query_params.get("do", ""))
        if action is None:
            return self._page(request, "missing", 404, menu="", what="action")
        if not caller.acts:
            return PlainTextResponse("You may look, not act.\n", 403)
        given = {name: value for name, value in request.query_params.items() if len(value) <= 1_000}
        return self._form(request, action, given)

    def _form(self, request: Request, action: Action, given: dict[str, str], **more: Any) -> Response:
        status = 400 if more.get("fault") else 200
        values = {field.name: given.get(field.name, "") for field in action.fields}
        of = given.get("of", "")
        return self._page(request, "act", status, menu="", action=action, of=of, values=values, **more)

    async def _act(self, request: Request) -> Response:
        try:
            body = await request.body()
            pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
        except (ClientDisconnect, ValueError):
            return PlainTextResponse("No form of the dashboard is so large.\n", 413)
        return await run_in_threadpool(self._carry_out, request, dict(pairs))

    def _carry_out(self, request: Request, form: dict[str, str]) -> Response:
        caller: Caller = request.scope["caller"]
        action = ACTIONS.get(form.get("do", ""))
        if action is None:
            return self._page(request, "missing", 404, menu="", what="action")
        try:
            order = Order(form.get("of", ""), read(action.fields, form), caller.name)
            if action.preview is not None and form.get("sure") != "yes":
                preview = action.preview
                lines = self.views.preview(lambda session: preview(session, order))
                return self._form(request, action, form, preview=lines)
            deed = self.views.act(lambda session: _audited(session, action, order, caller))
        except (PqclockError, DatabaseError) as error:
            return self._form(request, action, form, fault=sentence(error))
        back = action.back(order.of)
        return RedirectResponse(f"{back}{'&' if '?' in back else '?'}deed={deed}", SEE_OTHER)


def _audited(session: Session, action: Action, order: Order, caller: Caller) -> int:
    """Do it, and have it written who did; gives the id of that."""
    said = {name: value for name, value in order.values.items() if name != "note" and value not in (None, False)}
    target = action.target(order.of or ", ".join(f"{name} {value}" for name, value in said.items()))
    deed = audit.begin(
        session,
        actor=caller.name,
        origin=caller.origin,
        action=action.slug,
        target=target,
        note=order.values.get("note"),
    )
    try:
        outcome = action.perform(session, order)
    except BaseException as error:
        audit.close(session, deed, f"refused: {sentence(error)}")
        raise
    audit.close(session, deed, outcome)
    log.info("%s (%s): %s %s: %s", caller.name, caller.origin, action.slug, target, outcome)
    return deed


async def _static(request: Request) -> Response:
    found = FILES.get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("There is no such file.\n", 404)
    return Response(found.content, media_type=found.media, headers=FOREVER)
