"""Parked entities: one bad record puts one entity aside, with all that comes behind it; everybody else goes on."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec
import pytest

from pipelines import balance
from pipelines.runtime import core as core_module
from pipelines.runtime.core import Batch, Core, Decider, Output, Take
from pipelines.runtime.lane import Decide
from schemas.balance import ACCOUNT, Account, Credit, OpenAccount, Reason
from schemas.log import positions
from schemas.log.base import AccountId, Message, MessageId, State, Wake
from schemas.log.codec import encode
from schemas.log.dead_letters import MAX_VALUE_BYTES
from schemas.log.entity import broadcast_keys, partition_of
from schemas.log.parking import PARKED, Release, Way
from schemas.panel import MEMBER

T = datetime(2030, 1, 1, tzinfo=UTC)
DECIDER = balance.decide_account
Row = dict[str, Any]


class House:
    """The account's lanes over logs of their own; a batch at a time, and restarts in between."""

    def __init__(self, decide: Decide = DECIDER) -> None:
        self.log: defaultdict[tuple[str, int], list[tuple[bytes, bytes | None]]] = defaultdict(list)
        self.ids = count()
        self.start(decide)

    def start(self, decide: Decide = DECIDER) -> None:
        """As after a crash: all that there is comes from the log."""
        self.core = Core([Decider(ACCOUNT, decide)])
        for partition in range(ACCOUNT.partitions):
            lane = self.core.open(ACCOUNT.inbox, partition)
            lane.restore(dict(self.log[ACCOUNT.changelog, partition]))
            lane.position = max(0, lane.position)
            lane.begin()

    def send(self, key: str, *messages: Message | bytes) -> None:
        place = (ACCOUNT.inbox, partition_of(key.encode(), ACCOUNT.partitions))
        self.log[place] += [(key.encode(), one if isinstance(one, bytes) else encode(one)) for one in messages]

    def open(self, *keys: str) -> None:
        for key in keys:
            self.send(key, OpenAccount(id=self._id(), at=T, account=AccountId(key)))

    def grant(self, *keys: str, coins: int = 1) -> None:
        for key in keys:
            account, reason = AccountId(key), Reason.GRANT
            self.send(
                key, Credit(id=self._id(), at=T, account=account, counterparty=AccountId("@p"), coins=coins, reason=reason)
            )

    def release(self, key: str, way: Way = Way.REDRIVE) -> None:
        self.send(key, Release(id=self._id(), at=T, key=key, way=way, by="ann"))

    def _id(self) -> MessageId:
        return MessageId(f"m{next(self.ids)}")

    def work(self, at: datetime = T) -> Batch:
        """Decide all that there is, and commit it."""
        batch = Batch(self.core)
        batch.wake(at)
        due = [
            (lane, offset, key, value or b"")
            for place, lane in self.core.lanes.items()
            for offset, (key, value) in enumerate(self.log[place][lane.position :], lane.position)
        ]

        def feed(take: Take) -> None:
            for record in due:
                take(*record)

        batch.decide(feed)
        for topic, partition, key, value in batch.seal():
            self.log[topic, partition].append((key, value))
        batch.merge()
        return batch

    def facts(self, key: str) -> list[Row]:
        found = (record for (topic, _), records in self.log.items() if topic == ACCOUNT.events for record in records)
        return [msgspec.json.decode(value or b"") for one, value in found if one == key.encode()]

    def letters(self) -> list[Row]:
        return [msgspec.json.decode(value or b"") for _, value in self.log["dead_letters", 0]]

    def reserved(self) -> list[bytes]:
        """What stands in the changelogs beside states and positions."""
        found: dict[bytes, bytes | None] = {}
        for (topic, _), records in self.log.items():
            if topic == ACCOUNT.changelog:
                found |= dict(records)
        return sorted(key for key, value in found.items() if value and key.startswith(b"\x00") and key != positions.POSITION)

    def coins(self, key: str) -> int:
        return sum(fact.get("coins", 0) for fact in self.facts(key))


def fails_for(*keys: str, when: Callable[[Any], bool] = lambda _: True) -> Decide:
    def decide(state: Account | None, message: Any) -> Any:
        if getattr(message, "account", "") in keys and when(message):
            raise ZeroDivisionError("oops")
        return DECIDER(state, message)

    return decide


def has_coins(coins: int) -> Callable[[Any], bool]:
    return lambda message: getattr(message, "coins", 0) == coins


def parked_house() -> House:
    """ann's second grant, of 13 coins, has parked her account; two more wait behind it."""
    house = House(fails_for("ann", when=has_coins(13)))
    house.open("ann", "bob")
    house.grant("ann", "bob")
    house.grant("ann", coins=13)
    house.grant("bob", "ann", coins=2)
    house.work()
    house.grant("ann", "bob", coins=3)
    house.work()
    return house


def test_one_entity_waits_and_all_others_go_on() -> None:
    house = parked_house()
    assert (house.coins("ann"), house.coins("bob")) == (1, 6)
    first, *behind = house.letters()
    assert (first["cause"], first["kind"], first["key"]) == ("decider_failed", "Credit", "YW5u")
    assert "ZeroDivisionError" in first["error"]
    assert [letter["cause"] for letter in behind] == ["behind", "behind"]
    assert all(first["id"] in letter["error"] for letter in behind)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_redrive_decides_what_waits_in_order_and_once(restarted: bool) -> None:
    house = parked_house()
    house.start()
    house.grant("ann", coins=4)
    house.release("ann")
    house.grant("ann", coins=5)
    house.work()
    if restarted:
        house.start()
    house.release("ann")
    house.work()
    assert [fact["coins"] for fact in house.facts("ann")[1:]] == [1, 13, 2, 3, 4, 5]
    assert not house.reserved()
    settled = [letter for letter in house.letters() if letter["type"] == "LetterSettled"]
    waited = [letter["id"] for letter in house.letters() if letter["type"] == "DeadLetter"]
    assert [letter["id"] for letter in settled] == waited
    assert {(letter["way"], letter["by"]) for letter in settled} == {("redrive", "ann")}


def test_a_redrive_that_fails_again_keeps_what_is_behind_it() -> None:
    house = parked_house()
    house.release("ann")
    house.grant("ann", coins=4)
    house.work()
    assert house.coins("ann") == 1
    house.start()
    house.release("ann")
    house.work()
    assert [fact["coins"] for fact in house.facts("ann")[1:]] == [1, 13, 2, 3, 4]


def test_a_redrive_goes_as_far_as_it_can() -> None:
    house = parked_house()
    house.start(fails_for("ann", when=has_coins(3)))
    house.release("ann")
    house.work()
    assert house.coins("ann") == 1 + 13 + 2
    house.release("ann", Way.SKIP)
    house.grant("ann", coins=7)
    house.work()
    assert house.coins("ann") == 1 + 13 + 2 + 7


@pytest.mark.parametrize(("way", "coins"), [(Way.SKIP, 1 + 2 + 3), (Way.DROP, 1)])
def test_what_is_left_out_is_not_decided_and_the_rest_goes_on(way: Way, coins: int) -> None:
    house = parked_house()
    house.release("ann", way)
    house.work()
    assert house.coins("ann") == coins
    house.grant("ann", coins=50)
    house.work()
    assert house.coins("ann") == coins + 50
    assert not house.reserved()
    ways = [letter["way"] for letter in house.letters() if letter["type"] == "LetterSettled"]
    assert ways == ([Way.SKIP, Way.REDRIVE, Way.REDRIVE] if way is Way.SKIP else [Way.DROP] * 3)


@pytest.mark.parametrize("way", list(Way))
def test_very_many_are_released_some_at_a_time(monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    monkeypatch.setattr(core_module, "RELEASED", 3)
    house = House(fails_for("ann", when=has_coins(13)))
    house.open("ann")
    house.grant("ann", coins=13)
    for _ in range(10):
        house.grant("ann")
    house.work()
    house.start()
    house.release("ann", way)
    for _ in range(6):
        house.grant("ann", coins=100)
        house.work()
    assert not house.reserved()
    decided = [fact["coins"] for fact in house.facts("ann")[1:]]
    before = {Way.REDRIVE: [13] + [1] * 10, Way.SKIP: [1] * 10, Way.DROP: []}[way]
    assert [coins for coins in decided if coins != 100] == before
    assert decided.count(100) >= 2
    assert decided == sorted(decided, key=lambda coins: (coins == 100, coins == 1))


def test_a_release_of_somebody_who_is_not_parked_does_nothing() -> None:
    house = House()
    house.release("ann")
    house.open("ann")
    house.release("ann", Way.DROP)
    house.grant("ann")
    house.work()
    assert house.coins("ann") == 1
    assert not house.letters()


def test_a_release_for_somebody_else_is_a_dead_letter() -> None:
    house = parked_house()
    house.send("bob", Release(id="r", at=T, key="ann", way=Way.DROP))
    house.work()
    assert house.letters()[-1]["cause"] == "key_mismatch"
    assert house.reserved()


class Fickle(State):
    """A state with a wake that may be wrong."""

    size: int = 0
    text: str = ""

    @property
    def wake_at(self) -> datetime | None:
        """It overflows for a size of 99."""
        return datetime.max.replace(tzinfo=UTC) + timedelta(seconds=1) if self.size == 99 else None


class Odd:
    """Not to be encoded."""


Spoil = Callable[[Any, list[Any]], tuple[Any, list[Any]]]
HUGE = "x" * 1_000_000


def spoilt(spoil: Spoil) -> Decide:
    """The account's decider, but for what a grant of 13 coins makes."""

    def decide(state: Account | None, message: Any) -> Any:
        after, told = DECIDER(state, message)
        return spoil(after, list(told)) if getattr(message, "coins", 0) == 13 else (after, told)

    return decide


replace: Any = msgspec.structs.replace
SPOILS: dict[str, tuple[str, Spoil]] = {
    "a large message": ("too_large", lambda after, told: (after, [replace(one, id=HUGE) for one in told])),
    "a message that is no JSON": ("not_encodable", lambda after, told: (after, [replace(one, id=Odd()) for one in told])),
    "a state that is no JSON": ("not_encodable", lambda after, told: (replace(after, holds=(Odd(),)), told)),
    "a large state": ("too_large", lambda _, told: (Fickle(text=HUGE), told)),
    "a wake beyond all times": ("not_encodable", lambda _, told: (Fickle(99), told)),
    "a message without a way": ("not_encodable", lambda after, told: (after, [*told, Wake(id="w", at=T, key="k")])),
}


@pytest.mark.parametrize("kind", SPOILS)
@pytest.mark.parametrize("alone", [False, True])
def test_each_kind_of_failure_parks_one_entity(kind: str, alone: bool) -> None:
    cause, spoil = SPOILS[kind]
    house = House(spoilt(spoil))
    house.open("ann", "bob")
    house.grant("ann")
    if alone:
        house.work()
    house.grant("ann", coins=13)
    if alone:
        house.work()
    house.grant("ann", "bob")
    house.work()
    assert (house.coins("ann"), house.coins("bob")) == (1, 1)
    assert [letter["cause"] for letter in house.letters()] == [cause, "behind"]
    house.start()
    house.release("ann")
    house.work()
    assert [fact["coins"] for fact in house.facts("ann")[1:]] == [1, 13, 1]


def test_a_state_that_cannot_be_read_parks_its_entity_and_the_others_start() -> None:
    house = House()
    house.open("ann", "bob")
    house.work()
    partition = partition_of(b"ann", ACCOUNT.partitions)
    house.log[ACCOUNT.changelog, partition].append((b"ann", b'{"balance_coins":"many"}'))
    house.start()
    house.grant("ann", "bob")
    house.work()
    assert (house.coins("ann"), house.coins("bob")) == (0, 1)
    assert house.letters()[0]["cause"] == "state_unreadable"


def test_a_wake_of_a_parked_entity_waits_with_the_rest() -> None:
    house = parked_house()
    house.send("ann", Wake(id="w", at=T, key="ann"))
    house.work()
    assert house.letters()[-1]["kind"] == "Wake"


def test_a_letter_of_a_large_record_is_smaller_than_a_record_may_be() -> None:
    house = House()
    house.send("ann", b"\xff" * 1_000_000)
    house.work()
    (letter,) = house.log["dead_letters", 0]
    assert len(letter[1] or b"") < 2 * MAX_VALUE_BYTES < 1_048_576


def test_a_broadcast_key_can_be_parked_like_any_other() -> None:
    def fails(state: Any, message: Any, common: Any) -> Any:
        raise ZeroDivisionError("oops")

    core = Core([Decider(MEMBER, fails)])
    lane = core.open(MEMBER.inbox, 0)
    lane.begin()
    key = broadcast_keys(MEMBER.partitions)[0]
    batch = Batch(core)
    batch.decide(lambda take: take(lane, 0, key.encode(), encode(Wake(id="w", at=T, key=key))))
    assert any(output[2].startswith(PARKED) for output in map(Output._make, batch.seal()))
