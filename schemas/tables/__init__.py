"""The warehouse: plain SQL, desired state. `<table>.sql` makes a table, `<table>.select.sql` fills it from the log, and
`<view>.view.sql` is what analysts ask first. A file in this folder is a part of the warehouse; nothing else names it.

A select reads one topic, and says which by `topic = '<entity>.events'`. A comment `-- rows_each: 50` in it tells roughly to how
many rows a record comes; without one a record is a row. Views are made behind the views that they ask.
"""

import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

from msgspec import Struct

HERE: Final = Path(__file__).parent
LOG: Final = "log"
TOPIC: Final = re.compile(r"\btopic = '([a-z_]+\.events)'")
ROWS_EACH: Final = re.compile(r"^-- rows_each: (\d+)$", re.MULTILINE)


class Projection(Struct, frozen=True):
    """A typed table that is filled from one topic of the log; `select` reads that topic and can be narrowed by AND.

    `rows_each`: how many rows a record may come to, roughly."""

    table: str
    topic: str
    select: str
    rows_each: int = 1


def _projection(file: Path) -> Projection:
    """What a select's file says. Errors: ValueError for one that does not read exactly one topic."""
    select, table = file.read_text(), file.name.removesuffix(".select.sql")
    topics = set(TOPIC.findall(select))
    if len(topics) != 1:
        raise ValueError(f"schemas/tables/{file.name} must read one topic, by topic = '<entity>.events'; it reads {topics}")
    rows_each = ROWS_EACH.search(select)
    return Projection(table, topics.pop(), select, int(rows_each[1]) if rows_each else 1)


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


def view(name: str) -> str:
    """The statement that makes a view what its file says."""
    return f"CREATE OR REPLACE VIEW {name} AS {(HERE / f'{name}.view.sql').read_text()}"
