"""The Kafka worker: one consumer-group member and one transactional producer around a `Core`; one poll, one transaction.

What makes it exactly once (each point was seen to matter under kill -9):
- one fixed slot name a process is both `group.instance.id` and `transactional.id`: a restart fences its own dead incarnation
  and gets its partitions back without waiting for the session to run out;
- offsets are committed inside the transaction with the consumer's group metadata, so that a zombie is fenced;
- decisions that nothing commits are forgotten with the process that made them: it never goes on behind a failed transaction;
- `committed()` of a read_committed consumer, then the changelog's high watermark (read_uncommitted), then a read up to it: a
  transaction that is still open is waited for, never overlooked. Where the inbox goes on stands in the changelog (`positions`);
- states on disk (`disk`) are written behind a commit, never before it;
- any failed transaction ends the process: about a second, and nothing to reason about. The supervisor starts the slot again.
"""

import logging
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from infra.config import Config
from infra.kafka import TIMEOUT_S, Record, committed, key_of, member, patiently, read_topic, records_of
from infra.topics import identity
from pipelines.runtime import metrics
from pipelines.runtime.alarms import alarms_in
from pipelines.runtime.core import Batch, Core, Take
from pipelines.runtime.disk import Disk, DisownedError, Origin
from pipelines.runtime.lag import Lag
from pipelines.runtime.restore import Restore
from pipelines.runtime.states import States
from pipelines.runtime.transactions import Transactions
from schemas.log.entity import Entity
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
# A restore goes on for so long between two polls of the group.
RESTORE_S: Final = 0.5
# How often an idle flow looks whether states are to be written.
TEND_S: Final = 0.5


class Worker:
    """Owns a core's partitions: `poll`, decide in batches, `commit`. `gather_s`: how long a batch waits for more behind its
    first record; a flow that no call waits for makes fewer transactions so, and leaves the broker to those that matter.
    `on_disk`: where states are kept; in memory alone, a start reads all of the changelogs."""

    def __init__(
        self, flow: str, slot: int, core: Core, config: Config, *, gather_s: float = 0.0, on_disk: bool = True
    ) -> None:
        self.flow = flow
        self.core = core
        self.config = config
        name = f"{flow}-{slot}"
        self._transactions = Transactions(name, config)
        core.skips = _skips(config)
        if on_disk:
            core.states = self._disk
        # Half of it for what is not on disk yet, half for what is being written, and was just before.
        self._memory_bytes = config.states_mb * 500_000
        self._tend_at = 0.0
        self._turn = 0
        self._origins: dict[str, Origin] = {}
        self._restore: Restore | None = None
        more: dict[str, Any] = {"queued.min.messages": 100_000}
        if gather_s:
            more |= {"fetch.min.bytes": GATHERED_BYTES, "fetch.wait.max.ms": int(gather_s * 1_000)}
        self._gather_s = gather_s
        self._consumer = member(config, flow, slot, more)
        self._lag = Lag(flow, self._consumer)
        self._consumer.subscribe(
            sorted(core.deciders), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    # --- partitions come and go ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it has its share of the log, and all states of it."""
        return bool(self.core.lanes) and self._restore is None

    def _disk(self, entity: Entity, partition: int) -> States:
        return Disk(self.config.home / "states" / entity.name / str(partition), self._origins[entity.changelog])

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        # Nothing is fetched before the states are there; the group need not know.
        consumer.assign([])
        stood = patiently("the group's positions", lambda: committed(consumer, parts, TIMEOUT_S))
        offsets = {(part.topic, part.partition): part.offset for part in stood}
        cluster, ids = patiently("the changelogs' ids", lambda: identity(self.config, sorted(self.core.changelogs)))
        self._origins = {changelog: Origin(cluster, id_) for changelog, id_ in ids.items()}
        lanes = [self.core.open(part.topic, part.partition) for part in parts]
        self._restore = Restore(self.flow, lanes, self.config, self._memory_bytes, offsets)

    def _go_on(self, restore: Restore) -> None:
        """Restore a bit more; when all is there, fetch."""
        if not restore.advance(RESTORE_S):
            self._consumer.poll(0)
            return
        self._restore = None
        self._consumer.assign([TopicPartition(*place, lane.position) for place, lane in self.core.lanes.items()])
        self._count()
        log.info("%s: %d partitions assigned", self.flow, len(self.core.lanes))

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        if self._restore:
            self._restore.close()
            self._restore = None
        self._let_go(sync=False)
        consumer.unassign()
        self._count()
        log.info("%s: %d partitions given up", self.flow, len(parts))

    def _let_go(self, *, sync: bool) -> None:
        """Whoever takes the lanes over finds all states on disk."""
        for lane in self.core.lanes.values():
            try:
                lane.states.close(sync=sync)
            except DisownedError as error:
                log.info("%s", error)
        self.core.lanes.clear()

    def _count(self) -> None:
        metrics.PARTITIONS.labels(self.flow).set(len(self.core.lanes))
        metrics.RESTORED.labels(self.flow).set(sum(len(lane.states) for lane in self.core.lanes.values()))

    # --- one batch, one transaction --------------------------------------------------------------------------------------

    def poll(self) -> list[Record] | None:
        """The next records, or an empty list when wakes are due, or None. Waits at most POLL_S. Errors: KafkaException, those
        of a restore."""
        if self._restore:
            self._go_on(self._restore)
            return None
        wait = POLL_S
        wake = self.core.next_wake()
        if wake is not None:
            wait = min(wait, max(0.0, (wake - datetime.now(UTC)).total_seconds()))
        first = self._consumer.poll(wait)
        self._lag.publish((place, lane.position) for place, lane in self.core.lanes.items())
        if first is None:
            if time.monotonic() > self._tend_at:
                self._tend()
            return [] if wake is not None and wake <= datetime.now(UTC) else None
        return records_of([first, *self._consumer.consume(BATCH_RECORDS - 1, self._gather_s)]) or None

    def decide(self, records: list[Record]) -> list[Batch]:
        """Decide the records in batches; the outputs of all but the last are sent into the open transaction. Errors:
        DeciderError, TooManyDeadLettersError, KafkaException: final."""
        batches, at = [Batch(self.core)], datetime.now(UTC)
        self.core.hold(at, lambda lane: self._lag.end_of(lane.entity.inbox, lane.partition))
        batches[0].wake(at)
        for first in range(0, len(records), SENT_RECORDS):
            if first:
                self._transactions.send(batches[-1].seal())
                batches[-1].merge()
                batches.append(Batch(self.core))
            batches[-1].decide(partial(self._feed, records[first : first + SENT_RECORDS]))
            for parked in batches[-1].parked:
                why = f"{self.flow} parks an entity ({parked.cause}): {parked.error}"
                log.error("%s; see `olo dead-letters show %s`", why, parked.place)
        if records:
            self._lag.took(records[-1])
        return batches

    def _feed(self, records: list[Record], take: Take) -> None:
        lanes = self.core.lanes
        place: tuple[str, int] | None = None
        lane = None
        for record in records:
            found = (record.topic(), record.partition())
            if found != place:
                place, lane = found, lanes.get(found)
            # Not due: the partition was given up since the fetch (another worker has it), or given up and got back.
            if lane is not None and (offset := record.offset()) >= lane.position:
                take(lane, offset, record.key() or b"", record.value() or b"")

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
        self._note(self._transactions.placed)
        self._tend()
        self._measure(batches, time.monotonic() - began)

    def _note(self, placed: dict[tuple[str, int], int]) -> None:
        """What was merged is in the changelogs, up to the positions that the transaction has put there."""
        for (changelog, partition), offset in placed.items():
            lane = self.core.lanes[self.core.changelogs[changelog], partition]
            lane.states.reached(offset + 1, lane.position)

    def _tend(self) -> None:
        """Write states behind the log, as far as it is time: a slice of one lane, in turn, since a command waits for it; all of
        them where memory is short. Errors: DisownedError, lmdb.Error: final."""
        self._tend_at = time.monotonic() + TEND_S
        lanes = list(self.core.lanes.values())
        pressed = sum(lane.states.recent_bytes for lane in lanes) > self._memory_bytes
        for number in range(self._turn, self._turn + len(lanes)):
            if lanes[number % len(lanes)].states.tend(pressed=pressed) and not pressed:
                self._turn = number + 1
                return

    def _measure(self, batches: list[Batch], took: float) -> None:
        decided, dead = sum(batch.decided for batch in batches), sum(batch.dead for batch in batches)
        metrics.COMMIT.labels(self.flow).observe(took)
        metrics.BATCH.labels(self.flow).observe(decided + dead)
        metrics.DECIDED.labels(self.flow).inc(decided)
        metrics.DEAD.labels(self.flow).inc(dead)
        metrics.WRITTEN.labels(self.flow).inc(sum(len(batch.outputs) for batch in batches))
        for batch in batches:
            for name in alarms_in(self.flow, batch.outputs):
                metrics.ALARMS.labels(name).inc()
        metrics.PARKED.labels(self.flow).set(sum(len(lane.parked) for lane in self.core.lanes.values()))
        metrics.mark_working(self.flow)

    def close(self) -> None:
        """Leave cleanly: nothing is in flight, since a batch is committed before the next poll."""
        self._let_go(sync=True)
        self._consumer.close()
        self._transactions.close()


def _skips(config: Config) -> set[tuple[str, int, int]]:
    """The records that an operator set aside with `olo dead-letters skip`; what names no place is a stranger's."""
    found = set()
    for record in read_topic(config, SKIPS.name):
        try:
            topic, partition, offset = key_of(record).rsplit("/", 2)
            found.add((topic, int(partition), int(offset)))
        except ValueError:
            log.warning("a record of %s names no place, and is left out: %r", SKIPS.name, record.key())
    return found
