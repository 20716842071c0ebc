"""Calls over HTTP on the real platform: two phones, coins by the second, and every way in which a call does not come about."""

import base64
import json
import os
import signal
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from infra.film_urls import DEVELOPMENT_SECRET, signature
from infra.kafka import member, quiet, read_topic
from schemas.log.entity import Flow
from schemas.log.topics import ENTITIES
from schemas.user import mark_of
from tests.conftest import Api, NewUser, Phone, Phones, Stack, eventually

UNLIMITED = {"most_coins": 0, "free_s": 0}
FAST = {
    "payer": {"checkpoints": [{"after_s": 0, "coins": 9}, {"after_s": 2, "coins": 60}, {"after_s": 5, "coins": 60}],
              "step_s": 5, "step_coins": 60},
    "earner": {"checkpoints": [{"after_s": 2, "coins": 30}, {"after_s": 5, "coins": 30}], "step_s": 5, "step_coins": 30},
}  # fmt: skip


@pytest.fixture
def fast(admin: Api) -> str:
    """A country in which seconds are as dear as minutes elsewhere."""
    country = uuid.uuid4().hex[:6]
    body = {"rule": {"kind": "direct", "payer_role": "user", "country": country}, **FAST}
    assert admin.put(f"/v1/admin/tariffs/fast-{country}", json=body).status_code == 200
    return country


def code(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["code"]


def test_a_call_moves_coins_on_both_phones_and_its_receipt_adds_up(phones: Phones, fast: str, admin: Api, stack: Stack) -> None:
    bob, sue = phones(country=fast)
    placed = bob.call(sue, key="k")
    call = placed.json()["call"]
    assert (placed.status_code, placed.json()["status"]) == (201, "ringing")
    assert sue.wait_for("CallRinging")["caller"] == bob.user
    assert bob.call(sue, key="k").json()["call"] == call
    reused = bob.api.post("/v1/calls", json={"to": "somebody"}, headers={"Idempotency-Key": "k"})
    assert code(reused, 409) == "idempotency_key_reused"
    assert sue.api.post(f"/v1/calls/{call}/accept").json()["status"] == "connected"
    changed = {"rule": {"kind": "direct", "payer_role": "user", "country": fast}, "payer": {"step_s": 5, "step_coins": 1},
               "earner": {}}  # fmt: skip
    assert admin.put(f"/v1/admin/tariffs/fast-{fast}", json=changed).json()["version"] == 2
    stepped = [bob.wait_for("BillStepped", n)["after_s"] for n in (1, 2, 3)]
    assert stepped == [0, 2, 5]
    ended = bob.api.post(f"/v1/calls/{call}/hang-up")
    assert (ended.json()["status"], ended.json()["reason"]) == ("ended", "hung_up")
    again = bob.call(sue, key="k")
    assert (again.status_code, again.json()["call"], again.json()["status"]) == (201, call, "ended")
    for phone in (bob, sue):
        closed = phone.wait_for("BillClosed")
        assert (closed["paid_coins"], closed["earned_coins"], closed["version"]) == (129, 60, 1)
    beats = [one for one in map(json.loads, filter(None, _values(stack, "call.inbox"))) if one["type"] == "BeatCall"]
    devices = {one.get("device", "") for one in beats if one["call"] == call}
    assert devices, "feeds beat for the call that their phones are in"
    assert devices <= {mark_of(_sign_in(bob)), mark_of(_sign_in(sue))}
    receipt = sue.api.get(f"/v1/calls/{call}/receipt").json()
    assert [(s["kind"], s["after_s"], s["coins"]) for s in receipt["steps"] if s["kind"] == "paid"] == [
        ("paid", 0, 9), ("paid", 2, 60), ("paid", 5, 60),
    ]  # fmt: skip
    assert receipt["closed"] is True
    assert [receipt[side] for side in ("pays", "earns")] == [FAST[side] | UNLIMITED for side in ("payer", "earner")], (
        "the version that the call ran under"
    )
    assert receipt["ended_at"] <= receipt["as_of"]
    assert bob.api.balance().json()["balance_coins"] == 1_000 - 129
    assert sue.api.balance(book="earnings").json()["balance_coins"] == 60
    again = bob.call(sue).json()["call"]
    sue.api.post(f"/v1/calls/{again}/accept")
    assert eventually(lambda: bob.api.get(f"/v1/calls/{again}").json()["version"]) == 2
    bob.api.post(f"/v1/calls/{again}/hang-up")


def test_a_call_is_cut_when_the_coins_are_spent_and_the_earner_is_not_told_why(phones: Phones, fast: str) -> None:
    bob, sue = phones(coins=100, country=fast)
    call = bob.call(sue).json()["call"]
    sue.api.post(f"/v1/calls/{call}/accept")
    assert bob.wait_for("CreditLow")["shortfall_coins"] == 29
    ended = sue.wait_for("CallEnded")
    at, _ = next(found for found in sue.shown if found[1]["type"] == "CallEnded")
    connected = bob.of("CallConnected")[0]["at"]
    assert (ended.get("reason", "ended"), ended["duration_s"]) == ("ended", 5.0)
    assert bob.wait_for("CallEnded")["reason"] == "out_of_coins"
    seen = [phone.api.get(f"/v1/calls/{call}").json()["reason"] for phone in (bob, sue)]
    assert seen == ["out_of_coins", "ended"]
    assert at - _seconds(connected) < 5 + 5  # told soon after the checkpoint; the city measures how soon
    assert bob.wait_for("BillClosed")["paid_coins"] == 69
    assert bob.api.balance().json()["available_coins"] == 31
    assert not sue.of("CreditLow")
    assert sue.wait_for("BillClosed")["paid_coins"] == 69
    assert any("seconds_left" in told for told in bob.of("BillStepped"))
    assert not any("seconds_left" in told for told in sue.of("BillStepped")), "what the payer has is none of her business"


def _values(stack: Stack, topic: str) -> Iterator[bytes | None]:
    return (record.value() for record in read_topic(stack.config, topic))


def _sign_in(phone: Phone) -> str:
    claims = phone.api.token.split(".")[1]
    return f"sign-in {json.loads(base64.urlsafe_b64decode(claims + '=' * (-len(claims) % 4)))['auth_time']}"


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_kill_9_of_the_flows_in_a_call_and_it_is_billed_by_its_own_times(phones: Phones, fast: str, stack: Stack) -> None:
    bob, sue = phones(country=fast)
    call = bob.call(sue).json()["call"]
    sue.api.post(f"/v1/calls/{call}/accept")
    bob.wait_for("BillStepped")
    stack.kill("live-0")
    time.sleep(1)
    stack.kill("money-0")
    bob.wait_for("BillStepped", 3)
    stack.kill("live-0")
    answer = eventually(lambda: (a := bob.api.post(f"/v1/calls/{call}/hang-up")).status_code in (200, 409) and a)
    assert answer.json().get("code", "call_ended") == "call_ended"
    closed = bob.wait_for("BillClosed")
    length = timedelta(seconds=closed["duration_s"])
    passed = sum(length > timedelta(seconds=s) for s in (2, 5, 10, 15, 20, 25, 30, 35, 40))
    assert closed["paid_coins"] == 9 + 60 * passed
    assert eventually(lambda: bob.call(sue).status_code == 201), "nobody is left busy"


def _back_to_the_start(stack: Stack, flow: Flow) -> None:
    """Set the offsets of a flow's group to 0 behind a kill of its only process.

    The broker has not noticed the death: whoever names the same instance takes the dead member's place, with all partitions."""
    next_one = member(stack.config, flow.value, 0, {})
    next_one.subscribe([entity.inbox for entity in ENTITIES if entity.flow is flow])
    parts: list[TopicPartition] = eventually(lambda: (next_one.poll(0.1), next_one.assignment())[1])
    assert len(parts) == sum(e.partitions for e in ENTITIES if e.flow is flow)
    answers = next_one.commit(offsets=[TopicPartition(part.topic, part.partition, 0) for part in parts], asynchronous=False)
    assert answers
    assert not any(part.error for part in answers)
    next_one.close()  # a static member that closes stays a member: the next one takes its place in turn


def _deleted(stack: Stack, flow: Flow) -> None:
    """Delete the offsets of a flow's group behind a kill of its only process: the dead member is put out, the group is empty.

    The request is `LeaveGroup`, version 3, by the name of the instance; no client has it."""
    host, _, port = stack.brokers.partition(":")
    client, group, anybody, instance = (
        struct.pack(f">h{len(text)}s", len(text), text.encode()) for text in ("test", flow.value, "", f"{flow.value}-0")
    )
    request = struct.pack(">hhi", 13, 3, 1) + client + group + struct.pack(">i", 1) + anybody + instance
    with socket.create_connection((host, int(port)), 10) as line:
        line.sendall(struct.pack(">i", len(request)) + request)
        line.recv(1_000)
    admin = AdminClient(quiet(stack.config))
    admin.delete_consumer_groups([flow.value])[flow.value].result(30)


@contextmanager
def _killed(stack: Stack, role: str) -> Iterator[None]:
    """kill -9 of a child, which is started again behind this."""
    stack.process.send_signal(signal.SIGSTOP)  # the supervisor
    try:
        os.kill(stack.child(role)["pid"], signal.SIGKILL)
        yield
    finally:
        stack.process.send_signal(signal.SIGCONT)


def test_a_call_in_progress_while_offsets_go_back_or_are_deleted_is_billed_once(
    phones: Phones, fast: str, stack: Stack
) -> None:
    bob, sue = phones(country=fast)
    call = bob.call(sue).json()["call"]
    sue.api.post(f"/v1/calls/{call}/accept")
    for steps, harm in enumerate((_back_to_the_start, _deleted), 1):
        bob.wait_for("BillStepped", steps)
        for flow in (Flow.LIVE, Flow.MONEY):
            with _killed(stack, f"{flow.value}-0"):
                harm(stack, flow)
    bob.wait_for("BillStepped", 3)
    assert eventually(lambda: bob.api.post(f"/v1/calls/{call}/hang-up").status_code in (200, 409))
    closed = bob.wait_for("BillClosed")
    assert bob.api.get("/v1/balance").json()["balance_coins"] == 1_000 - closed["paid_coins"]
    assert eventually(lambda: bob.call(sue).status_code == 201), "nobody is left busy"
    for told in ("CallConnected", "CallEnded", "BillClosed"):
        assert len([fact for fact in bob.of(told) if fact.get("call") == call]) == 1


def test_roulette_pairs_those_who_wait_and_a_decline_looks_on(phones: Phones) -> None:
    bob, sue = phones()
    poor, _ = phones(coins=8)
    short = poor.api.post("/v1/roulette")
    assert (code(short, 402), short.json()["shortfall_coins"]) == ("insufficient_coins", 1)
    assert code(bob.api.delete("/v1/roulette"), 409) == "not_waiting"
    for phone in (bob, sue):
        assert phone.api.post("/v1/roulette").status_code == 202
    ringing = sue.wait_for("CallRinging")
    assert (ringing["kind"], ringing["caller"]) == ("roulette", bob.user)
    assert sue.api.post(f"/v1/calls/{ringing['call']}/decline").json()["reason"] == "declined"
    bob.wait_for("RouletteJoined", 2)
    assert code(bob.api.post("/v1/roulette"), 409) == "waiting"
    for phone in (bob, sue):
        assert phone.api.delete("/v1/roulette").status_code == 204


def test_a_block_ends_the_call_and_keeps_the_two_apart(phones: Phones, admin: Api) -> None:
    bob, sue = phones()
    call = bob.call(sue).json()["call"]
    sue.api.post(f"/v1/calls/{call}/accept")
    assert sue.api.put(f"/v1/blocks/{bob.user}", json={"reason": "harassment"}).status_code == 200
    ended = bob.wait_for("CallEnded")
    assert (ended.get("reason", "ended"), ended.get("by", "")) == ("ended", ""), "who has blocked whom is told to neither side"
    assert bob.api.get(f"/v1/calls/{call}").json()["reason"] == "ended"
    assert admin.get(f"/v1/calls/{call}").json()["reason"] == "blocked"
    assert code(bob.call(sue), 409) == "callee_offline"
    assert code(sue.call(bob), 409) == "blocked"
    admin.put("/v1/admin/gifts/rose", json={"price_coins": 10, "share_coins": 4})
    assert code(bob.api.place("/v1/gifts", to=sue.user, gift="rose"), 404) == "receiver_unknown"
    assert code(bob.api.put(f"/v1/favorites/{sue.user}"), 404) == "user_unknown"
    assert sue.api.get("/v1/blocks").json() == [{"user": bob.user, "reason": "harassment"}]
    assert sue.api.delete(f"/v1/blocks/{bob.user}").status_code == 204
    assert code(sue.api.delete(f"/v1/blocks/{bob.user}"), 404) == "not_blocked"
    assert bob.call(sue).status_code == 201


def test_a_gift_is_paid_and_shared_once(phones: Phones, admin: Api) -> None:
    bob, sue = phones(coins=15)
    assert code(admin.put("/v1/admin/gifts/bad", json={"price_coins": 1, "share_coins": 4}), 422) == "share_above_price"
    admin.put("/v1/admin/gifts/tulip", json={"price_coins": 10, "share_coins": 4})
    first = bob.api.place("/v1/gifts", "key", to=sue.user, gift="tulip")
    assert (first.status_code, first.json()["status"]) == (201, "sent")
    assert bob.api.place("/v1/gifts", "key", to=sue.user, gift="tulip").json() == first.json()
    for phone in (bob, sue):
        assert phone.wait_for("GiftSent")["share_coins"] == 4
    short = bob.api.place("/v1/gifts", to=sue.user, gift="tulip")
    assert (code(short, 402), short.json()["shortfall_coins"]) == ("insufficient_coins", 5)
    assert code(bob.api.place("/v1/gifts", "key", to=sue.user, gift="rose"), 409) == "idempotency_key_reused"
    assert code(bob.api.place("/v1/gifts", to=sue.user, gift="nothing"), 404) == "gift_unknown"
    assert code(bob.api.place("/v1/gifts", to=bob.user, gift="tulip"), 409) == "same_user"
    assert code(bob.api.place("/v1/gifts", to="nobody", gift="tulip"), 404) == "receiver_unknown"
    admin.put("/v1/admin/gifts/tulip", json={"price_coins": 10, "share_coins": 4, "active": False})
    assert code(bob.api.place("/v1/gifts", to=sue.user, gift="tulip"), 409) == "gift_inactive"
    assert sue.api.balance(book="earnings").json()["balance_coins"] == 4


def test_a_clip_is_a_priced_call_without_a_callee(phones: Phones) -> None:
    bob, sue = phones(coins=50)
    clip = f"clip-{sue.user}"
    body = {"title": "hello", "url": "https://example.com/v.mp4", "duration_s": 60}
    assert sue.api.put(f"/v1/clips/{clip}", json=body).status_code == 200
    assert code(bob.api.put(f"/v1/clips/{clip}", json=body), 403) == "forbidden"
    assert clip in [offered["clip"] for offered in bob.api.get("/v1/clips").json()]
    assert "v.mp4" not in bob.api.get("/v1/clips").text, "only who pays is given the address"
    playing = bob.api.post(f"/v1/clips/{clip}/plays", headers={"Idempotency-Key": "k"})
    assert (playing.status_code, playing.json()["status"]) == (201, "connected")
    call, film = playing.json()["call"], playing.json()["url"]
    path, _, given = film.removeprefix("https://example.com").partition("&signature=")
    assert given == signature(DEVELOPMENT_SECRET, path)
    assert path.startswith("/v.mp4?expires=")
    assert bob.api.get(f"/v1/calls/{call}").json()["url"] == film
    other = bob.api.post("/v1/clips/other/plays", headers={"Idempotency-Key": "k"})
    assert code(other, 404) == "clip_unknown"
    assert sue.api.put(f"/v1/clips/{clip}-2", json=body).status_code == 200
    other = bob.api.post(f"/v1/clips/{clip}-2/plays", headers={"Idempotency-Key": "k"})
    assert code(other, 409) == "idempotency_key_reused"
    assert bob.api.post(f"/v1/calls/{call}/hang-up").json()["reason"] == "hung_up"
    assert (bob.wait_for("BillClosed")["paid_coins"], bob.of("BillClosed")[0]["earned_coins"]) == (10, 4)
    assert code(bob.api.post("/v1/clips/none/plays"), 404) == "clip_unknown"


def test_what_cannot_be_is_a_named_error(phones: Phones, new_user: NewUser, admin: Api) -> None:
    bob, sue = phones()
    cat = Phone(new_user())
    assert code(bob.call(bob), 409) == "same_user"
    assert code(bob.api.post("/v1/calls", json={"to": "nobody"}), 404) == "callee_unknown"
    assert code(bob.api.post("/v1/calls", json={"to": new_user("streamer").user}), 409) == "callee_offline"
    assert code(bob.api.post("/v1/calls", json={"to": "a b"}), 422) == "invalid_request"
    short = cat.call(sue)
    assert (code(short, 402), short.json()["shortfall_coins"]) == ("insufficient_coins", 60)
    call = bob.call(sue).json()["call"]
    assert code(bob.call(sue), 409) == "caller_busy"
    assert code(bob.api.post(f"/v1/calls/{call}/accept"), 403) == "not_callee"
    assert code(cat.api.post(f"/v1/calls/{call}/hang-up"), 403) == "not_in_call"
    assert code(cat.api.get(f"/v1/calls/{call}"), 404) == "call_unknown"
    assert code(bob.api.post("/v1/calls/none/hang-up"), 404) == "call_unknown"
    assert bob.api.post(f"/v1/calls/{call}/hang-up").json()["reason"] == "cancelled"
    assert code(bob.api.post(f"/v1/calls/{call}/hang-up"), 409) == "call_ended"
    assert code(sue.api.post(f"/v1/calls/{call}/accept"), 409) == "call_ended"


def test_a_ban_closes_everything_and_ends(phones: Phones, admin: Api) -> None:
    bob, sue = phones()
    call = bob.call(sue).json()["call"]
    sue.api.post(f"/v1/calls/{call}/accept")
    assert admin.put(f"/v1/admin/bans/{bob.user}", json={"reason": "rude"}).status_code == 204
    assert sue.wait_for("CallEnded").get("reason", "ended") == "ended"
    assert bob.wait_for("UserBanned")["reason"] == "rude"
    assert code(bob.call(sue), 403) == "banned"
    assert code(bob.api.post("/v1/sessions", json={"device": "d"}), 403) == "banned"
    assert admin.delete(f"/v1/admin/bans/{bob.user}").status_code == 204
    assert code(admin.delete(f"/v1/admin/bans/{bob.user}"), 404) == "not_banned"
    assert code(admin.put("/v1/admin/bans/nobody", json={"reason": "x"}), 404) == "user_unknown"


def test_sessions_beat_and_end(new_user: NewUser) -> None:
    ann = new_user()
    session = ann.post("/v1/sessions", json={"device": "phone", "platform": "ios", "push_token": "p"}).json()["session"]
    eventually(lambda: ann.get("/v1/users/me").json()["online"])
    assert ann.post(f"/v1/sessions/{session}/beat").status_code == 204
    assert ann.delete(f"/v1/sessions/{session}").status_code == 204
    eventually(lambda: not ann.get("/v1/users/me").json()["online"])
    assert code(ann.post(f"/v1/sessions/{session}/beat"), 404) == "session_unknown"
    assert code(ann.delete(f"/v1/sessions/{session}"), 404) == "session_unknown"


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ({"payer": {"checkpoints": [{"after_s": 9, "coins": 1}, {"after_s": 5, "coins": 1}]}}, 422, "invalid_tariff"),
        ({"payer": {"checkpoints": [{"after_s": 0, "coins": -1}]}}, 422, "invalid_request"),
        ({"payer": {"step_coins": 5}}, 422, "invalid_tariff"),
        ({"rule": {"kind": "roulette", "payer_role": "user", "earner_role": "streamer"}}, 409, "overlapping_rules"),
        ({"rule": {}}, 409, "overlapping_rules"),
        ({"effective_from": "2020-01-01T00:00:00Z"}, 422, "effective_in_past"),
        ({"surprise": 1}, 422, "invalid_request"),
    ],
)
def test_a_tariff_that_cannot_be_is_refused_by_name(admin: Api, change: dict[str, Any], status: int, expected: str) -> None:
    body = {"rule": {"kind": "clip", "country": "XX"}, "payer": {}, "earner": {}} | change
    assert code(admin.put("/v1/admin/tariffs/draft", json=body), status) == expected


def test_a_preview_is_the_curve_of_both_sides(admin: Api) -> None:
    rows = admin.post("/v1/admin/tariffs/preview", json={**FAST, "up_to_s": 10}).json()["rows"]
    assert [(row["after_s"], row["payer_coins"], row["earner_coins"]) for row in rows] == [
        (0, 9, 0), (2, 69, 30), (5, 129, 60), (10, 189, 90),
    ]  # fmt: skip
    shipped = {tariff["tariff"]: tariff for tariff in admin.get("/v1/admin/tariffs").json()}
    assert shipped["roulette"]["payer"]["checkpoints"][0] == {"after_s": 0, "coins": 9}


def test_rules_turn_blocks_into_a_penalty_that_a_review_takes_back(phones: Phones, new_user: NewUser, admin: Api) -> None:
    _, sue = phones()
    rule = {"rule": f"r-{sue.user}", "reason": "indecency", "blocks": 2, "window_s": 3600, "then": "penalty", "coins": 30,
            "role": "streamer"}  # fmt: skip
    before = admin.get("/v1/admin/block-rules").json()
    assert code(admin.put("/v1/admin/block-rules", json={"rules": [rule | {"coins": 0}]}), 422) == "invalid_rules"
    assert admin.put("/v1/admin/block-rules", json={"rules": [rule]}).status_code == 200
    admin.place("/v1/admin/grants", account=f"{sue.user}/earnings", coins=100)
    eventually(lambda: admin.get("/v1/admin/block-rules").json()["rules"][0]["rule"] == rule["rule"])
    assert new_user().put(f"/v1/blocks/{sue.user}", json={"reason": "indecency"}).status_code == 200  # never met her
    assert admin.put("/v1/admin/gifts/tulip", json={"price_coins": 10, "share_coins": 0}).status_code == 200
    for _ in range(2):
        giver = new_user()
        assert admin.place("/v1/admin/grants", account=f"{giver.user}/coins", coins=10).status_code == 201
        assert giver.place("/v1/gifts", to=sue.user, gift="tulip").status_code == 201
        assert giver.put(f"/v1/blocks/{sue.user}", json={"reason": "indecency"}).status_code == 200
    eventually(lambda: sue.api.balance(book="earnings").json()["balance_coins"] == 70)
    (case,) = [case for case in admin.get("/v1/admin/reviews").json() if case["user"] == sue.user]
    told = sue.wait_for("ConsequenceDrawn")
    assert (told["case"], "by" in told, len(case["by"])) == (case["case"], False, 2), "staff see who blocked, she does not"
    eventually(lambda: [c["taken_coins"] for c in admin.get("/v1/admin/reviews").json() if c["user"] == sue.user] == [30])
    assert admin.post(f"/v1/admin/reviews/{sue.user}/{case['case']}", json={"upheld": False}).status_code == 204
    eventually(lambda: sue.api.balance(book="earnings").json()["balance_coins"] == 100)
    again = admin.post(f"/v1/admin/reviews/{sue.user}/{case['case']}", json={"upheld": True})
    assert code(again, 404) == "review_unknown"
    admin.put("/v1/admin/block-rules", json=before)
