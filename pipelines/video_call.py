"""A call, keyed by call id: placing, ringing, talking, ended.

State: both sides, where it stands, whose answers it waits for, the pinned tariff, the last beats (`schemas.video.Call`);
forgotten a day after its end. It is placed by asking both lines and the tariff book at once, then the bill; then it rings.
Laws: a call ends exactly once, never before it connected; every line that it took it gives back; every bill that it opened it
ends; what comes late is decided by its own time: a beat after the line was lost, an accept after the ringing, is too late.
Refusals: `schemas.video.CallRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from schemas.billing import (
    BOOK,
    BillOpened,
    BillRefused,
    CallKind,
    EndBill,
    OpenBill,
    SelectTariff,
    StartBill,
    TariffSelected,
    Traits,
)
from schemas.log.base import Message, MessageId, UserId, Wake, derived_id
from schemas.user import Role
from schemas.video import (
    RING_TIMEOUT,
    ROULETTE_TIMEOUT,
    AcceptCall,
    BeatCall,
    Call,
    CallCommandRefused,
    CallConnected,
    CallEnded,
    CallInbox,
    CallRefusal,
    CallRefused,
    CallRepeated,
    CallRinging,
    CallStatus,
    DeclineCall,
    EndCall,
    EndReason,
    HangUp,
    OpenRoom,
    PlaceCall,
    RoomOpened,
)
from schemas.video_line import LineRefusal, LineRefused, LineSeized, ReleaseLine, SeizeLine

# A client asks again for minutes; receipts and history are ClickHouse's.
REMEMBERED_FOR: Final = timedelta(days=1)
PRECEDENCE: Final = list(CallRefusal)
OF_CALLER: Final = {
    LineRefusal.UNKNOWN: CallRefusal.CALLER_UNKNOWN,
    LineRefusal.BANNED: CallRefusal.CALLER_BANNED,
    LineRefusal.BLOCKED: CallRefusal.BLOCKED,
    LineRefusal.OFFLINE: CallRefusal.CALLER_OFFLINE,
    LineRefusal.BUSY: CallRefusal.CALLER_BUSY,
}
OF_CALLEE: Final = {
    LineRefusal.UNKNOWN: CallRefusal.CALLEE_UNKNOWN,
    LineRefusal.BANNED: CallRefusal.CALLEE_BANNED,
    LineRefusal.BLOCKED: CallRefusal.BLOCKED,
    LineRefusal.OFFLINE: CallRefusal.CALLEE_OFFLINE,
    LineRefusal.BUSY: CallRefusal.CALLEE_BUSY,
}

Decision = tuple[Call | None, Sequence[Message]]
CallCommand = AcceptCall | DeclineCall | HangUp | OpenRoom


def decide_call(call: Call | None, message: CallInbox) -> Decision:
    """Decide one message of a call's inbox."""
    if call is None:
        return _place(message) if isinstance(message, PlaceCall) else _unknown(message)
    if call.status is CallStatus.CONNECTED and (over := _overdue(call, message.at)):
        ended, told = _end(call, message, *over)
        after, more = decide_call(ended, message) if not isinstance(message, Wake) else (ended, ())
        return after, (*told, *more)
    match message:
        case PlaceCall():
            return call, (_standing(call, message),)
        case LineSeized() | LineRefused() | TariffSelected() | BillOpened() | BillRefused():
            return _answered(call, message)
        case AcceptCall() | DeclineCall() | HangUp() | OpenRoom():
            return _command(call, message)
        case BeatCall():
            return _beat(call, message), ()
        case EndCall():
            return _told_to_end(call, message)
        case Wake():
            return _wake(call, message)


def sides(caller: str, callee: str, caller_role: Role, callee_role: Role) -> tuple[UserId, UserId]:
    """Who pays and who earns."""
    callee_pays = callee_role is Role.USER and caller_role is not Role.USER
    return (UserId(callee), UserId(caller)) if callee_pays else (UserId(caller), UserId(callee))


def _of(call_id: str, call: Call, message: Message, ordinal: int, at: datetime) -> dict[str, Any]:
    cause = call.placed_by if call.status is CallStatus.PLACING else message.id
    return {
        "id": derived_id(message.id, ordinal), "at": at, "cause": cause, "call": call_id, "caller": call.caller,
        "callee": call.callee, "kind": call.kind,
    }  # fmt: skip


def _name(message: CallInbox) -> str:
    return message.key if isinstance(message, Wake) else message.call


def _unknown(message: CallInbox) -> Decision:
    if not isinstance(message, CallCommand):
        return None, ()
    return None, (_refused(message, CallRefusal.CALL_UNKNOWN),)


def _refused(message: CallCommand, refusal: CallRefusal) -> CallCommandRefused:
    return CallCommandRefused(
        id=derived_id(message.id, "refused"), at=message.at, cause=message.id, call=message.call, refusal=refusal
    )  # fmt: skip


def _standing(call: Call, message: PlaceCall | AcceptCall | HangUp) -> CallRepeated:
    return CallRepeated(
        id=derived_id(message.id, 0),
        at=message.at,
        cause=message.id,
        call=message.call,
        status=call.status,
        refusal=call.refusal,
        shortfall_coins=call.shortfall_coins,
    )


# --- placing ----------------------------------------------------------------------------------------------------------------


def _place(message: PlaceCall) -> Decision:
    clip = message.kind is CallKind.CLIP
    call = Call(
        UserId(message.caller),
        UserId(message.callee),
        message.kind,
        CallStatus.PLACING,
        MessageId(message.id),
        message.at,
        message.caller_role,
        message.callee_role,
        message.clip,
        message.clip_s,
        ("caller", "tariff") if clip else ("caller", "callee", "tariff"),
    )
    if message.caller == message.callee:
        return _refuse(replace(call, waiting=()), message, CallRefusal.SAME_USER)
    roles = (message.caller_role, message.callee_role)
    payer, _ = sides(message.caller, message.callee, *roles)
    pays = roles if payer == message.caller else roles[::-1]
    seizes = [
        SeizeLine(
            id=derived_id(message.id, ordinal), at=message.at, user=UserId(user), call=message.call, peer=peer, online=online
        )
        for ordinal, (user, peer, online) in enumerate(
            (
                (message.caller, message.callee, message.kind is CallKind.ROULETTE),
                (message.callee, message.caller, True),
            )[: 1 if clip else 2]
        )
    ]
    select = SelectTariff(
        id=derived_id(message.id, 2),
        at=message.at,
        book=BOOK,
        call=message.call,
        traits=Traits(message.kind, *pays, message.country, message.tags),
    )
    return replace(call, traits=select.traits), (*seizes, select)


def _answered(call: Call, message: LineSeized | LineRefused | TariffSelected | BillOpened | BillRefused) -> Decision:
    """One of the answers that placing waits for; the last one decides."""
    if call.status is not CallStatus.PLACING:
        return call, ()
    match message:
        case LineSeized():
            who = "caller" if message.user == call.caller else "callee"
            call = replace(call, seized=(*call.seized, message.user))
        case LineRefused():
            caller = message.user == call.caller
            who = "caller" if caller else "callee"
            call = _worse(call, (OF_CALLER if caller else OF_CALLEE)[message.refusal])
        case TariffSelected():
            who = "tariff"
            call = replace(call, tariff=message.tariff) if message.tariff else _worse(call, CallRefusal.NO_TARIFF)
        case BillOpened():
            who = "bill"
            call = replace(call, billed=True)
        case BillRefused():
            who = "bill"
            call = replace(_worse(call, CallRefusal.INSUFFICIENT_COINS), shortfall_coins=message.shortfall_coins)
    call = replace(call, waiting=tuple(waited for waited in call.waiting if waited != who))
    return (call, ()) if call.waiting else _placed(call, message)


def _worse(call: Call, refusal: CallRefusal) -> Call:
    known = call.refusal
    first = refusal if known is None or PRECEDENCE.index(refusal) < PRECEDENCE.index(known) else known
    return replace(call, refusal=first)


def _placed(call: Call, message: LineSeized | LineRefused | TariffSelected | BillOpened | BillRefused) -> Decision:
    """All answers are there."""
    name = message.call
    if call.refusal is not None:
        return _refuse(call, message, call.refusal)
    if call.reason is not None:  # given up while it was being placed
        return _end(call, message, call.reason, message.at)
    if not call.billed:
        assert call.tariff is not None
        assert call.traits is not None
        payer, earner = sides(call.caller, call.callee, call.caller_role, call.callee_role)
        bill = OpenBill(
            id=derived_id(message.id, 0),
            at=message.at,
            call=name,
            traits=call.traits,
            payer=payer,
            earner=earner,
            tariff=call.tariff,
        )
        return replace(call, waiting=("bill",)), (bill,)
    if call.kind is CallKind.CLIP:
        return _connect(call, message, name)
    until = message.at + (ROULETTE_TIMEOUT if call.kind is CallKind.ROULETTE else RING_TIMEOUT)
    ringing = CallRinging(**_of(name, call, message, 0, message.at), until=until)
    return replace(call, status=CallStatus.RINGING, ring_until=until), (ringing,)


def _refuse(call: Call, message: Message, refusal: CallRefusal) -> Decision:
    name = message.call  # type: ignore[attr-defined]
    refused = CallRefused(
        **_of(name, call, message, 0, message.at), refusal=refusal, shortfall_coins=call.shortfall_coins
    )  # fmt: skip
    after = replace(
        call, status=CallStatus.ENDED, refusal=refusal, ended_at=message.at, forget_at=message.at + REMEMBERED_FOR, seized=()
    )
    roulette = call.kind is CallKind.ROULETTE
    users = (call.caller, call.callee) if roulette else call.seized
    again = _goes_on(call, refusal) if roulette else ()
    return after, (refused, *_release(name, users, message, again=again, first=1))


def _goes_on(call: Call, refusal: CallRefusal) -> tuple[UserId, ...]:
    """Who looks for another partner when a roulette call did not come about: also one whose line was refused, but who still
    waits. Not one who cannot pay: the pool would pair the same people for ever."""
    if refusal is CallRefusal.NO_TARIFF:
        return ()
    if refusal is CallRefusal.INSUFFICIENT_COINS:
        return (sides(call.caller, call.callee, call.caller_role, call.callee_role)[1],)
    return call.caller, call.callee


def _release(call: str, users: Sequence[UserId], message: Message, *, again: Sequence[UserId], first: int) -> list[ReleaseLine]:
    return [
        ReleaseLine(id=derived_id(message.id, first + n), at=message.at, user=user, call=call, again=user in again)
        for n, user in enumerate(users)
    ]


# --- ringing and talking ----------------------------------------------------------------------------------------------------


def _connect(call: Call, message: Message, name: str) -> Decision:
    connected = CallConnected(**_of(name, call, message, 0, message.at))
    start = StartBill(id=derived_id(message.id, 1), at=message.at, call=name)
    at = message.at
    after = replace(
        call, status=CallStatus.CONNECTED, ring_until=None, connected_at=at, caller_beat_at=at, callee_beat_at=at
    )  # fmt: skip
    return after, (connected, start)


def _command(call: Call, message: CallCommand) -> Decision:
    if call.status is CallStatus.RINGING and call.ring_until is not None and message.at >= call.ring_until:
        ended, told = _end(call, message, EndReason.UNANSWERED, call.ring_until)
        assert ended is not None
        return ended, (*told, _refused(message, CallRefusal.CALL_ENDED))
    refusal = _command_refusal(call, message)
    if refusal is not None:
        return call, (_refused(message, refusal),)
    match message:
        case AcceptCall() if call.status is CallStatus.CONNECTED:
            return call, (_standing(call, message),)
        case AcceptCall():
            return _connect(call, message, message.call)
        case OpenRoom():
            opened = RoomOpened(**_of(message.call, call, message, 0, message.at), provider=call.room or message.provider)
            return replace(call, room=opened.provider), (opened,)
        case DeclineCall():
            return _end(call, message, EndReason.DECLINED, message.at, message.by)
        case HangUp() if call.status is CallStatus.PLACING:
            return replace(call, reason=EndReason.CANCELLED), (_standing(call, message),)
        case HangUp() if call.status is CallStatus.CONNECTED:
            return _end(call, message, EndReason.HUNG_UP, message.at, message.by)
        case HangUp():
            reason = EndReason.CANCELLED if message.by == call.caller else EndReason.DECLINED
            return _end(call, message, reason, message.at, message.by)


def _command_refusal(call: Call, message: CallCommand) -> CallRefusal | None:
    """The first guard that the command fails, or None."""
    if message.by not in (call.caller, call.callee):
        return CallRefusal.NOT_IN_CALL
    if call.status is CallStatus.ENDED:
        return CallRefusal.CALL_ENDED
    if isinstance(message, HangUp):
        return None
    if isinstance(message, OpenRoom):
        return CallRefusal.NOT_RINGING if call.clip or call.status is CallStatus.PLACING else None
    if call.status is CallStatus.PLACING or (isinstance(message, DeclineCall) and call.status is not CallStatus.RINGING):
        return CallRefusal.NOT_RINGING
    return None if message.by == call.callee and not call.clip else CallRefusal.NOT_CALLEE


def _beat(call: Call, message: BeatCall) -> Call:
    if call.status is not CallStatus.CONNECTED or call.caller_beat_at is None or call.callee_beat_at is None:
        return call
    if message.by == call.caller:
        return replace(call, caller_beat_at=max(call.caller_beat_at, message.at))
    if message.by == call.callee:
        return replace(call, callee_beat_at=max(call.callee_beat_at, message.at))
    return call


def _told_to_end(call: Call, message: EndCall) -> Decision:
    if call.status is CallStatus.ENDED:
        return call, ()
    if call.status is CallStatus.PLACING:
        return replace(call, reason=message.reason), ()
    return _end(call, message, message.reason, message.at, message.by)


def _overdue(call: Call, at: datetime) -> tuple[EndReason, datetime] | None:
    """Whether a call that talks should have ended before `at`: why, and when it ends."""
    lost, over = call.lost_at, call.over_at
    assert lost is not None
    assert over is not None
    if over <= min(at, lost):
        return (EndReason.CLIP_OVER if call.clip else EndReason.TOO_LONG), over
    if lost <= at:
        assert call.caller_beat_at is not None
        assert call.callee_beat_at is not None
        beat = call.caller_beat_at if call.clip else min(call.caller_beat_at, call.callee_beat_at)
        return EndReason.PEER_LOST, beat
    return None


def _wake(call: Call, message: Wake) -> Decision:
    if call.forget_at is not None:
        return (None, ()) if call.forget_at <= message.at else (call, ())
    if call.status is CallStatus.RINGING and call.ring_until is not None and call.ring_until <= message.at:
        return _end(call, message, EndReason.UNANSWERED, call.ring_until)
    return call, ()


def _end(call: Call, message: CallInbox, reason: EndReason, at: datetime, by: str = "") -> Decision:
    name, connected_at = _name(message), call.connected_at
    at = max(at, connected_at or call.placed_at)
    duration_s = (at - connected_at).total_seconds() if connected_at else 0.0
    ended = CallEnded(
        **_of(name, call, message, 0, at), reason=reason, by=by, connected=connected_at is not None, duration_s=duration_s,
        room=call.room,
    )  # fmt: skip
    again: tuple[UserId, ...] = ()
    if call.kind is CallKind.ROULETTE and reason in (EndReason.DECLINED, EndReason.UNANSWERED):
        again = (call.caller, call.callee) if reason is EndReason.DECLINED else (call.caller,)
    told: list[Message] = [ended, *_release(name, call.seized, message, again=again, first=1)]
    if call.billed:
        told.append(EndBill(id=derived_id(message.id, 3), at=at, call=name))
    after = replace(
        call,
        status=CallStatus.ENDED,
        reason=reason,
        ended_at=at,
        forget_at=max(at, message.at) + REMEMBERED_FOR,
        seized=(),
        waiting=(),
        ring_until=None,
    )
    return after, told
