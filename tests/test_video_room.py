"""Rooms: credentials for both sides, notices late, twice and out of order, and the closing of a room through the outbox."""

import hashlib
import hmac
import json
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.video_room import decide_room
from schemas.outbox import EffectKind, OweEffect, close_room_id
from schemas.video import CallEnded, EndCall, EndReason, LeaveCall, RoomOpened
from schemas.video_room import LeaveReason, NoteParticipant, ParticipantJoined, ParticipantLeft, Room
from tests.conftest import Api, NewUser, Phone, Phones, Stack, eventually
from tests.decisions import all_decisions, decisions_of
from tests.people import BOB, SUE
from tests.test_vendors import FORM, twilio_signature
from tests.vendor_stub import VendorStub

decide = decisions_of(decide_room)
T = datetime(2030, 1, 1, tzinfo=UTC)
SIDES: dict[str, Any] = {"call": "c", "caller": "bob", "callee": "sue", "kind": "direct"}
OPENED = RoomOpened(id="o", at=T, cause="x", **SIDES, provider="agora")
ENDED = CallEnded(id="e", at=T + timedelta(seconds=9), cause="y", **SIDES, reason=EndReason.HUNG_UP, room="agora")


def note(member: str, joined: bool, seq: int, reason: LeaveReason = LeaveReason.OTHER) -> NoteParticipant:
    return NoteParticipant(
        id=f"n{seq}", at=T + timedelta(seconds=seq), call="c", member=member, joined=joined, seq=seq, reason=reason
    )


after = partial(all_decisions, decide)


def test_who_comes_and_goes_is_told_once_whatever_the_order() -> None:
    room, told = after(
        OPENED, note("1", True, 1), note("2", True, 2), note("2", True, 2), note("1", False, 5), note("1", True, 3)
    )
    assert [(type(fact), fact.user) for fact in told if not isinstance(fact, LeaveCall)] == [
        (ParticipantJoined, "bob"), (ParticipantJoined, "sue"), (ParticipantLeft, "bob"),
    ]  # fmt: skip
    assert room.present == ("sue",)


def test_who_quits_has_hung_up_and_who_is_lost_has_not() -> None:
    _, told = after(OPENED, note("sue", True, 1), note("sue", False, 2, LeaveReason.LOST))
    assert not [one for one in told if isinstance(one, EndCall)]
    _, told = after(OPENED, note("sue", True, 1), note("sue", False, 4, LeaveReason.QUIT))
    (end,) = [one for one in told if isinstance(one, EndCall)]
    assert (end.reason, end.by, end.at) == (EndReason.HUNG_UP, "sue", T + timedelta(seconds=4))
    _, told = after(OPENED, ENDED, note("sue", False, 4, LeaveReason.QUIT))
    assert not [one for one in told if isinstance(one, EndCall)], "the call has ended before"


def test_who_is_lost_is_told_to_the_call_and_who_has_another_phone_there_is_not_lost() -> None:
    _, told = after(OPENED, note("sue", True, 1), note("sue", False, 2, LeaveReason.LOST))
    assert (type(told[-1]), told[-1].by, told[-1].at) == (LeaveCall, "sue", T + timedelta(seconds=2))
    first, second = replace(note("sue", True, 1), connection="a"), replace(note("sue", True, 5), connection="b")
    room, told = after(OPENED, first, second, replace(note("sue", False, 6, LeaveReason.QUIT), connection="a"))
    assert room.present == ("sue",)
    assert [type(one) for one in told] == [ParticipantJoined], "he came once, and is there by the second connection"
    assert decide(room, replace(note("sue", True, 5), connection="a")) == (room, ()), "older than the last of its connection"
    room, (left, end) = decide(room, replace(note("sue", False, 7, LeaveReason.QUIT), connection="b"))
    assert (room.present, type(left), type(end)) == ((), ParticipantLeft, EndCall)


def test_a_notice_dated_ahead_counts_from_now_and_one_from_before_by_its_time() -> None:
    for happened_s, due_s in ((19, 4), (-3, -3), (4, 4)):
        quits = replace(note("sue", False, 4, LeaveReason.QUIT), happened_at=T + timedelta(seconds=happened_s))
        _, told = after(OPENED, note("sue", True, 1), quits)
        assert told[-1].at == T + timedelta(seconds=due_s)


def test_who_joins_behind_the_end_is_put_out_again_each_time() -> None:
    room, told = after(OPENED, note("sue", True, 1), ENDED, note("sue", True, 8))
    assert not [one for one in told if isinstance(one, OweEffect)], "a join before the end is the first closing's business"
    room, told = after(
        OPENED, ENDED, note("sue", True, 10), note("sue", True, 10), note("bob", True, 11), note("bob", False, 12)
    )
    owed = [one for one in told if isinstance(one, OweEffect)]
    assert [(one.kind, one.subject, one.provider) for one in owed] == [(EffectKind.CLOSE_ROOM, "c", "agora")] * 2
    assert len({one.effect for one in owed} | {close_room_id("c")}) == 3
    assert room.forget_at is not None


SHUFFLED = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.booleans()), unique_by=lambda one: one[:2], max_size=9
)


@given(SHUFFLED, st.randoms())
def test_presence_is_by_connection_whatever_the_order(notices: list[tuple[str, int, bool]], chance: random.Random) -> None:
    told_of = [replace(note("sue", joined, seq), connection=name) for name, seq, joined in notices]
    last = {name: joined for name, _, joined in sorted(notices, key=lambda one: one[1])}
    chance.shuffle(told_of)
    room, told = after(OPENED, *told_of, *told_of)
    assert room.present == (("sue",) if any(last.values()) else ())
    kinds = [type(one) for one in told if isinstance(one, ParticipantJoined | ParticipantLeft)]
    assert all(one is not other for one, other in pairwise(kinds)), "coming and going alternate"


def test_strangers_and_unknown_rooms_change_nothing() -> None:
    room = Room("agora", BOB, SUE)
    assert decide(room, note("eve", True, 1)) == (room, ())
    assert decide(None, note("sue", True, 1)) == (None, ())
    assert decide(None, ENDED) == (None, ())


def test_a_room_is_forgotten_a_day_after_its_call() -> None:
    room, _ = after(OPENED, ENDED)
    assert room.wake_at == ENDED.at + timedelta(days=1)


# --- on the real platform ---------------------------------------------------------------------------------------------------


Placed = tuple[Phone, Phone, str]


@pytest.fixture
def call(phones: Phones) -> Placed:
    bob, sue = phones()
    placed = bob.call(sue).json()["call"]
    return bob, sue, placed


def test_both_sides_get_credentials_of_their_own_and_nobody_else(call: Placed, new_user: NewUser) -> None:
    bob, sue, name = call
    found = [phone.api.post(f"/v1/calls/{name}/credentials") for phone in (bob, sue)]
    assert [answer.status_code for answer in found] == [201, 201]
    bobs, sues = (answer.json() for answer in found)
    assert (bobs["provider"], bobs["room"], bobs["uid"], sues["uid"]) == ("agora", name, 1, 2)
    assert bobs["token"].startswith("007")
    assert new_user().post(f"/v1/calls/{name}/credentials").json()["code"] == "call_unknown"
    bob.api.post(f"/v1/calls/{name}/hang-up")
    eventually(lambda: bob.api.get(f"/v1/calls/{name}").json()["status"] == "ended")
    late = sue.api.post(f"/v1/calls/{name}/credentials")
    assert (late.status_code, late.json()["code"]) == (409, "call_ended")


def notice(channel: str, uid: int, kind: int, seq: int, reason: int = 0) -> bytes:
    payload = {"channelName": channel, "uid": uid, "platform": 1, "clientSeq": seq, "ts": int(time.time()), "reason": reason}
    told = {"noticeId": uuid.uuid4().hex, "productId": 1, "eventType": kind, "sid": "s", "payload": payload}
    return json.dumps(told).encode()


def send(api: Api, body: bytes, secret: bytes = b"hook") -> httpx.Response:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = {"Agora-Signature-V2": signature, "Content-Type": "application/json", "Authorization": ""}
    return api.post("/v1/webhooks/agora", content=body, headers=headers)


def test_who_quits_the_room_ends_the_call_and_a_forged_notice_does_nothing(call: Placed) -> None:
    bob, sue, name = call
    sue.api.post(f"/v1/calls/{name}/accept")
    for phone in (bob, sue):
        phone.api.post(f"/v1/calls/{name}/credentials")
    forged = send(bob.api, notice(name, 2, 104, 9, reason=1), b"other")
    assert (forged.status_code, forged.json()["code"]) == (401, "signature_invalid")
    assert send(bob.api, b"{}").json()["code"] == "notice_unreadable"
    assert send(bob.api, notice("elsewhere", 1, 103, 1)).json() == {"status": "ignored"}
    assert send(bob.api, notice(name, 2, 103, 1)).json() == {"status": "noted"}
    time.sleep(1.1)  # notices tell whole seconds: this one must not lie before the call
    quits = notice(name, 2, 104, 5, reason=1)
    for _ in range(2):
        assert send(bob.api, quits).status_code == 200
    ended = bob.wait_for("CallEnded")
    assert (ended["reason"], ended["by"], ended["room"]) == ("hung_up", sue.user, "agora")


def test_twilios_callback_is_noted_when_its_signature_fits(call: Placed) -> None:
    bob, _, name = call
    form = FORM | {"RoomName": name, "ParticipantIdentity": bob.user}
    headers = {"X-Twilio-Signature": twilio_signature(form), "Content-Type": "application/x-www-form-urlencoded"}
    assert bob.api.post("/v1/webhooks/twilio", content=urlencode(form), headers=headers).json() == {"status": "noted"}
    forged = bob.api.post("/v1/webhooks/twilio", content=urlencode(form), headers=headers | {"X-Twilio-Signature": "x"})
    assert (forged.status_code, forged.json()["code"]) == (401, "signature_invalid")
    bob.api.post(f"/v1/calls/{name}/hang-up")


def test_a_room_is_closed_once_although_the_vendor_stumbles_and_dispatch_is_killed(
    call: Placed, vendors: VendorStub, stack: Stack
) -> None:
    bob, _, name = call
    bob.api.post(f"/v1/calls/{name}/credentials")
    vendors.trouble[name] = [(503, {}), (429, {"retry-after": "1"})]
    bob.api.post(f"/v1/calls/{name}/hang-up")
    eventually(lambda: vendors.about(name))
    stack.kill("dispatch-0")
    eventually(lambda: "accepted" in stack.olo("outbox", "show", f"close_room/{name}").stdout)
    assert all(told["privileges"] == ["join_channel"] for told in vendors.about(name))
    seen = len(vendors.about(name))
    assert seen >= 3
    stack.kill("dispatch-0")
    time.sleep(2)
    assert len(vendors.about(name)) == seen, "a replay fires nothing again"


def test_what_the_vendor_refuses_waits_for_a_person(call: Placed, vendors: VendorStub, stack: Stack) -> None:
    bob, _, name = call
    bob.api.post(f"/v1/calls/{name}/credentials")
    vendors.trouble[name] = [(401, {})]
    bob.api.post(f"/v1/calls/{name}/hang-up")

    def refused() -> bool:
        listed = stack.olo("outbox", "list").stdout.splitlines()
        return any(f"close_room/{name}" in line and "refused" in line for line in listed)

    eventually(refused)
    assert "trouble 401" in stack.olo("outbox", "show", f"close_room/{name}").stdout
    assert "is tried again" in stack.olo("outbox", "redrive", f"close_room/{name}").stdout
    eventually(lambda: "accepted" in stack.olo("outbox", "show", f"close_room/{name}").stdout)
    again = stack.olo("outbox", "redrive", f"close_room/{name}")
    assert (again.returncode, "only refused and expired" in again.stderr) == (2, True)
    assert stack.olo("outbox", "show", "close_room/nothing").returncode == 2
