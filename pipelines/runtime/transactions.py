"""Kafka transactions: records and consumed positions, all or nothing, under one fixed name a process.

Any failed transaction ends the process: its next start, under the same name, fences and aborts what it left open.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from infra.asking import broker_answers
from infra.config import Config
from infra.kafka import LARGEST_BYTES, patiently, quiet, record_of
from pipelines.runtime.core import Written
from pipelines.runtime.watchdog import Watchdog
from schemas.log.positions import POSITION

log = logging.getLogger("olo.transactions")

# The broker aborts what has been open for so long; until then nobody reads behind it. A slot that starts again aborts at once
# what it had left: this is for one that never comes back. A shorter limit would abort what a slow machine is about to commit:
# an overloaded one took more than a minute for what takes 30 ms.
TRANSACTION_MS: Final = 120_000
# One try at a step; another one follows, for as long as the transaction lives and the watchdog sees that the broker is slow.
STEP_S: Final = TRANSACTION_MS / 1_000
# One try at the start; another one follows.
BEGIN_S: Final = 10.0


class Stuck(Exception):  # noqa: N818 - reads as what it is
    """The broker did not do its part in time: this process ends, the next one tries again."""


class Transactions:
    """A transactional producer. `name` ("money-0") is the slot's own, for good."""

    def __init__(self, name: str, config: Config) -> None:
        self._name = name
        self._producer = Producer(_producing(name, config))
        self._watchdog = Watchdog(name, broker_answers(config)).start()
        patiently("the broker to end what this slot has left open", lambda: self._producer.init_transactions(BEGIN_S))
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
        with self._watchdog.watch("sending records"):
            left = producer.flush(STEP_S)
        if left:
            raise Stuck(f"{self._name}: the broker has not taken {left} records within {STEP_S:.0f} s")
        if offsets:
            metadata = consumer.consumer_group_metadata()
            with self._watchdog.watch("sending the positions of a transaction"):
                _resumed(lambda: producer.send_offsets_to_transaction(list(offsets), metadata, STEP_S))
        with self._watchdog.watch("committing a transaction"):
            _resumed(lambda: producer.commit_transaction(STEP_S))
        self._open = False

    def close(self) -> None:
        """Let go of the watchdog; the producer goes with this object."""
        self._watchdog.stop()


def _resumed(step: Callable[[], object]) -> None:
    """A step of a transaction, taken up again while the client says that it is only late. Errors: KafkaException, final."""
    while True:
        try:
            step()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            log.warning("still waiting for the broker, which is late with a transaction: %s", error.args[0].str())
        else:
            return


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
            # each wait is twice the last: a broker without a processor must not be kept busy by what it cannot do yet
            "retry.backoff.max.ms": 1_000,
            "compression.type": "lz4",
            "message.max.bytes": LARGEST_BYTES,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 2_000_000,
        },
    )
