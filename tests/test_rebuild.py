"""A changelog that was lost is made again from its inbox, on the real broker; what cannot be proven is refused in one line."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from infra import dead_letters
from infra.clickhouse import connect
from infra.errors import UsageError
from infra.kafka import produce_one, quiet, read_topic
from pipelines.flows import rebuild as rebuild_module
from pipelines.flows.history import changelog
from pipelines.flows.rebuild import Plan, rebuild
from pipelines.flows.replay import Replayed, replayed
from pipelines.runtime.core import Decider
from pipelines.runtime.lane import Decide
from schemas.log.entity import Entity
from schemas.user import OpenSession
from tests.conftest import Stack
from tests.lab.bench.jobs import Book, Command, Outcome, decide
from tests.test_recovery import ACCOUNTS, Trial, recreate, set_offsets, trial

__all__ = ["trial"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that has just ended is not waited for: its slot leaves the group after six seconds."""
    monkeypatch.setattr(rebuild_module, "_refuse_members", lambda _config, _group: None)


def made(trial: Trial, *, dry_run: bool = False, decider: Decide = decide, told: list[str] | None = None) -> list[Plan]:
    """Rebuild the trial's changelog."""
    lines = [] if told is None else told
    table = trial.table()
    return rebuild(
        trial.config, Decider(trial.entity, decider), lines.append, dry_run=dry_run, table=table, group=trial.entity.name
    )


def states(trial: Trial) -> list[tuple[int, dict[bytes, bytes]]]:
    return [changelog(trial.config, trial.entity, partition) for partition in range(trial.entity.partitions)]


def lost(trial: Trial) -> list[tuple[int, dict[bytes, bytes]]]:
    """Decide, and lose the changelog; what it had."""
    trial.send(0, 500)
    trial.decide(500)
    before = states(trial)
    recreate(trial, trial.entity.changelog, compacted=True)
    return before


def replays(trial: Trial, decider: Decide = decide) -> list[Replayed]:
    table = trial.table()
    return [
        replayed(trial.config, Decider(trial.entity, decider), partition, table) for partition in range(trial.entity.partitions)
    ]


def test_a_lost_changelog_is_made_again_and_the_flow_goes_on(trial: Trial) -> None:
    before, told = lost(trial), list[str]()
    made(trial, dry_run=True, told=told)
    assert all("would get" in line for line in told)
    assert not any(found for _, found in states(trial)), "a dry run writes nothing"
    made(trial)
    assert states(trial) == before
    trial.send(500, 300)
    trial.decide(300)
    trial.audit(800)
    assert all(plan.there for plan in made(trial)), "there is nothing to be made any more"
    assert [(one.difference, one.incomplete) for one in replays(trial)] == [("", "")] * trial.entity.partitions


@pytest.mark.usefixtures("at_once")
def test_a_changelog_that_is_no_topic_any_more_is_created(trial: Trial) -> None:
    trial.send(0, 100)
    trial.decide(100)
    before = states(trial)
    admin = AdminClient(quiet(trial.config))
    admin.delete_topics([trial.entity.changelog])[trial.entity.changelog].result(30)
    made(trial)
    assert states(trial) == before
    trial.decide(0)
    trial.audit(100)


@pytest.mark.usefixtures("at_once")
def test_a_rebuild_that_is_done_twice_changes_nothing(trial: Trial) -> None:
    lost(trial)
    made(trial)
    ends = len(list(read_topic(trial.config, trial.entity.changelog)))
    made(trial)
    assert len(list(read_topic(trial.config, trial.entity.changelog))) == ends


@pytest.mark.usefixtures("at_once")
def test_records_behind_the_position_are_left_to_the_flow(trial: Trial) -> None:
    lost(trial)
    trial.send(500, 100)
    made(trial)
    trial.decide(100)
    trial.audit(600)


@pytest.mark.usefixtures("at_once")
def test_who_is_parked_is_parked_in_the_rebuilt_changelog(trial: Trial) -> None:
    def fails(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
        if command.account == "a7":
            raise ZeroDivisionError("oops")
        return decide(book, command)

    trial.send(0, 5 * ACCOUNTS)
    trial.decide(5 * ACCOUNTS - 5, trial.worker(decider=fails))
    before = states(trial)
    recreate(trial, trial.entity.changelog, compacted=True)
    made(trial)
    assert [position for position, _ in states(trial)] == [position for position, _ in before]
    assert [set(found) for _, found in states(trial)] == [set(found) for _, found in before]
    (waiting,) = [found for place, found in dead_letters.parked(trial.config).items() if place[0] == trial.entity.inbox]
    dead_letters.redrive_found(trial.config, waiting[0], "ann")
    trial.decide(1)
    trial.audit(5 * ACCOUNTS)
    assert not any(one.difference or one.incomplete for one in replays(trial))


def doubles(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
    return decide(book, Command(id=command.id, at=command.at, account=command.account, coins=2 * command.coins))


@pytest.mark.usefixtures("at_once")
def test_another_decider_is_refused_with_the_first_difference(trial: Trial) -> None:
    lost(trial)
    with pytest.raises(
        UsageError, match=rf"{trial.entity.events}/\d/0, key b'a\d+': written .* decided .* \(of .*inbox/\d/0\)"
    ):
        made(trial, decider=doubles)
    assert not any(found for _, found in states(trial))


def too_early(trial: Trial) -> None:
    set_offsets(trial, 1)


def too_late(trial: Trial) -> None:
    set_offsets(trial, 1_000_000)


def undecided(trial: Trial) -> None:
    """More was sent, and somebody has told the group that it was decided."""
    trial.send(500, 400)
    set_offsets(trial, 350)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (too_early, "the group tells the position 1, and .* has a fact behind that"),
        (too_late, "ends at .*, and 1000000 records of it were decided"),
        (undecided, "written nothing, decided "),
    ],
)
def test_a_position_that_does_not_fit_the_facts_is_refused(trial: Trial, harm: Callable[[Trial], None], why: str) -> None:
    lost(trial)
    harm(trial)
    with pytest.raises(UsageError, match=why):
        made(trial)
    assert not any(found for _, found in states(trial))


@pytest.mark.usefixtures("at_once")
def test_a_changelog_that_holds_something_else_is_refused(trial: Trial) -> None:
    trial.send(0, 100)
    trial.decide(100)
    produce_one(trial.config, trial.entity.changelog, b"stray", b"{}", 0)
    with pytest.raises(UsageError, match=rf"{trial.entity.changelog}/0, key b'stray': written .*, decided nothing"):
        made(trial)
    assert "stray" in replays(trial)[0].difference


def test_a_rebuild_beside_a_running_flow_is_refused(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.flows.rebuild.LEAVES_S", 0.0)
    trial.send(0, 100)
    worker = trial.worker()
    trial.decide(100, worker, close=False)
    try:
        with pytest.raises(UsageError, match=r"runs \(1 processes\): stop it first"):
            made(trial)
    finally:
        worker.close()


def forget_the_beginning(trial: Trial, topic: str) -> None:
    """As the broker does when a topic's time is over."""
    admin = AdminClient(quiet(trial.config))
    parts = [TopicPartition(topic, partition, 50) for partition in range(trial.entity.partitions)]
    for done in admin.delete_records(parts).values():
        done.result(30)


def copied(trial: Trial, stack: Stack, *topics: str) -> str:
    """A warehouse whose `log` has these topics, as the store would have written them; its URL."""
    url = stack.database("rebuild_" + "".join(c if c.isalnum() else "_" for c in trial.entity.name)[-30:])
    rows = [
        (message.topic(), message.partition(), message.offset(), message.key(), message.value())
        for topic in topics
        for message in read_topic(trial.config, topic)
    ]
    connect(url).insert("log", rows, column_names=["topic", "partition", "offset", "key", "value"])
    return url


@pytest.mark.usefixtures("at_once")
def test_where_history_is_incomplete_it_is_refused_and_the_warehouse_completes_it(trial: Trial, stack: Stack) -> None:
    before = lost(trial)
    trial = Trial(trial.entity, trial.config.model_copy(update={"clickhouse_url": ""}))
    url = copied(trial, stack, trial.entity.inbox, trial.entity.events)
    other = stack.database("rebuild_empty")
    for topic in (trial.entity.inbox, trial.entity.events):
        forget_the_beginning(trial, topic)
        with pytest.raises(UsageError, match=r"the records before offset 50 are gone .*, from 20.* and there is no ClickHouse"):
            made(trial)
    lacks = Trial(trial.entity, trial.config.model_copy(update={"clickhouse_url": other}))
    with pytest.raises(UsageError, match=r"the records before offset 50 are gone .* log does not begin before that"):
        made(lacks)
    assert "are gone" in replays(lacks)[0].incomplete
    has = Trial(trial.entity, trial.config.model_copy(update={"clickhouse_url": url}))
    made(has)
    assert states(has) == before
    assert not any(one.difference or one.incomplete for one in replays(has))


@pytest.mark.usefixtures("at_once")
def test_a_private_inbox_and_what_is_personal_are_nowhere_but_in_kafka(trial: Trial, stack: Stack) -> None:
    lost(trial)
    forget_the_beginning(trial, trial.entity.inbox)
    given: dict[str, Any] = {name: getattr(trial.entity, name) for name in Entity.__struct_fields__} | {"private": True}
    with pytest.raises(UsageError, match="log has no inbox of a private entity"):
        made(Trial(Entity(**given), trial.config.model_copy(update={"clickhouse_url": stack.clickhouse})))
    given |= {"private": False, "commands": (*trial.entity.commands, OpenSession)}
    with pytest.raises(UsageError, match=r"offset 50 are gone .* and log has them without what is personal"):
        made(Trial(Entity(**given), trial.config.model_copy(update={"clickhouse_url": stack.clickhouse})))
