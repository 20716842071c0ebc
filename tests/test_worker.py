"""The Kafka worker on the real broker: a poll of many records is sent in parts, and counts as a whole or not at all."""

from collections import Counter
from operator import attrgetter

import pytest

from infra.kafka import read_topic
from pipelines.runtime import transactions
from pipelines.runtime import worker as worker_module
from pipelines.runtime.core import Core, Decider
from pipelines.runtime.lane import Decide
from pipelines.runtime.worker import Worker
from schemas.log.base import Message, now
from schemas.log.codec import encode, state_decoder
from schemas.log.topics import Route
from tests.conftest import Stack, eventually
from tests.lab.bench.ground import fill, make_topics
from tests.lab.bench.jobs import Book, Command, Outcome, decide, entity_of

RECORDS, ACCOUNTS, PART = 12_000, 700, 500


class Crash(BaseException):
    """The end of a process, as no handler of errors sees it."""


def test_a_poll_that_fails_half_way_leaves_nothing_and_counts_once_when_it_is_repeated(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SENT_RECORDS", PART)
    monkeypatch.setattr(transactions, "TRANSACTION_MS", 10_000)  # until then it stays open, with nobody who goes on
    entity = entity_of("trial")
    table: dict[type[Message], tuple[Route, ...]] = {Outcome: (Route(entity.events, attrgetter("account")),)}
    config = stack.config
    make_topics(config, entity.inbox, entity.events)
    make_topics(config, entity.changelog, compacted=True)
    commands = [Command(id=f"c{n}", at=now(), account=f"a{n % ACCOUNTS}", coins=1) for n in range(RECORDS)]
    fill(config, entity.inbox, ((one.account.encode(), encode(one)) for one in commands))
    seen = 0

    def stumbles(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
        nonlocal seen
        seen += 1
        if seen > 2 * PART:
            raise Crash
        return decide(book, command)

    def work(decider: Decide, wanted: int) -> None:
        nonlocal seen
        worker = Worker("trial", 0, Core([Decider(entity, decider)], table), config)
        try:
            decided = 0
            while decided < wanted:
                if messages := worker.poll():
                    seen = 0
                    batches = worker.decide(messages)
                    worker.commit(batches)
                    decided += sum(batch.decided for batch in batches)
                    sizes.append(len(batches))
        finally:
            worker.close()

    sizes: list[int] = []
    with pytest.raises(Crash):
        work(stumbles, RECORDS)
    counted = sum(1 for _ in read_topic(config, entity.events))
    assert eventually(lambda: sum(1 for _ in read_topic(config, entity.events, committed=False)) > counted), (
        "the parts before the crash are on the broker, and do not count"
    )
    sizes.clear()
    work(decide, RECORDS - counted)
    assert max(sizes) > 1, "one transaction of several parts"
    outcomes = Counter(message.value() for message in read_topic(config, entity.events))
    assert len(outcomes) == RECORDS
    assert set(outcomes.values()) == {1}
    states = {message.key(): message.value() for message in read_topic(config, entity.changelog)}
    read = state_decoder(Book)
    assert sum(read(value or b"").seq for value in states.values()) == RECORDS
    assert len(states) == ACCOUNTS
