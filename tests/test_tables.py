"""The warehouse's tables: they fit the Structs, make themselves, and grow forward only."""

import re

import pytest
from msgspec.structs import fields

from infra import clickhouse
from infra.clickhouse import connect, migrate
from schemas.balance import EntryRecorded
from schemas.tables import PROJECTIONS, TABLES, ddl


def columns(client, table):
    return [row[0] for row in client.query(f"DESCRIBE TABLE {table}").result_rows]


def test_the_entries_table_has_every_field_of_an_entry(stack):
    place = {"partition", "offset"}
    assert set(columns(connect(stack.clickhouse), "balance_entries")) - place == {f.name for f in fields(EntryRecorded)}


def test_every_projection_reads_its_topic_and_gives_its_columns(stack):
    client = connect(stack.clickhouse)
    for projection in PROJECTIONS:
        assert f"topic = '{projection.topic}'" in projection.select
        described = [row[0] for row in client.query(f"DESCRIBE TABLE ({projection.select})").result_rows]
        assert described == columns(client, projection.table)


def test_migrating_twice_changes_nothing(stack):
    assert migrate(stack.clickhouse) == []


def test_a_new_column_is_added_and_a_foreign_one_is_refused(stack, monkeypatch):
    client = connect(stack.clickhouse)
    table = "migration_check"
    old = re.sub(r"\blog\b", table, ddl("log"), count=1)
    old = re.sub(r"EXISTS log\b", f"EXISTS {table}", ddl("log"))
    client.command(old)
    monkeypatch.setattr(clickhouse, "TABLES", (table,))
    wider = old.replace("key       String,", "key       String,\n    origin    String DEFAULT 'phone',")
    monkeypatch.setattr(clickhouse, "ddl", lambda _: wider)
    assert migrate(stack.clickhouse) == [f"column {table}.origin added"]
    client.command(f"INSERT INTO {table} (topic, partition, offset, key) VALUES ('t', 0, 0, 'k')")
    assert client.command(f"SELECT origin FROM {table}") == "phone"
    monkeypatch.setattr(clickhouse, "ddl", lambda _: old)
    with pytest.raises(ValueError, match=r"columns that .* lacks: .'origin'."):
        migrate(stack.clickhouse)
    monkeypatch.setattr(clickhouse, "ddl", lambda _: wider.replace("key       String", "key       UInt8"))
    with pytest.raises(ValueError, match=f"column {table}.key is String, UInt8 is wanted"):
        migrate(stack.clickhouse)
    client.command(f"DROP TABLE {table}")


def test_every_table_says_why_it_is_ordered_so():
    for table in TABLES:
        assert "-- ORDER BY:" in ddl(table)
