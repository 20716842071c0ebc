"""No bytes from outside give a 500: every route, in process, with whatever JSON, headers, times and queries there are."""

import json
from typing import Any, cast

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.parts import parts
from tests.front import Front, bearer

MANY = {f"rate_{who}": "1000000/second" for who in ("user", "write", "staff", "address")}
FRONT = Front(**MANY)
STREAMS = {"/v1/gallery/stream"}
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


def shaped(path: str, method: str) -> st.SearchStrategy[Any]:
    """A body with the names that the route's document knows, or any other."""
    known = SCHEMAS["paths"].get(path, {}).get(method.lower(), {}).get("requestBody", {}).get("content", {})
    name = known.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[-1]
    fields = SCHEMAS["components"]["schemas"].get(name, {}).get("properties", {})
    return VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(fields, VALUES)) if fields else VALUES


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
def test_whatever_comes_is_no_error_of_ours(method: str, path: str) -> None:
    asks = SCHEMAS["paths"].get(path, {}).get(method.lower(), {}).get("parameters", ())
    queries = [one["name"] for one in asks if one["in"] == "query"]

    @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        shaped(path, method), HEADERS, st.sampled_from(["user", "streamer", "admin"]),
        st.sampled_from(["bob", "user", "%ED%A0%80", "%00", "a" * 300, "%D9%A3", "x.y"]),
        st.dictionaries(st.sampled_from([*queries, "x"]), ODD.map(lambda one: str(one).encode(errors="replace")), max_size=3),
    )  # fmt: skip
    def check(body: Any, headers: list[tuple[str, bytes]], role: str, name: str, query: Any) -> None:
        filled = "/".join(name if part.startswith("{") else part for part in path.split("/"))
        given_headers = [*bearer("bob", role).items(), *headers]
        content = b"" if method == "GET" else json.dumps(body).encode()
        answer = FRONT.ask(method, filled, params=query, content=content, headers=given_headers)
        assert answer.status_code in (200, 201, 202, 204, 503) or 400 <= answer.status_code < 500, answer.text

    check()
