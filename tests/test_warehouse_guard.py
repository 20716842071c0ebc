"""The embedded warehouse as a good neighbour: what a statement reaches, how many run, and when they end."""

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.clickhouse import connect
from infra.warehouse import door
from infra.warehouse.statement import ENGINES, HARMLESS
from tests.conftest import Stack, eventually

# Denied by a grant, kept as it is set, no reading.
REACH = ("497", "452", "164")
ENDLESS = "SELECT sum(sipHash64(number)) FROM numbers(30000000000)"


@pytest.fixture
def asked(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.clickhouse, timeout=30)


def code(answer: httpx.Response) -> str:
    return str(answer.headers.get("x-clickhouse-exception-code", ""))


SOURCES = st.sampled_from(
    [
        "file('{path}', 'LineAsString')",
        "`file`('{path}', 'LineAsString')",
        "\"fi\\x6ce\"('{path}', LineAsString)",
        "/* file( */ file /**/ ('{path}', LineAsString)",
        "filesystem('{path}')",
        "url('http://127.0.0.1:{port}/', 'LineAsString', 'a String')",
        "s3('http://127.0.0.1:{port}/b/k', 'LineAsString')",
        "remote('127.0.0.1:{port}', 'system', 'one')",
        "mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
        "postgresql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
        "mongodb('127.0.0.1:{port}', 'd', 't', 'u', 'p', 'a String')",
        "redis('127.0.0.1:{port}', 'k', 'k String, v String')",
        "sqlite('{path}', 't')",
        "executable('id', TSV, 'a String')",
        "iceberg('http://127.0.0.1:{port}/')",
        "icebergLocal('{path}')",
        "deltaLake('http://127.0.0.1:{port}/')",
        "eval('SELECT * FROM file(''{path}'')')",
        "python(sys)",
        "_files.`{path}`",
        "view(SELECT * FROM file('{path}', 'LineAsString'))",
        "loop(file('{path}', 'LineAsString'))",
        "merge('_files', '.*')",
    ]
)
SHAPES = st.sampled_from(
    [
        "SELECT * FROM {source}",
        "SELECT count() FROM {source} SETTINGS max_threads = 1 FORMAT JSON",
        "SELECT 1 WHERE 1 IN (SELECT * FROM {source})",
        "WITH (SELECT count() FROM {source}) AS a SELECT a",
        "EXPLAIN PLAN SELECT * FROM {source}",
        "DESCRIBE TABLE {source}",
        "CREATE TABLE reached ENGINE = Memory AS SELECT * FROM {source}",
        "CREATE VIEW reached AS SELECT * FROM {source}",
        "CREATE TABLE reached AS {source}",
        "INSERT INTO FUNCTION {source} SELECT 1",
        "INSERT INTO reached SELECT * FROM {source}",
        "SELECT * FROM {source} INTO OUTFILE '{out}' TRUNCATE",
        "SELECT 1 UNION ALL SELECT * FROM {source}",
    ]
)
OTHERS = st.sampled_from(
    [
        "SELECT 1 INTO OUTFILE '{out}'",
        "EXPLAIN SYNTAX SELECT 1 INTO OUTFILE '{out}'",
        "SELECT file('{path}')",
        "SELECT * APPLY(file) FROM (SELECT '{path}')",
        "SELECT 1 FORMAT Template SETTINGS format_template_row = '{path}'",
        "SELECT 1 SETTINGS additional_result_filter = 'file(''{path}'') = 1'",
        "CREATE TABLE reached (a String) ENGINE = File(TSV, '{out}')",
        "CREATE TABLE reached (a String) ENGINE = URL('http://127.0.0.1:{port}/', TSV)",
        "CREATE TABLE reached (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{out}')",
        "CREATE TABLE reached (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:{port}/')",
        "CREATE TABLE reached (a String DEFAULT file('{path}')) ENGINE = Memory",
        "CREATE DATABASE reached ENGINE = Filesystem('/')",
        "CREATE DATABASE reached ENGINE = MySQL('127.0.0.1:{port}', 'd', 'u', 'p')",
        "CREATE DICTIONARY reached (a String) PRIMARY KEY a SOURCE(FILE(path '{path}' format 'TSV')) LAYOUT(FLAT())",
        "CREATE FUNCTION reached AS (a) -> a",
        "CREATE NAMED COLLECTION reached AS a = 1",
        "CREATE USER reached",
        "GRANT ALL ON *.* TO default",
        "SET format_schema = '{path}'",
        "SET dialect = 'prql'",
        "SET max_execution_time = 100000",
        "SYSTEM SHUTDOWN",
        "SYSTEM RELOAD CONFIG",
        "BACKUP DATABASE default TO File('{out}')",
        "EXECUTE AS default SELECT 1",
        "ATTACH DATABASE reached ENGINE = Filesystem('/')",
    ]
)


def test_no_statement_reaches_a_file_an_address_or_a_command(asked: httpx.Client, tmp_path: Path) -> None:
    path, out = tmp_path / "secret", tmp_path / "out"
    path.write_text("a-secret\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]

        @settings(max_examples=150)
        @given(text=st.one_of(st.builds(lambda shape, source: shape.replace("{source}", source), SHAPES, SOURCES), OTHERS))
        def refused(text: str) -> None:
            statement = text.replace("{path}", str(path)).replace("{out}", str(out)).replace("{port}", str(port))
            for answer in (asked.post("", content=statement), asked.get("", params={"query": statement})):
                assert answer.status_code >= 400, statement
                assert "a-secret" not in answer.text
            assert not out.exists(), statement
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert path.read_text() == "a-secret\n"

        refused()


def test_every_function_and_engine_that_reaches_out_is_refused(asked: httpx.Client) -> None:
    """By the engine's own lists: whatever a newer one brings is refused until somebody has looked at it."""
    for name in asked.post("", content="SELECT name FROM system.table_functions").text.split():
        if name.upper() not in HARMLESS:
            assert code(asked.post("", content=f"SELECT * FROM {name}('/x', 'a', 'b')")) == "497", name
    for name in asked.post("", content="SELECT name FROM system.database_engines").text.split():
        if name not in ("Atomic", "Memory"):
            assert code(asked.post("", content=f"CREATE DATABASE reached ENGINE = {name}('/x')")) == "497", name
    for name in asked.post("", content="SELECT name FROM system.table_engines").text.split():
        if name.upper() not in ENGINES:
            assert code(asked.post("", content=f"CREATE TABLE reached (a UInt8) ENGINE = {name}('/x')")) == "497", name


def test_get_reads_and_post_writes(asked: httpx.Client) -> None:
    made = asked.get("", params={"query": "CREATE TABLE by_get (a UInt8) ENGINE = Memory"})
    assert (made.status_code, code(made)) == (403, "164")
    assert asked.post("", content="EXISTS by_get").text == "0\n"
    assert code(asked.request("HEAD", "", params={"query": "CREATE TABLE by_get (a UInt8) ENGINE = Memory"})) == "164"
    assert asked.get("", params={"query": "SELECT 1 SETTINGS max_threads = 2"}).text == "1\n"


def test_one_statement_a_request(asked: httpx.Client) -> None:
    two = asked.post("", content="SELECT 1; SELECT 2")
    assert (two.status_code, code(two)) == (400, "62")
    assert "In scope" not in two.text
    for one in (
        "SELECT 1;",
        "SELECT 1 ; -- and no more",
        "-- FORMAT CSV\nSELECT 1 /* FORMAT JSON */",
        "SELECT 1 -- FORMAT JSON",
    ):
        assert asked.post("", content=one).text == "1\n"
    answer = asked.post("", content="SELECT 'a' -- FORMAT CSV")
    assert (answer.text, answer.headers["x-clickhouse-format"]) == ("a\n", "TabSeparated")


def test_queries_end_with_their_clients_and_leave_room_for_others(stack: Stack, asked: httpx.Client) -> None:
    def hang_up() -> None:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(stack.clickhouse, content=ENDLESS, timeout=1)

    clients = [threading.Thread(target=hang_up) for _ in range(8)]
    for thread in clients:
        thread.start()
    # The platform's own lane: what serving and the store ask is answered meanwhile.
    known = door.passwords(stack.home / "passwords.json")
    own = connect(door.url(door.PLATFORM, known[door.PLATFORM], urlsplit(stack.clickhouse).port or 0))
    assert own.command("SELECT 1") == 1
    for thread in clients:
        thread.join()
    still = "SELECT count() FROM system.processes WHERE query ILIKE '%sipHash64%30000000000%' AND query NOT ILIKE '%processes%'"
    eventually(lambda: asked.post("", content=still).text == "0\n")


@pytest.mark.parametrize("how", ["", " SYNC"])
def test_a_client_ends_what_it_runs_itself_and_nothing_else(stack: Stack, asked: httpx.Client, how: str) -> None:
    """As JDBC's `Statement.cancel()` does, on another connection; the store's statements have another user."""
    ended: list[httpx.Response] = []
    ours = [threading.Thread(target=lambda: ended.append(asked.post("/", params={"query_id": "q1"}, content=ENDLESS)))
            for _ in range(2)]  # fmt: skip
    for client in ours:
        client.start()
    kill = f"KILL QUERY WHERE query_id = '%s'{how} FORMAT TSV"
    port = urlsplit(stack.clickhouse).port or 0
    beside = door.url(door.PLATFORM, door.passwords(stack.home / "passwords.json")[door.PLATFORM], port)
    with httpx.Client(base_url=beside, timeout=30) as platform:
        for asker, name in ((asked, "q2"), (platform, "q1")):
            assert asker.post("/", content=kill % name).text == ""
    test = kill.removesuffix(" SYNC FORMAT TSV").removesuffix(" FORMAT TSV") + " TEST FORMAT TSV"
    eventually(lambda: asked.post("/", content=test % "q1").text.count("waiting\tq1") == 2)
    assert not ended
    answer = asked.post("/", content=kill % "q1").text
    assert answer.startswith(("finished" if how else "waiting") + "\tq1\t")
    for client in ours:
        client.join()
    assert [code(one) for one in ended] == ["394", "394"]
    assert code(asked.get("/", params={"query": kill % "q1"})) == "164", "GET reads"


def test_limits_may_be_moved_within_a_maximum(asked: httpx.Client) -> None:
    late = asked.post("", params={"max_execution_time": "0.2"}, content="SELECT sleep(3)")
    assert (late.status_code, code(late)) == (408, "159")
    beyond = asked.post("", params={"max_execution_time": "3601"}, content="SELECT 1")
    assert code(beyond) == "452"
    many = asked.post("", params={"max_result_bytes": "1000"}, content="SELECT number FROM numbers(100000)")
    assert code(many) == "396"


def test_a_connection_that_was_changed_is_nobody_elses(asked: httpx.Client) -> None:
    asked.post("", content="SET max_threads = 7")
    asked.post("", content="USE system")
    asked.post("", content="CREATE TEMPORARY TABLE mine (a UInt8)")
    temporary = "SELECT count() FROM system.tables WHERE is_temporary"
    for _ in range(9):
        told = asked.post("", content=f"SELECT getSetting('max_threads') != 7, currentDatabase(), ({temporary})")
        assert told.text == "1\tdefault\t0\n"


def test_its_port_is_loopbacks(stack: Stack) -> None:
    assert urlsplit(stack.clickhouse).hostname == "127.0.0.1"
