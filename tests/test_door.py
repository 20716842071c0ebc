"""The door, in process and without a broker: sizes, identity, rates and shapes, before anything is made of a request."""

import asyncio
import hashlib
import hmac
import json
from functools import partial
from typing import Any

import httpx
import pytest

from infra.config import ConfigError, load
from serving.runtime.feed import Connection, Hub
from serving.runtime.shape import MAX_DEPTH, MAX_VALUES, problem_of
from tests.front import Front, bearer, code, unsigned_tokens

FRONT = Front()
JSON = {"Content-Type": "application/json"}
BOB = bearer() | JSON
ROOT = bearer("root", "admin") | JSON


def unread(limit: int, *, method: str = "POST", path: str = "/v1/users", headers: dict[str, str]) -> tuple[int, int]:
    """The status of a request whose body never ends, and how many bytes of it were taken."""
    taken, sent = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 10_000
        assert taken <= 20 * limit, "it reads and reads"
        return {"type": "http.request", "body": b"[],x" * 2_500, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()], "scheme": "http",
        "http_version": "1.1", "root_path": "", "server": ("olo", 80), "client": ("192.0.2.1", 1),
    }  # fmt: skip
    with unsigned_tokens():
        asyncio.run(FRONT.asgi(scope, receive, send))
    assert (b"connection", b"close") in sent[0]["headers"], "what is not read must not be read on"
    return sent[0]["status"], taken


@pytest.mark.parametrize(
    ("path", "headers", "status", "most"),
    [
        ("/v1/users", JSON, 401, 0),
        ("/v1/users", JSON | {"Content-Length": str(102 << 20)}, 401, 0),
        ("/v1/users", BOB | {"Content-Length": str(102 << 20)}, 413, 0),
        ("/v1/users", BOB | {"Content-Length": "9" * 5_000}, 413, 0),
        ("/v1/users", BOB | {"Content-Length": "3x"}, 400, 0),
        ("/v1/users", BOB, 413, 80_000),
        ("/v1/admin/grants", BOB, 413, 80_000),
        ("/v1/admin/grants", ROOT, 413, 1_100_000),
        ("/v1/webhooks/twilio", {}, 413, 80_000),
        ("/v1/webhooks/agora", {}, 413, 80_000),
        ("/v1/webhooks/appsflyer", {}, 413, 80_000),
    ],
)
def test_a_body_is_bounded_before_it_is_read_and_nobody_reads_a_strangers(
    path: str, headers: dict[str, str], status: int, most: int
) -> None:
    found, taken = unread(65_536, path=path, headers=headers)
    assert (found, taken <= most) == (status, True), taken


def test_a_body_that_fits_is_taken_to_the_last_byte() -> None:
    body = json.dumps({"country": "DE"}).encode()
    full = body + b" " * (65_536 - len(body))
    assert code(FRONT.ask("POST", "/v1/users", content=full, headers=BOB)) == (202, "")
    assert code(FRONT.ask("POST", "/v1/users", content=full + b" ", headers=BOB)) == (413, "body_too_large")


@pytest.mark.parametrize("headers", [{"X-Long": "a" * 40_000}, {f"X-{n}": "1" for n in range(200)}])
def test_a_head_is_bounded(headers: dict[str, str]) -> None:
    assert code(FRONT.ask("GET", "/healthz", headers=headers)) == (431, "head_too_large")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[" * 1_000 + b"]" * 1_000, "json_too_deep"),
        (b"[" * 60_000, "json_too_wide"),
        (b'{"a":' * 1_000, "json_too_deep"),
        (b"[" + b"1," * 2_000 + b"1]", "json_too_wide"),
        (b"[]" * 30_000, "json_too_wide"),
        (b'""' * 30_000, "json_too_wide"),
        (b'{"country":"\\ud800"}', "text_invalid"),
        (b'{"\\uDFFF":1}', "text_invalid"),
        (b'{"country":"\xed\xa0\x80"}', "broken_json"),
        ('{"country":"DE"}'.encode("utf-16"), "broken_json"),
        ('{"country":"DE"}'.encode("utf-16-le"), "broken_json"),
        (b'{"a":NaN}', "broken_json"),
        (b'{"a":-Infinity}', "broken_json"),
        (b"{", "broken_json"),
    ],
)
def test_a_shape_that_nobody_should_parse_is_a_clear_400(body: bytes, why: str) -> None:
    assert code(FRONT.ask("POST", "/v1/users", content=body, headers=BOB)) == (400, why)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', b'{"a":"\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', b'"NaN,,,,"',
        b'"\\ud83d\\ude00"', b'"\\\\ud800"', b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b"[" + b"1," * (MAX_VALUES - 1) + b"1]",
        b"{" + b",".join([b'"a":"b"'] * (MAX_VALUES // 2)) + b"}", b'"' + b'\\"' * 60_000 + b'"',
        '"ж😀"'.encode(), b"\xef\xbb\xbf{}", b"",
    ],
)  # fmt: skip
def test_what_only_looks_odd_passes(body: bytes) -> None:
    assert problem_of(body) is None


@pytest.mark.parametrize("start", [b'"\\', b'"', b'"a\\', b'{"a":"', b"\\"])
def test_a_look_at_the_shape_takes_no_time_to_speak_of(start: bytes) -> None:
    """Quotes without an end, above all: each begins a string. In quadratic time this would be hours."""
    problem_of((start * (1 << 20))[: 1 << 21])


def test_staff_sends_longer_lists() -> None:
    body = b"[" + b"1," * 2_000 + b"1]"
    assert code(FRONT.ask("POST", "/v1/admin/grants", content=body, headers=BOB)) == (400, "json_too_wide")
    assert code(FRONT.ask("POST", "/v1/admin/grants", content=body, headers=ROOT | {"X-Reason": "a test"})) == (
        422,
        "invalid_request",
    )


def test_a_body_that_does_not_come_is_let_go() -> None:
    front = Front(body_s=0.05)

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(60)

    assert code(front.ask("POST", "/v1/users", content=slow(), headers=BOB)) == (408, "request_too_slow")


@pytest.mark.parametrize(("path", "headers"), [("/v1/webhooks/agora", {}), ("/v1/webhooks/twilio", {}), ("/v1/users", BOB)])
def test_who_hangs_up_in_the_middle_of_a_body_is_no_error_of_ours(path: str, headers: dict[str, str]) -> None:
    """Nothing is raised, which would be lines of log for whoever likes to write them, and nothing is answered or done."""
    begun = {"type": "http.request", "body": b'{"eventType', "more_body": True}
    parts: list[dict[str, Any]] = [begun, {"type": "http.disconnect"}]
    taken = list(FRONT.commands.taken)

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()], "http_version": "1.1",
        "root_path": "", "server": ("olo", 80), "client": ("192.0.2.1", 1),
    }  # fmt: skip
    with unsigned_tokens():
        asyncio.run(FRONT.asgi(scope, receive, send))
    assert (parts, FRONT.commands.taken) == ([], taken)


def test_rates_of_a_user_of_a_route_and_of_an_address() -> None:
    front = Front(rate_user="3/day", rate_write="2/day", rate_address="8/day", rate_staff="1/day")
    asked = [front.ask("POST", "/v1/gifts", json={}, headers=bearer()) for _ in range(3)]
    assert [answer.status_code for answer in asked] == [422, 422, 429]
    assert 0 < int(asked[-1].headers["retry-after"]) <= 86_400
    assert code(asked[-1]) == (429, "too_many_requests")
    assert [front.ask("GET", "/v1/blocks", headers=bearer("amy")).status_code for _ in range(4)][2:] == [200, 429]
    assert front.ask("GET", "/healthz").status_code == 200
    assert front.ask("GET", "/healthz").status_code == 429, "of an address nine are too many, whatever they ask"
    assert front.ask("GET", "/healthz", address="192.0.2.2").status_code == 200
    assert {front.ask("GET", "/healthz", address="127.0.0.1").status_code for _ in range(20)} == {200}
    admin = bearer("root", "admin")
    assert [front.ask("GET", "/v1/admin/tariffs", headers=admin, address="127.0.0.1").status_code for _ in range(2)] == [
        200,
        429,
    ]


def test_open_requests_of_a_user_are_bounded() -> None:
    front = Front(open_requests=2)

    async def run() -> list[int]:
        async def slow() -> Any:
            yield b"{"
            await asyncio.sleep(0.3)
            yield b"}"

        transport = httpx.ASGITransport(front.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://olo") as client:
            first = [asyncio.create_task(client.post("/v1/users", content=slow(), headers=BOB)) for _ in range(2)]
            await asyncio.sleep(0.1)
            third = await client.get("/v1/blocks", headers=BOB)
            return [third.status_code, *[(await one).status_code for one in first]]

    with unsigned_tokens():
        assert asyncio.run(run()) == [429, 202, 202]
    assert front.ask("GET", "/v1/blocks", headers=BOB).status_code == 200


async def unsent(_: Any) -> None:
    """To a client that is shown nothing."""


def test_of_a_thousand_feeds_of_one_user_the_newest_stay() -> None:
    hub, cut = Hub(), list[int]()
    for number in range(1_000):
        hub.make_room("ann", 8)
        connection = Connection(unsent, partial(cut.append, number), -1)
        hub.add("ann", connection)
    assert cut == list(range(992))
    hub.make_room("bob", 8)
    assert len(cut) == 992


@pytest.mark.parametrize("cursor", ["٣-٤", "3-٤", "3-4 ", "x", "1-" + "9" * 30])
def test_a_cursor_has_ascii_digits(cursor: str) -> None:
    headers = [*bearer().items(), ("Last-Event-ID", cursor.encode())]
    assert code(FRONT.ask("GET", "/v1/feed", headers=headers)) == (400, "cursor_invalid")
    assert code(FRONT.ask("GET", "/v1/feed", params={"cursor": cursor}, headers=bearer())) == (400, "cursor_invalid")


# --- webhooks ---------------------------------------------------------------------------------------------------------------


def agora(body: bytes, signature: str | bytes | None = None) -> httpx.Response:
    due = hmac.new(b"hook", body, hashlib.sha256).hexdigest()
    headers = [("Agora-Signature-V2", due if signature is None else signature)]
    return FRONT.ask("POST", "/v1/webhooks/agora", content=body, headers=headers)


def test_a_signature_is_asked_for_before_anything_is_parsed() -> None:
    assert code(agora(b"{", b"\xe9")) == (401, "signature_invalid")
    assert code(agora(b"[" * 10_000, "no")) == (401, "signature_invalid")


@pytest.mark.parametrize(
    "payload",
    [
        {"uid": "\ud800"}, {"ts": 1e308}, {"clientSeq": 10**300}, {"ts": "x"}, {"channelName": None}, {"channelName": "\ud800"},
    ],
)  # fmt: skip
def test_a_signed_notice_that_cannot_be_is_400_or_ignored(payload: dict[str, Any]) -> None:
    whole = {"channelName": "c", "uid": "u", "clientSeq": 1, "ts": 1, **payload}
    answer = agora(json.dumps({"payload": whole, "eventType": 103, "noticeId": "n"}).encode())
    assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize(
    "body", [b"[" * 30_000, b"1", b'"a"', b'{"payload":1,"eventType":1e999}', b'{"payload":[],"eventType":103}']
)
def test_a_signed_body_that_is_no_notice_is_400(body: bytes) -> None:
    assert agora(body).status_code == 400


def twilio(form: dict[str, str]) -> httpx.Response:
    from twilio.request_validator import RequestValidator

    signature = RequestValidator("authtoken").compute_signature("https://olo.example/v1/webhooks/twilio", form)
    return FRONT.ask("POST", "/v1/webhooks/twilio", data=form, headers={"X-Twilio-Signature": signature})


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x", "0001-01-01T00:00:00"])
def test_twilios_times_may_be_anything(time: str) -> None:
    form = {"StatusCallbackEvent": "participant-connected", "RoomSid": "r", "RoomName": "c", "ParticipantSid": "p"}
    answer = twilio(form | {"ParticipantIdentity": "bob", "Timestamp": time})
    assert answer.status_code in (200, 400), answer.text


def test_twilios_form_has_few_fields() -> None:
    answer = FRONT.ask("POST", "/v1/webhooks/twilio", content=b"&".join([b"a=1"] * 10_000))
    assert code(answer) == (400, "notice_unreadable")


@pytest.mark.parametrize("name", ["install_time", "event_time", "attributed_touch_time"])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\ud800", 10**300])
def test_appsflyers_times_may_be_anything(name: str, time: Any) -> None:
    push = {"appsflyer_id": "a", "event_name": "install", "event_time": "2026-11-26 00:00:00", name: time}
    answer = FRONT.ask("POST", "/v1/webhooks/appsflyer", content=json.dumps(push), headers={"X-AppsFlyer-Token": "push-token"})
    assert answer.status_code in (400, 422, 503), answer.text
    assert answer.json()["code"] in ("push_invalid", "event_time_implausible", "text_invalid", "not_decided", "broken_json")


# --- settings ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_user", "often"),
        ("rate_address", ""),
        ("unlimited_networks", "10.0.0.0/99"),
        ("trusted_proxies", "proxy"),
        ("head_bytes", "1"),
        ("body_s", "0"),
    ],
)
def test_a_limit_that_is_none_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"OLO_{name.upper()}"):
        load(**{name: value})
