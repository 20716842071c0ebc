"""Pages of other origins, in process: preflights, what a page may read, and the streams, whose first line is `retry:`."""

import asyncio
from typing import Any

import httpx
import pytest

from infra.config import ConfigError, load
from serving.gallery import RETRY_MS, _changes
from serving.gallery_room import Room
from serving.runtime.stream import RETRY, FeedEndpoint
from tests.front import Front, bearer, unsigned_tokens

APP, ADMIN, STRANGER = "https://app.example", "http://localhost:5173", "https://evil.example"
SHUT, FRONT, OPEN = Front(), Front(web_origins=f"{APP},{ADMIN}"), Front(web_origins="*")
ASKED = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}
PATHS = ("/v1/users", "/v1/feed", "/v1/gallery/stream", "/v1/settings", "/v1/nothing")


def allowed(answer: httpx.Response) -> str | None:
    told: str | None = answer.headers.get("access-control-allow-origin")
    return told


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [APP, ADMIN])
def test_a_preflight_is_answered_before_anybody_asks_who_sends_it(path: str, origin: str) -> None:
    answer = FRONT.ask("OPTIONS", path, headers={"Origin": origin, **ASKED})
    assert (answer.status_code, allowed(answer)) == (200, origin)
    sent = answer.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type", "idempotency-key", "last-event-id", "x-reason"} <= set(sent.split(", "))
    assert {"GET", "POST", "PUT", "DELETE"} == set(answer.headers["access-control-allow-methods"].split(", "))
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "asked",
    [
        {"Origin": STRANGER, **ASKED},
        {"Origin": APP + ".evil.example", **ASKED},
        {"Origin": "null", **ASKED},
        {"Origin": APP, "Access-Control-Request-Method": "TRACE"},
        {"Origin": APP, **ASKED, "Access-Control-Request-Headers": "x-forged"},
    ],
)
def test_a_preflight_for_what_is_not_allowed_fails(asked: dict[str, str]) -> None:
    assert FRONT.ask("OPTIONS", "/v1/users", headers=asked).status_code == 400


@pytest.mark.parametrize("path", PATHS)
def test_without_the_setting_no_page_of_another_origin_may_ask(path: str) -> None:
    answer = SHUT.ask("OPTIONS", path, headers={"Origin": APP, **ASKED})
    assert answer.status_code >= 400
    assert allowed(answer) is None


def test_without_the_setting_no_page_of_another_origin_may_read() -> None:
    assert allowed(SHUT.ask("GET", "/v1/users/me", headers={"Origin": APP, **bearer()})) is None
    assert "access-control-allow-origin" not in first_of_the_feed(SHUT, {"Origin": APP, **bearer()})[0]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/users", {}, 401),  # the door's own answer
        ("GET", "/v1/users/me", bearer(), 200),
        ("POST", "/v1/users", bearer(), 202),  # with a Location
        ("GET", "/v1/nothing", bearer(), 404),
        ("POST", "/v1/feed", bearer(), 405),  # the feed stands in front of FastAPI
        ("GET", "/v1/feed?cursor=x", bearer(), 400),
    ],
)
def test_every_answer_can_be_read_by_the_page_that_asked_and_by_no_other(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    for front, origin, told in ((FRONT, APP, APP), (FRONT, ADMIN, ADMIN), (FRONT, STRANGER, None), (OPEN, STRANGER, "*")):
        answer = front.ask(method, path, headers={"Origin": origin, **headers})
        assert (answer.status_code, allowed(answer)) == (status, told)
        assert {"Location", "Retry-After"} <= set(answer.headers["access-control-expose-headers"].split(", "))
        assert told == "*" or "Origin" in answer.headers["vary"]


def first_of_the_feed(front: Front, headers: dict[str, str]) -> tuple[dict[str, str], bytes]:
    """The head and the first bytes of a feed that is left at once."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/v1/feed", "query_string": b"", "client": ("192.0.2.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    with unsigned_tokens():
        asyncio.run(front.asgi(scope, receive, send))
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]


def test_the_feed_is_open_to_pages_and_begins_with_retry() -> None:
    for origin in (APP, ADMIN, STRANGER, APP):  # one request's head must not be the next one's
        head, body = first_of_the_feed(FRONT, {"Origin": origin, **bearer()})
        assert head.get("access-control-allow-origin") == (None if origin == STRANGER else origin)
        assert body.startswith(RETRY)
        assert b"event: ready" in body


def test_a_feed_whose_past_cannot_be_read_begins_with_retry_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: Any) -> Any:
        from serving.runtime.problems import unavailable

        raise unavailable("log_unreachable", "away")

    monkeypatch.setattr(FeedEndpoint, "_missed", unreachable)
    assert first_of_the_feed(SHUT, bearer())[1] == RETRY


def test_the_gallery_stream_begins_with_retry() -> None:
    async def first() -> bytes:
        room: Any = Room
        return (await anext(_changes(room, room, 1.0))).encode()

    assert asyncio.run(first()).split() == [b"retry:", str(RETRY_MS).encode()]


@pytest.mark.parametrize("origins", ["", "*", APP, f"{APP},{ADMIN}", "http://[::1]:8000", "capacitor://localhost"])
def test_origins_are_taken_as_browsers_write_them(origins: str) -> None:
    assert load(web_origins=origins).web_origins == origins


@pytest.mark.parametrize(
    "origins", ["app.example", f"{APP}/", f"{APP}/page", "https://App.example", f"{APP} , {ADMIN}", "null"]
)
def test_what_no_browser_writes_is_refused(origins: str) -> None:
    with pytest.raises(ConfigError, match="OLO_WEB_ORIGINS"):
        load(web_origins=origins)
