"""Pushes in the outbox, by table and Hypothesis: a device is told of an occurrence once, by one provider, and never late."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.outbox import decide_outbox
from schemas.log.base import REMEMBERED_FOR, Fact, Wake
from schemas.log.entity import MAX_KEY_BYTES
from schemas.outbox import (
    AttemptOutcome,
    Effect,
    EffectDue,
    EffectKind,
    EffectPostponed,
    EffectStatus,
    ForgetEffects,
    OutboxInbox,
    OweEffect,
    RedriveEffect,
    ReportAttempt,
)
from schemas.push import (
    Push,
    PushAccepted,
    PushChannel,
    PushFailure,
    PushPlatform,
    PushRefused,
    PushTokenDead,
    WithdrawPush,
    provider_of,
    push_id,
    token_mark,
)
from tests.decisions import decisions_of, last_decision
from tests.people import ANN

decide = decisions_of(decide_outbox)
after = partial(last_decision, decide)
T = datetime(2030, 1, 1, tzinfo=UTC)
UNTIL = T + timedelta(minutes=5)
PUSH = Push(
    occurrence="ann/m1", device="d1", channel=PushChannel.ALERT, token="secret", platform=PushPlatform.ANDROID, title="Sue",
    body="hello", expires_at=UNTIL,
)  # fmt: skip
NAME = push_id(PUSH.occurrence, PUSH.device)
OWE = OweEffect(
    id="o", at=T, effect=NAME, kind=EffectKind.PUSH, provider=provider_of(PUSH), subject=ANN, expires_at=UNTIL, push=PUSH
)  # fmt: skip
UPPER = "0F5BB1A5-7bd4-4f5e-8a3e-4f6f3b8a9c11"
ENDS = (PushAccepted, PushRefused, PushTokenDead)
WITHDRAW = WithdrawPush(id="x", at=T + timedelta(seconds=2), effect=NAME)


def report(attempt: int, outcome: str, seconds: float = 1, **more: Any) -> ReportAttempt:
    at = T + timedelta(seconds=seconds)
    return ReportAttempt(id=f"r{attempt}", at=at, effect=NAME, attempt=attempt, outcome=AttemptOutcome(outcome), **more)


FCM = report(1, "routed", provider="fcm")
SECOND = report(2, "routed", provider="onesignal", status=403, failure=PushFailure.CREDENTIALS)


def test_who_is_asked_is_on_the_log_before_anybody_is() -> None:
    _, (due,) = after(OWE)
    assert (due.provider, due.attempt, due.push) == ("push", 1, PUSH)
    effect, (due,) = after(OWE, FCM)
    assert (effect.provider, due.provider, due.attempt) == ("fcm", "fcm", 2)


def test_another_provider_is_asked_behind_a_no_for_good() -> None:
    effect, (postponed, due) = after(OWE, FCM, SECOND)
    assert isinstance(postponed, EffectPostponed)
    assert (postponed.provider, postponed.status) == ("fcm", 403)
    assert (due.provider, due.attempt, effect.status) == ("onesignal", 3, EffectStatus.DUE)
    assert postponed.id != due.id


def test_no_other_provider_is_asked_where_an_attempt_is_in_doubt() -> None:
    failed = report(2, "failed", doubtful=True)
    effect, _ = after(OWE, FCM, failed)
    again = Wake(id="w", at=effect.wake_at, key=NAME)
    no = report(3, "routed", 9, provider="onesignal", status=403, failure=PushFailure.CREDENTIALS)
    effect, (fact,) = after(OWE, FCM, failed, again, no)
    assert isinstance(fact, PushRefused)
    assert (fact.reason, fact.provider, effect.status) == (PushFailure.UNKNOWN, "fcm", EffectStatus.REFUSED)


def test_a_push_that_ended_says_so_to_its_user_and_its_contents_are_gone() -> None:
    effect, (fact,) = after(OWE, FCM, report(2, "accepted", status=200))
    assert isinstance(fact, PushAccepted)
    assert (fact.user, fact.occurrence, fact.device, fact.channel) == (ANN, "ann/m1", "d1", PushChannel.ALERT)
    assert (fact.provider, fact.attempt, fact.status, fact.effect) == ("fcm", 2, 200, NAME)
    assert (effect.status, effect.push, effect.forget_at) == (EffectStatus.ACCEPTED, None, fact.at + REMEMBERED_FOR)
    assert decide(effect, OWE) == (effect, ()), "owed twice, pushed once"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (report(1, "refused", failure=PushFailure.NOT_CONFIGURED), PushFailure.NOT_CONFIGURED),
        (report(1, "refused", failure=PushFailure.CREDENTIALS), PushFailure.CREDENTIALS),
        (report(1, "refused"), PushFailure.INVALID),
        (report(1, "refused", doubtful=True), PushFailure.UNKNOWN),
        (report(1, "failed", 299.9), PushFailure.TOO_LATE),
        (report(1, "failed", retry_after_s=600.0), PushFailure.TOO_LATE),
        (report(1, "failed", 299.9, doubtful=True), PushFailure.UNKNOWN),
    ],
)  # fmt: skip
def test_each_failure_by_name(message: ReportAttempt, reason: PushFailure) -> None:
    effect, (fact,) = after(OWE, message)
    assert isinstance(fact, PushRefused)
    assert (fact.reason, effect.push, effect.wake_at) == (reason, None, message.at + REMEMBERED_FOR)


@pytest.mark.parametrize("reason", [PushFailure.UNREGISTERED, PushFailure.WRONG_APP])
def test_a_dead_token_is_told_by_its_mark(reason: PushFailure) -> None:
    _, (fact,) = after(OWE, FCM, report(2, "refused", status=410, failure=reason, dead_at=T))
    assert isinstance(fact, PushTokenDead)
    assert (fact.reason, fact.token, fact.dead_at, fact.user) == (reason, token_mark("secret"), T, ANN)


def test_a_dead_subscription_is_not_the_token_beside_it() -> None:
    both = replace(OWE, push=replace(PUSH, subscription="0f5bb1a5-7bd4-4f5e-8a3e-4f6f3b8a9c11"))
    for provider, address in (("fcm", "secret"), ("onesignal", "0f5bb1a5-7bd4-4f5e-8a3e-4f6f3b8a9c11")):
        routed = report(1, "routed", provider=provider)
        _, (fact,) = after(both, routed, report(2, "refused", failure=PushFailure.UNREGISTERED))
        assert isinstance(fact, PushTokenDead)
        assert fact.token == token_mark(address)


@pytest.mark.parametrize(("push", "addresses"), [
    (PUSH, ("secret", "", "secret")),
    (replace(PUSH, subscription="s"), ("secret", "s", "secret")),
    (replace(PUSH, token=UPPER), ("", UPPER, UPPER)),
    (replace(PUSH, token=""), ("", "", "")),
    (replace(PUSH, token="a" * 64, channel=PushChannel.VOIP), ("a" * 64, "", "a" * 64)),
])  # fmt: skip
def test_by_what_each_provider_finds_a_phone(push: Push, addresses: tuple[str, str, str]) -> None:
    assert tuple(push.address(provider) for provider in ("fcm", "onesignal", "apns")) == addresses


def test_a_push_that_is_withdrawn_is_tried_no_more() -> None:
    _, (fact,) = after(OWE, report(1, "failed"), WITHDRAW)
    assert isinstance(fact, PushRefused)
    assert fact.reason is PushFailure.WITHDRAWN
    for outcome, told in (("failed", PushRefused), ("routed", PushRefused), ("accepted", PushAccepted)):
        under_way, none = after(OWE, WITHDRAW)
        assert not none
        assert under_way.status is EffectStatus.DUE
        effect, (fact,) = decide(under_way, report(1, outcome, 3, provider="fcm"))
        assert type(fact) is told
        assert decide(effect, WITHDRAW) == (effect, ())
    assert decide(None, WITHDRAW) == (None, ())


def test_nobody_is_sent_a_push_late_by_an_operator() -> None:
    effect, _ = after(OWE, report(1, "refused"))
    later = T + timedelta(hours=1)
    assert decide(effect, RedriveEffect(id="d", at=later, effect=NAME, expires_at=later, by="root")) == (effect, ())


def test_who_is_erased_is_pushed_nothing() -> None:
    common, _ = decide(None, ForgetEffects(id="f", at=T, effect="@0", user=ANN))
    for messages in ((OWE,), (OWE, report(1, "failed"))):
        effect, _ = after(*messages)
        assert effect.behind(common)
        effect, (fact,) = decide(effect, Wake(id="w", at=T, key=NAME), common)
        assert fact.reason is PushFailure.ERASED
        assert (effect.push, effect.status, effect.behind(common)) == (None, EffectStatus.EXPIRED, False)
    _, (fact,) = decide(None, OWE, common)
    assert isinstance(fact, PushRefused)


@given(st.text(min_size=1, max_size=400), st.text("0123456789abcdef", min_size=1, max_size=16))
def test_a_pushs_id_is_a_key_of_its_occurrence_and_device(occurrence: str, device: str) -> None:
    found = push_id(occurrence, device)
    assert len(found.encode()) <= MAX_KEY_BYTES
    assert found not in {push_id(f"{occurrence}x", device), push_id(occurrence, f"{device}0")}


STEPS = st.lists(
    st.tuples(st.sampled_from([*AttemptOutcome, "wake", "owe", "withdraw", "stale"]), st.booleans(), st.floats(0.1, 40)),
    max_size=25,
)  # fmt: skip


@given(STEPS)
def test_a_push_ends_once_and_changes_its_provider_only_without_doubt(steps: list[tuple[Any, bool, float]]) -> None:
    """A vendor that takes what it calls failed (`doubtful`) is the worst one: with it, no second vendor is ever asked."""
    effect, told = decide(None, OWE)
    facts: list[Fact] = list(told)
    doubtful, asked, at = False, "push", T
    providers = iter(("fcm", "onesignal", "third"))
    for step, doubt, seconds in steps:
        at += timedelta(seconds=seconds)
        message = message_of(effect, step, at, doubtful=doubt, provider=next(providers, "last") if step == "routed" else "")
        if message is None or effect is None:
            continue
        counts = isinstance(message, ReportAttempt) and message.attempt == effect.attempt and effect.status is EffectStatus.DUE
        was_doubtful = doubtful or (counts and doubt)
        effect, told = decide(effect, message)
        facts += told
        for fact in told:
            if isinstance(fact, EffectDue):
                assert asked in {fact.provider, "push"} or not was_doubtful
                asked = fact.provider
        doubtful = was_doubtful
    ends = [fact for fact in facts if isinstance(fact, ENDS)]
    assert len(ends) <= 1
    if ends:
        assert effect is None or effect.push is None
        assert not any(isinstance(fact, EffectDue) for fact in facts[facts.index(ends[0]) :])
    dues = [fact.attempt for fact in facts if isinstance(fact, EffectDue)]
    assert dues == list(range(1, len(dues) + 1))


def message_of(effect: Effect | None, step: str, at: datetime, **more: Any) -> OutboxInbox | None:
    """What comes to a push's inbox next."""
    if effect is None:
        return None
    match step:
        case "wake":
            return None if effect.wake_at is None else Wake(id="w", at=max(at, effect.wake_at), key=NAME)
        case "owe":
            return OWE
        case "withdraw":
            return WithdrawPush(id="x", at=at, effect=NAME)
        case "stale":
            return ReportAttempt(
                id="s", at=at, effect=NAME, attempt=max(effect.attempt - 1, 0), outcome=AttemptOutcome.ACCEPTED
            )  # fmt: skip
    return ReportAttempt(id="r", at=at, effect=NAME, attempt=effect.attempt, outcome=AttemptOutcome(step), **more)
