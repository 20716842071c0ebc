"""Kafka clients, configured in one place, and a bounded read of a whole topic."""

import logging
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from infra.config import Config
from schemas.log.positions import RESERVED

log = logging.getLogger("olo.kafka")

T = TypeVar("T")

# Brokers answer in milliseconds. So long a person waits; a process that has all the time asks again (`patiently`).
TIMEOUT_S = 10.0
# A slot that is not started again loses its partitions after this; one that is has them back at once, so only the end of a
# whole machine, or fewer processes than before, wait for it. Beside 40 busy loops, where heartbeats come late, members were
# lost with Kafka's default of 45 s, and fenced by their own second join.
SESSION_MS = 120_000
# A member that lives and does not poll for so long loses its partitions: longer than a transaction may take, so that one which
# is only slow commits and goes on.
REBALANCE_MS = 180_000
PAUSE_S = 0.2
# What a producer lets pass: the largest record that a broker takes, in an inbox or put aside into a changelog (`infra.topics`).
LARGEST_BYTES = 1_200_000
# A partition that was just created, or whose broker has just started, has no leader yet; behind an election brokers and client
# learn at different moments who leads now, and a new leader does not know at once how far its copies agree.
ELECTING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
# A read that ends: a partition's end shows by a fetch that finds nothing, which a broker answers half a second late by default.
BOUNDED = {"enable.partition.eof": True, "fetch.wait.max.ms": 20, "queued.max.messages.kbytes": 16_384}
# Looks of such a read without anything new, 50 ms each. It is their number that counts: a machine that does nothing for a
# minute because it has other things to do has not looked, either.
MAX_EMPTY = 1_200


class StandstillError(TimeoutError):
    """What is known to stand in the log does not come, for too long."""


class Record(Protocol):
    """What a consumer read at a place. The client's type `Message` is also that of a failed connection, which has no place.

    Each record that Olo writes has a key; only a stranger's may have none. A value of None says that the key is forgotten."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def error(self) -> KafkaError | None: ...


def _placed(messages: list[Message]) -> list[Record]:
    """The messages of a client as records, for whoever looks at `error` first. Not copied: there are many."""
    return cast(list[Record], messages)


def record_of(message: Message) -> Record:
    """A message that was read or delivered without an error."""
    return cast(Record, message)


def key_of(record: Record) -> str:
    """A record's key. Errors: ValueError, for a stranger's record that has none."""
    key = record.key()
    if key is None:
        raise ValueError(f"the record {record.topic()}/{record.partition()}/{record.offset()} has no key")
    return key.decode()


def quiet(config: Config, **more: Any) -> dict[str, Any]:
    """Connection properties without librdkafka's chatter on stderr; errors reach us as errors."""
    # A broker that is back is found within a second; the client's own longest wait is ten.
    return {**config.kafka, "log_level": 2, "error_cb": lambda _: None, "reconnect.backoff.max.ms": 1_000, **more}


def reader(config: Config, more: dict[str, Any] | None = None, *, committed: bool = True) -> Consumer:
    """A consumer outside of any group's business: assigned by hand, never commits."""
    level = "read_committed" if committed else "read_uncommitted"
    return Consumer(
        quiet(
            config,
            **{
                "group.id": "olo-reader",
                "enable.auto.commit": False,
                "isolation.level": level,
                "auto.offset.reset": "earliest",
                **(more or {}),
            },
        )
    )


def client_id(home: str, host: str) -> str:
    """What a flow's consumer calls itself: two Olos, even on one machine, have different ones."""
    return f"olo-{host}-{zlib.crc32(home.encode()):08x}"


def member(config: Config, group: str, slot: int, more: dict[str, Any]) -> Consumer:
    """One of a group's consumers: a slot of its own, which a restart takes up again; reads what is committed, commits by hand.

    A static member under an eager assignor: each rebalance gives every partition to somebody. A cooperative one hands them over
    in two rebalances, and a member that is killed and back in between leaves them with nobody, for good.
    """
    conf = {
        "group.id": group,
        "group.instance.id": f"{group}-{slot}",
        # By it `olo doctor` sees that another Olo holds the slot.
        "client.id": client_id(str(config.home.absolute()), socket.gethostname()),
        "partition.assignment.strategy": "range",
        "session.timeout.ms": SESSION_MS,
        "max.poll.interval.ms": REBALANCE_MS,
        "heartbeat.interval.ms": 1_000,
        # After its queue was full librdkafka fetches nothing for a second by default: a busy worker starves half of its time.
        "fetch.queue.backoff.ms": 10,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    return Consumer(quiet(config, **conf, **more))


def produce_one(config: Config, topic: str, key: bytes, value: bytes, partition: int) -> Record:
    """Write one record, for a person at the command line; where it stands now. Errors: KafkaException, TimeoutError."""
    return produce_all(config, [(topic, partition, key, value)])[0]


def produce_all(config: Config, records: Sequence[tuple[str, int, bytes, bytes]]) -> list[Record]:
    """Likewise, several (topic, partition, key, value)."""
    placed: list[Record] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        placed.append(record_of(message))

    conf = {"enable.idempotence": True, "message.timeout.ms": 10_000, "message.max.bytes": LARGEST_BYTES}
    producer = Producer(quiet(config, **conf))
    for topic, partition, key, value in records:
        producer.produce(topic, value, key, partition, on_delivery=delivered)
    producer.flush(TIMEOUT_S)
    if left := len(records) - len(placed):
        raise TimeoutError(f"the broker did not take {left} of {len(records)} records; see `olo doctor`")
    return placed


def committed(consumer: Consumer, parts: list[TopicPartition], wait_s: float) -> list[TopicPartition]:
    """Where a group goes on with partitions; with one that it never had, at the beginning. Errors: KafkaException."""
    found = consumer.committed(parts, wait_s) if parts else []
    for part in found:
        if part.error:
            raise KafkaException(part.error)
        part.offset = max(part.offset, 0)
    return found


# What a client tells while its broker is away; it reconnects by itself.
AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT})
# What a request tells that had no answer in time, or found the broker in the middle of its own start.
LATE = (
    AWAY
    | ELECTING
    | {
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)


def late(error: TimeoutError | KafkaException) -> str:
    """What a failure that waiting mends is called; empty for one that it does not mend."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    first = error.args[0]
    return str(first.name()) if first.code() in LATE or first.retriable() else ""


def patiently(what: str, ask: Callable[[], T]) -> T:
    """What the broker answers, however long that takes: a request that had no answer in time is made again, and the log says
    what is waited for. Errors: KafkaException, for anything that waiting does not mend."""
    while True:
        try:
            return ask()
        except (TimeoutError, KafkaException) as error:
            why = late(error)
            if not why:
                raise
        log.warning("still waiting for %s (%s)", what, why)
        time.sleep(PAUSE_S)


def ask_patiently(what: str, config: Config, ask: Callable[[Consumer], T], *, committed: bool = True) -> T:
    """Likewise, with a reader of its own for each try: one from whose metadata a node was away for a moment may never find the
    node again (librdkafka 2.16: LEADER_NOT_AVAILABLE for good, while new clients find it). Errors: KafkaException."""

    def try_it() -> T:
        with reader(config, committed=committed) as plain:
            return ask(plain)

    return patiently(what, try_it)


def records_of(messages: list[Message], passing: frozenset[int] = frozenset()) -> list[Record]:
    """Those of a poll's messages that are records. Errors that pass by themselves, also those with a code in `passing`, are
    left out. Errors: KafkaException for any other."""
    records = _placed(messages)
    for record in records:
        if record.error() is not None:
            return [one for one in records if _is_record(one, passing)]
    return records


def _is_record(record: Record, passing: frozenset[int]) -> bool:
    error = record.error()
    if error is None:
        return True
    if error.retriable() or error.code() == KafkaError._PARTITION_EOF or error.code() in passing:
        return False
    raise KafkaException(error)


def end_offsets(consumer: Consumer, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Where each partition ends: the high watermark for read_uncommitted consumers, the last stable offset otherwise."""
    return {place[1]: end for place, end in ends_of(consumer, [(topic, partition) for partition in partitions]).items()}


def ends_of(consumer: Consumer, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Where partitions of several topics end (see `end_offsets`). Errors: KafkaException."""
    return offsets_of(consumer, places, OFFSET_END)


def offsets_of(
    consumer: Consumer, places: Sequence[tuple[str, int]], which: int, wait_s: float = TIMEOUT_S
) -> dict[tuple[str, int], int]:
    """The offset of each partition's beginning or end (`which`: OFFSET_BEGINNING or OFFSET_END), asked in one request. Errors:
    KafkaException."""
    if not places:
        return {}

    def ask() -> dict[tuple[str, int], int]:
        found = consumer.offsets_for_times([TopicPartition(*place, which) for place in places], wait_s)
        if error := next((part.error for part in found if part.error), None):
            raise KafkaException(error)
        return {(part.topic, part.partition): int(part.offset) for part in found}

    return in_time(ask, ELECTING, wait_s)


def in_time(ask: Callable[[], T], passing: frozenset[int], wait_s: float = TIMEOUT_S) -> T:
    """What the broker answers once it no longer answers with a code in `passing`. Errors: KafkaException."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in passing or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """A topic's partitions; none when there is no such topic."""
    found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    return sorted(found.partitions)


class BoundedRead:
    """Every record of partitions from `starts` up to `ends`, a portion at a time; `done` when all is read. Use it in a `with`.

    A partition is read when its end of file, the last record, or the consumer's position lies at or behind the end. The end of
    file steps over control records, so a partition that ends with an aborted transaction ends, too; not every broker tells
    it. Where nothing tells it, MAX_EMPTY looks are made: to take a record that does not come for one that is not there would
    lose states."""

    def __init__(
        self, config: Config, starts: Sequence[TopicPartition], ends: dict[tuple[str, int], int], *, committed: bool = True
    ) -> None:
        todo = [start for start in starts if ends[start.topic, start.partition] > max(start.offset, 0)]
        self._ends = {(start.topic, start.partition): ends[start.topic, start.partition] for start in todo}
        self._at = {(start.topic, start.partition): max(start.offset, 0) for start in todo}
        self.total = self.left
        self._empty = 0
        # A consumer that waited for its partitions meanwhile might wait a second for the client's next look at the metadata.
        self._consumer = reader(config, BOUNDED, committed=committed) if todo else None
        if self._consumer:
            self._consumer.assign(todo)

    @property
    def done(self) -> bool:
        """Whether every partition has been read."""
        return not self._ends

    @property
    def left(self) -> int:
        """How many offsets lie before the ends."""
        return sum(end - self._at[place] for place, end in self._ends.items())

    def next(self, most: int = 20_000, wait_s: float = 0.05) -> list[Record]:
        """The next records, at most so many; none when none came in time. Errors: KafkaException, StandstillError."""
        if self._consumer is None or self.done:
            return []
        left = self.left
        first = self._consumer.poll(wait_s)
        found = [] if first is None else _placed([first, *self._consumer.consume(most - 1, 0)])
        for record in found:
            place, error = (record.topic(), record.partition()), record.error()
            if error is None:
                self._reach(place, record.offset() + 1)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reach(place, record.offset())
            elif not error.retriable():
                raise KafkaException(error)
        if not found:
            for part in self._consumer.position([TopicPartition(*place) for place in self._ends]):
                self._reach((part.topic, part.partition), part.offset)
        self._empty = 0 if self.left < left else self._empty + 1
        if self._empty > MAX_EMPTY:
            (topic, partition), end = next(iter(self._ends.items()))
            at = self._at[topic, partition]
            raise StandstillError(f"{topic}/{partition} was read up to {at}, its end at {end} does not come; see `olo doctor`")
        return [record for record in found if record.error() is None]

    def at(self, place: tuple[str, int]) -> int:
        """How far a partition has been read."""
        return self._at[place]

    def _reach(self, place: tuple[str, int], offset: int) -> None:
        self._at[place] = max(offset, self._at[place])
        if offset >= self._ends.get(place, offset + 1):
            del self._ends[place]

    def __enter__(self) -> "BoundedRead":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the broker."""
        if self._consumer:
            self._consumer.close()


def read_to_end(
    config: Config, starts: Sequence[TopicPartition], ends: dict[tuple[str, int], int], *, committed: bool = True
) -> Iterator[Record]:
    """Every record from `starts` up to `ends` (see `BoundedRead`). Errors: KafkaException, StandstillError."""
    with BoundedRead(config, starts, ends, committed=committed) as read:
        while not read.done:
            yield from read.next()


def read_topic(config: Config, topic: str, *, committed: bool = True, partition: int | None = None) -> Iterator[Record]:
    """Every record that a topic, or one of its partitions, holds now, but what a changelog has of its own under reserved
    keys; none when there is no such topic."""
    with reader(config, committed=False) as plain:
        places = [(topic, p) for p in (partitions_of(plain, topic) if partition is None else [partition])]
        ends = ends_of(plain, places)
    for record in read_to_end(config, [TopicPartition(*place, 0) for place in places], ends, committed=committed):
        if not (record.key() or b"").startswith(RESERVED):
            yield record


def has_records(config: Config, place: tuple[str, int]) -> bool:
    """Whether a partition has, or had, a record of a transaction that was committed. Errors: KafkaException."""
    with reader(config, committed=False) as plain:
        begin, end = (offsets_of(plain, [place], which)[place] for which in (OFFSET_BEGINNING, OFFSET_END))
    return begin > 0 or next(read_to_end(config, [TopicPartition(*place, 0)], {place: end}), None) is not None
