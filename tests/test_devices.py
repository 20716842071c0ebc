"""Which phone is which: a feed beats for the call on its own phone only; a client without a name is known by its sign-in."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any, cast

import pytest
from msgspec.structs import replace
from starlette.datastructures import Headers, QueryParams

from schemas.billing_rules import CallKind
from schemas.log.base import Message
from schemas.log.entity import Entity
from schemas.user import USER, Beat, OpenSession, Role, Session, User, mark_of
from schemas.video import CALL, Call, CallStatus
from schemas.video_line import LINE, Line
from serving.runtime.auth import Caller
from serving.runtime.commands import Commands
from serving.runtime.devices import devices_of_feed
from serving.runtime.feed import Connection, Hub
from serving.runtime.presence import Presence, call_beats
from serving.runtime.views import Views
from tests.people import BOB, SUE

T = datetime(2030, 1, 1, tzinfo=UTC)
PHONE = mark_of("phone")
TALKING = Call(
    caller=BOB, callee=SUE, kind=CallKind.DIRECT, status=CallStatus.CONNECTED, placed_by="p", placed_at=T,
    caller_device=PHONE, callee_device="", connected_at=T, caller_beat_at=T, callee_beat_at=T,
)  # fmt: skip


class Known:
    """Views of two who talk, and what was noted."""

    def __init__(self, call: Call = TALKING) -> None:
        self.hub, self.noted = Hub(), list[Message]()
        bob = User(Role.USER, T, sessions=(Session("s", "tablet", T, T),))
        self.states: dict[str, Mapping[str, Any]] = {
            USER.name: {BOB: bob, SUE: User(Role.STREAMER, T)},
            LINE.name: {BOB: Line(call="c", peer=SUE), SUE: Line(call="c", peer=BOB)},
            CALL.name: {"c": call},
        }

    def of(self, entity: Entity) -> Mapping[str, Any]:
        return self.states[entity.name]

    async def note(self, *messages: Message) -> None:
        self.noted += messages


def beats(known: Known, user: str, *devices: str) -> list[str]:
    return [beat.device for beat in call_beats(cast("Views", known), user, map(mark_of, devices))]


def test_a_phone_beats_for_the_call_that_it_is_in() -> None:
    known = Known()
    assert beats(known, BOB, "phone") == beats(known, BOB, "tablet", "phone") == [PHONE]
    assert beats(known, BOB, "tablet") == beats(known, BOB) == []
    assert beats(known, SUE, "whatever") == [""], "nobody knows her phone: any of hers is she"
    ringing = Known(replace(TALKING, status=CallStatus.RINGING))
    assert beats(ringing, BOB, "phone") == []


def test_of_two_feeds_of_one_account_only_that_of_the_phone_in_the_call_beats_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each feed is its own phone's session; when the phone's feed has closed, nothing beats for the call."""

    async def sent(_: Any) -> None: ...

    async def turns(known: Known, count: int) -> list[tuple[str, str]]:
        known.noted.clear()
        real = asyncio.sleep
        left = iter(range(count))

        async def sleep(_: float) -> None:
            if next(left, None) is None:
                raise asyncio.CancelledError
            await real(0)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await beating.run()
        monkeypatch.setattr(asyncio, "sleep", real)
        names = {Beat: "session", OpenSession: "device"}
        return sorted({(type(one).__name__, getattr(one, names.get(type(one), "device"))) for one in known.noted})

    known = Known()
    beating = Presence(cast("Views", known), cast("Commands", known))
    phone, tablet = (Connection(sent, lambda: None, -1, (name, "sign-in 7")) for name in ("phone", "tablet"))

    async def run() -> None:
        for stream in (tablet, phone):
            known.hub.add(BOB, stream)
        await asyncio.sleep(0)
        assert [(type(one).__name__, getattr(one, "device", "")) for one in known.noted] == [
            ("Beat", ""),
            ("OpenSession", "phone"),
        ]
        assert await turns(known, 2) == [("Beat", "s"), ("BeatCall", PHONE), ("OpenSession", "phone")]
        known.hub.remove(BOB, phone)
        assert await turns(known, 2) == [("Beat", "s")]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("one", "other", "alone"),
    [
        (("sign-in 7",), ("sign-in 7",), True),
        (("phone", "sign-in 7"), ("phone", "sign-in 8"), True),
        (("sign-in 7",), ("sign-in 8",), False),
        (("phone", "sign-in 7"), ("tablet", "sign-in 7"), False),
    ],
)
def test_feeds_that_cannot_be_told_apart_are_one_phone_until_the_last_one_ends(
    one: tuple[str, ...], other: tuple[str, ...], alone: bool
) -> None:
    """`one` has the call; `alone`: whether the other one, left alone, keeps it alive."""

    async def sent(_: Any) -> None: ...

    known = Known(replace(TALKING, caller_device=mark_of(one[0])))
    hub = known.hub
    first, second = (Connection(sent, lambda: None, -1, devices) for devices in (one, other))

    def kept() -> bool:
        return any(beats(known, user, *chain.from_iterable(devices)) for user, devices in hub.phones())

    for stream in (first, second):
        hub.add(BOB, stream)
    assert kept()
    hub.remove(BOB, first)
    assert kept() is alone
    hub.remove(BOB, second)
    assert not kept()


CALLER = Caller(user="bob", role=Role.USER, expires_at=0)


@pytest.mark.parametrize(("sign_in", "header", "query", "names"), [
    ("7", "phone", "", ("phone", "sign-in 7")), ("7", "", "device=tab", ("tab", "sign-in 7")), ("7", "", "", ("sign-in 7",)),
    ("", "phone", "device=tab", ("phone",)), ("", "", "", ("feed",)), ("", "x" * 65, "", None), ("", "", "device=a%00", None),
])  # fmt: skip
def test_how_a_feeds_phone_is_called(sign_in: str, header: str, query: str, names: tuple[str, ...] | None) -> None:
    caller, headers = CALLER.model_copy(update={"sign_in": sign_in}), Headers({"olo-device": header} if header else {})
    if names is None:
        with pytest.raises(ValueError):  # noqa: PT011 - it is the name
            devices_of_feed(caller, headers, QueryParams(query))
    else:
        assert devices_of_feed(caller, headers, QueryParams(query)) == names
