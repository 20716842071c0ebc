"""What an Olo of before the declarations has put into the warehouse: personal texts in old rows are taken out, row by row.

`log` and its projections are ReplacingMergeTree: a row that is inserted once more under its place takes the older one's place.
So each row of `log` is held against what may leave the log (`schemas.log.outward`), those that differ are inserted as they
should be, what is made of their topics is filled again, and the tables are merged. The store may go on meanwhile.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from clickhouse_connect.driver.client import Client
from msgspec import DecodeError, ValidationError
from msgspec.json import decode

from schemas.log.codec import encode
from schemas.log.outward import UNREADABLE, keeps_all, outward, outward_key
from schemas.log.personal import Unreadable
from schemas.log.topics import topics
from schemas.tables import LOG, PROJECTIONS

ROWS: Final = 20_000
COLUMNS: Final = ("topic", "partition", "offset", "key", "logged_at", "value")
PAGE: Final = f"""
    SELECT offset, key, logged_at, value FROM {LOG} FINAL
    WHERE topic = {{topic:String}} AND partition = {{partition:UInt16}} AND offset >= {{start:UInt64}}
    ORDER BY offset LIMIT {ROWS}
"""
# Whole tables are written anew.
PATIENCE_S: Final = 3_600
PATIENT: Final = {"max_execution_time": PATIENCE_S}
BINARY: Final = {"key": "bytes", "value": "bytes"}

Row = tuple[int, bytes, datetime, bytes]


def purge(client: Client) -> dict[str, int]:
    """Take out what is personal; how many rows of `log` had it, by topic. Errors: clickhouse_connect's."""
    places = client.query(f"SELECT DISTINCT topic, partition FROM {LOG} ORDER BY topic, partition").result_rows
    kept = {topic.name for topic in topics() if keeps_all(topic.messages)}
    found: dict[str, int] = {}
    for topic, partition in places:
        if topic not in kept:
            found[topic] = found.get(topic, 0) + _purge(client, topic, partition)
    again = [one for one in PROJECTIONS if found.keys() & set(one.topics)]
    for one in again:
        client.command(one.insert(), settings=PATIENT)
    for table in (LOG, *(one.table for one in again)):
        client.command(f"OPTIMIZE TABLE {table} FINAL", settings=PATIENT)
    return {topic: rows for topic, rows in found.items() if rows}


def _purge(client: Client, topic: str, partition: int) -> int:
    count = 0
    for rows in _pages(client, topic, partition):
        fresh = [(*row, row[-1] if _is_digest(row[-1]) else outward(topic, row[-1]) or b"") for row in rows]
        changed = [
            (topic, partition, offset, outward_key(key, seen), at, seen)
            for offset, key, at, value, seen in fresh
            if seen != value
        ]
        if changed:
            client.insert(LOG, changed, column_names=COLUMNS)
        count += len(changed)
    return count


def _is_digest(value: bytes) -> bool:
    """Whether it is what is left of a record that nobody could read."""
    try:
        return value.startswith(UNREADABLE) and encode(decode(value, type=Unreadable)) == value
    except (DecodeError, ValidationError):
        return False


def _pages(client: Client, topic: str, partition: int) -> Iterator[list[Row]]:
    start = 0
    while True:
        asked = {"topic": topic, "partition": partition, "start": start}
        rows: list[Row] = list(client.query(PAGE, parameters=asked, column_formats=BINARY).result_rows)  # type: ignore[arg-type]
        if not rows:
            return
        yield rows
        start = rows[-1][0] + 1
