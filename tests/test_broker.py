"""What the code takes for granted of a broker (docs/broker.md): each reader ends, and finds the same, whatever the broker does.

Kafka tells a partition's end and what lies behind the last record; Redpanda may not. Every reader runs on each of them here.
"""

from operator import attrgetter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition

from infra import dead_letters, doctor_flows, doctor_states
from infra.config import Config, load
from infra.kafka import BoundedRead, StandstillError, ends_of, has_records, read_to_end, read_topic, reader
from pipelines.flows import rebuild
from pipelines.flows.history import changelog
from pipelines.flows.replay import replayed
from pipelines.flows.store import _refuse_another_log
from pipelines.runtime.core import Batch, Core, Decider
from pipelines.runtime.lane import Routes
from pipelines.runtime.restore import Restore
from schemas.balance import ACCOUNT
from schemas.log.codec import encode
from schemas.log.dead_letters import DeadCause, DeadLetter, letter_of
from schemas.log.entity import log_partitions, partition_of
from schemas.log.topics import DEAD_LETTERS, Route
from serving.runtime.tail import Tail
from serving.view_store.changes import places
from serving.view_store.keeper import Following
from tests.broker import Broker
from tests.lab.bench.jobs import Command, Outcome, decide, entity_of
from tests.test_core import T

ENTITY = entity_of("trial")
TABLE: Routes = {Outcome: (Route(ENTITY.events, attrgetter("account")),)}
MODULES = ("infra.kafka", "infra.doctor_flows", "infra.doctor_states", "pipelines.flows.rebuild")
KINDS: dict[str, dict[str, Any]] = {
    "Kafka": {"marks": 1},
    "Kafka without transactions": {},
    "the end is not told": {"tells_end": False, "marks": 1},
    "nor marks, nor the end": {"tells_end": False},
    "one offset more": {"marks": 2, "more": 1},
    "all of it, and elections": {"tells_end": False, "marks": 2, "more": 1, "stumbles": True},
}


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A log in which 60 commands were decided, two of them behind the group's position, and one letter waits."""
    kind = Broker(**KINDS[request.param])
    kind.install(monkeypatch, *MODULES)
    for number in range(60):
        key = f"a{number % 7}"
        command = Command(id=f"c{number}", at=T, account=key, coins=1)
        kind.write(ENTITY.inbox, partition_of(key.encode(), ENTITY.partitions), key.encode(), encode(command))
    core = Core([Decider(ENTITY, decide)], TABLE)
    for partition in range(ENTITY.partitions):
        lane = core.open(ENTITY.inbox, partition)
        batch = Batch(core)
        for offset, (name, value) in enumerate(kind.logs[ENTITY.inbox, partition]):
            batch.take(lane, offset, name or b"", value or b"")
        for topic, share, name, value in batch.seal():
            kind.write(topic, share, name, value)
        kind.offsets[ENTITY.inbox, partition] = lane.position
        batch.merge()
    letter = DeadLetter(
        id="x/0/1", at=T, cause=DeadCause.BROKEN_JSON, error="e", topic="x", partition=0, offset=1, key=b"k", value=b"v"
    )
    kind.write(DEAD_LETTERS.name, 0, b"x/0/1", encode(letter))
    return kind


@pytest.fixture
def config() -> Config:
    return load(brokers="nowhere:1")


def test_bounded_reads(broker: Broker, config: Config) -> None:
    for topic in (ENTITY.inbox, ENTITY.events):
        found = [record.key() for record in read_topic(config, topic)]
        assert sorted(found, key=str) == sorted((key for place in two(topic) for key, _ in broker.logs[place]), key=str)
    place = (ENTITY.inbox, 0)
    for start in (0, 3, len(broker.logs[place]), broker.end(place)):
        with reader(config) as plain, BoundedRead(config, [TopicPartition(*place, start)], ends_of(plain, [place])) as read:
            assert [record.offset() for record in until_done(read)] == list(range(start, len(broker.logs[place])))
    assert [has_records(config, one) for one in ((ENTITY.events, 0), ("nothing", 0))] == [True, False]


def two(topic: str) -> list[tuple[str, int]]:
    return [(topic, partition) for partition in range(ENTITY.partitions)]


def until_done(read: BoundedRead) -> list[Any]:
    found: list[Any] = []
    for _ in range(100):
        found += read.next(5, 0.0)
        if read.done:
            return found
    raise AssertionError("it does not end")


def test_a_read_whose_end_nothing_tells_gives_what_there_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    silent = Broker(tells_end=False, marks=1, steps=False)
    silent.install(monkeypatch, *MODULES)
    for number in range(3):
        silent.write("x", 0, b"%d" % number, b"v")
    read = read_to_end(config, [TopicPartition("x", 0, 0)], {("x", 0): 4})
    assert [next(read).key() for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(StandstillError, match="x/0 was read up to 3, its end at 4 does not come"):
        next(read)
    assert has_records(config, ("x", 0))


def test_a_restore(broker: Broker, config: Config) -> None:
    core = Core([Decider(ENTITY, decide)], TABLE)
    lanes = [core.open(ENTITY.inbox, partition) for partition in range(ENTITY.partitions)]
    restore = Restore("trial", lanes, config, 1 << 20, dict.fromkeys(two(ENTITY.inbox), 0))
    assert any(restore.advance(1.0) for _ in range(100))
    assert {(ENTITY.inbox, lane.partition): lane.position for lane in lanes} == broker.offsets
    assert sum(len(lane.states) for lane in lanes) == 7


def test_history_replay_and_rebuild(broker: Broker, config: Config) -> None:
    for partition in range(ENTITY.partitions):
        position, states = changelog(config, ENTITY, partition)
        assert position == broker.offsets[ENTITY.inbox, partition]
        found = replayed(config, Decider(ENTITY, decide), partition, TABLE)
        assert (found.position, found.difference, found.incomplete) == (position, "", "")
        assert rebuild._plan(config, Decider(ENTITY, decide), partition, position, TABLE).states == states


def test_a_rebuild_takes_an_offset_that_is_one_higher(broker: Broker, config: Config) -> None:
    """The changelog is lost, and the group alone says how far its inbox was decided."""
    for place in two(ENTITY.changelog):
        broker.logs[place] = []
    offsets = rebuild._group_offsets(config, ENTITY, "money")
    for partition in range(ENTITY.partitions):
        plan = rebuild._plan(config, Decider(ENTITY, decide), partition, offsets[partition], TABLE)
        assert plan.facts == len(broker.logs[ENTITY.events, partition])
        assert plan.position == min(offsets[partition], broker.end((ENTITY.inbox, partition)))


def test_the_stores_checkpoint(broker: Broker, config: Config) -> None:
    with reader(config) as plain:
        ends = ends_of(plain, two(ENTITY.inbox))
    _refuse_another_log({place: len(broker.logs[place]) - 1 for place in ends}, ends)


def test_doctors_lag(broker: Broker, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all is taken no record waits, whatever the offsets say; where one waits it is found."""
    monkeypatch.setattr(doctor_flows, "READS", {"money": [ENTITY.inbox]})
    stand = doctor_flows.stand_of(config, "money", lambda: True)
    assert stand
    assert doctor_flows._first_waiting(config, stand) is None
    broker.offsets[ENTITY.inbox, 0] -= 3
    stand = doctor_flows.stand_of(config, "money", lambda: True)
    assert stand
    first = doctor_flows._first_waiting(config, stand)
    assert first
    assert first.offset() == len(broker.logs[ENTITY.inbox, 0]) - 3 + broker.more


def test_doctors_states(broker: Broker, config: Config) -> None:
    shares = doctor_states.shares_of(config, [ENTITY])
    assert [share.position for share in shares] == [broker.offsets[place] for place in two(ENTITY.inbox)]
    assert doctor_states.of_states(shares, shares).fine
    for place in two(ENTITY.changelog):
        broker.logs[place] = []
    broker.offsets.clear()
    assert doctor_states.of_states(doctor_states.shares_of(config, [ENTITY]), []).mend == "olo rebuild trial --dry-run"


def test_dead_letters(broker: Broker, config: Config) -> None:
    assert [letter.id for letter in dead_letters.letters(config)] == ["x/0/1"]
    value = broker.logs[ENTITY.inbox, 0][2][1]
    assert dead_letters.value_at(config, f"{ENTITY.inbox}/0/2") == value
    with pytest.raises(dead_letters.NoSuchPlaceError):
        dead_letters.value_at(config, f"{ENTITY.inbox}/0/{broker.end((ENTITY.inbox, 0))}")


def test_a_letter_as_large_as_a_broker_takes_is_written_again_and_all_parked_by_one_producer(
    monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    log, large = Broker(), b"\xff" * 1_047_000
    log.install(monkeypatch, *MODULES)
    for offset, cause in enumerate((DeadCause.BROKEN_JSON, DeadCause.DECIDER_FAILED, DeadCause.DECIDER_FAILED)):
        record = (offset, b"k%d" % offset, large)
        log.write(ACCOUNT.inbox, 0, *record[1:])
        letter = letter_of((ACCOUNT.inbox, 0), record, cause, "e", "")
        log.write(DEAD_LETTERS.name, 0, letter.id.encode(), encode(letter))
    assert dead_letters.redrive(config, f"{ACCOUNT.inbox}/0/0") == f"written again as {ACCOUNT.inbox}/0/3"
    assert log.logs[ACCOUNT.inbox, 0][3] == (b"k0", large)
    assert (len(dead_letters.redrive_all(config)), log.writers) == (2, 3)  # one record, its settled letter, all parked
    assert [key for key, _ in log.logs[ACCOUNT.inbox, 0][4:]] == [b"k1", b"k2"]


class Written:
    """A writer of the views' store that keeps nothing."""

    def __init__(self) -> None:
        self.records = 0

    def get_many(self, *_: Any) -> dict[bytes, bytes]:
        return {}

    def write(self, changes: Any, _positions: Any, _at: float) -> None:
        self.records += sum(len(table) for table in changes.values())

    def forget_readers(self) -> None:
        pass

    def size(self) -> int:
        return 0


def test_the_views_keeper_and_the_tail(broker: Broker, config: Config) -> None:
    views = places()
    for topic, partition in views[: 3 * log_partitions()]:
        broker.write(topic, partition, b"k", None)
    goals = {place: broker.end(place) for place in views}
    following = Following(config, cast(Any, Written()), {}, cast(Any, SimpleNamespace(stopping=False)))
    assert following.up_to(goals)
    assert all(following.positions[place] == goals[place] for place in views)
    with reader(config) as consumer:
        consumer.assign([TopicPartition(*place, 0) for place in views])
        reached = {place: end for place, end in goals.items() if end}
        assert any(consumer.consume(5, 0.0) is None or Tail._caught_up(consumer, reached) for _ in range(100))
