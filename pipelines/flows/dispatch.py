"""The dispatch flow: the only process that talks to vendors; it also runs the timetable's chores, and plans its jobs. It makes
the attempts that the outbox says are due, and reports.

An attempt whose report is in the log is never made again; one that was under way when the process died is made once more, with
the same deduplication id. For that, a partition's position is its first attempt without a report, and the attempts behind it
that have none are named in the position's metadata: both are committed in the transaction that writes the reports. A replay
fires nothing: who starts without a position, or far behind, makes only those attempts that the outbox still waits for.

`python -m pipelines.flows.dispatch --slot N --metrics-port P`; slots share the partitions.
"""

import json
import logging
import threading
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import httpx
from confluent_kafka import Consumer, TopicPartition

from infra import vendors
from infra.config import Config
from infra.kafka import TIMEOUT_S, Record, ask_patiently, committed, end_offsets, member, patiently, read_topic, records_of
from infra.vendors.answers import Attempt
from pipelines.flows.process import arguments, start
from pipelines.runtime import metrics
from pipelines.runtime.core import Written
from pipelines.runtime.lag import Lag
from pipelines.runtime.transactions import Transactions
from schemas.log.base import MAX_REF_LENGTH, Message, derive, now
from schemas.log.codec import decoder_of, encode, state_decoder, unreadable
from schemas.log.dead_letters import letter_of
from schemas.log.entity import partition_of
from schemas.log.topics import DEAD_LETTERS
from schemas.outbox import OUTBOX, AttemptOutcome, Effect, EffectDue, EffectKind, EffectStatus, ReportAttempt
from schemas.push import ANY_PROVIDER

log = logging.getLogger("olo.dispatch")

NAME: Final = "dispatch"
# Vendors take up to 20 s for an answer; so many are waited for at once. Their offsets must fit into the metadata (4 KB).
AT_ONCE: Final = 64
POLL_S: Final = 0.02
# A process that was away for so many facts asks the outbox what is left to do, instead of its own memory.
FAR_BEHIND: Final = 1_000


class Limiter:
    """Spreads the attempts at one vendor evenly: `wait` returns when the next one may be made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = defaultdict(float)

    def wait(self, vendor: str, per_s: float) -> None:
        """Take the vendor's next turn, and wait for it."""
        with self._lock:
            turn = max(self._free_at[vendor], time.monotonic())
            self._free_at[vendor] = turn + 1 / per_s
        time.sleep(max(0.0, turn - time.monotonic()))


class Breaker:
    """Leaves a vendor alone that does not answer, so that its time-outs do not take the turns of all others: behind IN_A_ROW
    attempts without an answer, one attempt every PROBE_S finds out whether it is back."""

    IN_A_ROW: Final = 5
    PROBE_S: Final = 5.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unanswered: dict[str, int] = defaultdict(int)
        self._probe_at: dict[str, float] = defaultdict(float)

    def lets(self, vendor: str) -> bool:
        """Whether an attempt may be made now."""
        with self._lock:
            if self._unanswered[vendor] < self.IN_A_ROW:
                return True
            if time.monotonic() < self._probe_at[vendor]:
                return False
            self._probe_at[vendor] = time.monotonic() + self.PROBE_S
            return True

    def heard(self, vendor: str, attempt: Attempt) -> None:
        """An attempt was made."""
        with self._lock:
            silent = attempt.outcome is AttemptOutcome.FAILED and not attempt.status
            self._unanswered[vendor] = self._unanswered[vendor] + 1 if silent else 0
            if self._unanswered[vendor] == self.IN_A_ROW:
                self._probe_at[vendor] = time.monotonic() + self.PROBE_S


class Running(NamedTuple):
    """An attempt under way."""

    due: EffectDue
    attempt: Future[Attempt]


class Past(NamedTuple):
    """Of a replay: up to where, and which attempts (effect -> number) the outbox still waits for."""

    end: int
    due: dict[str, int]

    def is_over(self, offset: int, fact: EffectDue) -> bool:
        """Whether an attempt was made long ago."""
        return offset < self.end and self.due.get(fact.effect) != fact.attempt


class OwedEffects:
    """One partition: `position`, the first attempt without a report, `next`, the first fact that was not read, and `running`.

    What is kept beside the position (`kept`) are the attempts without a report, of which there are AT_ONCE at most: a chore of
    an hour may have thousands behind it that have one."""

    def __init__(self, position: int, kept: str = "", past: Past | None = None) -> None:
        self.position = position
        self.past = past
        self.since = now()
        self.running: dict[int, Running] = {}
        self.next = position
        found = json.loads(kept or "[]")
        if isinstance(found, list):  # as it was kept before: those that have a report
            self._seen = max([position, *(offset + 1 for offset in found)])
            self._open = set(range(position, self._seen)) - set(found)
        else:
            self._seen, self._open = found["seen"], set(found["open"])

    def owes(self, offset: int) -> bool:
        """Whether the attempt has no report yet."""
        return offset >= self._seen or offset in self._open

    def kept(self) -> str:
        """What stands beside the position."""
        ahead = {offset for offset in self._open if offset >= self.next}
        return json.dumps({"seen": max(self.next, self._seen), "open": sorted(ahead | self.running.keys())})

    def finish(self, offsets: set[int]) -> None:
        """These have a report."""
        self._open -= offsets
        for offset in offsets:
            self.running.pop(offset, None)
        self.position = min(self.running, default=self.next)


class Reported(NamedTuple):
    """An attempt that has ended."""

    place: tuple[int, int]
    due: EffectDue
    attempt: Attempt


class Dispatch:
    """The flow's steps: `poll` what is due, `decide` (begin attempts, gather the ended ones), `commit` (their reports)."""

    def __init__(self, slot: int, config: Config) -> None:
        self._config = config
        self._transactions = Transactions(f"{NAME}-{slot}", config)
        self._consumer = member(config, NAME, slot, {})
        self._lag = Lag(NAME, self._consumer)
        self._lanes: dict[int, OwedEffects] = {}
        # Of facts that nobody can read, until the next commit.
        self._letters: list[tuple[int, Written]] = []
        self._decode = decoder_of(OUTBOX.facts)
        self._limiter = Limiter()
        self._breaker = Breaker()
        self._client = httpx.Client(trust_env=False, follow_redirects=False)
        self._pool = ThreadPoolExecutor(AT_ONCE, "attempt")
        self._consumer.subscribe(
            [OUTBOX.events], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )  # fmt: skip

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        begins = patiently("the group's positions", lambda: committed(consumer, parts, TIMEOUT_S))
        shares = [part.partition for part in begins]
        ends = ask_patiently("the ends of what is due", self._config, lambda plain: end_offsets(plain, OUTBOX.events, shares))
        for part in begins:
            behind = ends[part.partition] - part.offset
            past = (
                self._past(part.partition, ends[part.partition])
                if behind > FAR_BEHIND or (behind and not part.offset)
                else None
            )
            self._lanes[part.partition] = OwedEffects(part.offset, part.metadata or "", past)
        consumer.assign(begins)
        metrics.PARTITIONS.labels(NAME).set(len(self._lanes))

    def _past(self, partition: int, end: int) -> Past:
        """What the outbox waits for; its states are written with the facts, so they are as new as `end`."""
        decode = state_decoder(Effect)
        due: dict[str, int] = {}
        for record in read_topic(self._config, OUTBOX.changelog, partition=partition):
            name, value = (record.key() or b"").decode(errors="replace"), record.value()
            due.pop(name, None)
            try:
                state = None if value is None else decode(value)
            except ValueError:  # the outbox parks this effect
                continue
            if state is not None and state.status is EffectStatus.DUE:
                due[name] = state.attempt
        log.info("partition %d: a replay up to %d, of which %d attempts are due", partition, end, len(due))
        return Past(end, due)

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        """Another slot goes on behind the committed positions; what is under way here is made again there."""
        for part in parts:
            self._lanes.pop(part.partition, None)
        consumer.unassign()
        metrics.PARTITIONS.labels(NAME).set(len(self._lanes))

    # --- steps -----------------------------------------------------------------------------------------------------------

    def poll(self) -> list[Record] | None:
        """What is due next, or an empty list when attempts have ended, or None. Errors: KafkaException."""
        room = AT_ONCE - sum(len(lane.running) for lane in self._lanes.values())
        messages = self._consumer.consume(room, POLL_S) if room else []
        if not room:
            time.sleep(POLL_S)
        self._lag.publish(((OUTBOX.events, p), lane.position) for p, lane in self._lanes.items())
        good = records_of(messages)
        ended = any(one.attempt.done() for lane in self._lanes.values() for one in lane.running.values())
        return good if good or ended else None

    def decide(self, records: list[Record]) -> list[Reported]:
        """Begin what is due; what has ended meanwhile."""
        for record in records:
            lane, offset = self._lanes.get(record.partition()), record.offset()
            if lane is None or offset < lane.next:
                continue
            lane.next = offset + 1
            fact = self._fact(record)
            over = lane.past is not None and isinstance(fact, EffectDue) and lane.past.is_over(offset, fact)
            if isinstance(fact, EffectDue) and lane.owes(offset) and not over:
                again = record.timestamp()[1] < lane.since.timestamp() * 1_000
                lane.running[offset] = Running(fact, self._pool.submit(self._attempt, fact, again))
            else:
                lane.finish(set())
        if records:
            self._lag.took(records[-1])
        return [
            Reported((partition, offset), one.due, one.attempt.result())
            for partition, lane in self._lanes.items()
            for offset, one in lane.running.items()
            if one.attempt.done()
        ]

    def _fact(self, record: Record) -> Message | None:
        """What a record tells; None, and a dead letter, where nobody can read that."""
        try:
            return self._decode(record.value() or b"")
        except ValueError as error:
            wrong = unreadable(error)
            place = f"{OUTBOX.events}/{record.partition()}/{record.offset()}"
            log.error("%s cannot be read (%s), and is passed over: %s; see `olo dead-letters list`", place, wrong.cause, wrong)
            key, value = (record.key() or b"")[:MAX_REF_LENGTH], record.value() or b""
            letter = letter_of((OUTBOX.events, record.partition()), (record.offset(), key, value), wrong.cause, str(wrong), "")
            self._letters.append((record.partition(), (DEAD_LETTERS.name, 0, place.encode(), encode(letter))))
            return None

    def _attempt(self, due: EffectDue, again: bool) -> Attempt:
        """Make an attempt. What was due before this process had the partition another one may have begun: unless it is taken,
        it is in doubt."""
        made = self._made(due)
        asked = due.kind is EffectKind.PUSH and due.provider != ANY_PROVIDER
        return made._replace(doubtful=True) if again and asked and made.outcome is not AttemptOutcome.ACCEPTED else made

    def _made(self, due: EffectDue) -> Attempt:
        if now() >= due.expires_at:
            return Attempt(AttemptOutcome.FAILED, 0, "too late")
        if not self._breaker.lets(due.provider):
            return Attempt(AttemptOutcome.FAILED, 0, f"not tried: {due.provider} has not answered lately")
        if way := vendors.vendor_call_of(due):
            self._limiter.wait(due.provider, way.per_s)
        made = vendors.attempt(due, self._config, self._client)
        self._breaker.heard(due.provider, made)
        return made

    def commit(self, ended: list[Reported]) -> None:
        """Write the reports, and where each partition goes on, in one transaction. Errors: KafkaException and Stuck, final."""
        if not ended and not self._letters:
            return
        began = time.monotonic()
        records = [*map(_report, ended), *(letter for _, letter in self._letters)]
        offsets: dict[int, set[int]] = defaultdict(set, {p: set() for p, _ in self._letters if p in self._lanes})
        for one in ended:
            offsets[one.place[0]].add(one.place[1])
        for partition, finished in offsets.items():
            self._lanes[partition].finish(finished)
        self._transactions.write(records, [_position(p, self._lanes[p]) for p in offsets], self._consumer)
        metrics.COMMIT.labels(NAME).observe(time.monotonic() - began)
        metrics.DECIDED.labels(NAME).inc(len(ended))
        metrics.DEAD.labels(NAME).inc(len(self._letters))
        self._letters.clear()
        metrics.WRITTEN.labels(NAME).inc(len(records))
        metrics.mark_working(NAME)
        for one in ended:
            metrics.VENDORS.labels(one.due.provider, one.due.kind, one.attempt.outcome).inc()
            if one.due.kind is EffectKind.PUSH:
                metrics.PUSHES.labels(one.due.provider, one.attempt.failure or one.attempt.outcome).inc()
            log.info("%s attempt %d: %s, status %d", one.due.effect, one.due.attempt, one.attempt.outcome, one.attempt.status)

    def close(self) -> None:
        """Leave: what is under way is not waited for, and made again."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._consumer.close()
        self._transactions.close()
        self._client.close()
        vendors.close()


def _position(partition: int, lane: OwedEffects) -> TopicPartition:
    return TopicPartition(OUTBOX.events, partition, lane.position, lane.kept())


def _report(ended: Reported) -> Written:
    due, attempt = ended.due, ended.attempt
    report = ReportAttempt(
        **derive(due, "report", now()), effect=due.effect, attempt=due.attempt, outcome=attempt.outcome,
        status=attempt.status, detail=attempt.detail, retry_after_s=attempt.retry_after_s, plan=attempt.plan,
        doubtful=attempt.doubtful, provider=attempt.provider, failure=attempt.failure, dead_at=attempt.dead_at,
    )  # fmt: skip
    key = due.effect.encode()
    return OUTBOX.inbox, partition_of(key, OUTBOX.partitions), key, encode(report)


if __name__ == "__main__":
    start(NAME, Dispatch, arguments())
