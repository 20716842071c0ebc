"""A changelog that was lost, made again from its inbox: `python -m pipelines.flows.rebuild ENTITY [--dry-run]`.

Every partition is planned before any is written: the inbox is decided again up to the position that the consumer group has and
must lead to exactly the facts that are there. Where the group has forgotten its offset, the position lies behind the record
that the last fact, or letter, came of, if the records from there to the next that would tell one have no effect at all.

What a plan cannot prove is refused: where history is incomplete (`history`), where a fact differs, where the changelog holds
something else, and while a flow runs. A partition is written in one transaction, its position with its states; nothing else is
written, and nobody is told anything.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.config import Config, ConfigError, load
from infra.errors import UsageError
from infra.kafka import SESSION_MS, TIMEOUT_S, partitions_of, quiet, reader
from infra.topics import create_again
from pipelines.flows.deciders import decider_of
from pipelines.flows.history import changelog, recorded
from pipelines.runtime.core import Decider
from pipelines.runtime.lane import Routes
from pipelines.runtime.replay import Difference, Recorded, Replay, ReplayError, Trace, differs, states_differ
from schemas.log import positions
from schemas.log.entity import Entity
from schemas.log.topics import ENTITIES

# A member that has ended stays in its group for its session: static members leave without a word.
LEAVES_S: Final = SESSION_MS / 1_000 + 15.0
# The longest that brokers allow by default: a partition's states are one transaction.
TRANSACTION_MS: Final = 900_000
OLD_DECIDER: Final = "bring back the decider that decided it"

Tell = Callable[[str], None]


class Plan(NamedTuple):
    """What one partition's changelog is to hold: the states, under all keys, and the position; `there`: it does already."""

    partition: int
    position: int
    states: dict[bytes, bytes]
    facts: int
    there: bool


def rebuild(
    config: Config, decider: Decider, tell: Tell, *, dry_run: bool, table: Routes | None = None, group: str = ""
) -> list[Plan]:
    """Make an entity's changelog again, or only say what would be made; what was planned. `group`: the consumer group of its
    flow, where that has another name. Errors: UsageError, KafkaException, those of ClickHouse."""
    entity, group = decider.entity, group or decider.entity.flow.value
    _refuse_members(config, group)
    offsets = _group_offsets(config, entity, group)
    plans = [_plan(config, decider, partition, offsets[partition], table) for partition in range(entity.partitions)]
    for plan in plans:
        tell(_told(entity, plan, dry_run=dry_run))
    todo = [plan for plan in plans if not plan.there]
    if todo and not dry_run:
        with closing(reader(config, committed=False)) as plain:
            if not partitions_of(plain, entity.changelog):
                create_again(config, entity.changelog, entity.partitions)
        _refuse_members(config, group)
        for plan in todo:
            _write(config, entity, plan)
    return plans


def _told(entity: Entity, plan: Plan, *, dry_run: bool) -> str:
    states = sum(not key.startswith(positions.RESERVED) for key in plan.states)
    what = "is as it should be" if plan.there else "would get" if dry_run else "gets"
    return (
        f"{entity.changelog}/{plan.partition} {what}: {states} states, {len(plan.states) - states} records of parked entities, "
        f"position {plan.position}; the inbox leads to the {plan.facts} facts that are there"
    )


def _refuse_members(config: Config, group: str) -> None:
    """Errors: UsageError, while a flow's process runs."""
    deadline = time.monotonic() + LEAVES_S
    while members := _members(config, group):
        if time.monotonic() > deadline:
            raise UsageError(f"the flow {group} runs ({members} processes): stop it first, as it would decide meanwhile")
        time.sleep(0.5)


def _members(config: Config, group: str) -> int:
    admin = AdminClient(quiet(config))
    try:
        return len(admin.describe_consumer_groups([group])[group].result(TIMEOUT_S).members)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise
        return 0


def _group_offsets(config: Config, entity: Entity, group: str) -> list[int]:
    """The position in each partition of the inbox that the group has committed last; -1: none."""
    consumer = Consumer(quiet(config, **{"group.id": group, "enable.auto.commit": False}))
    with closing(consumer):
        found = consumer.committed([TopicPartition(entity.inbox, p) for p in range(entity.partitions)], TIMEOUT_S)
    for part in found:
        if part.error:
            raise KafkaException(part.error)
    return [part.offset if part.offset >= 0 else -1 for part in found]


def _plan(config: Config, decider: Decider, partition: int, offset: int, table: Routes | None) -> Plan:
    """What a partition is to hold. Errors: UsageError, which names what cannot be proven."""
    entity = decider.entity
    written, states = changelog(config, entity, partition)
    position = offset if written < 0 else written
    unknown = position < 0
    if unknown:
        there = recorded(config, entity, partition, position, states)
        position = _proven(Replay(decider, partition, there.letters, table), there)
    there = recorded(config, entity, partition, position, states)
    replay = Replay(decider, partition, there.letters, table)
    count = _follow(replay, there, position)
    if unknown and position >= 0:
        _refuse_unproven(replay, there)
    # What is there without a position is a part of it, as long as nothing of it is another state.
    _refuse(states_differ(replay, states if written >= 0 else replay.states | states))
    return Plan(partition, position, replay.states, count, there=written >= 0 or position < 0)


def _proven(replay: Replay, there: Recorded) -> int:
    """Up to where facts and letters prove that an inbox was decided; -1: there are none. Errors: UsageError."""
    position = max((letter.offset + 1 for letter in there.letters), default=-1)
    decided = replay.decide(there.inbox(0, None))
    try:
        for fact in there.facts:
            found = next(decided, None)
            _refuse(differs(replay, found, fact))
            position = max(position, found.cause + 1 if found else 0)
    except ReplayError as error:
        raise UsageError(f"{error}; {OLD_DECIDER}") from error
    return position


def _refuse_unproven(replay: Replay, there: Recorded) -> None:
    """Behind the last fact stand records that may have been decided, too; the next that would have told a fact was not. What
    lies between must have no effect at all. Errors: UsageError."""
    place = f"{replay.entity.inbox}/{replay.partition}"
    try:
        for record in there.inbox(there.position, None):
            trace = replay.trace(record)
            if trace is Trace.PROOF:
                return
            if trace is Trace.LOST:
                raise UsageError(
                    f"{place}: neither the changelog nor the group tells how far it was decided; the facts prove up to "
                    f"{there.position}, and the record {record[0]} tells no fact, so that it may have been decided or not: "
                    f"bring {replay.entity.changelog} back from a backup"
                )
    except ReplayError as error:
        raise UsageError(f"{error}; {OLD_DECIDER}") from error


def _follow(replay: Replay, there: Recorded, position: int) -> int:
    """Decide the inbox up to the position; how many facts it leads to, which are all that there are. Errors: UsageError."""
    written, count = iter(there.facts), 0
    try:
        for fact in replay.decide(there.inbox(0, there.position)):
            _refuse(differs(replay, fact, next(written, None)))
            count += 1
    except ReplayError as error:
        raise UsageError(f"{error}; {OLD_DECIDER}") from error
    if more := next(written, None):
        entity, partition = replay.entity, replay.partition
        raise UsageError(
            f"{entity.inbox}/{partition}: the group tells the position {position}, and {entity.events}/{partition} "
            f"has a fact behind that, at {more[0]}: how far the inbox was decided is not known"
        )
    return count


def _refuse(difference: Difference | None) -> None:
    if difference:
        raise UsageError(f"what is decided today is not what was written: {difference}")


def _write(config: Config, entity: Entity, plan: Plan) -> None:
    """One partition, in one transaction. Errors: KafkaException, TimeoutError."""
    more = {"transactional.id": f"rebuild-{entity.name}", "transaction.timeout.ms": TRANSACTION_MS, "linger.ms": 20,
            "compression.type": "lz4", "message.max.bytes": 1_200_000}  # fmt: skip
    producer = Producer(quiet(config, **more))
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for key, value in _records(plan):
        while True:
            try:
                producer.produce(entity.changelog, value, key, plan.partition)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(TRANSACTION_MS / 1000):
        raise TimeoutError("the broker has not taken the states")
    producer.commit_transaction(TIMEOUT_S)


def _records(plan: Plan) -> Iterator[tuple[bytes, bytes]]:
    yield from plan.states.items()
    yield positions.POSITION, positions.written(plan.position)


def main() -> None:
    """The command line; what is refused is one line, exit code 2."""
    parser = argparse.ArgumentParser()
    parser.add_argument("entity", choices=[entity.name for entity in ENTITIES])
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    entity = next(entity for entity in ENTITIES if entity.name == given.entity)
    try:
        rebuild(load(), decider_of(entity), lambda line: print(line, flush=True), dry_run=given.dry_run)
    except (ConfigError, UsageError) as error:
        print(f"olo: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
