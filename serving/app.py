"""The HTTP application: FastAPI for questions and commands, the feed's hub beside it, health, readiness and metrics.

`build` gives the ASGI application, with the door (`runtime/door.py`) in front of everything, and pages of other origins let in
before it (`runtime/origins.py`). The feed stands in front of
FastAPI's middleware, since it is the one route that thousands hold open. The OpenAPI document: `runtime/document.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest

from infra.clickhouse import connect
from infra.config import Config
from infra.endpoints import endpoints_of, scraped
from serving.parts import parts
from serving.runtime import later, pages, problems
from serving.runtime.auth import Authenticator, may_watch
from serving.runtime.commands import Commands, producer, views_of
from serving.runtime.document import document_of
from serving.runtime.door import Door
from serving.runtime.eyes import four_eyes
from serving.runtime.feed import Hub
from serving.runtime.operations import operation_id
from serving.runtime.origins import open_to
from serving.runtime.presence import Presence
from serving.runtime.problems import unavailable
from serving.runtime.reach import Reach
from serving.runtime.refusals import RefusalTables
from serving.runtime.staff import Audited, gates_of, word_of
from serving.runtime.stream import FeedEndpoint
from serving.runtime.tail import Tail
from serving.runtime.views import Views
from serving.settings import too_old

# The log is polled ten times a second; three seconds without a poll is a thread that hangs.
TAIL_S: Final = 3.0
# So long behind the start its own work is done, and the API's document is written: not in front of whoever asks for it first.
DOCUMENT_S: Final = 10.0

REQUESTS = Counter("olo_http_requests", "Requests answered", ["route", "method", "status"])
SECONDS = Histogram("olo_http_seconds", "From request to answer", ["route"], buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 3))


def build(config: Config) -> tuple[FastAPI, Any, Hub]:
    """The FastAPI application, the ASGI application in front of it, and the hub (to be closed at the end)."""
    hub = Hub(config.feed_mb * 1_000_000)
    views = Views(hub, config.views_mb * 250_000)

    eyes = four_eyes(config.four_eyes_coins)

    @asynccontextmanager
    async def lifespan(app: _Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        app.state.tail = Tail(config, views, loop)
        app.state.reach = Reach(config, app.state.tail.read_to)
        app.state.commands = Commands(partial(producer, config), views.outcomes, app.state.refusals, eyes)
        presence = Presence(views, app.state.commands)
        timers = [asyncio.create_task(timer) for timer in (hub.ping(), presence.run(), app.written(DOCUMENT_S))]
        yield
        for timer in timers:
            timer.cancel()
        await asyncio.to_thread(app.state.commands.stop)
        await asyncio.to_thread(app.state.reach.stop)
        await asyncio.to_thread(app.state.tail.stop)

    app = _Application(title="Olo", version="1", lifespan=lifespan, redoc_url=None, generate_unique_id_function=operation_id)
    app.state.config, app.state.eyes = config, eyes
    app.state.views = views
    app.state.authenticator = Authenticator(config, partial(word_of, views))
    app.state.clickhouse = _clickhouse(config)
    app.state.refusals = RefusalTables(part.refused for part in parts())
    app.state.gates = {
        operation_id(route): gate
        for part in parts()
        for route in part.router.routes
        if isinstance(route, APIRoute)
        for gate in gates_of(route.dependant)
    }
    problems.install(app)
    later.install(app)
    for part in parts():
        part.prepare(app)
        app.include_router(part.router)
    pages.install(app, config)
    _add_health(app)
    _add_metrics(app, config)
    feed = FeedEndpoint(hub, app.state.authenticator, config)

    async def front(scope: Any, receive: Any, send: Any) -> None:
        if problem := too_old(scope, views):
            await problem.response()(scope, receive, send)
            return
        endpoint = feed if scope["type"] == "http" and scope["path"] == "/v1/feed" and views.ready else app
        await endpoint(scope, receive, send)

    door = Door(front, app.state.authenticator, config)
    app.state.rates = door.rates
    return app, open_to(config.web_origins, door), hub


def _clickhouse(config: Config) -> Callable[[], Client]:
    @cache
    def client() -> Client:
        return connect(config.clickhouse_url)

    return client


class _Application(FastAPI):
    def setup(self) -> None:
        """Serve the document as it was written once."""
        self._written, self._one_at_a_time = b"", asyncio.Lock()

        async def document(_: Request) -> Response:
            return Response(await self.written(), media_type="application/json")

        self.add_route("/openapi.json", document, include_in_schema=False)
        super().setup()

    async def written(self, after_s: float = 0.0) -> bytes:
        """The document's text. To write it takes a third of a second, in which others want to be answered."""
        await asyncio.sleep(after_s)
        async with self._one_at_a_time:
            self._written = self._written or await asyncio.to_thread(lambda: bytes(JSONResponse(self.openapi()).body))
        return self._written

    def openapi(self) -> dict[str, Any]:
        """The document, made when it is asked for first."""
        if self.openapi_schema is None:
            self.openapi_schema = document_of(self)
        return self.openapi_schema


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> dict[str, Any]:
        """The views are there, the log answers, and it is being followed."""
        views = views_of(request)
        if time.monotonic() - request.app.state.tail.heard_at > TAIL_S:
            raise unavailable("views_stand_still", "the log is not being followed")
        if problem := request.app.state.reach.problem():
            raise unavailable(*problem)
        return {"status": "ready", "accounts": views.accounts()}

    @app.get("/v1/feed", include_in_schema=False)
    async def not_yet(request: Request) -> None:
        """Only reached while the views are not there, which is what it answers: the hub answers otherwise."""
        views_of(request)


def _add_metrics(app: FastAPI, config: Config) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        """Prometheus metrics of this process, for who may read them."""
        may_watch(config, request.headers.get("authorization"), request.client.host if request.client else "")
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/metrics/targets", include_in_schema=False)
    async def targets(request: Request) -> list[dict[str, Any]]:
        """Where all processes that this folder's `olo up` has started tell their metrics, for Prometheus; likewise guarded."""
        may_watch(config, request.headers.get("authorization"), request.client.host if request.client else "")
        return scraped(endpoints_of(config.home).get("children", ()))

    app.add_middleware(_Measured)
    app.add_middleware(Audited)


class _Measured:
    """Counts and times answers up to their first byte. Plain ASGI: the decorator's kind opens a task group for each request."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        began = time.perf_counter()

        async def measured(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "unknown")
                REQUESTS.labels(route, scope["method"], message["status"]).inc()
                SECONDS.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, measured if scope["type"] == "http" else send)
