"""`Commands.ask` gives the fact that decides a command, or raises: no answer comes without a decision. Without a broker."""

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Producer

from schemas.gift import GiftItemPut, GiftItemRefused, GiftPriced, GiftRefusal, GiftRefused, GiftSent, PutGiftItem, SendGift
from schemas.log.base import Fact, now
from serving.runtime import commands as module
from serving.runtime.commands import Commands
from serving.runtime.later import Later, NotDecided, Pending
from serving.runtime.outcomes import Outcomes
from serving.runtime.problems import Problem
from serving.runtime.refusals import RefusalTables
from tests.people import ANN, BOB

TABLES = RefusalTables(
    [
        {
            GiftRefusal.SHARE_ABOVE_PRICE: (422, "a {item} costs less than its share"),
            GiftRefusal.INSUFFICIENT_COINS: (402, "{sender} is {shortfall_coins} coins short", 7),
        }
    ]
)
PUT = PutGiftItem(id="c", at=now(), item="rose", price_coins=2, share_coins=1)
SEND = SendGift(id="c", at=now(), gift="g", sender=ANN, receiver=BOB, item="rose")
ITEM_PUT = GiftItemPut(id="f", at=now(), cause="c", item="rose", price_coins=2, share_coins=1)
TO_BOB: dict[str, Any] = {"id": "f", "at": now(), "gift": "g", "sender": "ann", "receiver": "bob", "item": "rose"}


class FakeProducer:
    """A log that takes each command (or does as `error` says) and shows at once the `facts` that came of it."""

    def __init__(self, outcomes: Outcomes, *facts: Fact, error: str | None = None) -> None:
        self.outcomes, self.facts, self.error = outcomes, facts, error

    def produce(
        self, _topic: str, _value: bytes, key: bytes, _partition: int, *, on_delivery: Callable[[str | None, None], None]
    ) -> None:
        if self.error == "full":
            raise BufferError
        if self.error != "silent":
            on_delivery(self.error, None)
        for fact in self.facts:
            self.outcomes.fact(("gift_item.state", key), 1, fact)

    def poll(self, *_: float) -> None:
        time.sleep(0.001)

    def flush(self, *_: int) -> int:
        return 0


def asked(*facts: Fact, error: str | None = None, ask: Callable[..., Any]) -> Any:
    """What `ask` gives, or raises, when these facts come of it."""

    async def run() -> Any:
        outcomes = Outcomes()
        commands = Commands(lambda: cast(Producer, FakeProducer(outcomes, *facts, error=error)), outcomes, TABLES)
        try:
            return await ask(commands)
        except (Problem, NotDecided) as raised:
            return raised
        finally:
            commands.stop()
            assert not outcomes.waiting

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OUTCOME_S", 0.2)


def test_the_deciding_fact_is_the_answer() -> None:
    assert asked(ITEM_PUT, ask=lambda commands: commands.ask(PUT, GiftItemPut)) is ITEM_PUT


def test_a_fact_whose_cause_is_a_derived_command_answers_too() -> None:
    sent = GiftSent(**TO_BOB, cause="c/0", price_coins=2, share_coins=1)
    assert asked(sent, ask=lambda commands: commands.ask(SEND, GiftSent, GiftRefused, derived="c/0")) is sent
    assert isinstance(asked(sent, ask=lambda commands: commands.ask(SEND, GiftSent)), NotDecided)


def test_a_refusal_is_raised_as_its_row_says() -> None:
    refused = GiftItemRefused(id="f", at=now(), cause="c", item="rose", refusal=GiftRefusal.SHARE_ABOVE_PRICE)
    problem = asked(refused, ask=lambda commands: commands.ask(PUT, GiftItemPut))
    assert (problem.status, problem.code, problem.detail) == (422, "share_above_price", "a rose costs less than its share")
    assert (problem.headers, problem.more) == (None, {})


def test_a_refusal_says_how_many_coins_are_short_and_when_to_ask_again() -> None:
    refused = GiftRefused(**TO_BOB, cause="c", refusal=GiftRefusal.INSUFFICIENT_COINS, shortfall_coins=5)
    problem = asked(refused, ask=lambda commands: commands.ask(SEND, GiftSent, GiftRefused))
    assert (problem.status, problem.detail, problem.headers) == (402, "ann is 5 coins short", {"Retry-After": "7"})
    assert json.loads(problem.response().body)["shortfall_coins"] == 5


def test_a_refusal_without_a_row_and_an_unexpected_fact_are_errors_and_no_success() -> None:
    unlisted = GiftItemRefused(id="f", at=now(), cause="c", item="rose", refusal=GiftRefusal.BLOCKED)
    problem = asked(unlisted, ask=lambda commands: commands.ask(PUT, GiftItemPut))
    assert (problem.status, problem.code) == (500, "unexpected_refusal")
    priced = GiftPriced(id="f", at=now(), cause="c", item="rose", gift="g")
    problem = asked(priced, ask=lambda commands: commands.ask(PUT, GiftItemPut))
    assert (problem.status, problem.code) == (500, "unexpected_answer")


def test_what_is_not_decided_in_time_is_202_where_there_is_somewhere_to_look() -> None:
    later = Later("/v1/gifts/g", Pending())
    answer = asked(ask=lambda commands: commands.ask(SEND, GiftSent, later=later)).response()
    assert (answer.status_code, answer.headers["location"], json.loads(answer.body)) == (
        202,
        later.location,
        {"status": "pending"},
    )


def test_what_is_not_decided_in_time_is_503_elsewhere() -> None:
    answer = asked(ask=lambda commands: commands.ask(PUT, GiftItemPut)).response()
    assert (answer.status_code, json.loads(answer.body)["code"]) == (503, "not_decided")
    assert answer.headers["retry-after"]
    assert answer.media_type == "application/problem+json"


@pytest.mark.parametrize("error", ["full", "silent", "timed out"])
def test_what_the_log_did_not_take_is_503_even_where_there_is_somewhere_to_look(error: str) -> None:
    problem = asked(error=error, ask=lambda commands: commands.ask(SEND, GiftSent, later=Later("/v1/gifts/g", Pending())))
    assert (problem.status, problem.code) == (503, "log_unreachable")


def test_more_than_can_wait_is_an_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 0)
    problem = asked(ITEM_PUT, ask=lambda commands: commands.ask(PUT, GiftItemPut))
    assert (problem.status, problem.code) == (503, "overloaded")


def test_of_many_each_is_decided_or_the_first_that_is_not_is_the_answer() -> None:
    puts = [PutGiftItem(id=id_, at=now(), item="rose", price_coins=2, share_coins=1) for id_ in ("c", "d")]
    done = GiftItemPut(id="g", at=now(), cause="d", item="rose", price_coins=2, share_coins=1)
    refused = GiftItemRefused(id="g", at=now(), cause="d", item="rose", refusal=GiftRefusal.SHARE_ABOVE_PRICE)
    assert asked(ITEM_PUT, done, ask=lambda commands: commands.ask_all(puts, GiftItemPut)) == [ITEM_PUT, done]
    assert asked(ITEM_PUT, refused, ask=lambda commands: commands.ask_all(puts, GiftItemPut)).code == "share_above_price"
    assert isinstance(asked(ITEM_PUT, ask=lambda commands: commands.ask_all(puts, GiftItemPut)), NotDecided)


def test_a_note_that_the_log_did_not_take_is_lost_and_a_told_command_is_not() -> None:
    assert asked(error="full", ask=lambda commands: commands.note(PUT)) is None
    assert asked(error="full", ask=lambda commands: commands.tell(PUT)).code == "log_unreachable"


def test_decisions_that_are_late_refuse_new_commands_of_their_inbox_until_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is decided for longer than anybody has patience; then all are."""
    clock = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(module, "OUTCOME_S", 0.01)

    def put(name: str) -> PutGiftItem:
        return PutGiftItem(id=name, at=now(), item=name, price_coins=2, share_coins=1)

    async def run(commands: Commands) -> list[Any]:
        names = [f"c{number}" for number in range(40)]
        undecided = await asyncio.gather(*(commands.ask(put(name), GiftItemPut) for name in names), return_exceptions=True)
        clock[0] = 8.0
        found: list[Any] = [one for one in undecided if not isinstance(one, NotDecided)]
        for name, urgent in (("d", False), ("c0", True)):
            found += await asyncio.gather(commands.ask(put(name), GiftItemPut, urgent=urgent), return_exceptions=True)
        commands._waiting.clear()
        for name in names:
            commands._admission.decided(name, 8.0)
        found += await asyncio.gather(commands.ask(put("e"), GiftItemPut), return_exceptions=True)
        return found

    refused, again, taken = asked(ask=run)
    assert (refused.status, refused.code, refused.headers) == (503, "overloaded", {"Retry-After": "8"})
    assert (again.code, type(taken)) == ("overloaded", NotDecided)
