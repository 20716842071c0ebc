"""The states of one lane on disk: LMDB, written behind the log in sorted slices, with the place in the changelog it contains.

The changelog is the truth; this is a copy that spares a start from reading all of it. What was committed is first kept in
memory (`_young`). From time to time, or when memory is short, that generation is frozen and written, a slice behind each
transaction, so that no command waits for all of it; with the last slice goes the position in the changelog up to which the
store is complete. A start reads what lies behind that position. A crash in the middle leaves some states newer than the
position says, which does no harm: they are read again, and the last record of a key wins.

Only the lane's owner writes. A process that was frozen while another one took the lane over finds the other's token and ends.

Sub-databases: `states` (key -> state), `wakes` (time and key -> nothing) and `woken` (key -> time, to find what to take out of
`wakes`), `meta` (one record, `Meta`). Keys are at most `MAX_KEY_BYTES` long, LMDB's limit being 511.
"""

import shutil
import struct
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, cast

import lmdb
from msgspec import Struct, json

from infra import renewal
from pipelines.runtime import seal
from pipelines.runtime.agenda import Agenda
from schemas.log.base import EPOCH

FORMAT: Final = 1
# Address space, not memory or disk; doubled whenever a store outgrows it.
MAP_BYTES: Final = 1 << 32
# So many keys are written between two transactions; it takes a millisecond or two.
SLICE: Final = 200
# A generation is written in at most so many slices: otherwise a flow that is busy would fill memory faster than it is written.
SLICES: Final = 32
# What nobody has decided for so long is written, too, so that a start has less to read.
FLUSH_S: Final = 5.0
# An owner that was frozen in the middle of a write holds the store's lock for as long as it is frozen.
LOCK_S: Final = 5.0
# A changelog keeps the marks of forgotten keys for a week (see `infra.kafka`). A store that has not been written for longer
# than this may have missed some.
STALE_S: Final = 5 * 86_400.0
# Wakes that are read from the disk at a time.
WAKES: Final = 10_000
WALK: Final = 2_000

# Stores whose lock a thread waits for, perhaps for ever: closing them under it would crash the process.
_abandoned: list[lmdb.Environment] = []
_TIME: Final = struct.Struct(">Q")


class DisownedError(Exception):
    """Another process has taken this lane over."""


class Origin(Struct, frozen=True):
    """Which changelog a store is a copy of: the cluster, and the topic's id (one that is created anew has another)."""

    cluster: str
    topic: str


class Meta(Struct, frozen=True):
    """What the store contains: the changelog up to the offset `contains`, in which the inbox was decided up to `position`."""

    format: int
    origin: Origin
    contains: int
    position: int
    swept: bytes
    at: float


class Disk:
    """See `States` and the module. `contains` and `position` are those of the opened store; 0 and -1 where there was none."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.folder = folder
        self.origin = origin
        self.why = ""
        self.contains, self.position, self.swept = 0, -1, b""
        self._at = 0.0
        self.recent_bytes = 0
        self._token = uuid.uuid4().hex
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._young_wakes: dict[bytes, datetime | None] = {}
        self._old_wakes: dict[bytes, datetime | None] = {}
        self._todo: list[bytes] = []
        self._done = 0
        self._goal: tuple[int, int] | None = None
        self._reached: tuple[int, int] | None = None
        self._since = 0.0
        self._written = False
        self.agenda = Agenda(self._wakes_between)
        self._open()

    # --- opening -------------------------------------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.folder / "data.mdb"

    def _open(self) -> None:
        """Take the store over, or begin a new one where it cannot be trusted (`why`)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.why = self._untrusted() or ""
        if not self.why:
            try:
                self._attach()
                if why := self._foreign():
                    self.why = why
                    self._env.close()
                elif renewal.is_due(self.folder):
                    self._renew()
            except (lmdb.Error, OSError) as error:
                self.why = f"it cannot be opened ({error})"
        if self.why:
            self._make_anew(self.why)
        self._read = self._env.begin()

    def _renew(self) -> None:
        """Without the pages that were given up: what was erased is in them."""
        renewal.replace(self._env, self.folder)
        seal.put(self.folder / "seal", self._data)
        self._attach()

    def _untrusted(self) -> str | None:
        if not self._data.is_file():
            return "there is none"
        return seal.broken(self.folder / "seal", self._data)

    def _attach(self) -> None:
        (self.folder / "owner").write_text(self._token)
        # A sub-database is opened once; its handle is good for all transactions. Read-ahead would fill memory with neighbours.
        self._env = lmdb.open(str(self.folder), map_size=MAP_BYTES, max_dbs=4, sync=False, readahead=False)
        self._wait_for_writer()
        self._states, self._wakes, self._woken, self._about = (
            self._env.open_db(name) for name in (b"states", b"wakes", b"woken", b"meta")
        )

    def _wait_for_writer(self) -> None:
        """From now on an earlier owner finds this one's token. A write that it has begun is waited for, but not for ever."""

        def barrier() -> None:
            try:
                self._env.begin(write=True).abort()
            except lmdb.Error:
                return

        thread = threading.Thread(target=barrier, daemon=True)
        thread.start()
        thread.join(LOCK_S)
        if thread.is_alive():
            _abandoned.append(self._env)
            raise lmdb.LockError(f"a process that does not go on has been writing it for {LOCK_S:.0f} s")

    def _foreign(self) -> str | None:
        """Why what the store says of itself does not fit; where it does, take note of what it contains."""
        info, page = self._env.info(), self._env.stat()["psize"]
        if self._data.stat().st_size < (info["last_pgno"] + 1) * page:
            return "a part of it is missing"
        meta = self._meta()
        if meta is None or meta.format != FORMAT:
            return "its format is another one"
        if meta.origin != self.origin:
            return "it belongs to another log"
        self.contains, self.position, self.swept, self._at = meta.contains, meta.position, meta.swept, meta.at
        return None

    def _meta(self) -> Meta | None:
        with self._env.begin(db=self._about) as txn:
            found = txn.get(b"meta")
        try:
            return None if found is None else json.decode(found, type=Meta)
        except ValueError:
            return None

    def begin(self, end: int) -> None:
        """The changelog ends at the offset `end`: a store that cannot be a copy of its beginning is made anew."""
        if why := self._unfit(end):
            self._read.abort()
            self._env.close()
            self._make_anew(why)
            self._read = self._env.begin()

    def _unfit(self, end: int) -> str | None:
        if self.contains > end:
            return f"it contains the changelog up to {self.contains}, which ends at {end}"
        # Behind the last record of a transaction lies its mark: one offset more is no record.
        if not self.why and end > self.contains + 1 and time.time() - self._at > STALE_S:
            return "it is too old"
        return None

    def _make_anew(self, why: str) -> None:
        self.why = why
        self.contains, self.position, self.swept = 0, -1, b""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._attach()
        renewal.mark(self.folder)

    # --- what a lane asks ----------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """See `States`."""
        if key in self._young:
            return self._young[key]
        if key in self._old:
            return self._old[key]
        try:
            value: bytes | None = self._read.get(key, None, self._states)
        except lmdb.BadValsizeError:  # no entity has such a key
            return None
        return value

    def merge(self, changed: Mapping[bytes, bytes | None], wakes: Mapping[bytes, datetime | None]) -> None:
        """See `States`."""
        if not self._young:
            self._since = time.monotonic()
        # It may be a part of a transaction that is still open: `reached` tells when it is committed.
        self._reached = None
        self._young.update(changed)
        self.recent_bytes += sum(len(value) for value in changed.values() if value) + 100 * len(changed)
        self._young_wakes.update(wakes)
        for key, wake_at in wakes.items():
            self.agenda.arm(key, wake_at)

    def walk(self) -> Iterator[bytes]:
        """See `States`. A key may come twice: what is in memory comes first, and is written meanwhile."""
        yield from [key for key in {**self._old, **self._young} if key[0] and self.get(key) is not None]
        after = b"\x01"
        while found := self._keys_behind(after):
            after = found[-1]
            yield from (key for key in found if self.get(key) is not None)

    def _keys_behind(self, after: bytes) -> list[bytes]:
        cursor = self._read.cursor(self._states)
        found: list[bytes] = []
        if cursor.set_range(after):
            for key in cursor.iternext(values=False):
                if key != after:
                    found.append(key)
                if len(found) == WALK:
                    break
        cursor.close()
        return found

    def under(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """See `States`."""
        found: dict[bytes, bytes | None] = {}
        cursor = self._read.cursor(self._states)
        if cursor.set_range(prefix):
            for key, value in cursor:
                if not key.startswith(prefix):
                    break
                found[key] = value
        cursor.close()
        for recent in (self._old, self._young):
            found |= {key: value for key, value in recent.items() if key.startswith(prefix)}
        return sorted((key, value) for key, value in found.items() if value is not None)

    def __len__(self) -> int:
        entries: int = self._read.stat(self._states)["entries"]
        return entries + (len(self._young) if not entries else 0)

    def _wakes_between(self, since: datetime, until: datetime) -> tuple[Iterable[tuple[datetime, bytes]], datetime]:
        found: list[tuple[datetime, bytes]] = []
        cursor = self._read.cursor(self._wakes)
        if cursor.set_range(_time(since)):
            for entry in cursor.iternext(values=False):
                at = _at(entry)
                if at >= until:
                    break
                if len(found) >= WAKES and at != found[-1][0]:
                    until = at
                    break
                found.append((at, entry[8:]))
        cursor.close()
        recent = {**self._old_wakes, **self._young_wakes}
        fresh = [(at, key) for key, at in recent.items() if at is not None and since <= at < until]
        return [*((at, key) for at, key in found if key not in recent), *fresh], until

    # --- writing behind the log ----------------------------------------------------------------------------------------------

    def reached(self, contains: int, position: int) -> None:
        """What was merged so far is the changelog up to the offset `contains`, and the inbox up to `position`."""
        self._reached = (contains, position)

    def tend(self, *, pressed: bool = False) -> bool:
        """Call it behind transactions: freezes a generation when it is time, and writes the next slice of the frozen one;
        whether there was anything to write. `pressed`: memory is short, so write all of it. Errors: DisownedError,
        lmdb.Error."""
        if self._goal is None and self._young and (pressed or time.monotonic() - self._since > FLUSH_S):
            self._freeze()
        if self._goal is None:
            return False
        self._write(len(self._todo) if pressed else max(SLICE, len(self._todo) // SLICES))
        return True

    def _freeze(self) -> None:
        if self._reached is None:
            return
        self._goal, self._reached = self._reached, None
        self._old, self._young, self.recent_bytes = self._young, {}, 0
        self._old_wakes, self._young_wakes = self._young_wakes, {}
        self._todo, self._done = sorted(self._old), 0

    def _write(self, limit: int) -> None:
        keys = self._todo[self._done : self._done + limit]
        last = self._done + len(keys) == len(self._todo)
        while True:
            try:
                self._write_slice(keys, last=last)
                break
            except lmdb.MapFullError:
                self._read.abort()
                self._env.set_mapsize(2 * self._env.info()["map_size"])
                self._read = self._env.begin()
        self._done += len(keys)
        if last:
            seal.put(self.folder / "seal", self._data)
            self._read.abort()
            self._read = self._env.begin()
            self._goal, self._todo, self._old_wakes = None, [], {}

    def _write_slice(self, keys: list[bytes], *, last: bool) -> None:
        with self._env.begin(write=True) as txn:
            self._check_owner()
            if self._done == 0:
                # The first write since the store was opened: from now on its pages are not on the disk. That must be.
                seal.put(self.folder / "seal", self._data, writing=True)
                if not self._written:
                    seal.sync(self.folder / "seal")
            cursor = txn.cursor(self._states)
            cursor.putmulti([(key, value) for key in keys if (value := self._old[key]) is not None])
            for key in keys:
                if self._old[key] is None:
                    txn.delete(key, db=self._states)
                if key in self._old_wakes:
                    self._write_wake(txn, key, self._old_wakes[key])
            if last:
                assert self._goal is not None
                meta = Meta(FORMAT, self.origin, *self._goal, self.swept, time.time())
                txn.put(b"meta", json.encode(meta), db=self._about)
        self._written = True

    def _write_wake(self, txn: lmdb.Transaction, key: bytes, wake_at: datetime | None) -> None:
        """Most states that are written want to be woken when they wanted it before."""
        before = cast(bytes | None, txn.get(key, None, self._woken))
        at = None if wake_at is None else _time(wake_at)
        if before == at:
            return
        if before is not None:
            txn.delete(before + key, db=self._wakes)
        if at is None:
            txn.delete(key, db=self._woken)
        else:
            txn.put(key, at, db=self._woken)
            txn.put(at + key, b"", db=self._wakes)

    def _check_owner(self) -> None:
        try:
            owner = (self.folder / "owner").read_text()
        except OSError:
            owner = ""
        if owner != self._token:
            raise DisownedError(f"{self.folder}: another process has taken these states over")

    def close(self, *, sync: bool = False) -> None:
        """See `States`. Errors: as `tend`."""
        while self._goal is not None or (self._young and self._reached):
            self.tend(pressed=True)
        self._read.abort()
        if sync and self._written:
            self._env.sync(True)
            seal.put(self.folder / "seal", self._data, synced=True)
        self._env.close()


def _time(at: datetime) -> bytes:
    """A moment as eight bytes that sort as it does."""
    return _TIME.pack((at - EPOCH) // timedelta(microseconds=1) + (1 << 63))


def _at(entry: bytes) -> datetime:
    return EPOCH + timedelta(microseconds=_TIME.unpack(entry[:8])[0] - (1 << 63))
