"""The views: what this process knows by heart of accounts and all other entities, and the thread that keeps it so.

One consumer (`Tail`) reads everything that serving hears: first the account changelog, up to its end; then the feed from a
little before that, the outcomes from now on, and the other entities' changelogs from their beginning. Accounts
follow the feed, not the changelog: so the hub's cursor and the view always tell the same story, and a snapshot plus the events
behind its cursor misses nothing and repeats nothing. Entries are applied by seq, so that what was restored is not taken twice.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition
from msgspec import Struct
from prometheus_client import Gauge

from infra.config import Config
from infra.kafka import AWAY, TIMEOUT_S, check_topics, ends_of, patiently, read_topic, reader, records_of
from schemas import balance
from schemas.balance import ACCOUNT
from schemas.log import topics
from schemas.log.base import State, Time
from schemas.log.codec import decoder_of, state_decoder
from schemas.log.entity import Entity
from schemas.log.positions import RESERVED
from serving.runtime.feed import Hub
from serving.runtime.outcomes import Outcomes

log = logging.getLogger("olo.serving")

HEARD: Final = tuple(entity for entity in topics.ENTITIES if entity is not ACCOUNT)
EVENTS: Final = tuple(entity.events for entity in HEARD)
SMALL: Final = tuple(entity.changelog for entity in HEARD)
CHANGELOGS: Final = {entity.events: entity.changelog for entity in HEARD}
ENTRY: Final = b'{"type":"EntryRecorded"'
# A new process reads so much of the feed's past (offsets a partition), so that the clients of the old one, who all come back at
# once, resume from memory.
REMEMBERED: Final = 8_192
ACCOUNTS = Gauge("olo_view_accounts", "Accounts in this process's view")


class Balance(Struct, gc=False):
    """One account as of its entry `seq`. Available: balance less held."""

    seq: int
    balance_coins: int
    held_coins: int
    at: Time


class Views:
    """In memory, for the event loop only: balances, states of entities, and who waits for which outcome (`outcomes`)."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.balances: dict[str, Balance] = {}
        self.states: dict[str, dict[str, Any]] = {topic: {} for topic in SMALL}
        self.outcomes = Outcomes()
        self._watchers: dict[str, list[Callable[[str, Any], None]]] = {}
        self.ready = False
        self._entry = decoder_of((balance.EntryRecorded,))
        self._facts: dict[str, Callable[[bytes], Any]] = {entity.events: decoder_of(entity.facts) for entity in HEARD}
        self._states: dict[str, Callable[[bytes], State]] = {e.changelog: state_decoder(e.state) for e in HEARD}

    def of(self, entity: Entity) -> dict[str, Any]:
        """Key -> state of an entity, as of the log's end; what was forgotten is not there any more."""
        return self.states[entity.changelog]

    def watch(self, entity: Entity, watcher: Callable[[str, Any], None]) -> None:
        """Call `watcher(key, state)` whenever a state of the entity has changed; state None: it was forgotten."""
        self._watchers.setdefault(entity.changelog, []).append(watcher)

    def take(self, messages: list[Message]) -> None:
        """A batch of records, in order. Runs in the event loop."""
        for message in messages:
            topic, value = message.topic(), message.value()
            if topic == topics.FEED.name:
                self._show(message)
            elif topic in self._facts:
                if self.outcomes:
                    self.outcomes.fact((CHANGELOGS[topic], message.key()), message.timestamp()[1], self._facts[topic](value))
            elif not message.key().startswith(RESERVED):
                self._keep(topic, message.key().decode(), value)
                if self.outcomes:
                    self.outcomes.state((topic, message.key()), message.timestamp()[1])

    def _keep(self, topic: str, key: str, value: bytes | None) -> None:
        state = None if value is None else self._states[topic](value)
        if state is None:
            self.states[topic].pop(key, None)
        else:
            self.states[topic][key] = state
        for watcher in self._watchers.get(topic, ()):
            watcher(key, state)

    def _show(self, message: Message) -> None:
        value = message.value()
        if value.startswith(ENTRY):
            entry: Any = self._entry(value)
            known = self.balances.get(entry.account)
            if known is None or known.seq < entry.seq:
                self.balances[entry.account] = Balance(entry.seq, entry.balance_coins, entry.held_coins, entry.at)
        self.hub.publish(message.partition(), message.offset(), message.key().decode(), value)


class Tail:
    """The thread that reads the log for the views. If it fails the process ends: the supervisor's next one reads anew."""

    def __init__(self, config: Config, views: Views, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._views = views
        self._loop = loop
        self._stop = threading.Event()
        self.heard_at = 0.0
        self._noted_at = 0.0
        self._read_to: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()

    def read_to(self) -> dict[int, int]:
        """How far the feed has been read: partition -> offset, as of a second ago; empty before it is followed."""
        return self._read_to

    def _note(self, consumer: Consumer) -> None:
        """Only this thread asks its consumer."""
        if self.heard_at > self._noted_at + 1:
            self._noted_at = self.heard_at
            parts = [TopicPartition(topics.FEED.name, p) for p in range(topics.FEED.partitions)]
            self._read_to = {part.partition: part.offset for part in consumer.position(parts)}

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            self._read()
        except Exception:
            log.exception("the log cannot be followed; this process ends")
            os._exit(1)

    def _read(self) -> None:
        began = time.monotonic()
        patiently("the broker", lambda: check_topics(self._config, topics.topics()))
        consumer = reader(self._config, {"queued.min.messages": 50_000})
        partitions = range(topics.FEED.partitions)
        feed = self._recent(consumer, partitions)
        shown = {(topics.FEED.name, p): offset for p, offset in feed.items()} | {(t, p): 0 for t in SMALL for p in partitions}
        starts = shown | ends_of(consumer, [(topic, p) for topic in EVENTS for p in partitions])
        self._views.balances = self._restore()
        ACCOUNTS.set_function(lambda: len(self._views.balances))
        self._views.hub.positions = dict(feed)
        goals = {partition: end for partition, end in ends_of(consumer, list(shown)).items() if end > shown[partition]}
        consumer.assign([TopicPartition(*partition, offset) for partition, offset in starts.items()])
        log.info("%d accounts in view after %.2f s", len(self._views.balances), time.monotonic() - began)
        self._follow(consumer, goals)
        consumer.close()

    @staticmethod
    def _recent(consumer: Consumer, partitions: range) -> dict[int, int]:
        """Where to begin with each partition of the feed."""
        bounds = {p: consumer.get_watermark_offsets(TopicPartition(topics.FEED.name, p), TIMEOUT_S) for p in partitions}
        return {p: max(low, end - REMEMBERED) for p, (low, end) in bounds.items()}

    def _restore(self) -> dict[str, Balance]:
        """Every account from the changelog."""
        decode = state_decoder(balance.Account)
        found: dict[str, Balance] = {}
        for message in read_topic(self._config, ACCOUNT.changelog):
            key, value = message.key().decode(), message.value()
            if value is None:
                found.pop(key, None)
                continue
            state = decode(value)
            found[key] = Balance(state.seq, state.balance_coins, state.held_coins, state.at)
        return found

    def _follow(self, consumer: Consumer, goals: dict[tuple[str, int], int]) -> None:
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

    @staticmethod
    def _caught_up(consumer: Consumer, goals: dict[tuple[str, int], int]) -> bool:
        """The last records may be control records, which no message shows; positions step over them."""
        positions = consumer.position([TopicPartition(*partition) for partition in goals])
        return all(position.offset >= goals[position.topic, position.partition] for position in positions)
