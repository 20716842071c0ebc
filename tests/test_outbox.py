"""The outbox's decisions by table and Hypothesis: once owed, once done; retries grow; a vendor's Retry-After is kept."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.outbox import KEPT_FOR_A_PERSON, decide_outbox, pause
from schemas.billing_rules import CallKind
from schemas.log.base import REMEMBERED_FOR, Wake
from schemas.outbox import (
    LONGEST_RETRY,
    AttemptOutcome,
    EffectAccepted,
    EffectDue,
    EffectExpired,
    EffectKind,
    EffectPostponed,
    EffectRefused,
    EffectStatus,
    OutboxInbox,
    OweEffect,
    RedriveEffect,
    ReportAttempt,
)
from schemas.video import CallEnded, EndReason
from tests.decisions import decisions_of, last_decision
from tests.long_lists import long_lists
from tests.people import BOB, SUE

decide = decisions_of(decide_outbox)
T = datetime(2030, 1, 1, tzinfo=UTC)
OWE = OweEffect(
    id="o", at=T, effect="e", kind=EffectKind.CLOSE_ROOM, provider="agora", subject="c", expires_at=T + timedelta(minutes=5)
)


def report(attempt: int, outcome: AttemptOutcome, seconds: float = 1, **more: Any) -> ReportAttempt:
    return ReportAttempt(
        id=f"r{attempt}{outcome}", at=T + timedelta(seconds=seconds), effect="e", attempt=attempt, outcome=outcome, **more
    )


after = partial(last_decision, decide)


def test_what_is_owed_is_due_once() -> None:
    effect, (due,) = after(OWE)
    assert isinstance(due, EffectDue)
    assert (due.attempt, due.subject, due.expires_at) == (1, "c", OWE.expires_at)
    assert decide(effect, OWE) == (effect, ())


def test_a_call_that_ended_owes_the_closing_of_its_room() -> None:
    ended = CallEnded(
        id="x", at=T, cause="y", call="c1", caller=BOB, callee=SUE, kind=CallKind.DIRECT, reason=EndReason.HUNG_UP,
        room="twilio",
    )  # fmt: skip
    _, (due,) = decide(None, ended)
    assert (due.effect, due.provider, due.subject) == ("close_room/c1", "twilio", "c1")


def test_a_taken_effect_is_done_and_forgotten_after_a_day() -> None:
    effect, (fact,) = after(OWE, report(1, AttemptOutcome.ACCEPTED))
    assert isinstance(fact, EffectAccepted)
    assert effect.wake_at == T + timedelta(seconds=1) + REMEMBERED_FOR
    assert decide(effect, report(1, AttemptOutcome.FAILED)) == (effect, ())
    assert decide(effect, Wake(id="w", at=effect.wake_at - timedelta(seconds=1), key="e")) == (effect, ())
    assert decide(effect, Wake(id="w", at=effect.wake_at, key="e")) == (None, ())


def test_a_no_for_good_waits_for_a_person_who_redrives_it() -> None:
    effect, (fact,) = after(OWE, report(1, AttemptOutcome.REFUSED, status=401, detail="who are you"))
    assert isinstance(fact, EffectRefused)
    assert (effect.status, effect.http_status, effect.detail) == (EffectStatus.REFUSED, 401, "who are you")
    assert effect.forget_at == T + timedelta(seconds=1) + KEPT_FOR_A_PERSON
    later = T + timedelta(days=2)
    redriven, (due,) = decide(effect, RedriveEffect(id="d", at=later, effect="e", expires_at=later, by="ann"))
    assert (due.attempt, redriven.status, redriven.wake_at) == (2, EffectStatus.DUE, None)
    assert decide(redriven, RedriveEffect(id="d", at=later, effect="e", expires_at=later, by="ann")) == (redriven, ())


def test_a_failed_attempt_is_made_again_after_its_pause_and_a_report_counts_once() -> None:
    effect, (fact,) = after(OWE, report(1, AttemptOutcome.FAILED, status=503, retry_after_s=7.0))
    assert isinstance(fact, EffectPostponed)
    assert fact.next_at == effect.wake_at == T + timedelta(seconds=1 + 7)
    assert decide(effect, report(1, AttemptOutcome.ACCEPTED)) == (effect, ()), "the report of an attempt came twice"
    assert decide(effect, Wake(id="w", at=effect.wake_at - timedelta(seconds=1), key="e")) == (effect, ())
    again, (due,) = decide(effect, Wake(id="w", at=effect.wake_at, key="e"))
    assert (due.attempt, again.attempt, again.status) == (2, 2, EffectStatus.DUE)


def test_what_is_too_late_ends_with_its_last_failure() -> None:
    effect, (fact,) = after(OWE, report(1, AttemptOutcome.FAILED, seconds=299.9, status=500, detail="oops"))
    assert isinstance(fact, EffectExpired)
    assert (effect.status, effect.detail, effect.next_at) == (EffectStatus.EXPIRED, "oops", None)


@given(st.integers(1, 60), st.floats(0, 5_000))
def test_pauses_grow_stay_bounded_and_never_undercut_the_vendor(attempt: int, retry_after_s: float) -> None:
    found = pause("e", attempt, retry_after_s)
    assert found.total_seconds() >= retry_after_s - 1e-6
    assert pause("e", attempt, 0.0) <= LONGEST_RETRY * 1.25
    assert pause("e", attempt, 0.0) * 1.25 <= pause("e", attempt + 1, 0.0) * 1.26 or attempt > 10


@given(long_lists(st.sampled_from([*AttemptOutcome, "wake", "again"]), 30))
def test_attempts_are_numbered_without_a_gap_and_one_is_due_at_a_time(steps: list[AttemptOutcome | str]) -> None:
    effect, told = decide(None, OWE)
    dues, at = [fact.attempt for fact in told if isinstance(fact, EffectDue)], T
    message: OutboxInbox
    for step in steps:
        if effect is None:
            break
        at += timedelta(seconds=2)
        if step == "wake":
            at = max(at, effect.wake_at or at)
            message = Wake(id="w", at=effect.wake_at or at, key="e")
        elif step == "again":
            message = OWE
        else:
            message = report(effect.attempt, AttemptOutcome(step), seconds=(at - T).total_seconds())
        was_due = effect.status is EffectStatus.DUE
        effect, told = decide(effect, message)
        new = [fact.attempt for fact in told if isinstance(fact, EffectDue)]
        assert not (was_due and new)
        dues += new
    assert dues == list(range(1, len(dues) + 1))
