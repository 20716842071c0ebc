"""How far a consumer is behind, in records and in seconds, from what the client already knows: no call to the broker."""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, TopicPartition

from infra.kafka import Record
from pipelines.runtime import metrics

EVERY_S: Final = 1.0


class Lag:
    """Publishes the lag of one consumer, once a second at most."""

    def __init__(self, flow: str, consumer: Consumer) -> None:
        self._flow = flow
        self._consumer = consumer
        self._next = 0.0
        self._taken_at: dict[str, float] = {}

    def took(self, record: Record) -> None:
        """The last record of a batch, whose time stands for the batch."""
        kind, at_ms = record.timestamp()
        if kind != TIMESTAMP_NOT_AVAILABLE:
            self._taken_at[record.topic()] = at_ms / 1000

    def end_of(self, topic: str, partition: int) -> int:
        """The offset behind the last record, as far as the client knows; 0 before it has fetched any."""
        try:
            return self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)[1]
        except KafkaException:
            return 0

    def publish(self, positions: Iterable[tuple[tuple[str, int], int]]) -> None:
        """Set the gauges from where the consumer will read next."""
        moment = time.monotonic()
        if moment < self._next:
            return
        self._next = moment + EVERY_S
        behind: defaultdict[str, int] = defaultdict(int)
        for (topic, partition), position in positions:
            behind[topic] += max(0, self.end_of(topic, partition) - position)
        for topic, records in behind.items():
            age = time.time() - self._taken_at.get(topic, time.time())
            metrics.LAG_RECORDS.labels(self._flow, topic).set(records)
            metrics.LAG_SECONDS.labels(self._flow, topic).set(age if records else 0.0)
