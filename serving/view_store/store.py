"""The views' store: states on disk, written by one process of a machine and read by all serving processes of it (LMDB).

A table a changelog holds key -> state, as the changelog's JSON; the table `balance` holds account -> its balance, as of the
feed. Indexes (`indexes.py`) hold which keys are in a group, and how many. `meta` tells how far into the log all of this
reaches: the positions, which are written in the same transaction as the states. So a snapshot is the view at exactly its
positions.

LMDB takes keys of 1 to 511 bytes. A longer key stands by its beginning and its hash, with the whole key in front of its value.
Nothing is synced when a batch is written: a killed process loses nothing, since the machine has the pages; `folder.py`
sees to it that pages are not trusted after a power cut.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import lmdb
import msgspec

from infra import renewal
from serving.view_store.indexes import INDEXES, LISTED, OVER, Index, memberships

# A position: a topic's partition -> the offset of the first record that is not in the store.
Positions = dict[tuple[str, int], int]
# What to write: table -> key -> value; None: the key is forgotten.
Changes = Mapping[str, Mapping[bytes, bytes | None]]

BALANCES: Final = "balance"
META: Final = b"meta"
COUNTS: Final = b"counts"
POSITIONS: Final = b"positions"
MAX_KEY: Final = 400
# Address space, not memory and not disk; a machine that gives a process less gets less.
MAP_SIZES: Final = tuple(1 << bits for bits in (40, 38, 36, 34, 32, 30))
MAX_READERS: Final = 512
# A file may end some pages before the last one that it counts: those that were given back before they were written.
SLACK_BYTES: Final = 1 << 20


class StoreError(Exception):
    """The store cannot be used; the text says why."""


class Meta(msgspec.Struct):
    """How far the store reaches: topic -> offset by partition, and when that was (Unix seconds)."""

    at: float = 0.0
    positions: dict[str, list[int]] = {}


_meta = msgspec.json.Decoder(Meta).decode


def fit(key: bytes) -> bytes:
    """A key as LMDB takes it. Short ones stand for themselves; no two keys are the same."""
    if len(key) < MAX_KEY:
        return key or b"\xff"  # keys are UTF-8, in which this byte does not occur
    return key[: MAX_KEY - 16] + _hash(key)


def _hash(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


def _value(key: bytes, value: bytes) -> bytes:
    return value if len(key) < MAX_KEY else len(key).to_bytes(4) + key + value


def _unfit(fitted: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Key and value of an entry."""
    if len(fitted) < MAX_KEY:
        return (b"" if fitted == b"\xff" else fitted), value
    end = 4 + int.from_bytes(value[:4])
    return value[4:end], value[end:]


def _group_key(index: str, group: str) -> bytes:
    return index.encode() + b"/" + _hash(group.encode())


class _Tables:
    """The databases of one environment, opened."""

    def __init__(self, environment: lmdb.Environment, tables: Iterable[str], *, create: bool) -> None:
        def opened(name: bytes) -> Any:
            return environment.open_db(name, create=create)

        self.meta, self.counts = opened(META), opened(COUNTS)
        self.of = {table: opened(table.encode()) for table in tables}
        self.rows = {index.name: opened(b"index/" + index.name.encode()) for index in INDEXES}


def _open(folder: Path, **how: Any) -> lmdb.Environment:
    """Errors: StoreError."""
    for size in MAP_SIZES:
        try:
            return lmdb.open(
                str(folder), map_size=size, max_dbs=512, max_readers=MAX_READERS, mode=0o600,
                metasync=False, sync=False, readahead=False, **how,
            )  # fmt: skip
        except lmdb.MemoryError:
            continue
        except lmdb.Error as error:
            raise StoreError(f"{folder.name} cannot be opened: {error}") from error
    raise StoreError(f"this process may not map {MAP_SIZES[-1]} bytes; raise its address space (ulimit -v)")


def _check_length(environment: lmdb.Environment, folder: Path) -> None:
    """A page that is not there ends the process that touches it. Errors: StoreError."""
    pages: int = environment.info()["last_pgno"] + 1
    missing = pages * environment.stat()["psize"] - (folder / "data.mdb").stat().st_size
    if missing > SLACK_BYTES:
        raise StoreError(f"{folder.name} lacks {missing:,} bytes at its end")


class Snapshot:
    """The store at one moment, for one thread at a time. Close it within seconds: meanwhile no page that it sees is used
    again."""

    def __init__(self, environment: lmdb.Environment, tables: _Tables) -> None:
        self._transaction = environment.begin()
        self._tables = tables
        meta = self._transaction.get(POSITIONS, db=tables.meta)
        self.at, self.positions = positions_of(meta)

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key."""
        value = self._transaction.get(fit(key), db=self._tables.of[table])
        return value if value is None or len(key) < MAX_KEY else _unfit(fit(key), value)[1]

    def items(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """Every key and its value, by key. For small tables: it reads all of it."""
        with self._transaction.cursor(self._tables.of[table]) as cursor:
            for key, value in cursor:
                yield _unfit(key, value)

    def rows(self, index: Index, group: str) -> Iterator[bytes]:
        """The keys of a group, by key."""
        prefix = _hash(group.encode())
        with self._transaction.cursor(self._tables.rows[index.name]) as cursor:
            if not cursor.set_range(prefix):
                return
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield _unfit(key[16:], value)[0]

    def count(self, index: Index, group: str) -> int:
        """How many keys a group has."""
        return int(self._transaction.get(_group_key(index.name, group), b"0", db=self._tables.counts))

    def size(self, table: str) -> int:
        """How many keys a table has."""
        return self._transaction.stat(self._tables.of[table])["entries"]

    def close(self) -> None:
        """Let go of it."""
        self._transaction.abort()


def positions_of(meta: bytes | None) -> tuple[float, Positions]:
    """When a store was written last, and how far it reaches."""
    found = Meta() if meta is None else _meta(meta)
    places = found.positions.items()
    return found.at, {(topic, partition): offset for topic, all_ in places for partition, offset in enumerate(all_)}


@contextmanager
def _told(how: str) -> Iterator[None]:
    """Errors of LMDB become StoreErrors."""
    try:
        yield
    except lmdb.Error as error:
        raise StoreError(f"the store cannot be {how}: {error}") from error


def _by_topic(positions: Positions) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for (topic, _), offset in sorted(positions.items()):
        found.setdefault(topic, []).append(offset)
    return found


class StoreReader:
    """Reads a store that another process writes. Errors: StoreError."""

    def __init__(self, folder: Path, tables: Iterable[str]) -> None:
        self._environment = _open(folder, readonly=True, create=False)
        try:
            self._tables = _Tables(self._environment, tables, create=False)
        except lmdb.Error as error:
            self._environment.close()
            raise StoreError(f"{folder.name} lacks a table: {error}") from error

    def snapshot(self) -> Snapshot:
        """The store as it is now."""
        return Snapshot(self._environment, self._tables)

    def close(self) -> None:
        """No snapshot may be used any more."""
        self._environment.close()


class StoreWriter:
    """Writes a store; there is one writer (`folder.py` holds the lock). Errors: StoreError, at the start."""

    def __init__(self, folder: Path, tables: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = _open(folder)
        _check_length(self._environment, folder)
        try:
            self._tables = _Tables(self._environment, tables, create=True)
        except lmdb.Error as error:
            self._environment.close()
            raise StoreError(f"{folder.name} is broken: {error}") from error
        self._file = folder / "data.mdb"

    def positions(self) -> tuple[float, Positions]:
        """When the store was written last, and how far it reaches. Errors: StoreError."""
        with _told("read"), self._environment.begin() as transaction:
            return positions_of(transaction.get(POSITIONS, db=self._tables.meta))

    def get_many(self, table: str, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are known. Errors: StoreError."""
        with _told("read"), closing(Snapshot(self._environment, self._tables)) as snapshot:
            return {key: value for key in keys if (value := snapshot.get(table, key)) is not None}

    def write(self, changes: Changes, positions: Positions, at: float) -> None:
        """Write states and the positions that they reach to, in one transaction. Errors: StoreError."""
        with _told("written"), self._environment.begin(write=True) as transaction:
            for table, values in changes.items():
                if table in OVER:
                    self._index(transaction, table, values)
                self._put(transaction, table, values)
            transaction.put(POSITIONS, msgspec.json.encode(Meta(at, _by_topic(positions))), db=self._tables.meta)

    def _put(self, transaction: Any, table: str, values: Mapping[bytes, bytes | None]) -> None:
        kept = sorted((fit(key), _value(key, value)) for key, value in values.items() if value is not None)
        with transaction.cursor(self._tables.of[table]) as cursor:
            cursor.putmulti(kept)
            for key, value in values.items():
                if value is None and cursor.set_key(fit(key)):
                    cursor.delete()

    def _index(self, transaction: Any, table: str, values: Mapping[bytes, bytes | None]) -> None:
        """Move keys from the groups that they were in to those in which they are now."""
        steps: Counter[bytes] = Counter()
        for key, value in values.items():
            old = transaction.get(fit(key), db=self._tables.of[table])
            before = memberships(table, key, None if old is None else _unfit(fit(key), old)[1])
            after = memberships(table, key, value)
            for index, group in before ^ after:
                step = 1 if (index, group) in after else -1
                steps[_group_key(index, group)] += step
                if index in LISTED:
                    self._list(transaction, index, group, key, step)
        for counted, step in steps.items():
            now = int(transaction.get(counted, b"0", db=self._tables.counts)) + step
            transaction.put(counted, b"%d" % now, db=self._tables.counts)

    def _list(self, transaction: Any, index: str, group: str, key: bytes, step: int) -> None:
        row = _hash(group.encode()) + fit(key)
        if step > 0:
            transaction.put(row, _value(key, b""), db=self._tables.rows[index])
        else:
            transaction.delete(row, db=self._tables.rows[index])

    def copy(self, folder: Path) -> None:
        """A store of the same contents in another folder, without the pages that were given up. Errors: StoreError."""
        with _told("copied"):
            renewal.copy(self._environment, folder)

    def forget_readers(self) -> None:
        """Free what readers that were killed still hold."""
        self._environment.reader_check()

    def size(self) -> int:
        """Bytes on disk."""
        return self._file.stat().st_size if self._file.is_file() else 0

    def identity(self) -> tuple[int, int]:
        """Which file is being written, wherever its name has gone."""
        found = self._file.stat()
        return found.st_dev, found.st_ino

    def sync(self) -> None:
        """Have the disk take all that was written. Errors: StoreError."""
        with _told("synced"):
            self._environment.sync(force=True)

    def close(self) -> None:
        """No more is written."""
        self._environment.close()
