"""The warehouse: plain SQL, desired state. `<table>.sql` makes a table, `<table>.select.sql` fills it from the log, and
`<view>.view.sql` is what analysts ask first. A file in this folder is a part of the warehouse; nothing else names it.

A select reads facts, and says of which entities by `topic = '<entity>.events'` (or it reads `pulse.minutes`); it ends in a
condition that can be narrowed by AND. A table that is filled from several topics has a column `kind`, the entity's name, by
which a record's place is one. A comment `-- rows_each: 50` tells roughly to how many rows a record comes; without one a record
is a row. Views are made behind the views that they ask.
"""

import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

from msgspec import Struct

HERE: Final = Path(__file__).parent
LOG: Final = "log"
TOPIC: Final = re.compile(r"\btopic = '([a-z_]+\.(?:events|minutes))'")
COLUMN: Final = re.compile(r"^    `?([a-z][a-z0-9_]*)`? +[A-Z]", re.MULTILINE)
ROWS_EACH: Final = re.compile(r"^-- rows_each: (\d+)$", re.MULTILINE)


class Projection(Struct, frozen=True):
    """A typed table that is filled from these topics of the log; `select` reads them and can be narrowed by AND.

    `rows_each`: how many rows a record may come to, roughly."""

    table: str
    topics: tuple[str, ...]
    select: str
    rows_each: int = 1

    def insert(self, *conditions: str) -> str:
        """A statement: fill the table with what `log` has under these conditions. It names the columns as the table's file has
        them, which is the select's order: in a table of old a column that came later stands last."""
        # FINAL: should `log` ever hold a place twice, the projection must not.
        select = " AND ".join((self.select.replace("FROM log", "FROM log FINAL"), *conditions))
        return f"INSERT INTO {self.table} (`{'`, `'.join(columns(self.table))}`) {select}"

    @property
    def reached(self) -> str:
        """A query: how far the table is with each partition of its topics, as (table, topic, partition, offset)."""
        topic = f"'{self.topics[0]}'" if len(self.topics) == 1 else "concat(kind, '.events')"
        return f"SELECT '{self.table}', {topic} AS topic, partition, max(offset) FROM {self.table} GROUP BY topic, partition"


def _projection(file: Path) -> Projection:
    """What a select's file says. Errors: ValueError for one that reads no topic."""
    select, table = file.read_text(), file.name.removesuffix(".select.sql")
    topics = tuple(sorted(set(TOPIC.findall(select))))
    if not topics:
        raise ValueError(f"schemas/tables/{file.name} must say what it reads, by topic = '<entity>.events'")
    rows_each = ROWS_EACH.search(select)
    return Projection(table, topics, select, int(rows_each[1]) if rows_each else 1)


def _views() -> tuple[str, ...]:
    """All views, each behind those that it asks."""
    texts = {file.name.removesuffix(".view.sql"): file.read_text() for file in sorted(HERE.glob("*.view.sql"))}
    asked = {name: [other for other in texts if other != name and re.search(rf"\b{other}\b", texts[name])] for name in texts}
    return tuple(TopologicalSorter(asked).static_order())


PROJECTIONS: Final = tuple(_projection(file) for file in sorted(HERE.glob("*.select.sql")))
TABLES: Final = (LOG, *(projection.table for projection in PROJECTIONS))
VIEWS: Final = _views()


def ddl(table: str) -> str:
    """The statement that makes a table."""
    return (HERE / f"{table}.sql").read_text()


def columns(table: str) -> tuple[str, ...]:
    """A table's columns, in its file's order."""
    return tuple(COLUMN.findall(ddl(table)))


def view(name: str) -> str:
    """The statement that makes a view what its file says."""
    return f"CREATE OR REPLACE VIEW {name} AS {(HERE / f'{name}.view.sql').read_text()}"
