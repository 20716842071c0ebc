"""ClickHouse's HTTP interface over the engine: what a request means, what its answer carries, and its end with its client.

`clickhouse-connect`, ClickHouse's JDBC driver and JavaScript client, SQLAlchemy and BI tools work with their defaults. GET
reads, POST may write; one statement a request. What is not done is refused in words: external data, and queries' progress.
"""

import asyncio
import json
import re
import uuid
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from infra.warehouse import door, statement
from infra.warehouse.compression import DECODERS, ENCODERS, accepted, pack, unpack
from infra.warehouse.engine import Answer, Engine, Job, Query, QueryError
from infra.warehouse.kills import Kills, Running
from infra.warehouse.native import framed, unframed
from infra.warehouse.sessions import Session, Sessions

CODE: Final = re.compile(r"Code: (\d+)\.")
# What the HTTP interface itself understands; every other parameter is a setting.
OWN: Final = frozenset(
    {"query", "database", "default_format", "query_id", "user", "password", "role", "quota_key"}
    | {"session_id", "session_timeout", "session_check", "client_protocol_version", "http_write_exception_in_output_format"}
    | {"compress", "decompress", "enable_http_compression", "http_zlib_compression_level", "wait_end_of_query", "buffer_size"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close"}
)
# As ClickHouse maps its codes; the rest are 500.
STATUS: Final = (
    dict.fromkeys(("36", "38", "41", "43", "44", "53", "62", "27", "40", "70", "72", "115", "117", "271", "452", "457"), 400)
    | dict.fromkeys(("46", "47", "60", "81", "372"), 404)
    | dict.fromkeys(("164", "497", "516"), 403)
    | {"48": 501, "373": 409, "159": 408, "202": 503}
)
TYPES: Final = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "NDJSON": "application/x-ndjson; charset=UTF-8",
    "JSONLines": "application/x-ndjson; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
    "Markdown": "text/markdown; charset=UTF-8",
}
BINARY: Final = ("Native", "RowBinary", "Arrow", "Parquet", "ORC", "Avro", "MsgPack", "Protobuf", "BSON", "CapnProto", "Npy")
# A query that is not yet in the engine's list when its client leaves is ended a moment later.
AGAIN_S: Final = 0.2
# Statements of a lane that wait: each holds its body.
WAITING: Final = 200


def parse(parameters: dict[str, str], headers: dict[str, str], body: bytes, *, reading: bool = False) -> Query:
    """The request's statement and data, as ClickHouse reads them: `query` first, then the body. Errors: ValueError."""
    encoding = headers.get("content-encoding", "")
    if headers.get("content-type", "").startswith("multipart/"):
        raise ValueError(
            "Code: 48. DB::Exception: External data are not taken here; insert them into a table. (NOT_IMPLEMENTED)"
        )
    if encoding not in ("", "identity") and encoding not in DECODERS:
        raise ValueError(f"Code: 48. DB::Exception: Bodies packed with {encoding} are not taken here. (NOT_IMPLEMENTED)")
    if encoding in DECODERS:
        body = DECODERS[encoding](body)
    if _on(parameters, "decompress"):
        body = unpack(body)
    told = parameters.get("query", "").encode()
    found = statement.split(told, body) if told.strip() else statement.split(body)
    if found.format == "Native" and found.data is not None:
        found = found._replace(data=unframed(found.data, version_of(parameters)))
    return Query(
        found.statement,
        found.data,
        found.format or parameters.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        parameters.get("database") or headers.get("x-clickhouse-database", ""),
        {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")},
        {name: value for name, value in parameters.items() if name not in OWN and not name.startswith("param_")},
        reading,
    )


class Server:
    """The routes. `known`: the users and their passwords; `origins`: whose pages may ask."""

    def __init__(self, engine: Engine, known: dict[str, str], origins: frozenset[str]) -> None:
        self._engine = engine
        self._known = known
        self._origins = origins
        self._waiting = dict.fromkeys(known, 0)
        self._sessions = Sessions()
        self._kills = Kills()

    async def ping(self, _: Request) -> Response:
        """Whether it is there; nobody needs a password for that."""
        return PlainTextResponse("Ok.\n")

    async def handle(self, request: Request) -> Response:
        """One statement."""
        parameters, headers = dict(request.query_params), dict(request.headers)
        query_id = parameters.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4())
        try:
            door.check_origin(headers, self._origins)
            if request.method != "POST" and "query" not in parameters:
                response: Response = PlainTextResponse("Ok.\n")
            else:
                user = door.user_of(headers, parameters, self._known)
                response = await self._answer(request, (user, query_id), parameters, headers)
        except ClientDisconnect:
            response = Response(status_code=400)
        except door.RefusedError as error:
            response = failure(f"{error}\n", error.status)
            if error.status == 401:
                response.headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        except (QueryError, statement.RefusedError, ValueError, EOFError, RuntimeError, OSError, zlib.error) as error:
            response = failure(str(error))
        self._sign(response.headers, query_id)
        return response

    def _sign(self, headers: MutableHeaders, query_id: str) -> None:
        headers["X-ClickHouse-Query-Id"] = query_id
        headers["X-ClickHouse-Server-Display-Name"] = "olo"
        headers["X-ClickHouse-Timezone"] = self._engine.timezone

    async def _answer(
        self, request: Request, name: tuple[str, str], parameters: dict[str, str], headers: dict[str, str]
    ) -> Response:
        user, body = name[0], await request.body()
        query = parse(parameters, headers, body, reading=request.method != "POST")
        if not query.reading:
            query = await self._kills.kill(user, query)
        with self._kills.running(*name, query.statement) as running:
            async with self._place(user), self._session(user, parameters) as session:
                answer = await self._run(request, running, Job(query, user), session)
        return packed(answer, parameters, headers)

    @asynccontextmanager
    async def _place(self, user: str) -> AsyncIterator[None]:
        if self._waiting[user] >= WAITING:
            raise QueryError("Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)")
        self._waiting[user] += 1
        try:
            yield
        finally:
            self._waiting[user] -= 1

    @asynccontextmanager
    async def _session(self, user: str, parameters: dict[str, str]) -> AsyncIterator[Session | None]:
        if not (name := parameters.get("session_id")):
            yield None
            return
        with self._sessions.taken(self._engine.lanes[user], (user, name), parameters) as session:
            yield session

    async def _run(self, request: Request, told: Running, job: Job, session: Session | None) -> Answer:
        """Run the job as long as its client is there and nobody kills it."""
        engine, lane = self._engine, self._engine.lanes[job.user]
        task = (lambda: session.run(engine, job)) if session else (lambda: engine.run(lane, job))
        running = asyncio.get_running_loop().run_in_executor(lane.threads, task)
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(left(request)),
            asyncio.ensure_future(told.killed.wait()),
        ]
        try:
            await asyncio.wait((running, *ends), return_when=asyncio.FIRST_COMPLETED)
            while not running.done():
                await asyncio.to_thread(engine.cancel, job)
                await asyncio.wait({running}, timeout=AGAIN_S)
        finally:
            for end in ends:
                end.cancel()
        return await running


async def left(request: Request) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def packed(answer: Answer, parameters: dict[str, str], headers: dict[str, str]) -> Response:
    """What came out, packed as the client wants it."""
    body = answer.body if answer.format != "Native" else framed(answer.body, version_of(parameters))
    told = {
        "X-ClickHouse-Format": answer.format,
        "X-ClickHouse-Summary": summary(answer),
        "Content-Type": type_of(answer.format),
    }
    if _on(parameters, "compress"):
        body = pack(body)
    elif encoding := accepted(headers.get("accept-encoding", "")) if _on(parameters, "enable_http_compression") else "":
        body = ENCODERS[encoding](body)
        told["Content-Encoding"] = encoding
    return Response(body, headers=told)


def version_of(parameters: dict[str, str]) -> int:
    """The protocol's version that the client speaks; 0: it has not said. Errors: ValueError."""
    return int(parameters.get("client_protocol_version") or 0)


def _on(parameters: dict[str, str], name: str) -> bool:
    return parameters.get(name, "0") not in ("0", "false", "")


def summary(answer: Answer) -> str:
    """What was read and written, as ClickHouse tells it."""
    counts = {
        "read_rows": answer.read_rows,
        "read_bytes": answer.read_bytes,
        "written_rows": answer.written_rows,
        "written_bytes": answer.written_bytes,
        "total_rows_to_read": answer.read_rows,
        "result_rows": answer.result_rows,
        "result_bytes": len(answer.body),
        "elapsed_ns": int(answer.elapsed_s * 1e9),
    }
    return json.dumps({name: str(count) for name, count in counts.items()})


def type_of(format_: str) -> str:
    """The media type of a format."""
    if format_.startswith(BINARY):
        return "application/octet-stream"
    return TYPES.get(format_) or (
        "application/json; charset=UTF-8" if format_.startswith("JSON") else "text/plain; charset=UTF-8"
    )


def failure(text: str, status: int = 0) -> Response:
    """The engine's error, with the code where clients look for it."""
    found = CODE.search(text)
    code = found.group(1) if found else "1002"
    status = status or STATUS.get(code, 500)
    return PlainTextResponse(text, status, headers={"X-ClickHouse-Exception-Code": code})


def application(engine: Engine, known: dict[str, str], origins: frozenset[str] = frozenset()) -> Starlette:
    """The HTTP interface over an engine, for users with their passwords, and for pages of these origins."""
    server = Server(engine, known, origins)
    cors = Middleware(CORSMiddleware, allow_origins=[*origins], allow_methods=["*"], allow_headers=["*"], expose_headers=["*"])
    routes = [
        Route("/ping", server.ping),
        Route("/replicas_status", server.ping),
        Route("/", server.handle, methods=["GET", "HEAD", "POST", "OPTIONS"]),
    ]
    return Starlette(routes=routes, middleware=[cors] if origins else [])
