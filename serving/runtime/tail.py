"""The tail: the thread that reads the log for the views, and gives them newer snapshots of the store on disk.

It begins where the store ends, so that it is there within seconds, however many users there are: the changelogs from the
store's positions, the feed from there or a little before, the outcomes from now on. Once a second it looks at the store, and
hands on a newer snapshot as soon as it has read the log up to that snapshot's positions. While nobody writes the store the
views go on.
"""

import asyncio
import logging
import os
import threading
import time
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from infra.config import Config
from infra.kafka import AWAY, TIMEOUT_S, ends_of, patiently, reader, records_of
from infra.topics import check_topics
from schemas.log import topics
from schemas.log.entity import log_partitions
from serving.runtime.views import Views
from serving.view_store.changes import HEARD, SOURCES, TABLES, log_of, places
from serving.view_store.folder import Folder, Log
from serving.view_store.store import Positions, Snapshot, StoreError, StoreReader

log = logging.getLogger("olo.serving")

EVENTS: Final = tuple(entity.events for entity in HEARD)
# A new process reads so much of the feed's past (offsets a partition), so that the clients of the old one, who all come back at
# once, resume from memory.
REMEMBERED: Final = 8_192
# A store that is so far behind is waited for while it moves: its writer is quicker than the overlay is small.
NEAR_RECORDS: Final = 100_000
STANDSTILL_S: Final = 10.0
LOOK_S: Final = 1.0
WAIT_S: Final = 0.05
TELL_S: Final = 10.0


class Disk:
    """The store on disk as this process reads it, across stores that are built anew."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.log: Log | None = None
        self._reader: StoreReader | None = None
        self._name = ""
        self._left: list[StoreReader] = []

    def newest(self) -> Snapshot | None:
        """A snapshot of the current store; None while there is none that can be trusted."""
        path = self._folder.readable(self.log) if self.log else None
        if path is None:
            return None
        if self._reader is None or path.name != self._name:
            try:
                new = StoreReader(path, TABLES)
            except StoreError as error:
                log.info("the views' store cannot be read: %s", error)
                return None
            self._left += [self._reader] if self._reader else []
            self._reader, self._name = new, path.name
        return self._reader.snapshot()

    def left(self) -> list[StoreReader]:
        """Readers of stores before the current one, to be closed once nobody looks at their snapshots; each is told once."""
        found, self._left = self._left, []
        return found

    def close(self) -> None:
        """No snapshot is looked at any more."""
        for reader_ in (*self.left(), *([self._reader] if self._reader else [])):
            reader_.close()


class Tail:
    """The thread. If it fails the process ends: the supervisor's next one reads anew."""

    def __init__(self, config: Config, views: Views, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._views = views
        self._loop = loop
        self._stop = threading.Event()
        self._disk = Disk(Folder(config.home.absolute()))
        self.heard_at = 0.0
        self._noted_at = 0.0
        self._read_to: dict[int, int] = {}
        self._reached: Positions = {}
        self._candidate: Snapshot | None = None
        self._looked = 0.0
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()

    def read_to(self) -> dict[int, int]:
        """How far the feed has been read: partition -> offset, as of a second ago; empty before it is followed."""
        return self._read_to

    def _note(self, consumer: Consumer) -> None:
        """Only this thread asks its consumer."""
        if self.heard_at > self._noted_at + 1:
            self._noted_at = self.heard_at
            asked = consumer.position([TopicPartition(topics.FEED.name, p) for p in _partitions()])
            self._read_to = {part.partition: part.offset for part in asked}

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(5)
        self._loop.call_soon_threadsafe(self._disk.close)

    def _run(self) -> None:
        try:
            self._read()
        except Exception:
            log.exception("the log cannot be followed; this process ends")
            os._exit(1)

    def _read(self) -> None:
        began = time.monotonic()
        patiently("the broker", lambda: check_topics(self._config, topics.topics()))
        consumer = reader(self._config, {"auto.offset.reset": "error", "queued.min.messages": 50_000})
        self._disk.log = log_of(self._config)
        snapshot = self._begin(consumer)
        if snapshot is None:
            return
        self._reached = dict(snapshot.positions)
        shown = self._starts(consumer, snapshot.positions)
        starts = shown | ends_of(consumer, [(topic, p) for topic in EVENTS for p in range(log_partitions())])
        self._views.hub.positions = {p: shown[topics.FEED.name, p] for p in range(log_partitions())}
        goals = {place: end for place, end in ends_of(consumer, list(shown)).items() if end > shown[place]}
        self._loop.call_soon_threadsafe(self._views.start, snapshot)
        consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
        log.info("the views' store is open after %.2f s", time.monotonic() - began)
        self._follow(consumer, goals)
        consumer.close()

    # --- where it begins ---------------------------------------------------------------------------------------------------

    def _begin(self, consumer: Consumer) -> Snapshot | None:
        """A snapshot that is near the log's end, or as near as its writer gets; None when told to stop first."""
        moved = told = time.monotonic()
        reached = -1
        while not self._stop.is_set():
            moment = time.monotonic()
            snapshot = self._disk.newest()
            behind = self._behind(snapshot, consumer) if snapshot else None
            if snapshot and (now := sum(snapshot.positions.values())) != reached:
                reached, moved = now, moment
            if snapshot and behind is not None and (behind <= NEAR_RECORDS or moment - moved > STANDSTILL_S):
                return snapshot
            if snapshot:
                snapshot.close()
            if moment - told > TELL_S:
                told = moment
                state = "is not there yet" if behind is None else f"is {behind:,} records behind"
                log.info("waiting for the views' store, which %s; `python -m serving.view_store` keeps it", state)
            self._stop.wait(WAIT_S)
        return None

    @staticmethod
    def _behind(snapshot: Snapshot, consumer: Consumer) -> int | None:
        """How many records lie behind a snapshot; None: the log cannot tell all of them any more."""
        positions = snapshot.positions
        if any(place not in positions for place in places()):
            return None
        lows = {p: consumer.get_watermark_offsets(TopicPartition(topics.FEED.name, p), TIMEOUT_S)[0] for p in _partitions()}
        ends = ends_of(consumer, places())
        if any(positions[topics.FEED.name, p] < low for p, low in lows.items()):
            return None
        if any(positions[place] > end for place, end in ends.items()):
            return None
        return sum(end - positions[place] for place, end in ends.items())

    @staticmethod
    def _starts(consumer: Consumer, positions: Positions) -> Positions:
        """Where to begin with each partition that is shown: the feed a little before its end, but never behind the store."""
        starts = {place: positions[place] for place in places()}
        for partition in _partitions():
            place = (topics.FEED.name, partition)
            low, end = consumer.get_watermark_offsets(TopicPartition(*place), TIMEOUT_S)
            starts[place] = min(starts[place], max(low, end - REMEMBERED))
        return starts

    # --- how it goes on ----------------------------------------------------------------------------------------------------

    def _follow(self, consumer: Consumer, goals: Positions) -> None:
        """Hand on what comes. Ready when the feed and every changelog have reached the point where they ended at the start."""
        while not self._stop.is_set():
            first = consumer.poll(0.1)
            self.heard_at = time.monotonic()
            self._note(consumer)
            messages = [] if first is None else [first, *consumer.consume(5_000, 0)]
            if good := records_of(messages, AWAY):
                self._loop.call_soon_threadsafe(self._views.take, good)
            if not self._views.ready and self._caught_up(consumer, goals):
                self._loop.call_soon_threadsafe(setattr, self._views, "ready", True)
            if self.heard_at - self._looked > LOOK_S:
                self._looked = self.heard_at
                self._look(consumer)

    @staticmethod
    def _caught_up(consumer: Consumer, goals: Positions) -> bool:
        """The last records may be control records, which no message shows; positions step over them."""
        positions = consumer.position([TopicPartition(*place) for place in goals])
        return all(position.offset >= goals[position.topic, position.partition] for position in positions)

    def _look(self, consumer: Consumer) -> None:
        """Give the views a newer snapshot, if what it holds has been handed on. One that is ahead is kept until then: while
        this process lags each new one would be ahead, too."""
        if self._candidate is None:
            self._candidate = self._disk.newest()
        if self._candidate is None:
            return
        positions = self._candidate.positions
        asked = consumer.position([TopicPartition(*place) for place in positions if place[0] in SOURCES])
        heard = {(part.topic, part.partition): part.offset for part in asked}
        if any(positions[place] < offset for place, offset in self._reached.items()):
            self._candidate.close()  # a store that was built anew and has yet to come so far
            self._candidate = None
        elif all(max(offset, self._reached.get(place, 0)) >= positions[place] for place, offset in heard.items()):
            self._reached = dict(positions)
            self._loop.call_soon_threadsafe(self._views.move, self._candidate)
            self._candidate = None
            for other in self._disk.left():
                self._loop.call_soon_threadsafe(other.close)


def _partitions() -> range:
    return range(log_partitions())
