"""The warehouse's tables and views on the embedded engine, in this process: no platform, a database for whoever wants one."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from chdb.state.sqlitelike import Connection, connect

from schemas.tables import PROJECTIONS, TABLES, VIEWS, ddl, view
from tests.histories import History


class Tables:
    """One engine, which a process may have one of; a `Database` for each name."""

    def __init__(self, folder: Path) -> None:
        self._engine = connect(str(folder))

    def database(self, name: str) -> "Database":
        """A new database with all tables and views."""
        Database(self._engine, "default").run(f"CREATE DATABASE {name}")
        made = Database(self._engine, name)
        for table in TABLES:
            made.run(ddl(table))
        for one in VIEWS:
            made.run(view(one))
        return made


class Database:
    """Statements go in, rows come out; as much of a client as `infra.quality` needs."""

    def __init__(self, engine: Connection, name: str) -> None:
        self._engine = engine
        self._name = name

    def run(self, statement: str, written: bytes | None = None) -> list[list[Any]]:
        """The rows of a statement; `written`: what it inserts, as JSON, a row a line."""
        self._engine.query(f"USE {self._name}")
        if written is None:
            return [json.loads(line) for line in self._engine.query(statement, "JSONCompactEachRow").bytes().splitlines()]
        inserter = self._engine.send_insert(statement, "JSONEachRow")
        inserter.append(written)
        inserter.finish()
        return []

    def query_df(self, statement: str, parameters: dict[str, Any]) -> Any:
        """The rows as a frame."""
        self._engine.query(f"USE {self._name}")
        answer = self._engine.query(statement, "Arrow", params={name: str(value) for name, value in parameters.items()})
        return pa.ipc.open_file(io.BytesIO(answer.bytes())).read_pandas()

    def fill(self, history: History) -> None:
        """The history, as the store writes it."""
        rows = [
            json.dumps({"topic": topic, "partition": partition, "offset": offset, "key": "", "value": value.decode()})
            for topic, partition, offset, value in history.rows
        ]
        self.run("INSERT INTO log (topic, partition, offset, key, value)", "\n".join(rows).encode())
        for projection in PROJECTIONS:
            self.run(projection.insert())
