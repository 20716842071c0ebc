"""The Kafka worker: one consumer-group member and one transactional producer around a `Core`; one poll, one transaction.

What makes it exactly once (each point was seen to matter under kill -9):
- one fixed slot name a process is both `group.instance.id` and `transactional.id`: a restart fences its own dead incarnation
  and gets its partitions back without waiting for the session to run out;
- offsets are committed inside the transaction with the consumer's group metadata, so that a zombie is fenced;
- decisions that nothing commits are forgotten with the process that made them: it never goes on behind a failed transaction;
- `committed()` of a read_committed consumer, then the changelog's high watermark (read_uncommitted), then a read up to it: a
  transaction that is still open is waited for, never overlooked;
- any failed transaction ends the process: about a second, and nothing to reason about. The supervisor starts the slot again.
"""

import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition

from infra.config import Config
from infra.kafka import committed, ends_of, member, read_to_end, read_topic, reader, records_of
from pipelines.runtime import metrics
from pipelines.runtime.core import Batch, Core
from pipelines.runtime.lag import Lag
from pipelines.runtime.lane import Lane
from pipelines.runtime.transactions import STEP_S, Stuck, Transactions
from schemas.log.topics import SKIPS

log = logging.getLogger("olo.worker")

# 20,000 records a transaction reach the peak rate (500: half of it) and still commit within a fraction of a second.
BATCH_RECORDS: Final = 20_000
# What so many records have decided is sent before the next are decided: the broker works meanwhile, not afterwards.
SENT_RECORDS: Final = 5_000
# How long to wait for a first record. It wakes at once when one comes; idle, it costs 2 % of a core.
POLL_S: Final = 0.02
# A fetch of a flow that gathers waits for so much, or its time.
GATHERED_BYTES: Final = 65_536
# How long the group waits for a member that does not come to a rebalance; a restore of millions of entities must fit in.
REBALANCE_MS: Final = 30_000
# A restore waits for transactions that are still open; one that hangs longer than this is a broker in trouble.
RESTORE_S: Final = 25.0


class Worker:
    """Owns a core's partitions: `poll`, decide in batches, `commit`. `gather_s`: how long a batch waits for more behind its
    first record; a flow that no call waits for makes fewer transactions so, and leaves the broker to those that matter."""

    def __init__(self, flow: str, slot: int, core: Core, config: Config, *, gather_s: float = 0.0) -> None:
        self.flow = flow
        self.core = core
        self.config = config
        name = f"{flow}-{slot}"
        self._transactions = Transactions(name, config)
        core.skips = _skips(config)
        more: dict[str, Any] = {"max.poll.interval.ms": REBALANCE_MS, "queued.min.messages": 100_000}
        if gather_s:
            more |= {"fetch.min.bytes": GATHERED_BYTES, "fetch.wait.max.ms": int(gather_s * 1_000)}
        self._gather_s = gather_s
        self._consumer = member(config, flow, slot, more)
        self._kept: dict[tuple[str, int], Lane] = {}
        self._lag = Lag(flow, self._consumer)
        self._consumer.subscribe(
            sorted(core.deciders), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    # --- partitions come and go ----------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        began = time.monotonic()
        begins = committed(consumer, parts, 2 * STEP_S)
        if missing := [part for part in begins if not self._take_up(part)]:
            self._restore(missing)
        self._kept.clear()
        consumer.assign(begins)
        self._count()
        took = time.monotonic() - began
        metrics.RESTORE.labels(self.flow).observe(took)
        log.info("%s: %d partitions assigned, %d restored, in %.2f s", self.flow, len(parts), len(missing), took)

    def _take_up(self, part: TopicPartition) -> bool:
        """Go on with a lane that was given up in this rebalance and came back. Nobody decided in between: the position, which
        every decision moves, still stands where this worker left it."""
        lane = self._kept.get((part.topic, part.partition))
        if lane is None or lane.position != part.offset:
            return False
        self.core.reopen(lane)
        return True

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        for part in parts:
            if lane := self.core.close(part.topic, part.partition):
                self._kept[part.topic, part.partition] = lane
        consumer.unassign()
        self._count()
        log.info("%s: %d partitions given up", self.flow, len(parts))

    def _count(self) -> None:
        metrics.PARTITIONS.labels(self.flow).set(len(self.core.lanes))
        metrics.RESTORED.labels(self.flow).set(sum(len(lane.states) for lane in self.core.lanes.values()))

    def _restore(self, parts: list[TopicPartition]) -> None:
        deadline = time.monotonic() + RESTORE_S

        for part in parts:
            self.core.open(part.topic, part.partition).position = part.offset

        def stuck() -> None:
            if time.monotonic() > deadline:
                raise Stuck(f"{self.flow}: the changelog could not be read within {RESTORE_S:.0f} s")

        changelogs = [(self.core.deciders[part.topic].entity.changelog, part.partition) for part in parts]
        with reader(self.config, committed=False) as plain:
            ends = ends_of(plain, changelogs)
        for message in read_to_end(self.config, [TopicPartition(*place, 0) for place in changelogs], ends, stuck):
            self.core.restore(message.topic(), message.partition(), message.key(), message.value())
        for part in parts:
            self.core.restored(self.core.lanes[part.topic, part.partition])

    # --- one batch, one transaction --------------------------------------------------------------------------------------

    def poll(self) -> list[Message] | None:
        """The next records, or an empty list when wakes are due, or None. Waits at most POLL_S. Errors: KafkaException."""
        wait = POLL_S
        wake = self.core.next_wake()
        if wake is not None:
            wait = min(wait, max(0.0, (wake - datetime.now(UTC)).total_seconds()))
        first = self._consumer.poll(wait)
        self._lag.publish((place, lane.position) for place, lane in self.core.lanes.items())
        if first is None:
            return [] if wake is not None and wake <= datetime.now(UTC) else None
        return records_of([first, *self._consumer.consume(BATCH_RECORDS - 1, self._gather_s)]) or None

    def decide(self, messages: list[Message]) -> list[Batch]:
        """Decide the records in batches; the outputs of all but the last are sent into the open transaction. Errors:
        DeciderError, TooManyDeadLettersError, KafkaException: final."""
        batches, at = [Batch(self.core)], datetime.now(UTC)
        self.core.hold(at, lambda lane: self._lag.end_of(lane.entity.inbox, lane.partition))
        batches[0].wake(at)
        for first in range(0, len(messages), SENT_RECORDS):
            if first:
                self._transactions.send(batches[-1].seal())
                batches[-1].merge()
                batches.append(Batch(self.core))
            self._take(batches[-1], messages[first : first + SENT_RECORDS])
        if messages:
            self._lag.took(messages[-1])
        return batches

    def _take(self, batch: Batch, messages: list[Message]) -> None:
        take, lanes = batch.take, self.core.lanes
        place: tuple[str, int] | None = None
        lane = None
        for message in messages:
            found = (message.topic(), message.partition())
            if found != place:
                place, lane = found, lanes.get(found)
            # Not due: the partition was given up since the fetch (another worker has it), or given up and got back.
            if lane is not None and (offset := message.offset()) >= lane.position:
                take(lane, offset, message.key() or b"", message.value() or b"")

    def commit(self, batches: list[Batch]) -> None:
        """Send the last batch, and commit all with their positions in one transaction. Errors: KafkaException, final."""
        began = time.monotonic()
        outputs = batches[-1].seal()
        positions = {place: position for batch in batches for place, position in batch.positions.items()}
        if not outputs and not positions:
            return
        offsets = [TopicPartition(topic, p, offset) for (topic, p), offset in positions.items()]
        self._transactions.write(outputs, offsets, self._consumer)
        batches[-1].merge()
        self._measure(batches, time.monotonic() - began)

    def _measure(self, batches: list[Batch], took: float) -> None:
        decided, dead = sum(batch.decided for batch in batches), sum(batch.dead for batch in batches)
        metrics.COMMIT.labels(self.flow).observe(took)
        metrics.BATCH.labels(self.flow).observe(decided + dead)
        metrics.DECIDED.labels(self.flow).inc(decided)
        metrics.DEAD.labels(self.flow).inc(dead)
        metrics.WRITTEN.labels(self.flow).inc(sum(len(batch.outputs) for batch in batches))
        metrics.mark_working(self.flow)

    def close(self) -> None:
        """Leave cleanly: nothing is in flight, since a batch is committed before the next poll."""
        self._consumer.close()


def _skips(config: Config) -> set[tuple[str, int, int]]:
    """The records that an operator set aside with `olo dead-letters skip`."""
    places = (message.key().decode().rsplit("/", 2) for message in read_topic(config, SKIPS.name))
    return {(topic, int(partition), int(offset)) for topic, partition, offset in places}
