"""The outbox, keyed by effect id: when an effect is tried, and when no more.

State: what is to be done, attempts, the next one's time (`schemas.outbox.Effect`).
Laws: an effect that was owed twice is done once; attempts are numbered without a gap, and at most one is due at a time; a
report on another attempt than the one that is due is a repeat, and ignored; each effect ends accepted, refused or expired; a
vendor's Retry-After is never undercut. A finished effect is remembered for a day (a postback for a week, as long as any vendor
knows its deduplication id), one that needs a person for a month.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from schemas.log.base import Message, Wake, derived_id
from schemas.outbox import (
    FIRST_RETRY,
    LONGEST_RETRY,
    AttemptOutcome,
    Effect,
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
    close_room_id,
)
from schemas.video import CallEnded

REMEMBERED_FOR: Final = timedelta(days=1)
POSTBACK_REMEMBERED_FOR: Final = timedelta(days=7)
KEPT_FOR_A_PERSON: Final = timedelta(days=30)
# Nobody's room is open any more an hour after the call: credentials are not renewed for calls that ended.
ROOM_EXPIRES: Final = timedelta(hours=1)

Decision = tuple[Effect | None, Sequence[Message]]


def decide_outbox(effect: Effect | None, message: OutboxInbox) -> Decision:
    """Decide one message of an effect's inbox."""
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
    if isinstance(message, CallEnded):
        kind, provider, subject = EffectKind.CLOSE_ROOM, message.room, str(message.call)
        name, expires_at = close_room_id(message.call), message.at + ROOM_EXPIRES
    else:
        kind, provider, subject = message.kind, message.provider, message.subject
        name, expires_at = message.effect, message.expires_at
    postback = message.postback if isinstance(message, OweEffect) else None
    return _due(Effect(kind, provider, subject, expires_at, EffectStatus.DUE, postback=postback), name, message)


def _of(effect: Effect, name: str, message: Message) -> dict[str, Any]:
    return {
        "id": derived_id(message.id, 0), "at": message.at, "cause": message.id, "effect": name, "kind": effect.kind,
        "provider": effect.provider, "subject": effect.subject, "attempt": effect.attempt,
    }  # fmt: skip


def _due(effect: Effect, name: str, message: Message) -> Decision:
    after = replace(effect, status=EffectStatus.DUE, next_at=None, forget_at=None)
    return after, (EffectDue(**_of(after, name, message), expires_at=after.expires_at, postback=after.postback),)


def _report(effect: Effect, message: ReportAttempt) -> Decision:
    if effect.status is not EffectStatus.DUE or message.attempt != effect.attempt:
        return effect, ()
    said: dict[str, Any] = {"status": message.status, "detail": message.detail}
    told = replace(effect, http_status=message.status, detail=message.detail)
    match message.outcome:
        case AttemptOutcome.ACCEPTED:
            kept = REMEMBERED_FOR if effect.postback is None else POSTBACK_REMEMBERED_FOR
            after = replace(told, status=EffectStatus.ACCEPTED, forget_at=message.at + kept)
            return after, (EffectAccepted(**_of(after, message.effect, message), detail=message.detail),)
        case AttemptOutcome.REFUSED:
            after = replace(told, status=EffectStatus.REFUSED, forget_at=message.at + KEPT_FOR_A_PERSON)
            return after, (EffectRefused(**_of(after, message.effect, message), **said),)
        case AttemptOutcome.FAILED:
            next_at = message.at + pause(message.effect, effect.attempt, message.retry_after_s)
            if next_at >= effect.expires_at:
                return _expire(told, message.effect, message)
            after = replace(told, status=EffectStatus.WAITING, next_at=next_at)
            return after, (EffectPostponed(**_of(after, message.effect, message), next_at=next_at, **said),)


def pause(name: str, attempt: int, retry_after_s: float) -> timedelta:
    """How long to wait behind a failed attempt: doubled each time, spread by a quarter (by the effect's name, so that a replay
    decides the same), and never less than the vendor asked for."""
    wait: timedelta = min(FIRST_RETRY * (1 << min(attempt - 1, 20)), LONGEST_RETRY)
    spread = crc32(f"{name}/{attempt}".encode()) % 1_000 / 4_000
    return max(wait * (1 + spread), timedelta(seconds=retry_after_s))


def _expire(effect: Effect, name: str, message: Message) -> Decision:
    after = replace(
        effect, status=EffectStatus.EXPIRED, next_at=None, forget_at=message.at + KEPT_FOR_A_PERSON
    )  # fmt: skip
    return after, (EffectExpired(**_of(after, name, message), status=effect.http_status, detail=effect.detail),)


def _wake(effect: Effect | None, message: Wake) -> Decision:
    if effect is None:
        return None, ()
    if effect.status is EffectStatus.WAITING and _reached(effect.next_at, message.at):
        return _due(replace(effect, attempt=effect.attempt + 1), message.key, message)
    if effect.status is not EffectStatus.DUE and effect.next_at is None and _reached(effect.forget_at, message.at):
        return None, ()
    return effect, ()


def _reached(due: datetime | None, at: datetime) -> bool:
    return due is not None and due <= at


def _redrive(effect: Effect, message: RedriveEffect) -> Decision:
    if effect.status not in (EffectStatus.REFUSED, EffectStatus.EXPIRED):
        return effect, ()
    again = replace(effect, attempt=effect.attempt + 1, expires_at=message.expires_at)
    return _due(again, message.effect, message)
