"""Whether texts are anywhere on disk: each byte of each file, and what a broker's segments hold compressed; and in each column
of each table of the warehouse, whose files are compressed as well."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

# A record batch: its offset and length, then what the length counts; the records begin behind its head.
PREFIX: Final = 12
HEAD: Final = 61
ATTRIBUTES: Final = 21
LZ4: Final = 3


def on_disk(home: Path, marks: Sequence[str]) -> dict[str, list[str]]:
    """The files below `home` that have any of the marks, and which."""
    found: dict[str, list[str]] = {}
    for file in home.rglob("*"):
        try:
            content = file.read_bytes() if file.is_file() else b""
        except OSError:  # it was deleted meanwhile
            continue
        content = b"\n".join([content, *_unpacked(content)]) if ".log" in file.suffixes and "broker" in file.parts else content
        if there := [mark for mark in marks if mark.encode() in content]:
            found[str(file.relative_to(home))] = there
    return found


def _unpacked(segment: bytes) -> Iterator[bytes]:
    """What the compressed batches of a broker's segment hold."""
    at = 0
    while at + HEAD < len(segment):
        length = int.from_bytes(segment[at + 8 : at + PREFIX])
        batch = segment[at : at + PREFIX + length]
        if length < HEAD - PREFIX or len(batch) < PREFIX + length:
            return
        if int.from_bytes(batch[ATTRIBUTES : ATTRIBUTES + 2]) & 7 == LZ4:
            yield pa.CompressedInputStream(pa.BufferReader(batch[HEAD:]), "lz4").read()
        at += PREFIX + length


def in_warehouse(client: Client, marks: Sequence[str]) -> dict[str, list[str]]:
    """The columns that have any of the marks, and which."""
    columns = client.query("SELECT table, name FROM system.columns WHERE database = currentDatabase()").result_rows
    found: dict[str, list[str]] = {}
    for table, column in columns:
        looks = ", ".join(f"countIf(position(toString({column}), {{m{n}:String}}) > 0)" for n in range(len(marks)))
        question = f"SELECT {looks} FROM {table}"
        counts = client.query(question, parameters={f"m{n}": mark for n, mark in enumerate(marks)}).result_rows[0]
        if there := [mark for mark, count in zip(marks, counts, strict=True) if count]:
            found[f"{table}.{column}"] = there
    return found
