"""What a request to the embedded warehouse says: where an INSERT's data begin, and what no statement may say."""

import re

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.warehouse import statement
from infra.warehouse.compression import accepted, pack, unpack
from infra.warehouse.kills import target_of
from infra.warehouse.server import parse, type_of
from infra.warehouse.statement import RefusedError, Split, check, check_reading, format_of, split, words_of


@pytest.mark.parametrize(
    ("text", "body", "found"),
    [
        (b"SELECT 1", b"", Split("SELECT 1")),
        (b"SELECT", b"1", Split("SELECT\n1")),
        (b"-- FORMAT CSV\nSELECT 1", b"", Split("-- FORMAT CSV\nSELECT 1")),
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"", Split("INSERT INTO t ", "CSV", b"1,2\n")),
        (b"insert into t (a) format CSV\r\n1\n", b"", Split("insert into t (a) ", "CSV", b"1\n")),
        (b"INSERT INTO t FORMAT Native", b"\x01\xff\n", Split("INSERT INTO t ", "Native", b"\x01\xff\n")),
        (b"INSERT INTO t FORMAT TSV\n1\n", b"2\n", Split("INSERT INTO t ", "TSV", b"1\n2\n")),
        (
            b"/* FORMAT CSV */ INSERT INTO `FORMAT x` FORMAT TSV\n",
            b"",
            Split("/* FORMAT CSV */ INSERT INTO `FORMAT x` ", "TSV", b""),
        ),
        (b"INSERT INTO t VALUES (1, 'FORMAT x')", b"", Split("INSERT INTO t ", "Values", b" (1, 'FORMAT x')")),
        (b"INSERT INTO t (format, values) VALUES (1, 2)", b"", Split("INSERT INTO t (format, values) ", "Values", b" (1, 2)")),
        (b"INSERT INTO t SELECT 1 FORMAT CSV", b"", Split("INSERT INTO t SELECT 1 FORMAT CSV")),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", b"", Split("INSERT INTO t FROM INFILE 'x' FORMAT CSV")),
        (b"INSERT INTO t WITH 1 AS a SELECT a", b"", Split("INSERT INTO t WITH 1 AS a SELECT a")),
        ("INSERT INTO é FORMAT TSV\né".encode(), b"", Split("INSERT INTO é ", "TSV", "é".encode())),
        (b"", b"", Split("")),
    ],
)
def test_where_the_data_begin(text: bytes, body: bytes, found: Split) -> None:
    assert split(text, body) == found


@given(st.binary(max_size=200))
def test_data_come_through_whatever_they_are(data: bytes) -> None:
    assert split(b"INSERT INTO t FORMAT RowBinary\n", data).data == data
    assert split(b"INSERT INTO t FORMAT RowBinary\n" + data).data == data


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT 1\nINTO OUTFILE 'x'",
        "EXPLAIN SYNTAX\nSELECT 1\nINTO OUTFILE 'x'\nFORMAT CSV",
        "INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        "SELECT file('/etc/passwd')",
        "SELECT * APPLY file\nFROM t",
        "INSERT INTO FUNCTION file('x') FORMAT CSV",
        "CREATE TABLE t AS file('x')",
        "CREATE TABLE t (`a` UInt8) ENGINE = EmbeddedRocksDB(0, '/tmp/x')",
        "CREATE TABLE t (`a` UInt8) ENGINE = `Executable`('x', TSV)",
        "CREATE TABLE t (`a` UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web)",
        "SELECT * FROM eval('SELECT 1')",
        "SYSTEM SHUTDOWN",
        "BACKUP TABLE t TO File('x')",
        "EXECUTE AS default SELECT 1",
        "",
    ],
)
def test_what_no_statement_may_say(canonical: str) -> None:
    with pytest.raises(RefusedError, match=r"^Code: 497\. .*\(ACCESS_DENIED\)$"):
        check(canonical, words_of(canonical))


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT 'INTO OUTFILE', 'file(1)' -- INTO OUTFILE 'x'",
        "SELECT outfile, infile, file, disk FROM t",
        "INSERT INTO file (a) FORMAT CSV",
        "CREATE TABLE t (`file` String) ENGINE = ReplacingMergeTree ORDER BY file",
        "CREATE TABLE t (`a` UInt8) ENGINE = Memory",
        "(\nSELECT 1\n)",
    ],
)
def test_what_it_may(canonical: str) -> None:
    check(canonical, words_of(canonical))


def test_words_of_a_client_are_no_statements() -> None:
    for word in ("exit", "quit", "\\q", "?", "/* a */ exit"):
        with pytest.raises(RefusedError):
            check(word, words_of("SELECT exit"))


def test_get_reads() -> None:
    for reading in ("SELECT 1", "(SELECT 1)", "WITH 1 AS a SELECT a", "SHOW TABLES", "EXPLAIN SELECT 1", "DESCRIBE TABLE t"):
        check_reading(words_of(reading))
    for writing in (
        "CREATE TABLE t (a UInt8)",
        "INSERT INTO t",
        "SET a = 1",
        "DROP TABLE t",
        "KILL QUERY WHERE 1",
        "OPTIMIZE TABLE t",
    ):
        with pytest.raises(RefusedError, match=r"^Code: 164\."):
            check_reading(words_of(writing))


def test_a_formats_name_is_the_statements_own() -> None:
    assert format_of("SELECT 1\nFORMAT JSONEachRow") == "JSONEachRow"
    assert format_of("SELECT 'FORMAT JSON'") == ""
    assert format_of("SELECT format, json FROM t") == ""


@given(st.binary(max_size=3_000_000 // 1_000))
def test_frames_hold_what_was_packed(body: bytes) -> None:
    assert unpack(pack(body)) == body
    assert unpack(pack(body) + pack(body)) == body * 2


def test_frames_are_clickhouses() -> None:
    assert unpack(pack(b"Olo" * 700_000)) == b"Olo" * 700_000
    assert lz4.block.decompress(pack(b"abc")[25:], uncompressed_size=3) == b"abc"
    assert pack(b"") == b""


@pytest.mark.parametrize("broken", [b"x", pack(b"abc")[:-1], pack(b"abc")[:20], b"\x00" * 25, pack(b"abc")[:-1] + b"x"])
def test_broken_frames_are_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match=re.compile(r"^Code: (40|271)\.")):
        unpack(broken)


def test_encodings_and_types() -> None:
    assert accepted("gzip, deflate") == "gzip"
    assert accepted("br, zstd;q=0.5, gzip") == "zstd"
    assert accepted("zstd;q=0, identity") == ""
    assert type_of("TabSeparated") == "text/tab-separated-values; charset=UTF-8"
    assert type_of("JSONCompactEachRow").startswith("application/json")
    assert type_of("RowBinaryWithNamesAndTypes") == "application/octet-stream"
    assert type_of("PrettyCompact") == "text/plain; charset=UTF-8"


def test_what_cannot_be_is_refused_in_words() -> None:
    for headers in ({"content-type": "multipart/form-data; boundary=x"}, {"content-encoding": "br"}):
        with pytest.raises(ValueError, match=r"not taken here.*NOT_IMPLEMENTED"):
            parse({"query": "SELECT 1"}, headers, b"")
    assert statement.literal("it's \\") == "'it\\'s \\\\'"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("KILL QUERY WHERE query_id = 'a-1'", ("a-1", "ASYNC", "")),
        ("kill query where `query_id`='a' sync;", ("a", "SYNC", "")),
        (r"/* DBeaver */ KILL QUERY ON CLUSTER 'c' WHERE query_id = 'it\'s ''x''' TEST", ("it's 'x'", "TEST", "")),
        ("KILL QUERY WHERE query_id = 'a' ASYNC FORMAT JSONEachRow", ("a", "ASYNC", "JSONEachRow")),
        ("KILL QUERY WHERE 1", None),
        ("KILL QUERY WHERE query_id = 'a' OR 1", None),
        ("KILL QUERY WHERE query_id != 'a'", None),
        ("KILL QUERY WHERE user = 'reader'", None),
        ("KILL MUTATION WHERE query_id = 'a'", None),
        ("SELECT 'KILL QUERY WHERE query_id = 1'", None),
        ("", None),
    ],
)
def test_whom_a_kill_names(text: str, found: tuple[str, str, str] | None) -> None:
    assert target_of(text) == found
