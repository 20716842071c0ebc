"""Kafka transactions: records and consumed positions, all or nothing, under one fixed name a process.

Any failed transaction ends the process: its next start, under the same name, fences and aborts what it left open.
"""

import faulthandler
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from infra.config import Config
from infra.kafka import quiet, record_of
from pipelines.runtime.core import Written
from schemas.log.positions import POSITION

# The broker aborts what a process that never came back left open.
TRANSACTION_MS: Final = 10_000
# No step of a transaction takes this long unless the broker is away. A worker that waits on would hold up the group's
# rebalance, and with it everybody's partitions: it ends, and its next start finds the broker.
STEP_S: Final = 6.0
# librdkafka does not keep that limit when the broker dies under send_offsets_to_transaction: the call never returns (2.16, most
# crashes of a broker). A process that hangs in one small request for so long says where, and ends; that costs a second or two.
HANGS_S: Final = 5.0


class Stuck(Exception):  # noqa: N818 - reads as what it is
    """The broker did not do its part in time: this process ends, the next one tries again."""


class Transactions:
    """A transactional producer. `name` ("money-0") is the slot's own, for good."""

    def __init__(self, name: str, config: Config) -> None:
        self._name = name
        self._producer = Producer(_producing(name, config))
        self._producer.init_transactions(2 * STEP_S)
        self._open = False
        # Where the position of each changelog's partition was put last: (topic, partition) -> offset.
        self.placed: dict[tuple[str, int], int] = {}

    def _place(self, error: KafkaError | None, message: Message) -> None:
        if error is None and (record := record_of(message)).offset() >= 0:
            self.placed[record.topic(), record.partition()] = record.offset()

    def send(self, records: Iterable[Written]) -> None:
        """Hand over records (topic, partition, key, value) of the open transaction, or of a new one: they travel while the
        caller goes on, and count when `write` has committed. Errors: KafkaException, final."""
        produce = self._producer.produce
        if not self._open:
            self._producer.begin_transaction()
            self._open = True
            self.placed.clear()
        for topic, partition, key, value in records:
            if key is POSITION:
                produce(topic, value, key, partition, on_delivery=self._place)
            else:
                produce(topic, value, key, partition)

    def write(self, records: Iterable[Written], offsets: Sequence[TopicPartition], consumer: Consumer) -> None:
        """Send the last records, and commit all of the transaction with a group's positions; `placed` tells where those of the
        changelogs are. Errors: KafkaException and Stuck, final."""
        producer = self._producer
        self.send(records)
        # What is flushed first need not be waited for inside send_offsets, whose retries are slower (p90 114 ms -> 1 ms).
        if left := producer.flush(STEP_S):
            raise Stuck(f"{self._name}: the broker has not taken {left} records within {STEP_S:.0f} s")
        with _ends_if_it_hangs():
            if offsets:
                producer.send_offsets_to_transaction(list(offsets), consumer.consumer_group_metadata(), STEP_S)
        with _ends_if_it_hangs():
            producer.commit_transaction(STEP_S)
        self._open = False


@contextmanager
def _ends_if_it_hangs() -> Iterator[None]:
    """After HANGS_S a thread of the interpreter writes every thread's stack to stderr and ends the process with status 1."""
    faulthandler.dump_traceback_later(HANGS_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _producing(name: str, config: Config) -> dict[str, Any]:
    return quiet(
        config,
        **{
            "transactional.id": name,
            "transaction.timeout.ms": TRANSACTION_MS,
            "linger.ms": 1,
            # back-to-back small transactions meet CONCURRENT_TRANSACTIONS while the broker ends the last one (some 5 ms);
            # the default wait of 100 ms would be the p99
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 10,
            "compression.type": "lz4",
            # the largest record of an inbox, put aside into the changelog (see `infra.kafka`)
            "message.max.bytes": 1_200_000,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 2_000_000,
        },
    )
