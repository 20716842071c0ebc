"""The records of `olo prove poison` become what they name, in a host without a broker; the proof itself runs on a platform."""

from collections import defaultdict

import msgspec
import pytest

from pipelines.flows.deciders import decider_of
from pipelines.runtime.core import Batch, Core, Take
from schemas.log.dead_letters import DeadCause
from schemas.log.entity import Entity
from schemas.log.topics import DEAD_LETTERS, ENTITIES
from tests.lab.proofs.faulty import fault_of, spoilt
from tests.lab.proofs.poisons import Poison, records_of, strangers, victims


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_each_poison_becomes_what_it_names_and_parks_its_own_entity_alone(entity: Entity) -> None:
    mine = list(victims(0, [entity]))
    poured = [*strangers(entity, 0), *(one for victim in mine for one in records_of(victim))]
    log: dict[int, list[Poison]] = defaultdict(list)
    for one in poured:
        log[one.partition].append(one)
    core = Core([spoilt(decider_of(entity))])
    batch = Batch(core)

    def feed(take: Take) -> None:
        for partition, records in log.items():
            for offset, one in enumerate(records):
                take(core.lanes[entity.inbox, partition], offset, one.key or b"", one.value or b"")

    for partition in range(entity.partitions):
        core.open(entity.inbox, partition).begin()
    batch.decide(feed)
    letters = [msgspec.json.decode(value or b"") for topic, _, _, value in batch.outputs if topic == DEAD_LETTERS.name]
    found = {letter["id"]: letter["cause"] for letter in letters}
    due = {f"{entity.inbox}/{p}/{n}": one.cause for p, records in log.items() for n, one in enumerate(records) if one.cause}
    assert found == due
    assert {key for lane in core.lanes.values() for key in lane.parked} == {victim.key.encode() for victim in mine}
    assert DeadCause.BEHIND in due.values()


def test_only_messages_that_name_a_fault_have_one() -> None:
    named = [fault_of(id_) for id_ in ("poison-raises-a-0", "poison-follows-0-poison-raises-a-0", "raises", "poison-", "")]
    assert [fault is not None for fault in named] == [True, False, False, False, False]
