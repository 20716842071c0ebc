"""ClickHouse: the client, and the tables as the files in `schemas/tables` want them.

Migrations go forward only: a missing table is made, a missing column is added (its default fills the old rows), as is a missing
index; a column of another type, or one that the files do not know, is an error that names it.
"""

import logging
import re
from typing import Any

import clickhouse_connect
import clickhouse_connect.common
from clickhouse_connect.driver.client import Client

from schemas.tables import TABLES, VIEWS, ddl, view

# Point reads take milliseconds and batches a second: a half-minute means that the server is gone or stuck.
TIMEOUT_S = 30
# What the engine's own statement of a table has around what the file says.
HEAD = re.compile(r"^CREATE TABLE (IF NOT EXISTS )?\S+ ")
USUAL = " SETTINGS index_granularity = 8192"


# No answer of ours needs the protocol's version, for which it would ask at each connect.
clickhouse_connect.common.set_setting("use_protocol_version", False)
# It says of each fault that there was one, and raises it all the same: a person at the command line is told once.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())


def connect(url: str, timeout_s: int = TIMEOUT_S) -> Client:
    """A client for `http(s)://user:password@host:port/database`."""
    settings: dict[str, Any] = {"connect_timeout": 5, "send_receive_timeout": timeout_s, "autogenerate_session_id": False}
    return clickhouse_connect.get_client(dsn=url, **settings)


def migrate(url: str) -> list[str]:
    """Make tables and views what the files want; a line for each change of a table. Errors: ValueError for what cannot be."""
    client = connect(url)
    try:
        known = _as_wanted(client)
        changed = [line for table in TABLES if table not in known for line in _migrate(client, table)]
        for name in VIEWS:
            client.command(view(name))
        return changed
    finally:
        client.close()


def _as_wanted(client: Client) -> set[str]:
    """The tables whose statements, as the engine writes them, are those of the files: of these nothing has to be asked."""
    found = client.query(
        "SELECT name, formatQuerySingleLine(create_table_query) FROM system.tables WHERE database = currentDatabase()"
    )
    there = {name: HEAD.sub("", statement).removesuffix(USUAL) for name, statement in found.result_rows}
    wanted = client.query(
        "SELECT arrayMap(one -> formatQuerySingleLineOrNull(one), %(files)s)",  # not in the URL, for which they are too long
        parameters={"files": [ddl(table) for table in TABLES]},
    ).result_rows[0][0]
    return {table for table, statement in zip(TABLES, wanted, strict=True) if there.get(table) == HEAD.sub("", statement or "")}


def _migrate(client: Client, table: str) -> list[str]:
    there = _columns(client, table)
    if not there:
        client.command(ddl(table))
        return [f"table {table} made"]
    # The engine itself reads the file: a table of that shape, emptied of meaning, tells the wanted columns.
    wanted_name = f"wanted_{table}"
    client.command(f"DROP TABLE IF EXISTS {wanted_name}")
    client.command(re.sub(rf"EXISTS {table}\b", f"EXISTS {wanted_name}", ddl(table), count=1))
    wanted, indices = _columns(client, wanted_name), _indices(client, wanted_name)
    client.command(f"DROP TABLE {wanted_name}")
    changed = []
    for name, (type_, default) in wanted.items():
        if name not in there:
            client.command(f"ALTER TABLE {table} ADD COLUMN {name} {type_} {default}")
            changed.append(f"column {table}.{name} added")
        elif there[name][0] != type_:
            raise ValueError(f"column {table}.{name} is {there[name][0]}, {type_} is wanted; make a new table and backfill it")
    for name in indices.keys() - _indices(client, table).keys():
        client.command(f"ALTER TABLE {table} ADD INDEX {name} {indices[name]}")
        client.command(f"ALTER TABLE {table} MATERIALIZE INDEX {name}")
        changed.append(f"index {table}.{name} added")
    unknown = there.keys() - wanted.keys()
    if unknown:
        raise ValueError(f"{table} has columns that schemas/tables/{table}.sql lacks: {sorted(unknown)}")
    return changed


def _columns(client: Client, table: str) -> dict[str, tuple[str, str]]:
    found = client.query(
        "SELECT name, type, concat(default_kind, ' ', default_expression) FROM system.columns"
        " WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
        parameters={"table": table},
    )
    return {name: (type_, default) for name, type_, default in found.result_rows}


def _indices(client: Client, table: str) -> dict[str, str]:
    found = client.query(
        "SELECT name, concat(expr, ' TYPE ', type_full, ' GRANULARITY ', toString(granularity))"
        " FROM system.data_skipping_indices WHERE database = currentDatabase() AND table = {table:String}",
        parameters={"table": table},
    )
    return {row[0]: row[1] for row in found.result_rows}
