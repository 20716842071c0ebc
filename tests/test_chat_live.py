"""Two phones talk on the platform; and a stream is shown texts that its records do not have, unless they were deleted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.chat import decide_chat, decide_chat_page
from schemas.chat import (
    CHAT,
    CHAT_MESSAGE,
    CHAT_PAGE,
    Chat,
    ChatItem,
    ChatPage,
    ChatSide,
    ItemHidden,
    ItemPosted,
    page_key,
)
from schemas.chat_message import ChatMessage
from schemas.log.base import now
from schemas.log.codec import encode
from schemas.pair import pair_of
from schemas.user import USER, Role, User
from serving.chat import MessageBody, _check, list_chats, list_items, prepare
from serving.runtime.feed import Hub, encode_event
from serving.runtime.problems import Problem
from serving.runtime.views import Views
from tests.conftest import Api, Phone, Phones, eventually
from tests.people import BOB, SUE
from tests.test_chat import HIDE, PAIR, POST

T = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_stream_has_the_text_as_it_is_now() -> None:
    views = Views(Hub())
    prepare(cast(FastAPI, SimpleNamespace(state=SimpleNamespace(views=views))))
    posted = ItemPosted(id="i", at=T, cause="s", pair="bob/sue", user=BOB, peer=SUE, seq=1, ref="m", length=5)
    body = encode_event(0, 7, encode(posted))

    def shown() -> Any:
        head, _, data = views.hub.complete(body).partition(b"data: ")
        assert head == b"id: 0-7\nevent: ItemPosted\n"
        return json.loads(data).get("text")

    assert shown() is None, "the state has not come yet: the phone asks"
    views.of(CHAT_MESSAGE)["m"] = ChatMessage(BOB, SUE, "s", T, text="hi\nyou", seq=1)
    assert shown() == "hi\nyou"
    views.of(CHAT_MESSAGE)["m"] = ChatMessage(BOB, SUE, "s", T, seq=1, deleted_at=T)
    assert shown() is None
    other = encode_event(0, 8, b'{"type":"BadgeChanged"}')
    assert views.hub.complete(other) == other


def seen_by(views: Views, user: str) -> tuple[Any, Any]:
    """What a route is given: who asks, and the request."""
    views.ready = True
    request = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(views=views)))
    return SimpleNamespace(user=user), request


@given(st.integers(1, 120), st.integers(3, 70), st.sets(st.integers(1, 120), max_size=40))
def test_pages_have_every_item_once_newest_first_but_what_was_hidden(posted: int, limit: int, hidden: set[int]) -> None:
    views, chat = Views(Hub()), None
    acts: list[Any] = [replace(POST, id=f"p{n}", message=f"m{n}") for n in range(posted)]
    acts += [replace(HIDE, id=f"h{n}", seq=n) for n in sorted(hidden)]
    for act in acts:
        chat, told = decide_chat(chat, act)
        views.of(CHAT)[PAIR] = cast(Chat, chat)
        for one in told:
            if isinstance(one, ItemPosted | ItemHidden):
                key = page_key(PAIR, one.seq)
                views.of(CHAT_PAGE)[key] = cast(ChatPage, decide_chat_page(views.of(CHAT_PAGE).get(key), one)[0])
    for user, peer, gone in ((SUE, BOB, hidden), (BOB, SUE, set[int]())):
        found, before = list[int](), None
        caller, request = seen_by(views, user)
        for _ in range(posted + 1):
            answer = asyncio.run(list_items(peer, caller, request, before, limit))
            assert len(answer.items) <= limit
            found, before = found + [item.seq for item in answer.items], answer.next_before
            if before is None:
                break
        assert found == [seq for seq in range(posted, 0, -1) if seq not in gone]


@pytest.mark.parametrize(
    ("text", "url", "code"),
    [
        ("hi", "", None), ("", "", "message_empty"), (" \n", "", "message_empty"), ("", "https://Pictures.example:443/1", None),
        ("hi", "https://other.example/1", "picture_host_not_allowed"), ("", "http://[", "picture_host_not_allowed"),
        ("", "https://pictures.example@other.example/1", "picture_host_not_allowed"),
        ("", "https://other.example\\@pictures.example/1", "picture_host_not_allowed"),
    ],
)  # fmt: skip
def test_what_may_be_in_a_message(text: str, url: str, code: str | None) -> None:
    config = SimpleNamespace(picture_hosts="cdn.example, pictures.example")
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(config=config)))
    body = MessageBody(text=text, picture_url=url)
    if code is None:
        _check(body, request)
        return
    with pytest.raises(Problem) as refused:
        _check(body, request)
    assert refused.value.code == code


def test_chats_are_listed_by_their_newest_item_however_long_ago() -> None:
    views, moment, days = (
        Views(Hub()),
        now(),
        {"ann": 0.0, "cat": 1.5, "dan": 1.6, "don": 1.6, "eve": 200.0, "fay": 399.0, "gil": 400.5, "ida": 900.0},
    )
    for user, ago in days.items():
        item = ChatItem(moment - timedelta(days=ago), seq=1, ref="m")
        views.of(CHAT)[pair_of(BOB, user)] = Chat(1, (item,))
    hidden = ChatSide(hidden=1)
    views.of(CHAT)[pair_of(BOB, "hal")] = Chat(1, (ChatItem(moment, seq=1, ref="m"),), (hidden, hidden))
    views.of(USER)[BOB] = User(Role.USER, moment - timedelta(days=1_000))
    views.of(CHAT)[pair_of(BOB, "gus")] = Chat(sides=(ChatSide(bars=True), ChatSide()))
    found, before = list[str](), None
    caller, request = seen_by(views, BOB)
    for _ in range(8):
        answer = asyncio.run(list_chats(caller, request, before, 2))
        found, before = found + [chat.user for chat in answer.chats], answer.next_before
        if before is None:
            break
    assert found == list(days)


def write(api: Api, to: str, text: str, key: str) -> Any:
    return api.post(f"/v1/chats/{to}/messages", json={"text": text}, headers={"Idempotency-Key": key})


def texts(api: Api, of: str) -> list[Any]:
    return [item["text"] for item in api.get(f"/v1/chats/{of}").json()["items"]]


def test_nobody_acknowledges_what_another_one_was_told(phones: Phones) -> None:
    bob, sue = phones()
    eventually(lambda: write(bob.api, sue.user, "hello", "k1").status_code == 201)
    told = sue.wait_for("Notified")
    path = f"/v1/notifications/{told['notification']}/ack"
    refused = bob.api.post(path)
    assert (refused.status_code, refused.json()["code"]) == (404, "notification_unknown")
    assert [sue.api.post(path).status_code for _ in range(2)] == [204, 204], "again is as good as once"
    assert bob.api.get("/v1/notifications").json() == {"notifications": [], "unread": 0, "next_before": None}


def decided_last(admin: Api, report: str) -> Any:
    """What staff is told of the report that was decided last, once the warehouse has it; an earlier page lacks it."""
    path = "/v1/admin/chats/reports/decided"
    newest = eventually(
        lambda: (
            (page := admin.get(path, params={"limit": 1}).json())["reports"][:1]
            and page["reports"][0]["report"] == report
            and page
        )
    )
    (decided,) = newest["reports"]
    earlier = admin.get(path, params={"before": newest["next_before"]}).json()
    assert decided not in earlier["reports"]
    return decided


def test_two_phones_talk_until_one_blocks_the_other(phones: Phones, admin: Api) -> None:
    bob, sue = phones()
    first = eventually(lambda: (said := write(bob.api, sue.user, "hello", "k1")).status_code == 201 and said.json())
    shown = sue.wait_for("ItemPosted")
    assert (shown["seq"], shown["user"], shown["ref"], shown["text"]) == (1, bob.user, first["message"], "hello")
    assert texts(sue.api, bob.user) == texts(bob.api, sue.user) == ["hello"]
    tablet = Phone(bob.api)
    assert write(tablet.api, sue.user, "hello", "k1").json() == first, "the same message, sent again"
    assert write(sue.api, bob.user, "hi", "k1").json()["seq"] == 2
    (chat,) = sue.api.get("/v1/chats").json()["chats"]
    assert (chat["user"], chat["unread"], chat["last"]["text"], chat["online"]) == (bob.user, 1, "hi", True)
    path, message = f"/v1/chats/{bob.user}", f"/v1/chats/{sue.user}/messages/{first['message']}"
    assert sue.api.put(f"{path}/read", json={"seq": 2}).json() == {"seq": 2, "unread": 0}
    assert bob.wait_for("ChatRead")["seq"] == 2
    eventually(lambda: sue.api.get("/v1/chats").json()["unread"] == 0)
    assert bob.api.post(f"/v1/chats/{sue.user}/typing").status_code == 204
    sue.wait_for("Typing")
    assert bob.api.put(message, json={"text": "hello!"}).status_code == 200
    assert sue.wait_for("MessageEdited")["seq"] == 1
    assert texts(sue.api, bob.user) == ["hi", "hello!"]
    assert sue.api.delete(f"{path}/messages/{first['message']}").json()["code"] == "not_sender"
    reported = sue.api.post(f"{path}/report", json={"reason": "harassment", "seqs": [1]}, headers={"Idempotency-Key": "r1"})
    assert reported.status_code == 201
    assert bob.api.delete(message).status_code == 204
    assert sue.wait_for("MessageDeleted")["seq"] == 1
    call = bob.call(sue).json()["call"]
    assert sue.api.post(f"/v1/calls/{call}/decline").status_code == 200
    assert admin.put("/v1/admin/gifts/tulip", json={"price_coins": 20, "share_coins": 8}).status_code == 200
    assert bob.api.place("/v1/gifts", to=sue.user, gift="tulip").status_code == 201
    items = eventually(lambda: len(found := sue.api.get(path).json()["items"]) == 4 and found)
    assert [item["kind"] for item in items] == ["gift", "call", "message", "message"]
    assert (items[0]["coins"], items[1]["reason"], items[3]["deleted"], items[3]["text"]) == (8, "declined", True, None)
    report = f"/v1/admin/chats/reports/{reported.json()['report']}"
    evidence = admin.post(f"{report}/read", json={"reason": "a complaint"}).json()["evidence"]
    assert [(one["text"], one["sender"]) for one in evidence] == [("hello!", bob.user)], "what it said, though it was deleted"
    assert admin.post(f"{report}/review", json={"reason": "rude", "outcome": "warned"}).status_code == 204
    due = {"user": sue.user, "peer": bob.user, "outcome": "warned", "why": "rude", "until": None}
    assert decided_last(admin, reported.json()["report"]).items() >= due.items()
    assert sue.api.get("/v1/admin/chats/reports/decided").status_code == 403
    warned = bob.wait_for("UserWarned")
    assert warned["reason"] == "harassment"
    assert sue.user not in json.dumps(warned)
    assert write(bob.api, sue.user, "call +49 176 12345678", "k6").status_code == 201
    assert texts(sue.api, bob.user)[0] == "call *** *** ********"
    assert sue.api.put(f"/v1/blocks/{bob.user}", json={"reason": "spam"}).status_code == 200
    refused = [write(bob.api, sue.user, "why", "k2"), write(sue.api, bob.user, "so", "k2")]
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(409, "not_reachable")] * 2
    bad = [(sue.user, " ", "k3"), ("nobody", "you", "k4"), (sue.user, "x" * 2_001, "k5")]
    assert [write(bob.api, *row).status_code for row in bad] == [422, 404, 422]
