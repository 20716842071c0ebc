"""A rebuild where nothing tells how far the inbox was decided any more: the facts prove it, or it is refused in one line."""

from operator import attrgetter

import pytest

from infra.config import Config, load
from infra.errors import UsageError
from pipelines.flows import rebuild
from pipelines.flows.rebuild import Plan
from pipelines.runtime.core import Batch, Core, Decider
from pipelines.runtime.lane import Routes
from schemas.log.codec import encode
from schemas.log.entity import partition_of
from schemas.log.topics import DEAD_LETTERS, Route
from tests.broker import Broker
from tests.lab.bench import jobs
from tests.lab.bench.jobs import Book, Command, Outcome, entity_of
from tests.test_core import T

ENTITY = entity_of("trial")
TABLE: Routes = {Outcome: (Route(ENTITY.events, attrgetter("account")),)}
P = partition_of(b"a", ENTITY.partitions)
# What a command does, by its coins: it tells a fact; it has no effect at all; it changes the state without a fact; it fails; it
# cannot be read.
FACT, NOTHING, SILENT, FAILS, BROKEN = 1, 0, 7, 13, 99


def decide(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
    if command.coins == FAILS:
        raise ZeroDivisionError("oops")
    if command.coins == NOTHING:
        return book or Book(), ()
    after, outcomes = jobs.decide(book, command)
    return after, () if command.coins == SILENT else outcomes


def record(number: int, coins: int) -> tuple[bytes, bytes]:
    command = encode(Command(id=f"c{number}", at=T, account="a", coins=coins))
    return b"a", b"{" if coins == BROKEN else command


def plan(
    monkeypatch: pytest.MonkeyPatch, decided: list[int], sent: list[int], offset: int = -1
) -> tuple[Plan, tuple[int, dict[bytes, bytes]]]:
    """What a rebuild plans when some commands were decided, others were sent, and the changelog is lost; and what was lost."""
    broker, core = Broker(marks=1), Core([Decider(ENTITY, decide)], TABLE)
    broker.install(monkeypatch, "infra.kafka")
    lane = core.open(ENTITY.inbox, P)
    for number, coins in enumerate(decided):
        batch = Batch(core)
        batch.take(lane, number, *record(number, coins))
        for topic, _, key, value in batch.seal():
            if topic in (ENTITY.events, DEAD_LETTERS.name):
                broker.write(topic, P if topic == ENTITY.events else 0, key, value)
        batch.merge()
    for number, coins in enumerate(decided + sent):
        broker.write(ENTITY.inbox, P, *record(number, coins))
    config: Config = load(brokers="nowhere:1")
    return rebuild._plan(config, Decider(ENTITY, decide), P, offset, TABLE), (lane.position, dict(lane.states.under(b"")))


@pytest.mark.parametrize(
    ("decided", "sent"),
    [
        ([FACT], []),
        ([FACT, SILENT, FACT], []),
        ([FACT] * 3, [FACT] * 3),
        ([FACT] * 3, [FACT, SILENT]),
        ([FACT, BROKEN], [FACT]),
        ([FACT, BROKEN], [BROKEN, SILENT]),
        ([FACT] * 2, [NOTHING, NOTHING, FACT]),
        ([FACT] * 2, [NOTHING]),
    ],
)
def test_the_last_fact_tells_the_position(monkeypatch: pytest.MonkeyPatch, decided: list[int], sent: list[int]) -> None:
    found, lost = plan(monkeypatch, decided, sent)
    assert (found.position, found.states) == lost
    assert not found.there


def test_a_record_without_any_effect_may_be_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found, lost = plan(monkeypatch, [FACT, NOTHING, NOTHING], [FACT])
    assert (found.position, lost[0]) == (1, 3)
    assert found.states == lost[1]


@pytest.mark.parametrize(
    ("decided", "sent"),
    [([FACT, SILENT], []), ([FACT], [SILENT]), ([FACT], [NOTHING, SILENT, FACT]), ([FACT, NOTHING, SILENT], [FACT])],
)
def test_what_leaves_no_fact_may_have_been_decided_or_not(
    monkeypatch: pytest.MonkeyPatch, decided: list[int], sent: list[int]
) -> None:
    with pytest.raises(UsageError, match=r"the facts prove up to 1, and the record [12] tells no fact.* from a backup"):
        plan(monkeypatch, decided, sent)


def test_what_fails_today_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No letter says that it failed when it came."""
    with pytest.raises(UsageError, match=rf"trial\.inbox/{P}/1 cannot be decided today"):
        plan(monkeypatch, [FACT], [FAILS])


def test_nothing_was_decided_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = plan(monkeypatch, [], [FACT, SILENT])
    assert (found.position, found.there) == (-1, True)


def test_where_the_group_tells_its_offset_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found, lost = plan(monkeypatch, [FACT, SILENT], [SILENT], offset=2)
    assert (found.position, found.states) == lost
