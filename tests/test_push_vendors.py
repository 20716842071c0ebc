"""Pushes at vendors: each request fits the contract, each answer means what it must, and nothing is sent late or twice."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import vendors as outside
from infra.config import Config, ConfigError, PushProvider, load
from infra.vendors import apns, push
from infra.vendors.answers import Attempt
from pipelines.flows.dispatch import Dispatch
from schemas.log.base import now
from schemas.outbox import AttemptOutcome, EffectDue, EffectKind
from schemas.push import ANY_PROVIDER, Push, PushChannel, PushFailure, PushPlatform, Urgency
from tests.lab.city.apple import StandIns
from tests.lab.city.push_vendors import Keys, PushVendors, content_of

SUBSCRIPTION = "0f5bb1a5-7bd4-4f5e-8a3e-4f6f3b8a9c11"
VOIP_TOKEN = "a" * 64
ACCEPTED, FAILED, REFUSED, ROUTED = (AttemptOutcome(word) for word in ("accepted", "failed", "refused", "routed"))
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"), "http://vendors", "http://apple")


@pytest.fixture
def vendors(keys: Keys) -> PushVendors:
    return PushVendors(keys)


@pytest.fixture
def config(keys: Keys) -> Config:
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in keys.environment.items()})


def due(provider: str = "fcm", seconds: float = 60, **more: Any) -> EffectDue:
    """An attempt at a push that is of use for so many seconds."""
    fields: dict[str, Any] = {
        "occurrence": "ann/m1", "device": "d1", "channel": PushChannel.ALERT, "token": "fcm-token", "title": "Sue",
        "body": "hello",
        "platform": PushPlatform.ANDROID, "badge": 3, "collapse_key": "chat/sue", "data": {"chat": "sue"},
        "urgency": Urgency.HIGH,
    }  # fmt: skip
    if provider == "apns":
        fields |= {"channel": PushChannel.VOIP, "platform": PushPlatform.IOS, "token": VOIP_TOKEN}
    if provider == "onesignal":
        fields |= {"subscription": SUBSCRIPTION}
    until = now() + timedelta(seconds=seconds)
    return EffectDue(
        id="d", at=now(), cause="c", effect="push/d1/ann/m1", kind=EffectKind.PUSH, provider=provider, subject="ann", attempt=1,
        expires_at=until, push=Push(**(fields | {"expires_at": until} | more)),
    )  # fmt: skip


def handler_of(vendors: PushVendors) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        answer = vendors.answer(request.url.path, dict(request.headers), request.content)
        if answer is None:
            raise httpx.ReadError("the line was cut", request=request)
        return httpx.Response(answer.status, content=content_of(answer), headers=dict(answer.headers))

    return handle


@pytest.fixture
def attempt(config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Attempt]:
    """Makes an attempt by a client that this handler answers."""

    def made(one: EffectDue, handler: Handler, settings: Config = config) -> Attempt:
        client = httpx.Client(transport=httpx.MockTransport(handler))

        @contextmanager
        def line() -> Iterator[httpx.Client]:
            yield client

        monkeypatch.setattr(apns, "_lines", type("Lines", (), {"line": staticmethod(line)}))
        with client:
            return outside.attempt(one, settings, client)

    return made


PROVIDERS = pytest.mark.parametrize("provider", ["fcm", "onesignal", "apns"])


@PROVIDERS
def test_a_push_fits_the_contract(attempt: Callable[..., Attempt], vendors: PushVendors, provider: str) -> None:
    made = attempt(due(provider), handler_of(vendors))
    assert (made.outcome, vendors.wrong) == (ACCEPTED, [])
    (pushed,) = vendors.taken
    assert (pushed.provider, pushed.occurrence, pushed.title, pushed.body) == (provider, "ann/m1", "Sue", "hello")
    assert pushed.kept_s == 0 if provider == "apns" else 50 <= pushed.kept_s <= 60


@PROVIDERS
@pytest.mark.parametrize(
    "more",
    [
        {"title": "", "body": "", "badge": None, "collapse_key": "", "data": {}, "urgency": Urgency.NORMAL},
        {"body": "Приве́т 👩‍👩‍👧 " * 400, "title": "é" * 200},
        {"body": "\x00\\\"\n" * 500},
        {"collapse_key": "ключ" * 64},
        {"collapse_key": "two\r\nlines: of a header"},
        {"data": {f"k{n}": "v" * 100 for n in range(15)}, "body": "ж" * 2_000},
        {"occurrence": "ж" * 400},
        {"channel": PushChannel.VOIP},
    ],
)  # fmt: skip
def test_whatever_is_pushed_fits(attempt: Callable[..., Attempt], vendors: PushVendors, provider: str, more: Any) -> None:
    made = attempt(due(provider, **more), handler_of(vendors))
    assert (made.outcome, vendors.wrong) == (ACCEPTED, [])


@PROVIDERS
def test_what_is_too_large_without_its_texts_is_refused_before_anybody_is_asked(
    attempt: Callable[..., Attempt], vendors: PushVendors, config: Config, provider: str
) -> None:
    alone = config.model_copy(update={"push": PushProvider.FCM, "push_second": PushProvider.NONE})
    made = attempt(due(provider, data={f"k{n}": "ж" * 256 for n in range(16)}), handler_of(vendors), alone)
    assert (made.outcome, made.failure, made.doubtful) == (REFUSED, PushFailure.INVALID, False)
    assert not vendors.taken


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
def test_what_an_answer_means(attempt: Callable[..., Attempt], config: Config, case: Case) -> None:
    provider, answer, outcome, failure, doubtful = case

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3_599})
        return httpx.Response(answer[0], content=answer[1].encode(), headers={"location": "/elsewhere", "retry-after": "7"})

    made = attempt(due(provider), handle, config.model_copy(update={"push_second": PushProvider.NONE}))
    assert (made.outcome, made.status, made.failure, made.doubtful) == (outcome, answer[0], failure, doubtful)
    assert len(made.detail) <= 500
    assert made.retry_after_s == (7.0 if outcome is FAILED and answer[0] not in (200, 204) else 0.0)


def test_apple_says_since_when_a_token_is_none(attempt: Callable[..., Attempt]) -> None:
    body = {"reason": "Unregistered", "timestamp": 1_700_000_000_500}
    made = attempt(due("apns"), lambda _: httpx.Response(410, json=body))
    assert made.dead_at == datetime.fromtimestamp(1_700_000_000.5, UTC)


@PROVIDERS
@pytest.mark.parametrize(
    ("error", "doubtful"),
    [(httpx.ConnectError, False), (httpx.ConnectTimeout, False), (httpx.PoolTimeout, False), (httpx.ReadTimeout, True),
     (httpx.WriteError, True), (httpx.RemoteProtocolError, True), (httpx.DecodingError, True)],
)  # fmt: skip
def test_no_answer_is_in_doubt_unless_nobody_was_reached(
    attempt: Callable[..., Attempt], provider: str, error: type[httpx.RequestError], doubtful: bool
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3_599})
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


# --- who is asked, and when nobody is ---------------------------------------------------------------------------------------


def nobody(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.url} was asked")


@pytest.mark.parametrize(
    "case",
    [
        ("fcm", "onesignal", {}, "fcm"),
        ("onesignal", "fcm", {"subscription": SUBSCRIPTION}, "onesignal"),
        ("onesignal", "fcm", {}, "fcm"),
        ("fcm", "onesignal", {"token": SUBSCRIPTION}, "onesignal"),
        ("onesignal", "none", {"token": SUBSCRIPTION}, "onesignal"),
        ("onesignal", "none", {}, None),
        ("fcm", "none", {"token": SUBSCRIPTION}, None),
        ("fcm", "none", {"token": "", "subscription": SUBSCRIPTION}, None),
        ("none", "none", {}, None),
    ],
)
def test_who_is_asked_first(
    attempt: Callable[..., Attempt], config: Config, case: tuple[str, str, dict[str, str], str | None]
) -> None:
    first, second, more, expected = case
    made = attempt(
        due(ANY_PROVIDER, **more),
        nobody,
        config.model_copy(update={"push": PushProvider(first), "push_second": PushProvider(second)}),
    )
    if expected is None:
        assert (made.outcome, made.failure, made.doubtful) == (REFUSED, PushFailure.NOT_CONFIGURED, False)
    else:
        assert (made.outcome, made.provider) == (ROUTED, expected)


@pytest.mark.parametrize(
    ("answer", "routed"),
    [(fcm_error(403, "PERMISSION_DENIED"), True), (fcm_error(400, "INVALID_ARGUMENT"), True), ((404, HTML), True),
     (fcm_error(404, "UNREGISTERED"), False), (fcm_error(403, "SENDER_ID_MISMATCH"), False), ((500, ""), False),
     ((429, ""), False), ((200, HTML), False), ((200, '{"name": "n"}'), False)],
)  # fmt: skip
def test_the_second_provider_is_named_behind_a_no_for_good_only(
    attempt: Callable[..., Attempt], answer: tuple[int, str], routed: bool
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3_599})
        return httpx.Response(answer[0], content=answer[1].encode())

    made = attempt(due("fcm", subscription=SUBSCRIPTION), handle)
    assert (made.outcome is ROUTED, made.provider) == (routed, "onesignal" if routed else "")
    assert attempt(due("fcm"), handle).outcome is not ROUTED, "the phone has no address at the second one"


@pytest.mark.parametrize("provider", [ANY_PROVIDER, "fcm", "onesignal", "apns"])
@pytest.mark.parametrize("seconds", [0.0, -0.001, -3_600.0])
def test_nothing_is_sent_late(attempt: Callable[..., Attempt], provider: str, seconds: float) -> None:
    made = attempt(due(provider, seconds), nobody)
    assert (made.outcome, made.detail, made.doubtful) == (FAILED, "too late", False)


@PROVIDERS
def test_without_keys_nobody_is_asked(attempt: Callable[..., Attempt], provider: str) -> None:
    made = attempt(due(provider), nobody, load())
    assert (made.outcome, made.failure) == (REFUSED, PushFailure.NOT_CONFIGURED)
    assert "not set: OLO_" in made.detail


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"push": "fcm"}, "OLO_FCM_KEY_FILE: needed by OLO_PUSH=fcm"),
        ({"push": "onesignal", "onesignal_key": "k"}, "OLO_ONESIGNAL_APP_ID: needed by OLO_PUSH=onesignal"),
        ({"push": "fcm", "fcm_key_file": "f", "push_second": "fcm"}, "OLO_PUSH_SECOND"),
        ({"push_second": "fcm", "fcm_key_file": "f"}, "OLO_PUSH_SECOND"),
        ({"apns_key_file": "f", "apns_key_id": "k"}, "OLO_APNS_TEAM_ID, OLO_BUNDLE_IOS: needed by OLO_APNS_KEY_FILE"),
        ({"push": "gcm"}, "OLO_PUSH"),
    ],
)
def test_settings_that_lack_something_are_refused_at_the_start(given_: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(**given_)


@pytest.mark.parametrize("name", ["fcm_key_file", "apns_key_file"])
@pytest.mark.parametrize("content", [None, "", "{}", "[1]", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"])
def test_a_key_file_that_is_none_is_refused_by_its_setting(
    attempt: Callable[..., Attempt], config: Config, tmp_path: Path, name: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    settings = config.model_copy(update={name: str(tmp_path / "key"), "push_second": PushProvider.NONE})
    made = attempt(due(name.partition("_")[0]), nobody, settings)
    assert (made.outcome, made.failure, made.doubtful) == (REFUSED, PushFailure.CREDENTIALS, False)
    assert f"OLO_{name.upper()}" in made.detail


# --- tokens of ours, ids of repeats -----------------------------------------------------------------------------------------


def test_googles_token_is_had_once_and_renewed_when_it_is_not_taken(
    attempt: Callable[..., Attempt], vendors: PushVendors
) -> None:
    for _ in range(3):
        assert attempt(due(), handler_of(vendors)).outcome is ACCEPTED
    before = vendors.requests["_token"]
    vendors.forget_bearers()
    assert attempt(due(), handler_of(vendors)).outcome is ACCEPTED
    assert (before, vendors.requests["_token"], vendors.wrong) == (1, 2, [])


@pytest.mark.parametrize("case", [
    (400, "invalid_grant", REFUSED), (401, "unauthorized_client", REFUSED), (0, "", FAILED),
])  # fmt: skip
def test_without_googles_token_nobody_has_the_push(
    attempt: Callable[..., Attempt], config: Config, case: tuple[int, str, AttemptOutcome], tmp_path: Path
) -> None:
    status, error, outcome = case
    key = tmp_path / "key.json"
    key.write_bytes(Path(config.fcm_key_file).read_bytes())

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/token"
        if not status:
            raise httpx.ReadTimeout("oops", request=request)
        return httpx.Response(status, json={"error": error})

    made = attempt(due(), handle, config.model_copy(update={"push_second": PushProvider.NONE, "fcm_key_file": str(key)}))
    assert (made.outcome, made.doubtful) == (outcome, False)


def test_apples_token_is_between_twenty_and_sixty_minutes_old_whenever_it_is_used(config: Config) -> None:
    issued: dict[str, int] = {}
    for at_s in range(1_700_000_000, 1_700_000_000 + 4 * 3_600, 60):
        token = apns.provider_token(config, at_s)
        began = issued.setdefault(token, at_s)
        assert at_s - began < 3_600
    starts = sorted(issued.values())
    assert all(later - earlier >= 1_200 for earlier, later in pairwise(starts[1:]))


@PROVIDERS
def test_every_attempt_has_the_same_id(attempt: Callable[..., Attempt], vendors: PushVendors, provider: str) -> None:
    vendors.share, vendors.kinds = 1.0, ("lost",)
    made = attempt(due(provider), handler_of(vendors))
    assert (made.outcome, made.doubtful) == (FAILED, True) if provider != "fcm" else True
    vendors.share = 0.0
    assert attempt(due(provider), handler_of(vendors)).outcome is ACCEPTED
    ids = {pushed.id for pushed in vendors.taken}
    assert len(ids) == 1 or provider == "fcm"
    assert len(vendors.taken) == 1 or provider != "onesignal"


def test_an_attempt_that_another_process_may_have_begun_is_in_doubt() -> None:
    dispatch = object.__new__(Dispatch)  # without a broker
    for outcome, doubtful in ((FAILED, True), (REFUSED, True), (ROUTED, True), (ACCEPTED, False)):
        dispatch._made = lambda _, outcome=outcome: Attempt(outcome)  # type: ignore[method-assign, misc]
        assert dispatch._attempt(due("fcm"), True).doubtful is doubtful
        assert not dispatch._attempt(due("fcm"), False).doubtful
        assert not dispatch._attempt(due(ANY_PROVIDER), True).doubtful, "nobody was asked"


# --- texts ------------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=60), st.integers(0, 120))
def test_a_text_is_cut_to_its_bytes_at_a_letters_boundary(text: str, size: int) -> None:
    found = push.cut(text, size)
    assert len(found.encode()) <= max(size, 0)
    assert found == text or not found or (found.endswith("…") and text.startswith(found[:-1]))


@pytest.mark.parametrize(("text", "size", "expected"), [
    ("hello", 5, "hello"), ("hello!", 5, "he…"), ("жжж", 5, "ж…"), ("e\u0301e\u0301", 5, "…"[:0]), ("ae\u0301bbbbb", 6, "a…"),
    ("ab👩‍👩‍👧cd", 20, "ab…"), ("a👍🏽bcd", 8, "a…"), ("a🇩🇪🇫🇷bcd", 16, "a🇩🇪…"), ("word and more", 8, "word…"), ("ab", 1, ""),
])  # fmt: skip
def test_letters_and_joined_emojis_stay_whole(text: str, size: int, expected: str) -> None:
    assert push.cut(text, size) == expected


# --- over real lines --------------------------------------------------------------------------------------------------------


def test_many_threads_over_real_lines_each_push_once_and_dead_tokens_by_name(tmp_path: Path, config: Config) -> None:
    stand_ins = StandIns(tmp_path)
    stand_ins.vendors.dead |= {"b" * 64, "fcm-dead", SUBSCRIPTION.replace("0", "1")}
    settings = load(**{name.removeprefix("OLO_").lower(): value for name, value in stand_ins.environment.items()})
    pushes = [due("apns", token=f"{n:064x}", occurrence=f"o{n}") for n in range(40)]
    pushes += [due("fcm", token=f"t{n}", occurrence=f"o{n}") for n in range(40)]
    pushes += [due("apns", token="b" * 64), due("fcm", token="fcm-dead")]
    try:
        with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(16) as pool:
            made = list(pool.map(lambda one: outside.attempt(one, settings, client), pushes))
        assert [one.outcome for one in made] == [ACCEPTED] * 80 + [REFUSED] * 2, [m.detail for m in made]
        assert [one.failure for one in made[80:]] == [PushFailure.UNREGISTERED] * 2
        assert made[80].dead_at is not None
        assert stand_ins.vendors.wrong == []
        assert len({(one.provider, one.token) for one in stand_ins.vendors.taken}) == 80
        stand_ins.vendors.share, stand_ins.vendors.kinds = 1.0, ("dropped",)
        with httpx.Client(trust_env=False) as client:
            cut = outside.attempt(pushes[0], settings, client)
        assert (cut.outcome, cut.doubtful) == (FAILED, True)
    finally:
        apns.close()
        stand_ins.close()
    assert cast(Any, config).push == "fcm"
