"""The embedded ClickHouse over HTTP, as its clients use it."""

import asyncio
import gzip
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import lz4.frame
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.clickhouse import connect
from serving.runtime.warehouse import in_warehouse
from tests.conftest import Stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    client = connect(stack.clickhouse)
    client.command(
        "CREATE OR REPLACE TABLE scratch (a UInt64, b String, at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY a"
    )
    yield client
    client.command("DROP TABLE IF EXISTS scratch")


def test_rows_arrow_and_frames_go_in_and_come_out(client: Client) -> None:
    at = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)
    client.insert("scratch", [[1, "it's", at]], column_names=["a", "b", "at"])
    client.insert_arrow("scratch", pa.table({"a": [2], "b": ["é"], "at": pa.array([at], pa.timestamp("us", "UTC"))}))
    rows = client.query("SELECT a, b FROM scratch WHERE b = {b:String}", parameters={"b": "it's"}).result_rows
    assert rows == [(1, "it's")]
    assert client.query_arrow("SELECT a FROM scratch ORDER BY a").column("a").to_pylist() == [1, 2]
    assert list(client.query_df("SELECT a FROM scratch ORDER BY a").a) == [1, 2]


def test_errors_have_their_code_and_settings_do_not_stick(client: Client, stack: Stack) -> None:
    with pytest.raises(DatabaseError, match="code: 47"):
        client.query("SELECT nope FROM scratch")
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 5}).result_rows == [(5,)]
    assert {httpx.post(stack.clickhouse, content="SELECT getSetting('max_threads')").text for _ in range(9)} == {"1\n"}
    missing = httpx.post(stack.clickhouse, content="SELECT * FROM missing")
    assert (missing.status_code, missing.headers["x-clickhouse-exception-code"]) == (404, "60")


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("lz4", lz4.frame.compress), ("zstd", zstandard.ZstdCompressor().compress), ("", bytes)],
)
def test_bodies_may_be_packed_and_the_statement_may_stand_in_them(
    client: Client, stack: Stack, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(b'INSERT INTO scratch (a, b) FORMAT JSONEachRow\n{"a": 7, "b": "FORMAT x"}\n')
    answer = httpx.post(stack.clickhouse, content=body, headers={"Content-Encoding": encoding} if encoding else {})
    assert answer.status_code == 200, answer.text
    assert '"written_rows": "1"' in answer.headers["x-clickhouse-summary"]
    assert httpx.get(stack.clickhouse, params={"query": "SELECT b FROM scratch FORMAT TSV"}).text == "FORMAT x\n"


def test_a_broken_insert_changes_nothing(client: Client, stack: Stack) -> None:
    answer = httpx.post(stack.clickhouse, content=b'INSERT INTO scratch FORMAT JSONEachRow\n{"a": 1}\n{"a": "x",')
    assert answer.status_code == 400
    assert client.command("SELECT count() FROM scratch") == 0


def test_values_in_the_statement_and_select_inserts(client: Client) -> None:
    client.command("INSERT INTO scratch VALUES (1, 'x', now64(6)), (2, 'y', now64(6))")
    client.command("INSERT INTO scratch SELECT a + 10, b, at FROM scratch")
    assert client.command("SELECT sum(a) FROM scratch") == 26


def test_ping(stack: Stack) -> None:
    assert httpx.get(f"{stack.clickhouse}/ping").text == "Ok.\n"


def test_a_warehouse_that_hangs_holds_no_thread_of_all_else() -> None:
    answers = threading.Event()

    async def ask() -> int:
        asked = [asyncio.create_task(in_warehouse(answers.wait)) for _ in range(64)]
        try:
            return await asyncio.wait_for(asyncio.to_thread(lambda: 7), 60)  # so a token is verified
        finally:
            answers.set()
            await asyncio.gather(*asked)

    assert asyncio.run(ask()) == 7
