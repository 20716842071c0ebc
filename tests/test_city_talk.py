"""The books of the city's talk: each law is broken by rows of its own, and what never can be is told by the phone at once."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.lab.city.phone import Phone, Sights
from tests.lab.city.talk import Talk, Talker
from tests.lab.city.talk_books import Outcome, Step, push_laws, unfinished, vendor_laws

TOLD = Step("ann", "n1", "message", "Notified")
PUSHED = Step("ann", "n1", "message", "PushDecided", "no_ack", phones=1)
ACKED = Step("ann", "n1", "message", "NotificationAcked")
TAKEN = Outcome("ann", "n1", "d1", "alert", "PushAccepted", provider="fcm")
SILENT = Outcome("ann", "n1/over/x", "d1", "alert", "PushAccepted", provider="fcm")


def push(**more: Any) -> dict[str, Any]:
    return {"token": "t1", "occurrence": "n1", "provider": "fcm", "heard": True} | more


def test_good_books_are_good() -> None:
    steps, outcomes = [TOLD, PUSHED, ACKED], [TAKEN, SILENT]
    taken = [push(), push(heard=False), push(occurrence="n1/over/x")]
    assert unfinished(steps, outcomes, taken) == push_laws(steps, outcomes) == []
    assert list(vendor_laws(outcomes, taken, {"t1": "ann"})) == []


@pytest.mark.parametrize(("steps", "outcomes", "said"), [
    ([TOLD, ACKED, PUSHED], [TAKEN], "pushed behind its end"),
    ([TOLD, PUSHED._replace(reason="")], [TAKEN], "pushed for ''"),
    ([TOLD, TOLD, PUSHED], [TAKEN], "Notified 2 times"),
    ([TOLD, PUSHED, PUSHED], [TAKEN], "PushDecided 2 times"),
    ([TOLD], [TAKEN], "nobody has decided so"),
    ([TOLD], [SILENT], "nobody has decided so"),
    ([TOLD, PUSHED], [TAKEN._replace(channel="voip")], "rings a phone"),
    ([TOLD, PUSHED], [TAKEN, TAKEN], "accepted 2 times"),
])  # fmt: skip
def test_each_law_of_pushes_is_told_when_broken(steps: list[Step], outcomes: list[Outcome], said: str) -> None:
    (line,) = push_laws(steps, outcomes)
    assert said in line


@pytest.mark.parametrize(("steps", "outcomes", "taken", "said"), [
    ([TOLD], [], [], "nobody says what became of n1"),
    ([TOLD, PUSHED], [], [], "of which 0 have ended"),
    ([TOLD, PUSHED], [TAKEN], [push(occurrence="n1/over/x")], "nobody says what became of n1/over/x"),
])  # fmt: skip
def test_what_has_not_ended_is_told(steps: list[Step], outcomes: list[Outcome], taken: list[Any], said: str) -> None:
    (line,) = unfinished(steps, outcomes, taken)
    assert said in line
    assert unfinished([TOLD._replace(no_push="muted")], []) == []


@pytest.mark.parametrize(("outcomes", "taken", "said"), [
    ([TAKEN], [], "and has not"),
    ([TAKEN], [push(provider="apns")], "and has not"),
    ([], [push()], "whose it is not"),
    ([TAKEN._replace(outcome="PushRefused")], [push()], "PushRefused is said"),
    ([TAKEN], [push(), push()], "took n1 2 times"),
])  # fmt: skip
def test_vendors_that_say_otherwise_are_told(outcomes: list[Outcome], taken: list[Any], said: str) -> None:
    (line,) = vendor_laws(outcomes, taken, {"t1": "ann"})
    assert said in line


def talker() -> tuple[Talker, Sights]:
    sights = Sights()
    phone = Phone("ann", "t", httpx.AsyncClient(), sights)
    return Talk(sights).join(phone, "1"), sights


def item(seq: int, **more: Any) -> dict[str, Any]:
    return {"seq": seq, "user": "ann", "peer": "sue", "pair": "ann/sue", "ref": f"m{seq}"} | more


@pytest.mark.parametrize(("events", "said"), [
    ([("ItemPosted", item(1)), ("ItemPosted", item(3))], "item 3 of sue behind 1"),
    ([("ItemPosted", item(1)), ("ItemPosted", item(1))], "item 1 of sue behind 1"),
    ([("ChatRead", item(2)), ("ChatRead", item(1))], "sinks to 1"),
    ([("ChatRead", item(2, user="sue", peer="ann")), ("ChatRead", item(1, user="sue", peer="ann"))], "sinks to 1"),
    ([("Notified", {"notification": "n", "unread": 1})] * 2, "was told n twice"),
])  # fmt: skip
def test_what_a_phone_is_never_shown(events: list[tuple[str, dict[str, Any]]], said: str) -> None:
    async def hear() -> list[str]:
        phone, sights = talker()
        phone._acked.add("n")
        for type_, event in events:
            phone.heard(type_, event)
        return sights.errors

    (line,) = asyncio.run(hear())
    assert said in line


def test_a_recount_leaves_out_ones_own_talks_and_what_was_read_or_taken_back() -> None:
    phone, _ = talker()
    phone._home = True
    sue = {"user": "sue", "peer": "ann"}
    for event in (item(1, **sue), item(2), item(3, **sue), item(4, **sue), item(5, **sue, kind="call", connected=True),
                  item(6, **sue, kind="call"), item(7, **sue, kind="gift")):  # fmt: skip
        phone.heard("ItemPosted", event)
    phone.heard("ChatRead", item(1))
    phone.heard("MessageDeleted", {"sender": "sue", "receiver": "ann", "seq": 3})
    thread = phone.threads["sue"]
    assert (thread.unread("ann", 50), thread.unread("ann", 2), thread.unread("sue", 50)) == (3, 2, 1)
