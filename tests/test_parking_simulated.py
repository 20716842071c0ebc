"""Parked entities under simulated crashes: nothing that waits is lost, doubled or decided out of order."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pipelines.runtime.core import Batch, Core, Decider, Output
from pipelines.runtime.simulator import Simulation, Step, schedule_of
from schemas.balance import ACCOUNT
from schemas.log.codec import encode
from schemas.log.entity import partition_of
from schemas.log.parking import PARKED, Release, Way
from tests.lab.simulated_money import SETUP


class Broken:
    """Deciders that fail for some keys until they are mended."""

    def __init__(self, deciders: Sequence[Decider], keys: set[str]) -> None:
        self.keys = keys
        self.deciders = [Decider(one.entity, self.broken(one)) for one in deciders]

    def broken(self, decider: Decider) -> Any:
        key_of = dict.fromkeys(decider.entity.commands, decider.entity.key)

        def decide(state: Any, message: Any, *common: Any) -> Any:
            if (name := key_of.get(type(message))) and getattr(message, name) in self.keys:
                raise ZeroDivisionError("oops")
            return decider.decide(state, message, *common)

        return decide


def by_key(records: Sequence[tuple[bytes, bytes | None]]) -> dict[bytes, list[bytes | None]]:
    found: defaultdict[bytes, list[bytes | None]] = defaultdict(list)
    for key, value in records:
        found[key].append(value)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_under_crashes_nothing_that_waits_is_lost_or_decided_out_of_order(seed: int) -> None:
    broken = Broken(SETUP.deciders, {"u1/coins", "u3/earnings"})
    simulation = Simulation(broken.deciders, SETUP.log(), SETUP.partitions)
    for step in schedule_of(seed, SETUP.workload, SETUP.drift_s):
        simulation.step(step)
    simulation.settle()
    waits = [key for (topic, _), records in simulation.log.partitions.items() if topic == ACCOUNT.changelog
             for key, value in dict(records).items() if key.startswith(PARKED) and value]  # fmt: skip
    broken.keys = set()
    for key in waits:
        name = key.removeprefix(PARKED)
        release = encode(Release(id=f"r/{name.decode()}", at=simulation.time, key=name.decode(), way=Way.REDRIVE))
        simulation.step(Step("send", send=Output(ACCOUNT.inbox, partition_of(name, SETUP.partitions), name, release)))
        simulation.step(Step("lose_commit", seed % 2, 1_000))
    simulation.settle()
    simulation.time += timedelta(days=7)
    simulation.settle()
    assert waits, "nobody was parked: the test shows nothing"
    letters = [msgspec.json.decode(value) for _, _, _, value in simulation.log.read("dead_letters") if value]
    settled = [letter["id"] for letter in letters if letter["type"] == "LetterSettled"]
    assert sorted(settled) == sorted({letter["id"] for letter in letters}), "each that waited was settled once"
    for partition in range(SETUP.partitions):
        records = simulation.log.partitions[ACCOUNT.inbox, partition]
        inbox = [(key, value) for key, value in records if b'"Release"' not in (value or b"")]
        core = Core([one for one in SETUP.deciders if one.entity is ACCOUNT])
        lane, batch = core.open(ACCOUNT.inbox, partition), Batch(core)
        for offset, (key, value) in enumerate(inbox):
            batch.take(lane, offset, key, value or b"")
        batch.seal()
        fold = by_key([(key, value) for topic, _, key, value in batch.outputs if topic == ACCOUNT.events])
        assert by_key(simulation.log.partitions[ACCOUNT.events, partition]) == fold
