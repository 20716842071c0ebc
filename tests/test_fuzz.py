"""No bytes from outside give a 500: every route, in process, with whatever JSON, headers, times and queries there are.

What is not JSON but nearly (numbers that no float holds, names that come twice, halves of letters) is written by hand, since a
writer of JSON would not; vendors' notices are signed, so that what stands behind the signature is reached.
"""

import hashlib
import hmac
import json
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.parts import parts
from tests.front import Front, bearer

# `make quick` plays a tenth, `make simulate` five times as many.
EXAMPLES = settings().max_examples
FUZZ = settings(database=None, suppress_health_check=list(HealthCheck))
FRONT = Front()
# Answers without an end.
STREAMS = {"/v1/gallery/stream", "/v1/admin/now"}
ROUTES = sorted(
    (method, route.path)
    for part in parts()
    for route in cast(list[APIRoute], part.router.routes)
    for method in route.methods or ()
    if route.path not in STREAMS
)
SCHEMAS = FRONT.app.openapi()
NAMES = sorted({name for schema in SCHEMAS["components"]["schemas"].values() for name in schema.get("properties", ())})
ODD = st.sampled_from([
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-26T00:00:00Z", "\ud800", "ж" * 40, "@calls", "a/b",
    "bob", "root", "bob/coins", "user", "", "0", "-1", "9" * 400, "\0", "1e999", "NaN", 10**400, -1, 2**63, 1e308, None, True,
])  # fmt: skip
VALUES = st.recursive(
    ODD | st.text(max_size=6) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=6,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([
            "Idempotency-Key", "X-App-Platform", "X-App-Version", "Last-Event-ID", "Content-Type", "X-AppsFlyer-Token",
            "User-Agent", "Agora-Signature-V2", "X-Twilio-Signature",
        ]),
        st.binary(max_size=6) | st.sampled_from([b"ios", b"\xd9\xa3", b"application/json", b"push-token", b"9" * 300]),
    ), max_size=3,
)  # fmt: skip

# Texts that only look like numbers, and numbers that only look like small ones.
NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "-0",
    "-0.0",
    "1e-400",
    "9" * 400,
    "0." + "9" * 400,
    "1E+9",
    "01",
    "1_0",
]
TEXTS = [
    '"\\ud800"',
    '"\\uDFFF\\ud800"',
    '"\\u0000"',
    '"\\ud83d\\ude00"',
    '"0001-01-01T00:00:00+14:00"',
    '"' + "ж" * 300 + '"',
    '"',
]
DEEP = [
    "[" * 40 + "]" * 40,
    '{"a":' * 40 + "1" + "}" * 40,
    "[" + "1," * 3_000 + "1]",
    "{",
    "]",
    "",
    " ",
    "\ufeff{}",
    "null",
    "[]",
]
LITERALS = st.sampled_from([*NUMBERS, *TEXTS, *DEEP, "true", "null", "1", '"bob"', "[]", "{}"])
TYPES = [
    "application/json",
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "\xe9",
    "x",
    "",
]


def names_of(path: str, method: str) -> list[str]:
    """The fields of a route's body."""
    known = SCHEMAS["paths"].get(path, {}).get(method.lower(), {}).get("requestBody", {}).get("content", {})
    schema = known.get("application/json", {}).get("schema", {})
    refs = [one.get("$ref", "") for one in (schema, *schema.get("anyOf", ()))]
    return [field for ref in refs for field in SCHEMAS["components"]["schemas"].get(ref[21:], {}).get("properties", ())]


def no_error_of_ours(method: str, path: str, **how: Any) -> None:
    """Send it; the answer may be anything but 500 and its like."""
    answer = FRONT.ask(method, path, **how)
    if answer.status_code == 503:  # nobody decides here, and there is no warehouse
        assert answer.json()["code"] in ("not_decided", "warehouse_unreachable"), answer.text
    else:
        assert answer.status_code < 500, answer.text


def broken(names: list[str]) -> st.SearchStrategy[bytes]:
    """A body that is JSON or nearly so, of these names, some of which come twice; or any bytes."""
    pairs = st.lists(st.tuples(st.sampled_from([*names, "a", "\\ud800", ""]), LITERALS), max_size=6)
    objects = pairs.map(lambda found: ("{" + ",".join(f'"{name}":{value}' for name, value in found) + "}").encode())
    return objects | LITERALS.map(str.encode) | st.binary(max_size=40)


def shaped(path: str, method: str) -> st.SearchStrategy[Any]:
    """A body with the names that the route's document knows, or any other."""
    fields = names_of(path, method)
    return VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(fields, VALUES)) if fields else VALUES


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
def test_whatever_comes_is_no_error_of_ours(method: str, path: str) -> None:
    asks = SCHEMAS["paths"].get(path, {}).get(method.lower(), {}).get("parameters", ())
    queries = [one["name"] for one in asks if one["in"] == "query"]

    @settings(FUZZ, max_examples=EXAMPLES // 15 + 1)
    @given(
        shaped(path, method), HEADERS, st.sampled_from(["user", "streamer", "admin"]),
        st.sampled_from(["bob", "user", "%ED%A0%80", "%00", "a" * 300, "%D9%A3", "x.y"]),
        st.dictionaries(st.sampled_from([*queries, "x"]), ODD.map(lambda one: str(one).encode(errors="replace")), max_size=3),
    )  # fmt: skip
    def check(body: Any, headers: list[tuple[str, bytes]], role: str, name: str, query: Any) -> None:
        filled = "/".join(name if part.startswith("{") else part for part in path.split("/"))
        given_headers = [*bearer("bob", role).items(), *headers]
        content = b"" if method == "GET" else json.dumps(body).encode()
        no_error_of_ours(method, filled, params=query, content=content, headers=given_headers)

    check()


@pytest.mark.parametrize(("method", "path"), [row for row in ROUTES if row[0] != "GET"], ids=str)
def test_whatever_is_nearly_json_is_no_error_of_ours(method: str, path: str) -> None:
    names = names_of(path, method)

    @settings(FUZZ, max_examples=EXAMPLES // 5)
    @given(broken(names), st.sampled_from(TYPES), st.sampled_from(["user", "streamer", "admin", "support"]))
    def check(body: bytes, kind: str, role: str) -> None:
        filled = "/".join("bob" if part.startswith("{") else part for part in path.split("/"))
        headers = [*bearer("bob", role).items(), ("Content-Type", kind.encode("latin-1")), ("Idempotency-Key", "k")]
        no_error_of_ours(method, filled, content=body, headers=headers)

    check()


AGORA = ["channelName", "uid", "clientSeq", "ts", "account", "reason", "duration", "platform", "clientType"]


@settings(FUZZ, max_examples=EXAMPLES)
@given(broken(AGORA), st.sampled_from(["101", "102", "103", "104", "107", "108", "1e3", "null", '"103"']), st.booleans())
def test_agora_may_sign_whatever_it_likes(payload: bytes, event: str, whole: bool) -> None:
    notice = b'{"noticeId":"n","productId":1,"eventType":' + event.encode() + b',"notifyMs":1,"payload":' + payload + b"}"
    body = notice if whole else payload
    signature = hmac.new(b"hook", body, hashlib.sha256).hexdigest()
    no_error_of_ours("POST", "/v1/webhooks/agora", content=body, headers={"Agora-Signature-V2": signature})


EVENTS = st.sampled_from(["participant-connected", "participant-disconnected", "room-ended", "x"])
TWILIO = st.sampled_from(["StatusCallbackEvent", "RoomName", "RoomSid", "ParticipantIdentity", "ParticipantSid", "Timestamp",
                          "SequenceNumber", "ParticipantDuration"])  # fmt: skip
FORMED = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\0", "9" * 400, "NaN", "-0"]),
)


@settings(FUZZ, max_examples=EXAMPLES)
@given(EVENTS, st.dictionaries(TWILIO, FORMED.map(lambda one: one.encode(errors="replace").decode()), max_size=8))
def test_twilio_may_sign_whatever_it_likes(event: str, fields: dict[str, str]) -> None:
    from twilio.request_validator import RequestValidator

    form = {"StatusCallbackEvent": event, **fields}
    signature = RequestValidator("authtoken").compute_signature("https://olo.example/v1/webhooks/twilio", form)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    no_error_of_ours("POST", "/v1/webhooks/twilio", content=urlencode(form).encode(), headers=headers)


APPSFLYER = ["appsflyer_id", "event_name", "event_time", "install_time", "attributed_touch_time", "media_source", "campaign",
             "customer_user_id", "event_value", "af_prt", "is_retargeting", "event_revenue", "platform"]  # fmt: skip


@settings(FUZZ, max_examples=EXAMPLES)
@given(broken(APPSFLYER), st.booleans())
def test_appsflyer_may_push_whatever_it_likes(body: bytes, whole: bool) -> None:
    push = b'{"appsflyer_id":"a","event_name":"install","event_time":"2026-11-26 00:00:00",' + body[1:] if whole else body
    no_error_of_ours("POST", "/v1/webhooks/appsflyer", content=push, headers={"X-AppsFlyer-Token": "push-token"})
