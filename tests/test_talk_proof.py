"""What the proof of talk holds the log against: each law is broken by records of its own."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.chat import CHAT, ItemPosted
from schemas.log.base import Fact, UserId
from schemas.log.codec import encode
from schemas.outbox import OUTBOX
from schemas.push import PushAccepted, PushChannel
from tests.lab.proofs.talk import _items, _once, ring_laws

T = datetime(2030, 1, 1, tzinfo=UTC)
ITEM = ItemPosted(id="i", at=T, cause="c", pair="ann/sue", user=UserId("ann"), peer=UserId("sue"), seq=1, ref="m1")
TAKEN = PushAccepted(
    id="a", at=T, cause="c", effect="e", user=UserId("ann"), occurrence="o", device="d", channel=PushChannel.ALERT
)
Read = Callable[[str], Iterator[tuple[bytes, bytes | None]]]


def reader(topic: str, *facts: Fact) -> Read:
    return lambda asked: iter([(b"k", encode(fact)) for fact in facts] if asked == topic else [])


@pytest.mark.parametrize(("items", "said"), [
    ([ITEM, replace(ITEM, seq=2, ref="m2")], ""),
    ([ITEM, replace(ITEM, seq=1, pair="ann/bob")], ""),
    ([ITEM, replace(ITEM, seq=3, ref="m2")], "item 3 of ann/sue follows 1"),
    ([replace(ITEM, seq=2)], "item 2 of ann/sue follows 0"),
    ([ITEM, replace(ITEM, seq=2)], "stands 2 times"),
])  # fmt: skip
def test_items_have_no_gap_and_stand_once(items: list[ItemPosted], said: str) -> None:
    broken = _items(reader(CHAT.events, *items))
    assert len(broken) == bool(said)
    assert all(said in line for line in broken)


def test_a_phone_takes_an_occurrence_once() -> None:
    other = replace(TAKEN, device="d2")
    assert _once(reader(OUTBOX.events, TAKEN, other)) == []
    assert _once(reader(OUTBOX.events, TAKEN, other, TAKEN)) == ["push/d/o was accepted 2 times"]


@pytest.mark.parametrize(("push", "said"), [
    ({}, ""), ({"at": 31.0}, "behind the call's end"), ({"occurrence": "m"}, "a message"),
    ({"provider": "fcm", "at": 99.0}, ""),
])  # fmt: skip
def test_apple_rings_while_a_call_rings(push: dict[str, Any], said: str) -> None:
    ends_at = (T + timedelta(seconds=30)).isoformat()
    notified = {"o": {"kind": "call_incoming", "ends_at": ends_at}, "m": {"kind": "message"}}
    town: Any = SimpleNamespace(talk=SimpleNamespace(talkers={"ann": SimpleNamespace(notified=notified)}))
    taken: dict[str, Any] = {"provider": "apns", "occurrence": "o", "at": 2.0} | push
    broken = ring_laws(town, [taken | {"at": T.timestamp() + taken["at"]}])
    assert len(broken) == bool(said)
    assert all(said in line for line in broken)
