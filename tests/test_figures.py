"""The figures of every view against another engine's over the raw log (`tests/counterparts.py`), on histories by chance."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from infra.warehouse import Engine, Query
from schemas.tables import PROJECTIONS, TABLES, VIEWS, ddl, view
from tests.counterparts import COUNTERPARTS, HELPERS
from tests.histories import History

SEEDS = (1, 2, 3)
USERS = 60
Rows = list[list[Any]]
Ask = Callable[[str], Rows]


@pytest.fixture(scope="module")
def history() -> History:
    """Several histories beside each other: users are their own."""
    return History(7, datetime.now(UTC).replace(microsecond=0), USERS * len(SEEDS))


@pytest.fixture(scope="module")
def warehouse(history: History, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Our engine in this process, its tables filled as the store fills them."""
    engine = Engine(tmp_path_factory.mktemp("chdb"))

    def run(statement: str, written: bytes | None = None) -> Rows:
        answer = engine.run(Query(statement, written, "JSONEachRow" if written else "JSONCompactEachRow", "", {}, {}))
        return [json.loads(line) for line in answer.body.splitlines()]

    for table in TABLES:
        run(ddl(table))
    for name in VIEWS:
        run(view(name))
    rows = [
        json.dumps({"topic": topic, "partition": partition, "offset": offset, "key": "", "value": value.decode()})
        for topic, partition, offset, value in history.rows
    ]
    run("INSERT INTO log (topic, partition, offset, key, value)", "\n".join(rows).encode())
    for projection in PROJECTIONS:
        run(f"INSERT INTO {projection.table} {projection.select}")
    return run


@pytest.fixture(scope="module")
def other(history: History, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """DuckDB over the same log."""
    file: Path = tmp_path_factory.mktemp("duckdb") / "log.jsonl"
    rows = (json.dumps({"seq": n, "topic": row[0], "v": json.loads(row[3])}) for n, row in enumerate(history.rows))
    file.write_text("\n".join(rows))
    client = duckdb.connect()
    columns = "columns = {seq: 'BIGINT', topic: 'VARCHAR', v: 'JSON'}"
    client.execute(f"CREATE TABLE log AS SELECT * FROM read_json('{file}', format = 'newline_delimited', {columns})")
    now = f"TIMESTAMP '{history.now:%Y-%m-%d %H:%M:%S}'"
    client.execute(f"CREATE MACRO today() AS ({now}::DATE); CREATE MACRO now_() AS ({now})")
    client.execute(HELPERS)
    return lambda statement: [list(row) for row in client.execute(statement).fetchall()]


def plain(value: Any) -> Any:
    """A value as both engines have it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return sorted(value)
    return value if value is None or isinstance(value, str) else round(float(value), 6)


def in_order(rows: Rows) -> list[list[Any]]:
    return sorted(([plain(value) for value in row] for row in rows), key=str)


@pytest.mark.parametrize("name", VIEWS)
def test_a_views_figures_are_those_of_another_engine(name: str, warehouse: Ask, other: Ask) -> None:
    assert name in COUNTERPARTS, f"the view {name} needs a counterpart in tests/counterparts.py"
    found, due = in_order(warehouse(f"SELECT * FROM {name}")), in_order(other(COUNTERPARTS[name]))
    assert len(found) > 3
    assert ([row for row in found if row not in due], [row for row in due if row not in found]) == ([], [])
    assert found == due


def test_no_counterpart_is_of_a_view_that_is_none() -> None:
    assert set(COUNTERPARTS) == set(VIEWS)
