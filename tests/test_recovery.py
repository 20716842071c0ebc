"""What is left when Kafka's own bookkeeping goes, or a store on disk does: nothing lost, nothing doubled, or one clear line."""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from infra import dead_letters, kafka
from infra.config import Config
from infra.errors import UsageError
from infra.kafka import quiet, read_topic
from infra.topics import create_topics
from pipelines.flows.store import _refuse_another_log
from pipelines.runtime import restore, transactions
from pipelines.runtime import worker as worker_module
from pipelines.runtime.core import Core, Decider
from pipelines.runtime.lane import Decide
from pipelines.runtime.worker import Worker
from schemas.log.base import Message, now
from schemas.log.codec import encode, state_decoder
from schemas.log.entity import Entity, Topic
from schemas.log.topics import Route
from tests.conftest import Stack, eventually
from tests.lab.bench.ground import fill, make_topics
from tests.lab.bench.jobs import Book, Command, Outcome, decide, entity_of

ACCOUNTS = 40


class Crash(BaseException):
    """The end of a process, as no handler of errors sees it."""


class Trial(NamedTuple):
    """An entity of its own on the real broker, and a folder for its states."""

    entity: Entity
    config: Config

    @property
    def home(self) -> Path:
        return self.config.home

    def send(self, first: int, count: int) -> None:
        """One coin each, to all accounts in turn."""
        commands = [Command(id=f"c{n}", at=now(), account=f"a{n % ACCOUNTS}", coins=1) for n in range(first, first + count)]
        fill(self.config, self.entity.inbox, ((one.account.encode(), encode(one)) for one in commands))

    def worker(self, slot: int = 0, decider: Decide = decide) -> Worker:
        return Worker(self.entity.name, slot, Core([Decider(self.entity, decider)], self.table()), self.config)

    def table(self) -> dict[type[Message], tuple[Route, ...]]:
        return {Outcome: (Route(self.entity.events, attrgetter("account")),)}

    def decide(self, count: int, worker: Worker | None = None, *, close: bool = True) -> None:
        """Work until so many records are decided; idle for a while at the end, to see that no more are."""
        worker = worker or self.worker()
        decided = idle = 0
        try:
            while decided < count or idle < 20:
                messages = worker.poll()
                if messages:
                    batches = worker.decide(messages)
                    worker.commit(batches)
                    decided += sum(batch.decided for batch in batches)
                idle = 0 if messages or worker._restore or not worker.core.lanes else idle + 1
            assert decided == count
        finally:
            if close:
                worker.close()

    def audit(self, commands: int) -> None:
        """Each command was decided once, and the changelog says so."""
        outcomes = [message.value() for message in read_topic(self.config, self.entity.events)]
        assert len(outcomes) == len(set(outcomes)) == commands
        states = {message.key(): message.value() for message in read_topic(self.config, self.entity.changelog)}
        read = state_decoder(Book)
        books = [read(value) for value in states.values() if value]
        assert sum(book.balance_coins for book in books) == sum(book.seq for book in books) == commands


@pytest.fixture
def trial(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Trial:
    # Until then the broker takes a worker that has left for a member, and what it has left open for a transaction.
    monkeypatch.setattr(kafka, "SESSION_MS", 6_000)
    monkeypatch.setattr(transactions, "TRANSACTION_MS", 10_000)
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[-60:].strip("-")
    entity = entity_of(f"trial-{name}")
    config = stack.config.model_copy(update={"home": tmp_path / "home"})
    make_topics(config, entity.inbox, entity.events)
    make_topics(config, entity.changelog, compacted=True)
    return Trial(entity, config)


def changed(trial: Trial, change: Callable[[AdminClient], dict[str, Future[Any]]]) -> None:
    """Change the group's offsets, as soon as the broker has noticed that it has no member any more."""
    admin = AdminClient(quiet(trial.config))

    def done() -> bool:
        try:
            result = change(admin)[trial.entity.name].result(30)
        except KafkaException:
            return False
        # A member that has just ended still counts: that is told with each partition.
        return not any(part.error for part in getattr(result, "topic_partitions", ()))

    eventually(done)


def forget_offsets(trial: Trial) -> None:
    changed(trial, lambda admin: admin.delete_consumer_groups([trial.entity.name]))


def set_offsets(trial: Trial, offset: int) -> None:
    parts = [TopicPartition(trial.entity.inbox, p, offset) for p in range(trial.entity.partitions)]
    group = ConsumerGroupTopicPartitions(trial.entity.name, parts)
    changed(trial, lambda admin: admin.alter_consumer_group_offsets([group]))


def to_the_start(trial: Trial) -> None:
    set_offsets(trial, 0)


def beyond_the_end(trial: Trial) -> None:
    set_offsets(trial, 1_000_000)


def nothing(trial: Trial) -> None:
    pass


def delete_states(trial: Trial) -> None:
    shutil.rmtree(trial.home)


def truncate_states(trial: Trial) -> None:
    for data in trial.home.rglob("data.mdb"):
        os.truncate(data, data.stat().st_size // 2)


def both(trial: Trial) -> None:
    forget_offsets(trial)
    delete_states(trial)


@pytest.mark.parametrize(
    "harm",
    [nothing, forget_offsets, to_the_start, beyond_the_end, delete_states, truncate_states, both],
    ids=lambda f: f.__name__,
)
def test_what_is_lost_beside_the_log_changes_nothing(trial: Trial, harm: Callable[[Trial], None]) -> None:
    trial.send(0, 500)
    trial.decide(500)
    harm(trial)
    trial.send(500, 300)
    trial.decide(300)
    trial.audit(800)


def test_states_of_yesterday_beside_the_log_of_today(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.send(0, 200)
    trial.decide(200)
    shutil.copytree(trial.home, trial.home.with_name("yesterday"))
    trial.send(200, 200)
    trial.decide(200)
    shutil.rmtree(trial.home)
    shutil.copytree(trial.home.with_name("yesterday"), trial.home)
    trial.send(400, 200)
    trial.decide(200)
    trial.audit(600)


def test_a_start_reads_only_what_the_states_on_disk_lack(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.send(0, 500)
    trial.decide(500)
    read: list[int] = []
    take = restore.Restore._take

    def counted(self: restore.Restore) -> None:
        take(self)
        read.append(self._records)

    monkeypatch.setattr(restore.Restore, "_take", counted)
    trial.decide(0)
    assert not read, "nothing lies behind a store that was closed"
    delete_states(trial)
    trial.decide(0)
    assert max(read) >= ACCOUNTS


def test_a_failure_in_the_middle_of_a_transaction_leaves_no_states_of_it_on_disk(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SENT_RECORDS", 50)
    trial.send(0, 100)
    trial.decide(100)
    trial.send(100, 500)
    seen = 0

    def stumbles(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
        nonlocal seen
        seen += 1
        if seen == 240:
            raise Crash
        return decide(book, command)

    with pytest.raises(Crash):
        trial.decide(500, trial.worker(decider=stumbles))
    done = sum(1 for _ in read_topic(trial.config, trial.entity.events))
    trial.decide(600 - done)
    trial.audit(600)


def test_a_transaction_that_was_aborted_before_anything_was_decided_is_no_lost_changelog(trial: Trial) -> None:
    trial.send(0, 100)

    def fails(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
        worker._transactions.send([(trial.entity.events, 0, b"a1", b"{}")])
        worker._transactions._producer.flush()
        raise Crash

    worker = trial.worker(decider=fails)
    with pytest.raises(Crash):
        trial.decide(100, worker)
    trial.decide(100)
    trial.audit(100)


def recreate(trial: Trial, topic: str, *, compacted: bool) -> None:
    admin = AdminClient(quiet(trial.config))
    admin.delete_topics([topic])[topic].result(30)
    deadline = 100
    while topic in admin.list_topics(timeout=10).topics and deadline:
        deadline -= 1
    make_topics(trial.config, topic, compacted=compacted)


@pytest.mark.parametrize("offsets", [True, False])
def test_a_changelog_that_was_lost_is_refused_and_the_inbox_is_not_decided_again(trial: Trial, offsets: bool) -> None:
    trial.send(0, 100)
    trial.decide(100)
    recreate(trial, trial.entity.changelog, compacted=True)
    if not offsets:
        forget_offsets(trial)
    with pytest.raises(UsageError, match=r"was lost, and deciding the inbox again would do everything twice; .*olo rebuild"):
        trial.decide(1)
    assert sum(1 for _ in read_topic(trial.config, trial.entity.events)) == 100


def test_an_inbox_that_ends_before_its_position_is_refused(trial: Trial) -> None:
    trial.send(0, 100)
    trial.decide(100)
    recreate(trial, trial.entity.inbox, compacted=False)
    with pytest.raises(UsageError, match=r"ends at 0, and .* records of it have been decided"):
        trial.decide(1)


def test_a_changelog_whose_inbox_has_been_decided_from_is_not_created_anew(trial: Trial) -> None:
    trial.send(0, 100)
    trial.decide(100)
    topics = [Topic(name, "", (), compacted=name.endswith(".state"))
              for name in (trial.entity.inbox, trial.entity.events, trial.entity.changelog)]  # fmt: skip
    admin = AdminClient(quiet(trial.config))
    admin.delete_topics([trial.entity.changelog])[trial.entity.changelog].result(30)
    with pytest.raises(UsageError, match=rf"{trial.entity.changelog} is missing, and .* has facts"):
        create_topics(trial.config, topics)
    assert trial.entity.changelog not in admin.list_topics(timeout=10).topics


def test_a_restore_that_takes_long_keeps_its_place_in_the_group(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that goes on for longer than the group waits for a member that does not poll."""
    trial.send(0, 400)
    trial.decide(400)
    delete_states(trial)
    monkeypatch.setattr(kafka, "REBALANCE_MS", kafka.SESSION_MS)
    slow = trial.worker()
    take, slices = restore.Restore._take, 0

    def held(self: restore.Restore) -> None:
        nonlocal slices
        slices += 1
        if slices > 16:
            take(self)
        else:
            time.sleep(0.5)

    monkeypatch.setattr(restore.Restore, "_take", held)
    trial.send(400, 100)
    trial.decide(100, slow)
    trial.audit(500)


def test_an_entity_that_cannot_be_decided_waits_until_an_operator_lets_it_go_on(trial: Trial) -> None:
    def fails(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
        if command.account == "a7":
            raise ZeroDivisionError("oops")
        return decide(book, command)

    trial.send(0, 10 * ACCOUNTS)
    trial.decide(9 * ACCOUNTS + ACCOUNTS - 10, trial.worker(decider=fails))
    (waiting,) = [found for place, found in dead_letters.parked(trial.config).items() if place[0] == trial.entity.inbox]
    assert [letter.cause for letter in waiting] == ["decider_failed"] + ["behind"] * 9
    with pytest.raises(dead_letters.NoSuchPlaceError, match=f"waits behind {waiting[0].id}"):
        dead_letters.skip(trial.config, waiting[1].id)
    dead_letters.redrive(trial.config, waiting[3].id)
    trial.send(10 * ACCOUNTS, ACCOUNTS)
    trial.decide(ACCOUNTS + 1)
    trial.audit(11 * ACCOUNTS)
    assert not [place for place in dead_letters.parked(trial.config) if place[0] == trial.entity.inbox]


def test_a_warehouse_that_belongs_to_another_log_is_refused() -> None:
    fine = {("a.events", 0): 9, ("a.events", 1): -1}
    _refuse_another_log(fine, {("a.events", 0): 10, ("a.events", 1): 0, ("b.events", 0): 0})
    with pytest.raises(UsageError, match=r"holds a\.events/0 up to 9, and the log ends at 9: .* name a new database"):
        _refuse_another_log(fine, {("a.events", 0): 9})
