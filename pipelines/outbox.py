"""The outbox, keyed by effect id: when an effect is tried, and when no more.

State: what is to be done, attempts, the next one's time (`schemas.outbox.Effect`).
Laws: an effect that was owed twice is done once; attempts are numbered without a gap, and at most one is due at a time; a
report on another attempt than the one that is due is a repeat, and ignored; each effect ends accepted, refused or expired; a
vendor's Retry-After is never undercut. A finished effect is remembered for a day (a postback for a week, as long as any vendor
knows its deduplication id), one that needs a person for a month. What tells of a user who was erased is given up, and its
contents are forgotten at once: a broadcast names the user to every partition, and the host wakes each such effect.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from schemas.erased import with_erased
from schemas.log.base import REMEMBERED_FOR, Message, Wake, later, reply, same_fields
from schemas.outbox import (
    FIRST_RETRY,
    LONGEST_RETRY,
    ROOM_EXPIRES,
    AttemptOutcome,
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
    RedriveEffect,
    ReportAttempt,
    close_room_id,
    erased_effects,
)
from schemas.video import CallEnded

POSTBACK_REMEMBERED_FOR: Final = timedelta(days=7)
KEPT_FOR_A_PERSON: Final = timedelta(days=30)

Decision = tuple[Effect | None, Sequence[Message]]


def decide_outbox(effect: Effect | None, message: OutboxInbox, common: Effect | None = None) -> Decision:
    """Decide one message of an effect's inbox, under the users that its partition was told were erased."""
    match message:
        case ForgetEffects():
            return erased_effects(with_erased(effect.erased if effect is not None else (), message.user)), ()
        case OweEffect() if effect is None and common is not None and message.subject in common.erased:
            gone = Effect(**same_fields(message, Effect), status=EffectStatus.DUE, attempt=0)
            return _forget(gone, message.effect, message)
        case Wake() if effect is not None and effect.behind(common):
            return _forget(effect, message.key, message)
    match message:
        case OweEffect() | CallEnded():
            return _owe(effect, message)
        case Wake():
            return _wake(effect, message)
    if effect is None:
        return None, ()
    match message:
        case ReportAttempt():
            return _report(effect, message)
        case RedriveEffect():
            return _redrive(effect, message)


def _owe(effect: Effect | None, message: OweEffect | CallEnded) -> Decision:
    if effect is not None:
        return effect, ()
    if isinstance(message, OweEffect):
        return _due(Effect(**same_fields(message, Effect), status=EffectStatus.DUE), message.effect, message)
    close_room = Effect(
        kind=EffectKind.CLOSE_ROOM, provider=message.room, subject=message.call, expires_at=later(message.at, ROOM_EXPIRES),
        status=EffectStatus.DUE,
    )  # fmt: skip
    return _due(close_room, close_room_id(message.call), message)


def _fields(effect: Effect, name: str) -> dict[str, Any]:
    """What every fact of an effect says."""
    return {
        "effect": name, "kind": effect.kind, "provider": effect.provider, "subject": effect.subject, "attempt": effect.attempt,
    }  # fmt: skip


def _due(effect: Effect, name: str, message: Message) -> Decision:
    after = replace(effect, status=EffectStatus.DUE, next_at=None, forget_at=None)
    due = EffectDue(
        **reply(message), **_fields(after, name), expires_at=after.expires_at, postback=after.postback, wanted=after.wanted
    )
    return after, (due,)


def _report(effect: Effect, message: ReportAttempt) -> Decision:
    if effect.status is not EffectStatus.DUE or message.attempt != effect.attempt:
        return effect, ()
    tried = replace(effect, http_status=message.status, detail=message.detail)
    fields = _fields(effect, message.effect) | {"detail": message.detail}
    match message.outcome:
        case AttemptOutcome.ACCEPTED:
            kept = REMEMBERED_FOR if effect.postback is None else POSTBACK_REMEMBERED_FOR
            after = replace(tried, status=EffectStatus.ACCEPTED, forget_at=later(message.at, kept))
            return after, (EffectAccepted(**reply(message), **fields, plan=message.plan),)
        case AttemptOutcome.REFUSED:
            after = replace(tried, status=EffectStatus.REFUSED, forget_at=later(message.at, KEPT_FOR_A_PERSON))
            return after, (EffectRefused(**reply(message), **fields, status=message.status),)
        case AttemptOutcome.FAILED:
            next_at = later(message.at, pause(message.effect, effect.attempt, message.retry_after_s))
            if next_at >= effect.expires_at:
                return _expire(tried, message)
            after = replace(tried, status=EffectStatus.WAITING, next_at=next_at)
            return after, (EffectPostponed(**reply(message), **fields, next_at=next_at, status=message.status),)


def pause(name: str, attempt: int, retry_after_s: float) -> timedelta:
    """How long to wait behind a failed attempt: doubled each time, spread by a quarter (by the effect's name, so that a replay
    decides the same), and never less than the vendor asked for."""
    wait: timedelta = min(FIRST_RETRY * (1 << min(attempt - 1, 20)), LONGEST_RETRY)
    spread = crc32(f"{name}/{attempt}".encode()) % 1_000 / 4_000
    return max(wait * (1 + spread), timedelta(seconds=retry_after_s))


def _expire(effect: Effect, message: ReportAttempt) -> Decision:
    after = replace(effect, status=EffectStatus.EXPIRED, next_at=None, forget_at=later(message.at, KEPT_FOR_A_PERSON))
    expired = EffectExpired(
        **reply(message), **_fields(after, message.effect), status=effect.http_status, detail=effect.detail
    )  # fmt: skip
    return after, (expired,)


def _wake(effect: Effect | None, message: Wake) -> Decision:
    if effect is None or not effect.is_due(message.at):
        return effect, ()
    if effect.status is EffectStatus.WAITING:
        return _due(replace(effect, attempt=effect.attempt + 1), message.key, message)
    return None, ()


def _forget(effect: Effect, name: str, message: OweEffect | Wake) -> Decision:
    """The user is erased: nothing is tried any more, and what was to be told is gone."""
    blank = replace(effect, postback=None, detail="")
    if effect.status not in (EffectStatus.DUE, EffectStatus.WAITING):
        return blank, ()
    forget_at = later(message.at, POSTBACK_REMEMBERED_FOR)
    after = replace(blank, status=EffectStatus.EXPIRED, next_at=None, forget_at=forget_at)
    return after, (EffectExpired(**reply(message), **_fields(after, name)),)


def _redrive(effect: Effect, message: RedriveEffect) -> Decision:
    gone = effect.kind is EffectKind.POSTBACK and effect.postback is None  # of a user who was erased
    if gone or effect.status not in (EffectStatus.REFUSED, EffectStatus.EXPIRED):
        return effect, ()
    again = replace(effect, attempt=effect.attempt + 1, expires_at=message.expires_at)
    return _due(again, message.effect, message)
