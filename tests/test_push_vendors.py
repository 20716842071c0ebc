"""Pushes at vendors: each request fits the contract, is sent to whom the settings name, under one id, and never late."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import vendors as outside
from infra.config import Config, ConfigError, PushProvider, load
from infra.vendors import apns, push
from infra.vendors.answers import Attempt
from pipelines.flows.dispatch import Dispatch
from schemas.outbox import AttemptOutcome
from schemas.push import ANY_PROVIDER, PushChannel, PushFailure, Urgency
from tests.lab.city.apple import StandIns
from tests.lab.city.push_vendors import PushVendors
from tests.pushes import PUSHERS, SUBSCRIPTION, due, handler_of

ACCEPTED, FAILED, REFUSED, ROUTED = (AttemptOutcome(word) for word in ("accepted", "failed", "refused", "routed"))


@pytest.mark.parametrize("provider", PUSHERS)
def test_a_push_fits_the_contract(attempt: Callable[..., Attempt], push_vendors: PushVendors, provider: str) -> None:
    made = attempt(due(provider), handler_of(push_vendors))
    assert (made.outcome, push_vendors.wrong) == (ACCEPTED, [])
    (pushed,) = push_vendors.taken
    assert (pushed.provider, pushed.occurrence, pushed.title, pushed.body) == (provider, "ann/m1", "Sue", "hello")
    assert pushed.kept_s == 0 if provider == "apns" else 50 <= pushed.kept_s <= 60


@pytest.mark.parametrize("provider", PUSHERS)
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
def test_whatever_is_pushed_fits(attempt: Callable[..., Attempt], push_vendors: PushVendors, provider: str, more: Any) -> None:
    made = attempt(due(provider, **more), handler_of(push_vendors))
    assert (made.outcome, push_vendors.wrong) == (ACCEPTED, [])


@pytest.mark.parametrize("provider", PUSHERS)
def test_what_is_too_large_without_its_texts_is_refused_before_anybody_is_asked(
    attempt: Callable[..., Attempt], push_vendors: PushVendors, push_config: Config, provider: str
) -> None:
    alone = push_config.model_copy(update={"push": PushProvider.FCM, "push_second": PushProvider.NONE})
    made = attempt(due(provider, data={f"k{n}": "ж" * 256 for n in range(16)}), handler_of(push_vendors), alone)
    assert (made.outcome, made.failure, made.doubtful) == (REFUSED, PushFailure.INVALID, False)
    assert not push_vendors.taken


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
    attempt: Callable[..., Attempt], push_config: Config, case: tuple[str, str, dict[str, str], str | None]
) -> None:
    first, second, more, expected = case
    made = attempt(
        due(ANY_PROVIDER, 60, **more),
        nobody,
        push_config.model_copy(update={"push": PushProvider(first), "push_second": PushProvider(second)}),
    )
    if expected is None:
        assert (made.outcome, made.failure, made.doubtful) == (REFUSED, PushFailure.NOT_CONFIGURED, False)
    else:
        assert (made.outcome, made.provider) == (ROUTED, expected)


@pytest.mark.parametrize("provider", [ANY_PROVIDER, "fcm", "onesignal", "apns"])
@pytest.mark.parametrize("seconds", [0.0, -0.001, -3_600.0])
def test_nothing_is_sent_late(attempt: Callable[..., Attempt], provider: str, seconds: float) -> None:
    made = attempt(due(provider, seconds), nobody)
    assert (made.outcome, made.detail, made.doubtful) == (FAILED, "too late", False)


@pytest.mark.parametrize("provider", PUSHERS)
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
    attempt: Callable[..., Attempt], push_config: Config, tmp_path: Path, name: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    settings = push_config.model_copy(update={name: str(tmp_path / "key"), "push_second": PushProvider.NONE})
    made = attempt(due(name.partition("_")[0]), nobody, settings)
    assert (made.outcome, made.failure, made.doubtful) == (REFUSED, PushFailure.CREDENTIALS, False)
    assert f"OLO_{name.upper()}" in made.detail


# --- tokens of ours, ids of repeats -----------------------------------------------------------------------------------------


def test_googles_token_is_had_once_and_renewed_when_it_is_not_taken(
    attempt: Callable[..., Attempt], push_vendors: PushVendors
) -> None:
    for _ in range(3):
        assert attempt(due(), handler_of(push_vendors)).outcome is ACCEPTED
    before = push_vendors.requests["_token"]
    push_vendors.forget_bearers()
    assert attempt(due(), handler_of(push_vendors)).outcome is ACCEPTED
    assert (before, push_vendors.requests["_token"], push_vendors.wrong) == (1, 2, [])


@pytest.mark.parametrize("case", [
    (400, "invalid_grant", REFUSED), (401, "unauthorized_client", REFUSED), (0, "", FAILED),
])  # fmt: skip
def test_without_googles_token_nobody_has_the_push(
    attempt: Callable[..., Attempt], push_config: Config, case: tuple[int, str, AttemptOutcome], tmp_path: Path
) -> None:
    status, error, outcome = case
    key = tmp_path / "key.json"
    key.write_bytes(Path(push_config.fcm_key_file).read_bytes())

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/token"
        if not status:
            raise httpx.ReadTimeout("oops", request=request)
        return httpx.Response(status, json={"error": error})

    made = attempt(due(), handle, push_config.model_copy(update={"push_second": PushProvider.NONE, "fcm_key_file": str(key)}))
    assert (made.outcome, made.doubtful) == (outcome, False)


def test_apples_token_is_between_twenty_and_sixty_minutes_old_whenever_it_is_used(push_config: Config) -> None:
    issued: dict[str, int] = {}
    for at_s in range(1_700_000_000, 1_700_000_000 + 4 * 3_600, 60):
        token = apns.provider_token(push_config, at_s)
        began = issued.setdefault(token, at_s)
        assert at_s - began < 3_600
    starts = sorted(issued.values())
    assert all(later - earlier >= 1_200 for earlier, later in pairwise(starts[1:]))


@pytest.mark.parametrize("provider", PUSHERS)
def test_every_attempt_has_the_same_id(attempt: Callable[..., Attempt], push_vendors: PushVendors, provider: str) -> None:
    push_vendors.share, push_vendors.kinds = 1.0, ("lost",)
    made = attempt(due(provider), handler_of(push_vendors))
    assert (made.outcome, made.doubtful) == (FAILED, True) if provider != "fcm" else True
    push_vendors.share = 0.0
    assert attempt(due(provider), handler_of(push_vendors)).outcome is ACCEPTED
    ids = {pushed.id for pushed in push_vendors.taken}
    assert len(ids) == 1 or provider == "fcm"
    assert len(push_vendors.taken) == 1 or provider != "onesignal"


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


def test_many_threads_over_real_lines_each_push_once_and_dead_tokens_by_name(tmp_path: Path) -> None:
    stand_ins = StandIns(tmp_path)
    stand_ins.vendors.dead |= {"b" * 64, "fcm-dead", SUBSCRIPTION.replace("0", "1")}
    settings = load(**{name.removeprefix("OLO_").lower(): value for name, value in stand_ins.environment.items()})
    pushes = [due("apns", token=f"{n:064x}", occurrence=f"o{n}") for n in range(12)]
    pushes += [due("fcm", token=f"t{n}", occurrence=f"o{n}") for n in range(12)]
    pushes += [due("apns", token="b" * 64), due("fcm", token="fcm-dead")]
    try:
        with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda one: outside.attempt(one, settings, client), pushes))
        assert [one.outcome for one in made] == [ACCEPTED] * 24 + [REFUSED] * 2, [m.detail for m in made]
        assert [one.failure for one in made[24:]] == [PushFailure.UNREGISTERED] * 2
        assert made[24].dead_at is not None
        assert stand_ins.vendors.wrong == []
        assert len({(one.provider, one.token) for one in stand_ins.vendors.taken}) == 24
        stand_ins.vendors.share, stand_ins.vendors.kinds = 1.0, ("dropped",)
        with httpx.Client(trust_env=False) as client:
            cut = outside.attempt(pushes[0], settings, client)
        assert (cut.outcome, cut.doubtful) == (FAILED, True)
    finally:
        apns.close()
        stand_ins.close()
