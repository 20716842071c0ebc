"""The embedded warehouse: the ClickHouse engine (chDB) behind ClickHouse's HTTP interface, for who has its password.

What `clickhouse-connect`, notebooks and BI tools ask over HTTP works here as on a server: queries and inserts with the
statement in `query` or as the body's head, parameters (`param_x`), settings, default database and format, gzip, lz4 or zstd
bodies, errors with their code. Left out: sessions, and query progress.
One process may open a folder; each request has a connection of a pool to itself.
Run it with `python -m infra.warehouse HOME PORT`: the data are in `HOME/clickhouse`.
"""

import asyncio
import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

import lz4.frame
import uvicorn
import zstandard
from chdb.state.sqlitelike import Connection, connect
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from infra.config import load
from infra.warehouse.door import RefusedError, check_origin, passwords, user_of

# Queries at once: two cores, and the flows' inserts must not wait for an analyst.
WORKERS: Final = 8

INSERT: Final = re.compile(rb"\s*INSERT\s+INTO\s+(?:(?!\bSELECT\b|\bFORMAT\b|\bVALUES\b).)*?\bFORMAT\s+(\w+)", re.I | re.S)
FORMAT: Final = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.I)
CODE: Final = re.compile(r"Code: (\d+)\.")
SETTING: Final = re.compile(r"[a-z][a-z0-9_]*")
# What the HTTP interface itself understands; every other parameter is a setting.
OWN: Final = frozenset(
    {"query", "database", "default_format", "query_id", "user", "password", "role", "quota_key"}
    | {"session_id", "session_timeout", "session_check", "client_protocol_version"}
    | {"compress", "decompress", "enable_http_compression", "wait_end_of_query", "buffer_size"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms", "cancel_http_readonly_queries_on_client_close"}
)
NOT_FOUND: Final = {"60", "81", "47", "46"}  # unknown table, database, identifier, function

DECODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


class Query(NamedTuple):
    """One request: the statement, the data behind it (inserts), and how to run it."""

    statement: str
    data: bytes | None
    format: str
    database: str
    parameters: dict[str, str]
    settings: dict[str, str]


class Answer(NamedTuple):
    """What came out: bytes in `format`, or rows written."""

    body: bytes
    format: str
    written_rows: int = 0


class QueryError(Exception):
    """The engine refused the statement; the text is the engine's."""


class Engine:
    """A pool of connections to one chDB folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        for _ in range(WORKERS):
            self._idle.put(connect(self._folder))

    def run(self, query: Query) -> Answer:
        """Run one statement. Errors: QueryError."""
        connection = self._idle.get()
        try:
            for statement in self._before(query):
                connection.query(statement)
            if query.data is not None:
                inserter = connection.send_insert(query.statement, query.format)
                inserter.append(query.data)
                return Answer(b"", query.format, inserter.finish().rows_written)
            return Answer(connection.query(query.statement, query.format, params=query.parameters).bytes(), query.format)
        except Exception as error:
            raise QueryError(str(error).removeprefix("Streaming insert finish failed: ")) from None
        finally:
            if query.settings or query.database:  # a connection keeps what was set; the next request must not see it
                connection.close()
                connection = connect(self._folder)
            self._idle.put(connection)

    @staticmethod
    def _before(query: Query) -> list[str]:
        names = [name for name in query.settings if not SETTING.fullmatch(name)]
        if names:
            raise QueryError(f"Code: 115. DB::Exception: {names[0]} is no setting. (UNKNOWN_SETTING)")
        quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in query.settings.items()}
        use = [f"USE `{query.database.replace('`', '')}`"] if query.database else []
        return [*use, *(f"SET {name} = '{value}'" for name, value in quoted.items())]


def parse(parameters: dict[str, str], headers: dict[str, str], body: bytes) -> Query:
    """The request's statement and data, as ClickHouse reads them: `query` first, then the body."""
    encoding = headers.get("content-encoding", "")
    if encoding in DECODERS:
        body = DECODERS[encoding](body)
    statement = parameters.get("query", "").encode()
    data: bytes | None = None
    format_ = parameters.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated"
    insert = INSERT.match(statement) if statement.strip() else INSERT.match(body[:65536])
    if insert:
        format_ = insert.group(1).decode()
        if statement.strip():
            data = statement[insert.end() :].lstrip() + body
        else:
            data = body[insert.end() :].removeprefix(b"\r").lstrip(b" ").removeprefix(b"\n")
        statement = re.sub(rb"\bFORMAT\s+\w+$", b"", insert.group(0), flags=re.I)
    else:
        statement = statement + b"\n" + body if body else statement
        named = FORMAT.search(statement.decode(errors="replace"))
        format_ = named.group(1) if named else format_
    return Query(
        statement.decode().strip().removesuffix(";"),
        data,
        format_,
        parameters.get("database") or headers.get("x-clickhouse-database", ""),
        {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")},
        {name: value for name, value in parameters.items() if name not in OWN and not name.startswith("param_")},
    )


def application(engine: Engine, known: dict[str, str], origins: frozenset[str] = frozenset()) -> Starlette:
    """The HTTP interface over an engine, for the users that are known, each with a password."""
    threads = ThreadPoolExecutor(WORKERS, "query")

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def handle(request: Request) -> Response:
        try:
            check_origin(request.headers, origins)
            if not request.query_params and request.method == "GET":
                return PlainTextResponse("Ok.\n")
            user_of(request.headers, request.query_params, known)
            body = await request.body()
        except RefusedError as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)
        if not body and "query" not in request.query_params:
            return PlainTextResponse("Ok.\n")
        try:
            query = parse(dict(request.query_params), dict(request.headers), body)
            result = await asyncio.get_running_loop().run_in_executor(threads, engine.run, query)
        except (QueryError, ValueError, EOFError, RuntimeError, zlib.error) as error:
            return failure(str(error))
        summary = {"read_rows": "0", "written_rows": str(result.written_rows), "result_rows": "0"}
        return Response(
            result.body,
            headers={
                "X-ClickHouse-Format": result.format,
                "X-ClickHouse-Timezone": "UTC",
                "X-ClickHouse-Query-Id": request.query_params.get("query_id", ""),
                "X-ClickHouse-Summary": json.dumps(summary),
            },
        )

    return Starlette(routes=[Route("/ping", ping), Route("/", handle, methods=["GET", "POST"])])


def refusal(error: RefusedError) -> Response:
    """Turned away at the door."""
    headers = {"X-ClickHouse-Exception-Code": "516"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return PlainTextResponse(f"{error}\n", error.status, headers=headers)


def failure(text: str) -> Response:
    """The engine's error, with the code where clients look for it."""
    found = CODE.search(text)
    code = found.group(1) if found else "1002"
    status = 404 if code in NOT_FOUND else 400 if code in ("62", "27", "457", "115") else 500
    return PlainTextResponse(text, status, headers={"X-ClickHouse-Exception-Code": code})


def main() -> None:
    """Serve the folder on the port until SIGTERM."""
    home, port = Path(sys.argv[1]), int(sys.argv[2])
    folder = home / "clickhouse"
    folder.mkdir(parents=True, exist_ok=True)
    origins = frozenset(filter(None, load().clickhouse_origins.split(",")))
    app = application(Engine(folder), passwords(home / "passwords.json"), origins)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
