"""A log in memory behind the client's own interface, which answers as one broker or another does: what the readers may rely on.

The differences are those that Redpanda and Kafka are known to have (docs/broker.md): whether the end of a partition is told,
whether a partition ends with marks that no reader sees, what offset a group is said to have, and errors that pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

Place = tuple[str, int]


class Kept(NamedTuple):
    """A record as the client gives it, or an error in its stead."""

    of: str
    share: int
    at: int
    name: bytes | None
    told: bytes | None
    failed: KafkaError | None = None

    def topic(self) -> str:
        return self.of

    def partition(self) -> int:
        return self.share

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.told

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000 + self.at

    def error(self) -> KafkaError | None:
        return self.failed


@dataclass
class Broker:
    """`marks`: so many offsets without a record behind each partition's last one; `steps`: the client's position steps over
    them. `more`: what an offset is told too high."""

    tells_end: bool = True
    marks: int = 0
    steps: bool = True
    more: int = 0
    stumbles: bool = False
    logs: dict[Place, list[tuple[bytes | None, bytes | None]]] = field(default_factory=dict)
    offsets: dict[Place, int] = field(default_factory=dict)
    # How many producers were made.
    writers: int = 0

    def write(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Append a record."""
        self.logs.setdefault((topic, partition), []).append((key, value))

    def end(self, place: Place) -> int:
        """The high watermark, and the last stable offset: nothing is open."""
        return len(self.logs[place]) + self.marks if self.logs.get(place) else 0

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
        """Have the modules' consumers be this log's."""
        for module in modules:
            monkeypatch.setattr(f"{module}.Consumer", lambda conf: Reader(self, conf))
        monkeypatch.setattr("infra.kafka.Producer", lambda conf: Writer(self, conf))


class Writer:
    """A producer of it: what is larger than the client lets pass is refused."""

    def __init__(self, broker: Broker, conf: dict[str, Any]) -> None:
        broker.writers += 1
        self._broker = broker
        self._largest = conf.get("message.max.bytes", 1_000_000)
        self._waiting: list[Callable[[], None]] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, on_delivery: Callable[[None, Kept], None]) -> None:
        if len(value) + len(key) > self._largest:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        kept = Kept(topic, partition, len(self._broker.logs.get((topic, partition), [])), key, value)
        self._broker.write(topic, partition, key, value)
        self._waiting.append(lambda: on_delivery(None, kept))

    def flush(self, _: float) -> None:
        for tell in self._waiting:
            tell()


class Reader:
    """A consumer of it, as far as Olo uses one."""

    def __init__(self, broker: Broker, conf: dict[str, Any]) -> None:
        self._broker = broker
        self._tells_end = broker.tells_end and conf.get("enable.partition.eof", False)
        self._at: dict[Place, int] = {}
        self._passed: set[Place] = set()
        self._ended: set[Place] = set()
        self._stumbles = {"poll", "ends"} if broker.stumbles else set()
        self.closed = False

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True

    def assign(self, parts: Sequence[TopicPartition]) -> None:
        self._at = {(part.topic, part.partition): max(part.offset, 0) for part in parts}

    def poll(self, wait_s: float = 0.0) -> Kept | None:
        return next(iter(self.consume(1, wait_s)), None)

    def consume(self, most: int, _: float) -> list[Kept]:
        assert not self.closed
        found: list[Kept] = []
        if "poll" in self._stumbles and self._at:
            self._stumbles.remove("poll")
            place = next(iter(self._at))
            passing = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION, "an election", False, True)
            return [Kept(*place, OFFSET_INVALID, None, None, passing)][:most]
        for place in self._at:
            found += self._of(place, most - len(found))
        return found

    def _of(self, place: Place, most: int) -> list[Kept]:
        records, at = self._broker.logs.get(place, []), self._at[place]
        found = [Kept(*place, at + n, *record) for n, record in enumerate(records[at : at + most])] if most > 0 else []
        if found:
            self._passed.add(place)
        self._at[place] = at + len(found)
        end = len(records) <= self._at[place] < self._broker.end(place)
        if len(found) < most and records and end and self._broker.steps:
            # The client steps over marks once it has been given nothing more.
            self._at[place] = self._broker.end(place)
            self._passed.add(place)
        ends = self._at[place] >= self._broker.end(place) and place not in self._ended
        if self._tells_end and ends and len(found) < most:
            self._ended.add(place)
            found.append(Kept(*place, self._at[place], None, None, KafkaError(KafkaError._PARTITION_EOF)))
        return found

    def position(self, parts: Sequence[TopicPartition]) -> list[TopicPartition]:
        places = [(part.topic, part.partition) for part in parts]
        return [TopicPartition(*place, self._at[place] if place in self._passed else OFFSET_INVALID) for place in places]

    def get_watermark_offsets(self, part: TopicPartition, *_: float, **__: bool) -> tuple[int, int]:
        return 0, self._broker.end((part.topic, part.partition))

    def offsets_for_times(self, parts: Sequence[TopicPartition], *_: float) -> list[TopicPartition]:
        if "ends" in self._stumbles:
            self._stumbles.remove("ends")
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        found = ((part, part.offset == OFFSET_BEGINNING) for part in parts)
        return [
            TopicPartition(part.topic, part.partition, 0 if first else self._broker.end((part.topic, part.partition)))
            for part, first in found
        ]

    def committed(self, parts: Sequence[TopicPartition], *_: float) -> list[TopicPartition]:
        offsets = {place: offset + self._broker.more for place, offset in self._broker.offsets.items()}
        return [
            TopicPartition(part.topic, part.partition, offsets.get((part.topic, part.partition), OFFSET_INVALID))
            for part in parts
        ]

    def list_topics(self, topic: str = "", **_: float) -> SimpleNamespace:
        names = [topic] if topic else sorted({place[0] for place in self._broker.logs})
        shares = {name: {p: None for of, p in self._broker.logs if of == name} for name in names}
        return SimpleNamespace(topics={name: SimpleNamespace(partitions=found) for name, found in shares.items()})
