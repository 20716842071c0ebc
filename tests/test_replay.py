"""A replay decides what was decided, byte for byte, wherever batches ended; what differs is named."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines.flows.deciders import decider_of
from pipelines.runtime.core import Batch, Core, Decider, Output, Record, Take
from pipelines.runtime.lane import Lane
from pipelines.runtime.replay import Difference, Recorded, Replay, first_difference
from pipelines.runtime.simulator import EPOCH, Log, Setup, Simulation, Step, schedule_of
from schemas.balance import ACCOUNT, Account
from schemas.log import positions
from schemas.log.base import Message, UserId, Wake
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.dead_letters import DeadLetter, LetterSettled
from schemas.log.entity import Entity, broadcast_keys, partition_of
from schemas.log.parking import Release, Way
from schemas.log.topics import DEAD_LETTERS
from schemas.panel import MEMBER, Cohort, CohortBook, Count, Not, ShareCohorts
from schemas.panel_counters import Counter
from schemas.user import Role, UserSignedUp
from tests.lab import (
    simulated_calls,
    simulated_chats,
    simulated_growth,
    simulated_money,
    simulated_notifications,
    simulated_payments,
    simulated_payouts,
    simulated_timetable,
)
from tests.test_parking_simulated import Broken

SEEDS = max(2, settings().max_examples // 10)


def recorded(log: Log, entity: Entity, partition: int) -> Recorded:
    """What the simulator's log has of a partition."""

    def numbered(topic: str) -> Iterator[tuple[int, bytes, bytes]]:
        records = log.partitions[topic, partition]
        return ((offset, key, value or b"") for offset, (key, value) in enumerate(records))

    def inbox(start: int, end: int | None) -> Iterable[Record]:
        return list(numbered(entity.inbox))[start:end]

    states = {key: value for key, value in dict(log.partitions[entity.changelog, partition]).items() if value is not None}
    position = states.pop(positions.POSITION, None)
    read = decoder_of((DeadLetter, LetterSettled))
    letters = [read(value or b"") for _, value in log.partitions[DEAD_LETTERS.name, 0]]
    mine = [one for one in letters if isinstance(one, DeadLetter) and (one.topic, one.partition) == (entity.inbox, partition)]
    return Recorded(0 if position is None else positions.read(position), inbox, numbered(entity.events), states, mine)


def differences(log: Log, deciders: Iterable[Decider], partitions: int, slice_: int = 1_000) -> list[Difference]:
    """Of each entity's partition the first one."""
    found = []
    for decider in deciders:
        for partition in range(partitions):
            there = recorded(log, decider.entity, partition)
            found.append(first_difference(Replay(decider, partition, there.letters, slice_=slice_), there))
    return [one for one in found if one]


SETUPS = [
    module.SETUP
    for module in (
        simulated_money, simulated_calls, simulated_growth, simulated_chats, simulated_notifications, simulated_payments,
        simulated_payouts, simulated_timetable,
    )
]  # fmt: skip


def played(setup: Setup, seed: int, deciders: Iterable[Decider] | None = None) -> Simulation:
    simulation = Simulation(list(deciders or setup.deciders), setup.log(), setup.partitions)
    for step in schedule_of(seed, setup.workload, setup.drift_s):
        simulation.step(step)
    return simulation


@pytest.mark.parametrize("slice_", [1, 7, 1_000])
@pytest.mark.parametrize("setup", SETUPS)
def test_simulated_logs_replay_byte_for_byte(setup: Setup, slice_: int) -> None:
    for seed in range(SEEDS):
        log = played(setup, seed).log
        assert not differences(log, setup.deciders, setup.partitions, slice_), seed


@pytest.mark.parametrize("way", [None, *Way])
@pytest.mark.parametrize("slice_", [1, 1_000])
def test_what_was_parked_is_parked_again_although_its_decider_was_mended(way: Way | None, slice_: int) -> None:
    for seed in range(SEEDS):
        broken = Broken(simulated_money.SETUP.deciders, {"u1/coins", "u3/earnings"})
        simulation = played(simulated_money.SETUP, seed, broken.deciders)
        simulation.settle()
        broken.keys = {"u3/earnings"}
        for name in ("u1/coins", "u3/earnings") if way else ():
            release = encode(Release(id=f"r/{name}", at=EPOCH, key=name, way=way or Way.DROP))
            place = (ACCOUNT.inbox, partition_of(name.encode(), simulated_money.SETUP.partitions))
            simulation.step(Step("send", send=Output(*place, name.encode(), release)))
        simulation.settle()
        assert list(simulation.log.read(DEAD_LETTERS.name)), "nobody was parked: the test shows nothing"
        assert not differences(simulation.log, simulated_money.SETUP.deciders, simulated_money.SETUP.partitions, slice_)


def test_what_was_put_aside_stays_aside_although_it_can_be_read_today() -> None:
    partition, _, key, value = next(quiet_money().read(ACCOUNT.inbox))
    core = Core([decider_of(ACCOUNT)])
    core.skips = {(ACCOUNT.inbox, partition, 0)}
    batch, lane, log = Batch(core), core.open(ACCOUNT.inbox, partition), Log()
    lane.begin()
    for offset in range(2):
        log.append([(ACCOUNT.inbox, partition, key, value)])
        batch.take(lane, offset, key, value or b"")
    log.commit(batch.seal())
    assert len(list(log.read(ACCOUNT.events))) == len(list(log.read(DEAD_LETTERS.name))) == 1
    assert not differences(log, [decider_of(ACCOUNT)], 2)


def quiet_money() -> Log:
    simulation = played(simulated_money.SETUP, 1)
    simulation.settle()
    return simulation.log


def only(found: list[Difference]) -> Difference:
    (one,) = found
    return one


def facts_of(log: Log) -> tuple[int, list[tuple[bytes, bytes | None]]]:
    partition = max(range(2), key=lambda one: len(log.partitions[ACCOUNT.events, one]))
    return partition, log.partitions[ACCOUNT.events, partition]


def test_a_fact_that_differs_is_named() -> None:
    log = quiet_money()
    partition, facts = facts_of(log)
    key, value = facts[4]
    facts[4] = (key, (value or b"").replace(b'"balance_coins":', b'"balance_coins":1'))
    found = only(differences(log, [decider_of(ACCOUNT)], 2))
    assert found[:6] == (ACCOUNT.events, partition, 4, key, facts[4][1], value)
    assert f"{ACCOUNT.events}/{partition}/4, key {key!r}: written" in str(found)
    assert f"of {ACCOUNT.inbox}/{partition}/" in str(found)


def test_a_fact_that_is_missing_is_named() -> None:
    log = quiet_money()
    partition, facts = facts_of(log)
    key, value = facts.pop()
    found = only(differences(log, [decider_of(ACCOUNT)], 2))
    assert found[:6] == (ACCOUNT.events, partition, -1, key, None, value)


def test_a_fact_that_nothing_leads_to_is_named() -> None:
    log = quiet_money()
    partition, facts = facts_of(log)
    facts.append(facts[0])
    found = only(differences(log, [decider_of(ACCOUNT)], 2))
    assert found[:6] == (ACCOUNT.events, partition, len(facts) - 1, *facts[0], None)
    assert "nothing in the inbox leads to it" in str(found)


def test_a_state_that_differs_is_named() -> None:
    log = quiet_money()
    partition, _ = facts_of(log)
    states = {key: value for key, value in log.partitions[ACCOUNT.changelog, partition] if not key.startswith(b"\x00")}
    key = min(states)
    account: Any = state_decoder(Account)(states[key] or b"")
    other = encode(replace(account, balance_coins=account.balance_coins + 1))
    log.partitions[ACCOUNT.changelog, partition].append((key, other))
    assert only(differences(log, [decider_of(ACCOUNT)], 2))[:6] == (ACCOUNT.changelog, partition, -1, key, other, states[key])


def test_a_decider_that_decides_otherwise_or_fails_today_is_named() -> None:
    log = quiet_money()

    def fails(state: Any, message: Any) -> Any:
        raise ZeroDivisionError("oops")

    def silent(state: Any, message: Any) -> Any:
        return state, ()

    assert "cannot be decided today" in str(differences(log, [Decider(ACCOUNT, fails)], 2)[0])
    assert differences(log, [Decider(ACCOUNT, silent)], 2)[0].decided is None


def test_a_flow_that_goes_on_meanwhile_is_no_difference() -> None:
    log = quiet_money()
    for partition in range(2):
        there = recorded(log, ACCOUNT, partition)
        inbox = list(there.inbox(0, None))
        half = Replay(decider_of(ACCOUNT), partition)
        list(half.decide(inbox[: len(inbox) // 2]))
        behind = there._replace(position=len(inbox) // 2, states=half.states)
        assert first_difference(Replay(decider_of(ACCOUNT), partition), behind) is None


# --- where a batch ends decides nothing -------------------------------------------------------------------------------------


def fails_for(user: str) -> Decider:
    """The member's decider, but for one user."""
    decide: Any = decider_of(MEMBER).decide

    def failing(state: Any, message: Any, common: Any) -> Any:
        if getattr(message, "user", "") == user:
            raise ZeroDivisionError("oops")
        return decide(state, message, common)

    return Decider(MEMBER, failing)


def _take_all(lane: Lane, records: list[Record], take: Take) -> None:
    for record in records:
        take(lane, *record)


def told(decider: Decider, records: list[Record], size: int) -> list[tuple[str, bytes, bytes | None]]:
    """The facts and the last states, where a batch takes so many records."""
    core = Core([decider])
    lane = core.open(MEMBER.inbox, 0)
    lane.begin()
    facts, states = [], {}
    for first in range(0, len(records), size):
        batch = Batch(core)
        part = records[first : first + size]
        batch.decide(partial(_take_all, lane, part))
        for topic, _, key, value in batch.seal():
            if topic == MEMBER.events:
                facts.append((topic, key, value))
            elif topic == MEMBER.changelog and not key.startswith(b"\x00"):
                states[key] = value
        batch.merge()
    return [*facts, *((MEMBER.changelog, *state) for state in sorted(states.items()))]


@pytest.mark.parametrize("fails", [False, True])
def test_shared_rules_hold_from_their_own_record_on_in_whichever_batch_it_stands(fails: bool) -> None:
    """A record that fails makes the host decide each record of its batch by itself; that, too, changes nothing."""
    common = broadcast_keys(MEMBER.partitions)[0]
    names = [f"u{n}" for n in range(40) if partition_of(f"u{n}".encode(), MEMBER.partitions) == 0]
    ann, bob, eve = names[:3]
    book = CohortBook(1, (Cohort("quiet", "quiet", Not(Count(Counter.CALLS, "3d", at_least=1))),))

    def signed(user: str) -> Message:
        return UserSignedUp(
            id=f"s/{user}", at=EPOCH, cause="x", user=UserId(user), role=Role.USER, country="DE", appsflyer_id=""
        )

    sent = [
        (ann, signed(ann)),
        (eve, signed(eve)),
        (common, ShareCohorts(id="c", at=EPOCH, user=UserId(common), shared=book)),
        (bob, signed(bob)),
        (ann, Wake(id="w", at=EPOCH, key=ann)),
    ]
    records = [(offset, key.encode(), encode(message)) for offset, (key, message) in enumerate(sent)]
    decider = fails_for(eve) if fails else decider_of(MEMBER)
    by_one = told(decider, records, 1)
    assert any(b"CohortEntered" in (value or b"") for _, key, value in by_one if key == bob.encode())
    for size in (2, 3, len(records)):
        assert told(decider, records, size) == by_one
