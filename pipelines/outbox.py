"""The outbox, keyed by effect id: when an effect is tried, and when no more.

State: what is to be done, attempts, the next one's time (`schemas.outbox.Effect`).
Laws: an effect that was owed twice is done once; attempts are numbered without a gap, and at most one is due at a time; a
report on another attempt than the one that is due is a repeat, and ignored; each effect ends accepted, refused or expired; a
vendor's Retry-After is never undercut. Of somebody's claims the newest ones are told last.
A finished effect is remembered for a day (a postback for a week, as long as any vendor
knows its deduplication id), one that needs a person for a month. A push asks another provider only where none of its attempts
may have been taken; its contents are forgotten with its end, and nobody sends it late. What tells of a user who was erased is
given up, and its contents are forgotten at once: a broadcast names the user to every partition, and the host wakes each such
effect. A payment is asked for under its id until the provider has said what became of it, however long that takes; only the
provider's own word ends it, and it is never redriven.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from schemas.erased import with_erased
from schemas.log.base import REMEMBERED_FOR, Fact, Message, Wake, later, reply, same_fields
from schemas.mission_control_roles import RolesChanged, strongest
from schemas.outbox import (
    ACCOUNT_EXPIRES,
    FIRST_RETRY,
    LONGEST_RETRY,
    ROOM_EXPIRES,
    SIGN_IN,
    AttemptOutcome,
    Claims,
    Effect,
    EffectAccepted,
    EffectDue,
    EffectExpired,
    EffectKind,
    EffectPostponed,
    EffectRefused,
    EffectStatus,
    ForgetEffects,
    OutboxInbox,
    OweEffect,
    PaymentEnded,
    RedriveEffect,
    ReportAttempt,
    StoreActTaken,
    close_room_id,
    delete_account_id,
    erased_effects,
    set_claims_id,
)
from schemas.payout_fields import Paying
from schemas.push import (
    ANY_PROVIDER,
    TOKEN_FAILURES,
    Push,
    PushAccepted,
    PushFailure,
    PushRefused,
    PushTokenDead,
    WithdrawPush,
    token_mark,
)
from schemas.user import UserErased
from schemas.video import CallEnded

POSTBACK_REMEMBERED_FOR: Final = timedelta(days=7)
KEPT_FOR_A_PERSON: Final = timedelta(days=30)
# An effect's last fact; and why a push was not taken, with the moment since when its token is dead.
LastFact = EffectAccepted | EffectRefused | EffectExpired
Failure = tuple[PushFailure, datetime | None]
ENDS: Final[dict[type[Fact], EffectStatus]] = {
    EffectAccepted: EffectStatus.ACCEPTED, EffectRefused: EffectStatus.REFUSED, EffectExpired: EffectStatus.EXPIRED,
}  # fmt: skip

Decision = tuple[Effect | None, Sequence[Message]]


def decide_outbox(effect: Effect | None, message: OutboxInbox, common: Effect | None = None) -> Decision:
    """Decide one message of an effect's inbox, under the users that its partition was told were erased."""
    match message:
        case ForgetEffects():
            return erased_effects(with_erased(effect.erased if effect is not None else (), message.user)), ()
        case OweEffect() if effect is None and common is not None and message.subject in common.erased:
            gone = Effect(**same_fields(message, Effect), status=EffectStatus.DUE, attempt=0)
            return _forget(gone, message.effect, message)
        case OweEffect() if effect is None and common is not None and message.paying and message.paying.user in common.erased:
            return _owe(None, replace(message, paying=_without_account(message.paying)))
        case Wake() if effect is not None and effect.kind is EffectKind.PAY and effect.paying and effect.behind(common):
            return replace(effect, paying=_without_account(effect.paying)), ()
        case Wake() if effect is not None and effect.behind(common):
            return _forget(effect, message.key, message)
    match message:
        case OweEffect() | CallEnded() | UserErased():
            return _owe(effect, message)
        case RolesChanged():
            return _claim(effect, message)
        case Wake():
            return _wake(effect, message)
    if effect is None:
        return None, ()
    match message:
        case ReportAttempt():
            return _report(effect, message)
        case RedriveEffect():
            return _redrive(effect, message)
        case WithdrawPush():
            return _withdraw(effect, message)


def _owe(effect: Effect | None, message: OweEffect | CallEnded | UserErased) -> Decision:
    if effect is not None:
        return effect, ()
    match message:
        case OweEffect():
            return _due(Effect(**same_fields(message, Effect), status=EffectStatus.DUE), message.effect, message)
        case CallEnded():
            name, kind, provider, subject = close_room_id(message.call), EffectKind.CLOSE_ROOM, message.room, message.call
            lives = ROOM_EXPIRES
        case UserErased():
            name, kind, provider, subject = delete_account_id(message.user), EffectKind.DELETE_ACCOUNT, SIGN_IN, message.user
            lives = ACCOUNT_EXPIRES
    owed = Effect(
        kind=kind, provider=provider, subject=subject, expires_at=later(message.at, lives), status=EffectStatus.DUE
    )  # fmt: skip
    return _due(owed, name, message)


def _claim(effect: Effect | None, message: RolesChanged) -> Decision:
    """The newest roles count. While an attempt with older ones is under way nothing is due: that could be the last to come."""
    claims = Claims(
        strongest(message.roles) or message.signed_up, message.version, message.roles,
        None if message.given or message.role is None else message.at,
    )  # fmt: skip
    if effect is None or effect.claims is None:
        owed = Effect(
            kind=EffectKind.SET_CLAIMS, provider=SIGN_IN, subject=message.user, status=EffectStatus.DUE, claims=claims,
            expires_at=later(message.at, ACCOUNT_EXPIRES),
        )  # fmt: skip
        return _due(owed, set_claims_id(message.user), message)
    if claims.version <= effect.claims.version:
        return effect, ()
    after = replace(effect, claims=claims, expires_at=later(message.at, ACCOUNT_EXPIRES))
    if effect.status is EffectStatus.DUE:
        return after, ()
    return _due(replace(after, attempt=effect.attempt + 1), set_claims_id(message.user), message)


def _fields(effect: Effect, name: str) -> dict[str, Any]:
    """What every fact of an effect says."""
    return {
        "effect": name, "kind": effect.kind, "provider": effect.provider, "subject": effect.subject, "attempt": effect.attempt,
    }  # fmt: skip


def _due(effect: Effect, name: str, message: Message, ordinal: int = 0) -> Decision:
    told = effect.claims.version if effect.claims else 0
    after = replace(effect, status=EffectStatus.DUE, next_at=None, forget_at=None, told=told)
    due = EffectDue(
        **reply(message, ordinal), **_fields(after, name), expires_at=after.expires_at, postback=after.postback,
        wanted=after.wanted, push=after.push, claims=after.claims, store_act=after.store_act, paying=after.paying,
    )  # fmt: skip
    return after, (due,)


def _report(effect: Effect, message: ReportAttempt) -> Decision:
    if effect.status is not EffectStatus.DUE or message.attempt != effect.attempt:
        return effect, ()
    doubtful = effect.doubtful or message.doubtful
    if effect.claims is not None and effect.claims.version != effect.told:
        return _due(replace(effect, attempt=effect.attempt + 1), message.effect, message)
    tried = replace(effect, http_status=message.status, detail=message.detail, doubtful=doubtful)
    match message.outcome if effect.paying is None else _of_payment(effect, effect.paying, message):
        case AttemptOutcome.ACCEPTED:
            fields = _fields(effect, message.effect) | {"detail": message.detail}
            kept = REMEMBERED_FOR if effect.postback is None else POSTBACK_REMEMBERED_FOR
            return _end(tried, EffectAccepted(**reply(message), **fields, plan=message.plan), kept)
        case AttemptOutcome.ROUTED if effect.push is not None:
            return _route(tried, message)
        case AttemptOutcome.REFUSED | AttemptOutcome.ROUTED:
            return _refuse(tried, message)
        case AttemptOutcome.FAILED:
            next_at = later(message.at, pause(message.effect, effect.attempt, message.retry_after_s))
            if next_at >= effect.expires_at or effect.withdrawn:
                return _expire(tried, message.effect, message)
            return replace(tried, status=EffectStatus.WAITING, next_at=next_at), (_postponed(effect, message, next_at),)


def _of_payment(effect: Effect, paying: Paying, message: ReportAttempt) -> AttemptOutcome:
    """That money was not sent only the provider can say; whatever else went wrong, it is asked again, for ever. Where nobody
    knows the account any more, an earlier attempt may still arrive there."""
    said = message.status and not message.doubtful and (paying.iban or not effect.doubtful)
    return AttemptOutcome.FAILED if message.outcome is AttemptOutcome.REFUSED and not said else message.outcome


def _without_account(paying: Paying) -> Paying:
    return Paying(paying.user, paying.amount_cents, paying.currency)


def _postponed(effect: Effect, message: ReportAttempt, next_at: datetime) -> EffectPostponed:
    fields = _fields(effect, message.effect)
    return EffectPostponed(**reply(message), **fields, next_at=next_at, status=message.status, detail=message.detail)


def _route(effect: Effect, message: ReportAttempt) -> Decision:
    """Ask this provider for a push. Where one has said no before, another is asked only if nobody may have taken it."""
    if effect.withdrawn:
        return _expire(effect, message.effect, message)
    after = replace(effect, provider=message.provider, attempt=effect.attempt + 1)
    if effect.provider == ANY_PROVIDER:
        return _due(after, message.effect, message)
    if effect.doubtful:
        return _refuse(effect, message)
    state, due = _due(after, message.effect, message, 1)
    return state, (_postponed(effect, message, message.at), *due)


def _refuse(effect: Effect, message: ReportAttempt) -> Decision:
    fields = _fields(effect, message.effect) | {"detail": message.detail, "status": message.status}
    failure = message.failure or PushFailure.INVALID
    return _end(effect, EffectRefused(**reply(message), **fields), KEPT_FOR_A_PERSON, (failure, message.dead_at))


def _expire(effect: Effect, name: str, message: Message, kept: timedelta = KEPT_FOR_A_PERSON) -> Decision:
    fields = _fields(effect, name) | {"detail": effect.detail, "status": effect.http_status}
    failure = PushFailure.WITHDRAWN if effect.withdrawn else PushFailure.TOO_LATE
    return _end(effect, EffectExpired(**reply(message), **fields), kept, (failure, None))


def _end(effect: Effect, fact: LastFact, kept: timedelta, failure: Failure | None = None) -> Decision:
    """The effect's last fact, and for how long it is remembered. A push has other facts, and its contents are forgotten."""
    paying = _without_account(effect.paying) if effect.paying is not None else None
    after = replace(effect, status=ENDS[type(fact)], next_at=None, forget_at=later(fact.at, kept), paying=paying)
    if effect.push is None:
        if effect.kind is EffectKind.PAY and not isinstance(fact, EffectExpired):
            same = same_fields(fact, PaymentEnded) | {"id": f"{fact.id}/ended", "at": fact.at, "cause": fact.cause}
            return after, (fact, PaymentEnded(**same, payout=effect.subject, paid=isinstance(fact, EffectAccepted)))
        if effect.store_act is None or not isinstance(fact, EffectAccepted):
            return after, (fact,)
        fields = same_fields(fact, StoreActTaken) | {"id": f"{fact.id}/taken", "at": fact.at, "cause": fact.cause}
        return after, (fact, StoreActTaken(**fields, purchase=effect.subject))
    forgotten = replace(after, push=None, forget_at=later(fact.at, REMEMBERED_FOR))
    return forgotten, (_push_fact(effect, effect.push, fact, failure),)


def _push_fact(effect: Effect, push: Push, fact: LastFact, failure: Failure | None) -> Message:
    """What the user's entities hear of a push that has ended."""
    fields: dict[str, Any] = same_fields(fact, PushAccepted) | same_fields(push, PushAccepted)
    fields |= {"id": fact.id, "at": fact.at, "cause": fact.cause, "user": effect.subject, "status": effect.http_status}
    if failure is None:
        return PushAccepted(**fields)
    reason, dead_at = failure
    if reason in TOKEN_FAILURES:
        dead = push.address(effect.provider) or push.token
        return PushTokenDead(**fields, reason=reason, token=token_mark(dead), dead_at=dead_at)
    return PushRefused(**fields, reason=PushFailure.UNKNOWN if effect.doubtful else reason)


def pause(name: str, attempt: int, retry_after_s: float) -> timedelta:
    """How long to wait behind a failed attempt: doubled each time, spread by a quarter (by the effect's name, so that a replay
    decides the same), and never less than the vendor asked for."""
    wait: timedelta = min(FIRST_RETRY * (1 << min(attempt - 1, 20)), LONGEST_RETRY)
    spread = crc32(f"{name}/{attempt}".encode()) % 1_000 / 4_000
    return max(wait * (1 + spread), timedelta(seconds=retry_after_s))


def _wake(effect: Effect | None, message: Wake) -> Decision:
    if effect is None or not effect.is_due(message.at):
        return effect, ()
    if effect.status is EffectStatus.WAITING:
        return _due(replace(effect, attempt=effect.attempt + 1), message.key, message)
    return None, ()


def _forget(effect: Effect, name: str, message: OweEffect | Wake) -> Decision:
    """The user is erased: nothing is tried any more, and what was to be told is gone."""
    blank = replace(effect, postback=None, detail="", paying=None)
    if effect.status not in (EffectStatus.DUE, EffectStatus.WAITING):
        return replace(blank, push=None), ()
    expired = EffectExpired(**reply(message), **_fields(blank, name))
    return _end(blank, expired, POSTBACK_REMEMBERED_FOR, (PushFailure.ERASED, None))


def _withdraw(effect: Effect, message: WithdrawPush) -> Decision:
    """Nothing is tried any more; an attempt that is under way says itself how the push ends."""
    if effect.push is None or effect.withdrawn:
        return effect, ()
    withdrawn = replace(effect, withdrawn=True)
    return (withdrawn, ()) if effect.status is EffectStatus.DUE else _expire(withdrawn, message.effect, message)


def _redrive(effect: Effect, message: RedriveEffect) -> Decision:
    tells = effect.kind in (EffectKind.POSTBACK, EffectKind.PUSH)
    if effect.kind is EffectKind.PAY:
        return effect, ()  # the provider has said no, and its coins may be in another payout
    gone = tells and effect.postback is None  # of a user who was erased; a push that has ended is never sent
    if gone or effect.status not in (EffectStatus.REFUSED, EffectStatus.EXPIRED):
        return effect, ()
    again = replace(effect, attempt=effect.attempt + 1, expires_at=message.expires_at)
    return _due(again, message.effect, message)
