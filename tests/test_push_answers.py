"""What vendors answer to a push, by table: taken, to be tried again, refused with its reason, and whether it is in doubt."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.config import Config, PushProvider
from infra.vendors.answers import Attempt
from schemas.outbox import AttemptOutcome
from schemas.push import PushFailure
from tests.pushes import PUSHERS, SUBSCRIPTION, due, with_token

ACCEPTED, FAILED, REFUSED, ROUTED = (AttemptOutcome(word) for word in ("accepted", "failed", "refused", "routed"))


def fcm_error(status: int, code: str, **detail: Any) -> tuple[int, str]:
    told = detail or {"errorCode": code}
    return status, json.dumps({"error": {"code": status, "status": code, "details": [{"@type": "t", **told}]}})


NAMED = {"fieldViolations": [{"field": "message.token"}]}
HTML = "<html><body>Welcome to the hotel's Wi-Fi</body></html>"
COMMON: list[tuple[tuple[int, str], AttemptOutcome, PushFailure | None, bool]] = [
    ((301, ""), REFUSED, PushFailure.INVALID, False),
    ((302, HTML), REFUSED, PushFailure.INVALID, False),
    ((400, HTML), REFUSED, PushFailure.INVALID, False),
    ((400, "[" * 100_000), REFUSED, PushFailure.INVALID, False),
    ((404, HTML), REFUSED, PushFailure.INVALID, False),
    ((408, ""), FAILED, None, True),
    ((413, "{}"), REFUSED, PushFailure.INVALID, False),
    ((429, ""), FAILED, None, False),
    ((500, HTML), FAILED, None, True),
    ((502, ""), FAILED, None, True),
    ((503, "{}"), FAILED, None, True),
    ((200, HTML), FAILED, None, True),
    ((200, "x" * 1_000_000), FAILED, None, True),
    ((200, '{"name": "trunc'), FAILED, None, True),
    ((200, "[]"), FAILED, None, True),
    ((204, ""), FAILED, None, True),
    ((403, HTML), REFUSED, PushFailure.CREDENTIALS, False),
    ((410, HTML), REFUSED, PushFailure.INVALID, False),
]
DEAD, INVALID = PushFailure.UNREGISTERED, PushFailure.INVALID
Case = tuple[str, tuple[int, str], AttemptOutcome, PushFailure | None, bool]
ANSWERS: list[Case] = [
    *((provider, *row) for provider in ("fcm", "onesignal", "apns") for row in COMMON),
    ("fcm", fcm_error(404, "UNREGISTERED"), REFUSED, DEAD, False),
    ("fcm", fcm_error(404, "NOT_FOUND"), REFUSED, INVALID, False),
    ("fcm", fcm_error(400, "INVALID_ARGUMENT", **NAMED), REFUSED, DEAD, False),
    ("fcm", fcm_error(400, "INVALID_ARGUMENT"), REFUSED, INVALID, False),
    ("fcm", fcm_error(400, "x", fieldViolations="message.token"), REFUSED, INVALID, False),
    ("fcm", fcm_error(403, "SENDER_ID_MISMATCH"), REFUSED, PushFailure.WRONG_APP, False),
    ("fcm", fcm_error(403, "PERMISSION_DENIED"), REFUSED, PushFailure.CREDENTIALS, False),
    ("fcm", fcm_error(401, "THIRD_PARTY_AUTH_ERROR"), REFUSED, PushFailure.CREDENTIALS, False),
    ("fcm", fcm_error(401, "UNAUTHENTICATED"), REFUSED, PushFailure.CREDENTIALS, False),
    ("fcm", (404, '{"error": {"details": [1, null, {"errorCode": "UNREGISTERED"}]}}'), REFUSED, DEAD, False),
    ("fcm", (404, '{"error": "UNREGISTERED"}'), REFUSED, INVALID, False),
    ("onesignal", (200, '{"id": "", "errors": ["All included players are not subscribed"]}'), REFUSED, DEAD, False),
    ("onesignal", (200, '{"id": "", "errors": {"invalid_player_ids": ["s"]}}'), REFUSED, DEAD, False),
    ("onesignal", (200, '{"id": "", "errors": {"invalid_aliases": {"external_id": ["a"]}}}'), REFUSED, DEAD, False),
    ("onesignal", (200, '{"id": "", "errors": ["something else"]}'), REFUSED, INVALID, False),
    ("onesignal", (200, '{"id": ""}'), FAILED, None, True),
    ("onesignal", (200, '{"id": "n1", "errors": {}}'), ACCEPTED, None, False),
    ("onesignal", (401, "{}"), REFUSED, PushFailure.CREDENTIALS, False),
    ("apns", (410, '{"reason": "Unregistered", "timestamp": 1700000000000}'), REFUSED, DEAD, False),
    ("apns", (410, '{"reason": "Unregistered", "timestamp": "soon"}'), REFUSED, DEAD, False),
    ("apns", (410, '{"reason": "Unregistered", "timestamp": 1e300}'), REFUSED, DEAD, False),
    ("apns", (410, '{"reason": "ExpiredToken"}'), REFUSED, DEAD, False),
    ("apns", (400, '{"reason": "BadDeviceToken"}'), REFUSED, DEAD, False),
    ("apns", (400, '{"reason": "DeviceTokenNotForTopic"}'), REFUSED, PushFailure.WRONG_APP, False),
    ("apns", (400, '{"reason": "TopicDisallowed"}'), REFUSED, PushFailure.CREDENTIALS, False),
    ("apns", (400, '{"reason": ["BadDeviceToken"]}'), REFUSED, INVALID, False),
    ("apns", (403, '{"reason": "InvalidProviderToken"}'), REFUSED, PushFailure.CREDENTIALS, False),
    ("apns", (429, '{"reason": "TooManyProviderTokenUpdates"}'), FAILED, None, False),
]  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_what_an_answer_means(attempt: Callable[..., Attempt], push_config: Config, case: Case) -> None:
    provider, answer, outcome, failure, doubtful = case

    @with_token
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(answer[0], content=answer[1].encode(), headers={"location": "/elsewhere", "retry-after": "7"})

    made = attempt(due(provider), handle, push_config.model_copy(update={"push_second": PushProvider.NONE}))
    assert (made.outcome, made.status, made.failure, made.doubtful) == (outcome, answer[0], failure, doubtful)
    assert len(made.detail) <= 500
    assert made.retry_after_s == (7.0 if outcome is FAILED and answer[0] not in (200, 204) else 0.0)


def test_apple_says_since_when_a_token_is_none(attempt: Callable[..., Attempt]) -> None:
    body = {"reason": "Unregistered", "timestamp": 1_700_000_000_500}
    made = attempt(due("apns"), lambda _: httpx.Response(410, json=body))
    assert made.dead_at == datetime.fromtimestamp(1_700_000_000.5, UTC)


@pytest.mark.parametrize("provider", PUSHERS)
@pytest.mark.parametrize(
    ("error", "doubtful"),
    [(httpx.ConnectError, False), (httpx.ConnectTimeout, False), (httpx.PoolTimeout, False), (httpx.ReadTimeout, True),
     (httpx.WriteError, True), (httpx.RemoteProtocolError, True), (httpx.DecodingError, True)],
)  # fmt: skip
def test_no_answer_is_in_doubt_unless_nobody_was_reached(
    attempt: Callable[..., Attempt], provider: str, error: type[httpx.RequestError], doubtful: bool
) -> None:
    @with_token
    def handle(request: httpx.Request) -> httpx.Response:
        raise error("oops", request=request)

    made = attempt(due(provider), handle)
    assert (made.outcome, made.status, made.doubtful) == (FAILED, 0, doubtful)


def test_an_answer_that_comes_by_drops_ends(attempt: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    class Drops(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                clock[0] += 1.0
                yield b" "

    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    made = attempt(due("onesignal"), lambda _: httpx.Response(200, stream=Drops()))
    assert (made.outcome, made.doubtful) == (FAILED, True)
    assert clock[0] < 20


@pytest.mark.parametrize(
    ("answer", "routed"),
    [(fcm_error(403, "PERMISSION_DENIED"), True), (fcm_error(400, "INVALID_ARGUMENT"), True), ((404, HTML), True),
     (fcm_error(404, "UNREGISTERED"), False), (fcm_error(403, "SENDER_ID_MISMATCH"), False), ((500, ""), False),
     ((429, ""), False), ((200, HTML), False), ((200, '{"name": "n"}'), False)],
)  # fmt: skip
def test_the_second_provider_is_named_behind_a_no_for_good_only(
    attempt: Callable[..., Attempt], answer: tuple[int, str], routed: bool
) -> None:
    @with_token
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(answer[0], content=answer[1].encode())

    made = attempt(due("fcm", subscription=SUBSCRIPTION), handle)
    assert (made.outcome is ROUTED, made.provider) == (routed, "onesignal" if routed else "")
    assert attempt(due("fcm"), handle).outcome is not ROUTED, "the phone has no address at the second one"
