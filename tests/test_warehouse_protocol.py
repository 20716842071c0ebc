"""The embedded warehouse speaks ClickHouse's HTTP protocol as a server does: headers, packings, versions, sessions."""

import asyncio
import gzip
import json
import uuid
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import clickhouse_connect
import httpx
import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.clickhouse import connect
from infra.warehouse.compression import pack, unpack
from infra.warehouse.native import BLOCK_INFO, framed, unframed
from infra.warehouse.server import application
from tests.conftest import Stack

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": zstandard.ZstdDecompressor().decompress,
}


@pytest.fixture
def asked(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.clickhouse, timeout=30) as client:
        yield client


def test_every_answer_carries_what_a_servers_does(asked: httpx.Client) -> None:
    answer = asked.get("", params={"query": "SELECT number FROM numbers(3) FORMAT CSVWithNames", "query_id": "mine"})
    told = {name: answer.headers[f"x-clickhouse-{name}"] for name in ("query-id", "format", "timezone", "server-display-name")}
    assert told == {"query-id": "mine", "format": "CSVWithNames", "timezone": "Etc/UTC", "server-display-name": "olo"}
    assert answer.headers["content-type"] == "text/csv; charset=UTF-8; header=present"
    assert json.loads(answer.headers["x-clickhouse-summary"])["result_rows"] == "3"
    assert uuid.UUID(asked.get("", params={"query": "SELECT 1"}).headers["x-clickhouse-query-id"])
    wrong = asked.get("", params={"query": "SELECT nope", "query_id": "mine"})
    assert (wrong.headers["x-clickhouse-query-id"], wrong.headers["x-clickhouse-exception-code"]) == ("mine", "47")


def test_it_is_there_for_who_asks_only_that(asked: httpx.Client) -> None:
    assert [asked.get(path).text for path in ("/ping", "/replicas_status", "/")] == ["Ok.\n"] * 3
    assert asked.head("", params={"query": "SELECT 1"}).status_code == 200
    assert asked.options("").status_code == 200


def test_what_is_not_done_is_refused_in_words(asked: httpx.Client) -> None:
    external = asked.post("", params={"query": "SELECT * FROM t"}, files={"t": b"1\n"})
    assert (external.status_code, external.headers["x-clickhouse-exception-code"]) == (501, "48")
    assert asked.get("", params={"query": "SELECT 1", "nonsense": "1"}).headers["x-clickhouse-exception-code"] == "115"


def test_any_mixture_of_formats_and_packings_gives_the_same_rows(asked: httpx.Client) -> None:
    rows = "SELECT number AS a, concat('é', toString(number)) AS b FROM numbers(5)"
    wanted = asked.post("", content=f"{rows} FORMAT JSONCompactEachRow").content

    @settings(max_examples=40)
    @given(
        frames=st.booleans(),
        encoding=st.sampled_from(sorted(UNPACK)),
        sent=st.sampled_from(["", "gzip", "frames"]),
        where=st.sampled_from(["text", "default_format", "X-ClickHouse-Format"]),
        version=st.sampled_from([0, 54_405, 54_460]),
    )
    def same(frames: bool, encoding: str, sent: str, where: str, version: int) -> None:
        text = (f"{rows} FORMAT JSONCompactEachRow" if where == "text" else rows).encode()
        parameters = {"client_protocol_version": str(version), "enable_http_compression": "1", "compress": str(int(frames))}
        headers = {"Accept-Encoding": encoding or "identity"}
        if where == "default_format":
            parameters[where] = "JSONCompactEachRow"
        elif where != "text":
            headers[where] = "JSONCompactEachRow"
        if sent == "gzip":
            headers["Content-Encoding"], text = "gzip", gzip.compress(text)
        elif sent == "frames":
            parameters["decompress"], text = "1", pack(text)
        with asked.stream("POST", "", params=parameters, content=text, headers=headers) as answer:
            body = b"".join(answer.iter_raw())
        assert answer.status_code == 200, body
        assert (unpack(body) if frames else UNPACK[encoding](body)) == wanted

    same()


TYPES = """
    toUInt8(1), -1::Int64, 'é', CAST(NULL, 'Nullable(String)'), [1, 2, 3], [['a'], []], map('a', 1), (1, 'b', [2.5]),
    toLowCardinality('x'), CAST(NULL, 'LowCardinality(Nullable(String))'), toDecimal64(1.5, 2), toDateTime64(0, 6, 'UTC'),
    toDate(0), generateUUIDv4(1), toIPv4('1.2.3.4'), toIPv6('::1'), toFixedString('ab', 3), 1.5::Float32,
    CAST('a', 'Enum8(\\'a\\' = 1)')
"""


@pytest.mark.parametrize("rows", [0, 1, 3, 100_000])
def test_native_is_framed_for_the_clients_version_and_back(asked: httpx.Client, rows: int) -> None:
    question = f"SELECT {TYPES} FROM numbers({rows}) FORMAT Native"
    plain = asked.post("", content=question).content
    for version in (51_903, 54_453, 54_454, 54_484):
        told = framed(plain, version)
        assert told.startswith(BLOCK_INFO) or not plain
        assert unframed(told, version) == plain
    assert framed(plain, 0) == plain
    with pytest.raises(ValueError, match=r"^Code: 32\."):
        unframed(framed(plain, 54_454)[:-1] if rows else BLOCK_INFO, 54_454)


def test_native_goes_in_at_the_clients_version(asked: httpx.Client) -> None:
    asked.post("", content="CREATE OR REPLACE TABLE native_scratch (a UInt64, b String) ENGINE = Memory")
    block = asked.post("", content="SELECT toUInt64(7) AS a, 'it''s' AS b FORMAT Native").content
    parameters = {"query": "INSERT INTO native_scratch FORMAT Native", "client_protocol_version": "54460"}
    assert asked.post("", params=parameters, content=framed(block, 54_460)).status_code == 200
    assert asked.post("", content="SELECT * FROM native_scratch").text == "7\tit\\'s\n"
    asked.post("", content="DROP TABLE native_scratch")


def test_a_session_keeps_what_was_set_and_a_requests_settings_are_its_own(asked: httpx.Client) -> None:
    name = str(uuid.uuid4())

    def say(text: str, **more: str) -> httpx.Response:
        return asked.post("", params={"session_id": name, **more}, content=text)

    assert say("SELECT 1", session_check="1").headers["x-clickhouse-exception-code"] == "372"
    assert say("CREATE TEMPORARY TABLE mine (a UInt8)").status_code == 200
    assert say("INSERT INTO mine VALUES (7)").status_code == 200
    assert say("SET max_block_size = 77").status_code == 200
    assert say("SELECT getSetting('max_block_size')", max_block_size="5").text == "5\n"
    assert (
        say("SELECT a, getSetting('max_block_size'), currentDatabase() FROM mine", database="default").text
        == "7\t77\tdefault\n"
    )
    assert asked.post("", content="EXISTS TEMPORARY TABLE mine").text == "0\n"
    refused = asked.get("", params={"session_id": name, "query": "DROP TABLE mine"})
    assert refused.headers["x-clickhouse-exception-code"] == "164"
    assert say("SELECT 1", session_timeout="soon").headers["x-clickhouse-exception-code"] == "374"


FIRST_QUESTIONS = [
    "SELECT version()",
    "SELECT timezone()",
    "SELECT currentUser(), currentDatabase(), displayName()",
    "SELECT name, value, changed, description, type, readonly FROM system.settings",
    "SELECT name FROM system.databases",
    "SELECT database, name, engine, comment FROM system.tables WHERE database = 'default'",
    "SELECT name, type, default_expression FROM system.columns WHERE database = 'default'",
    "SELECT name FROM system.functions",
    "SELECT name, alias_to FROM system.data_type_families",
    "SELECT * FROM system.dictionaries",
    "SELECT * FROM system.clusters",
    "SELECT table_name FROM information_schema.tables",
    "SHOW DATABASES",
    "SHOW TABLES FROM default",
    "DESCRIBE TABLE default.log",
    "SHOW CREATE TABLE default.log",
    "EXPLAIN SELECT 1",
]


@pytest.mark.parametrize("question", FIRST_QUESTIONS)
def test_what_bi_tools_ask_first_is_answered(asked: httpx.Client, question: str) -> None:
    answer = asked.post("", content=question, params={"database": "default"})
    assert answer.status_code == 200, answer.text


def test_clickhouse_connect_works_with_its_defaults(stack: Stack) -> None:
    client = clickhouse_connect.get_client(dsn=stack.clickhouse)
    client.command("CREATE TEMPORARY TABLE mine (a UInt64, at DateTime64(6, 'UTC'))")
    client.insert("mine", [[7, datetime(2026, 11, 27, tzinfo=UTC)]], column_names=["a", "at"])
    assert client.query("SELECT a, toString(at) FROM mine").result_rows == [(7, "2026-11-27 00:00:00.000000")]
    assert connect(stack.clickhouse).query("SELECT {x:String}", parameters={"x": "it's\t\\"}).result_rows == [("it's\t\\",)]


def test_pages_that_may_ask_are_told_so() -> None:
    """Across origins the browser asks first."""

    async def ask(origin: str) -> int:
        app = application(Nothing(), {"olo": "x"}, frozenset({"https://bi.example"}))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://olo") as client:
            asks = {"Access-Control-Request-Method": "POST", "Origin": origin}
            return (await client.options("/", headers=asks)).status_code

    assert [asyncio.run(ask(origin)) for origin in ("https://bi.example", "https://evil.example")] == [200, 400]


class Nothing:
    """An engine that nobody asks."""

    timezone = "UTC"
