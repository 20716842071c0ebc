"""The keeper of the views' store: the one process of a machine that writes it.

It follows the changelogs and the feed (`changes.py`) and writes what they tell, once a second at most, with the positions that
this reaches to. A store that cannot be trusted (`folder.py`), or that the log has left behind, is built anew beside the
old one; serving goes on meanwhile with what it has. Errors: the process ends with a line of its log, and the supervisor's next
one goes on where this one has written last.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import TopicPartition
from prometheus_client import Counter, Gauge

from infra import renewal
from infra.config import Config
from infra.kafka import AWAY, TIMEOUT_S, ends_of, read_topic, reader, records_of
from infra.topics import check_topics
from schemas.balance import ACCOUNT
from schemas.log import topics
from schemas.log.entity import log_partitions
from serving.view_store.changes import TABLES, Batch, log_of, places
from serving.view_store.folder import Folder, Log, Note
from serving.view_store.store import Positions, StoreError, StoreWriter

log = logging.getLogger("olo.views")

# Serving holds in memory what is not written yet, so soon; and a transaction costs the same for one record as for a thousand.
WRITE_S: Final = 1.0
WRITE_RECORDS: Final = 20_000
# Each of some 150 partitions may have so much waiting in memory; a full one is asked for again soon, not after a second.
PREFETCH: Final = {"queued.min.messages": 10_000, "queued.max.messages.kbytes": 1_024, "fetch.queue.backoff.ms": 10}
# An idle log's store says so often that it is up to date.
IDLE_WRITE_S: Final = 60.0
# At the end all is synced; what has been before need not be waited for then.
SYNC_S: Final = 60.0
# A changelog keeps a tombstone for a week (see `infra.kafka`). Whoever comes later may never hear that a key was forgotten.
MAX_AGE_S: Final = 5 * 86_400.0
# While a store is built: how often it says how far it is, and how long nothing may come.
PROGRESS_S: Final = 5.0
STANDSTILL_S: Final = 60.0
# A broken page ends the next writer at once as well, since it begins with the same records.
HEALTHY_S: Final = 10.0

READY = Gauge("olo_view_store_ready", "1: the store is complete and follows the log")
RECORDS = Counter("olo_view_store_records", "Records of the log that the store has taken")
BEHIND = Gauge("olo_view_store_behind_records", "Records that the store still lacked when it was looked at last")
BYTES = Gauge("olo_view_store_bytes", "The store's size on disk")


class Keeper:
    """Keeps one folder's store. `stopping`: end soon."""

    def __init__(self, config: Config, folder: Folder) -> None:
        self._config = config
        self._folder = folder
        self.stopping = False

    def run(self) -> None:
        """Keep the store until told to stop. Errors: KafkaException, StoreError, UsageError, TimeoutError."""
        check_topics(self._config, topics.topics())
        log_ = log_of(self._config)
        writer = self._open(log_) or self._build(log_)
        if writer is None:
            return
        try:
            while self._follow(writer):
                writer = self._renew(writer, log_)
        except StoreError:
            raise
        except Exception:
            self._renote(deaths=0)  # the log's fault, not the store's
            raise
        self._end(writer)

    # --- open or build -----------------------------------------------------------------------------------------------------

    def _open(self, log_: Log) -> StoreWriter | None:
        """The current store, if it can be trusted and the log still has what comes behind it."""
        if reason := self._folder.distrust(log_):
            log.info("the views' store is built anew: %s", reason)
            return None
        note = self._folder.note()
        assert note is not None
        self._folder.write(Note(note.store, log_, self._folder.boot, deaths=note.deaths + 1))
        try:
            writer = StoreWriter(self._folder.path / note.store, TABLES)
            if not (reason := self._left_behind(writer)):
                return writer
            writer.close()
        except StoreError as error:
            reason = str(error)
        log.info("the views' store is built anew: %s", reason)
        return None

    def _left_behind(self, writer: StoreWriter) -> str:
        """Why the log cannot bring the store up to date; empty: it can."""
        at, positions = writer.positions()
        positions = {place: positions[place] for place in places() if place in positions}
        if any((topics.FEED.name, partition) not in positions for partition in range(log_partitions())):
            return "it is empty"
        if time.time() - at > MAX_AGE_S:
            return f"it was written last {(time.time() - at) / 3_600:.0f} hours ago"
        with reader(self._config) as consumer:
            ends = ends_of(consumer, list(positions))
            beyond = [place for place, offset in positions.items() if offset > ends[place]]
            feed = [(topics.FEED.name, partition) for partition in range(log_partitions())]
            gone = [p for p in feed if positions[p] < consumer.get_watermark_offsets(TopicPartition(*p), TIMEOUT_S)[0]]
        if beyond or gone:
            return f"the log of {(beyond or gone)[0][0]} does not reach {'so far' if beyond else 'back so far'}"
        return ""

    def _build(self, log_: Log) -> StoreWriter | None:
        """A new store, from the changelogs; None when told to stop meanwhile."""
        note = self._folder.note()
        self._folder.tidy(self._folder.path / note.store if note else None)
        path = self._folder.new_store()
        writer = StoreWriter(path, TABLES)
        with reader(self._config) as committed:
            feed = ends_of(committed, [(topics.FEED.name, partition) for partition in range(log_partitions())])
        starts = dict.fromkeys(places(), 0) | feed
        self._restore_balances(writer, starts)
        # Behind the accounts: what they hold of the feed lies before these ends, open transactions too.
        with reader(self._config, committed=False) as all_:
            goals = ends_of(all_, places())
        if not Following(self._config, writer, starts, self).up_to(goals):
            return None
        renewal.mark(path)
        self._folder.write(Note(path.name, log_, self._folder.boot, deaths=1))
        self._folder.tidy(path)
        log.info("the views' store is complete: %s", path.name)
        return writer

    def _restore_balances(self, writer: StoreWriter, starts: Positions) -> None:
        batch = Batch()
        for message in read_topic(self._config, ACCOUNT.changelog):
            batch.take([message])
            if batch.records >= WRITE_RECORDS:
                writer.write(batch.changes(writer.get_many), starts, time.time())
                RECORDS.inc(batch.records)
                batch = Batch()
        writer.write(batch.changes(writer.get_many), starts, time.time())

    # --- follow ------------------------------------------------------------------------------------------------------------

    def _renew(self, writer: StoreWriter, log_: Log) -> StoreWriter:
        """Go on with a copy: what was erased is still in pages of the old one. Readers see it by the note."""
        path = self._folder.new_store()
        writer.copy(path)
        writer.close()
        writer = StoreWriter(path, TABLES)
        writer.sync()
        self._folder.write(Note(path.name, log_, self._folder.boot, deaths=0))
        self._folder.tidy(path)
        log.info("the views' store was written anew: %s", path.name)
        return writer

    def _follow(self, writer: StoreWriter) -> bool:
        """Until told to stop (False), or until the store is to be written anew."""
        mine, began, healthy = writer.identity(), time.monotonic(), False
        following = Following(self._config, writer, writer.positions()[1], self)
        READY.set(1)
        due = False
        while not (self.stopping or due):
            following.step()
            due = following.looked_around and healthy and self._is_due()
            if following.looked_around and not self._is_current(mine):
                raise StoreError(f"somebody has taken the store out of {self._folder.path}")
            if not healthy and time.monotonic() - began > HEALTHY_S:
                healthy = True
                self._renote(deaths=0)
        following.write()
        following.close()
        return due and not self.stopping

    def _is_due(self) -> bool:
        note = self._folder.note()
        return note is not None and renewal.is_due(self._folder.path / note.store)

    def _is_current(self, mine: tuple[int, int]) -> bool:
        note = self._folder.note()
        file = self._folder.path / note.store / "data.mdb" if note else Path(os.devnull)
        return file.is_file() and (file.stat().st_dev, file.stat().st_ino) == mine

    def _renote(self, **changed: Any) -> None:
        note = self._folder.note()
        if note is not None:
            self._folder.write(msgspec.structs.replace(note, **changed))

    def _end(self, writer: StoreWriter) -> None:
        writer.sync()
        writer.close()
        self._renote(clean=True, deaths=0)


class Following:
    """Reads the log from some positions on and writes it into a store. `looked_around`: a second has passed with this step."""

    def __init__(self, config: Config, writer: StoreWriter, starts: Positions, keeper: Keeper) -> None:
        self._consumer = reader(config, {"auto.offset.reset": "error", **PREFETCH})
        self._writer = writer
        self._keeper = keeper
        self.positions: Positions = {place: starts.get(place, 0) for place in places()}
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in self.positions.items()])
        self._batch = Batch()
        self._written = self._looked = self._synced = time.monotonic()
        self.looked_around = False

    def step(self) -> int:
        """Take what has come, and write it when it is time to; how many records came."""
        first = self._consumer.poll(0.1)
        records = records_of([] if first is None else [first, *self._consumer.consume(10_000, 0)], AWAY)
        self._batch.take(records)
        since = time.monotonic() - self._written
        full = self._batch.records >= WRITE_RECORDS
        if full or since > IDLE_WRITE_S or (self._batch.records and since > WRITE_S):
            self.write()
        self.looked_around = time.monotonic() - self._looked > 1.0
        if self.looked_around:
            self._look()
        return len(records)

    def write(self) -> None:
        """Write what has come."""
        places_ = [TopicPartition(*place) for place in self.positions]
        found = {(part.topic, part.partition): part.offset for part in self._consumer.position(places_)}
        self.positions |= {place: offset for place, offset in found.items() if offset >= 0}
        self._writer.write(self._batch.changes(self._writer.get_many), self.positions, time.time())
        RECORDS.inc(self._batch.records)
        self._batch, self._written = Batch(), time.monotonic()

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._writer.forget_readers()
        if self._looked - self._synced > SYNC_S:
            self._synced = self._looked
            self._writer.sync()
        BYTES.set(self._writer.size())
        ends = {place: self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1] for place in self.positions}
        BEHIND.set(self._missing(ends))

    def up_to(self, goals: Positions) -> bool:
        """Follow until the store has all that lies before `goals`; False when told to stop first. Errors: TimeoutError."""
        moved = told = time.monotonic()
        taken = 0
        while (missing := self._missing(goals)) and not self._keeper.stopping:
            BEHIND.set(missing)
            before = dict(self.positions)
            came = self.step()
            taken += came
            if not came:
                self.write()  # control records move positions, and no message shows them
            moment = time.monotonic()
            moved = moment if came or before != self.positions else moved
            if moment - moved > STANDSTILL_S:
                raise TimeoutError(f"the log has not moved for {STANDSTILL_S:.0f} s, {missing:,} records before the end")
            if moment - told > PROGRESS_S:
                told = moment
                log.info("the views' store has %s records, of some %s", f"{taken:,}", f"{taken + missing:,}")
        self.close()
        return not self._keeper.stopping

    def _missing(self, goals: Positions) -> int:
        return sum(max(0, goal - self.positions[place]) for place, goal in goals.items())

    def close(self) -> None:
        """Read no more."""
        self._consumer.close()
