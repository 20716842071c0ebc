"""A call, keyed by call id: placing, ringing, talking, ended.

State: both sides, where it stands, whose answers it waits for, the pinned tariff, the last beats (`schemas.video.Call`);
forgotten a day after its end. It is placed by asking both lines and the tariff book at once, then the bill; then it rings.
Laws: a call ends exactly once, never before it connected; every line that it took it gives back; every bill that it opened it
ends; whatever is not final has a deadline; what comes late is decided by its own time: a beat after the line was lost, an
accept after the ringing, is too late. What is billed is what was talked: who pays and falls silent pays until the cut, who
earns and falls silent earns until the last beat, a side that was never there makes the call void (`schemas.video_length`).
Refusals: `schemas.video.CallRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from schemas.billing import BOOK, BillOpened, BillRefused, EndBill, OpenBill, SelectTariff, StartBill, TariffSelected
from schemas.billing_rules import CallKind, Traits
from schemas.log.base import REMEMBERED_FOR, Message, MessageId, Reply, UserId, Wake, derive, later, reply, same_fields
from schemas.user import AskPresence, PresenceTold
from schemas.video import (
    CLIP_ASKS_EVERY,
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
    LeaveCall,
    OpenRoom,
    PlaceCall,
    RoomOpened,
)
from schemas.video_answers import of_line, of_presence, worse
from schemas.video_length import billed_until, closed, closing, moved, sides, with_beat, with_leave
from schemas.video_line import AdmitViewer, LineRefusal, LineRefused, LineSeized, ReleaseLine, SeizeLine, ViewerAdmitted
from schemas.video_onward import NOBODY, Onward, behind_end, behind_refusal

# What a call that is placed again under the same id must have in common with the first.
SAME: Final = ("caller", "callee", "kind", "clip")
Decision = tuple[Call | None, Sequence[Message]]
CallCommand = AcceptCall | DeclineCall | HangUp | OpenRoom
# What a call that is being placed waits for.
Answer = LineSeized | LineRefused | ViewerAdmitted | PresenceTold | TariffSelected | BillOpened | BillRefused


def decide_call(call: Call | None, message: CallInbox) -> Decision:
    """Decide one message of a call's inbox."""
    if call is None:
        return _place(message) if isinstance(message, PlaceCall) else _unknown(message)
    if call.closing and not isinstance(message, PlaceCall):
        return _close(call, message)
    if call.status is CallStatus.CONNECTED and not call.closing and (over := _overdue(call, message.at)):
        ended, messages = _end(call, message, *over)
        if isinstance(message, Wake) or (ended and ended.closing):
            return ended, messages
        after, more = decide_call(ended, message)
        return after, (*messages, *more)
    match message:
        case PlaceCall() if any(getattr(call, name) != getattr(message, name) for name in SAME):
            return call, (_refused(message, CallRefusal.IDEMPOTENCY_KEY_REUSED),)
        case PlaceCall():
            return call, (_repeated(call, message),)
        case LineSeized() | LineRefused() | ViewerAdmitted() | PresenceTold() | TariffSelected() | BillOpened() | BillRefused():
            return _answered(call, message)
        case AcceptCall() | DeclineCall() | HangUp() | OpenRoom():
            return _command(call, message)
        case BeatCall():
            return with_beat(call, message), ()
        case LeaveCall():
            return with_leave(call, message), ()
        case EndCall():
            return _end_from_outside(call, message)
        case Wake():
            return _wake(call, message)


def _reply(call: Call, message: Message, at: datetime | None = None) -> Reply:
    """The envelope of a fact of the call. While it is placed or closed, its facts answer the message that began that."""
    return reply(message, at=at, to=call.placed_by if call.status is CallStatus.PLACING or call.closing else "")


def _name(message: CallInbox) -> str:
    return message.key if isinstance(message, Wake) else message.call


def _too_late(message: CallInbox) -> Sequence[Message]:
    """What a call that is over, or forgotten, is given, it gives back."""
    match message:
        case LineSeized():
            return _release(message.call, (message.user,), message)
        case BillOpened():
            return (EndBill(**derive(message, 3), call=message.call),)
    return ()


def _unknown(message: CallInbox) -> Decision:
    if not isinstance(message, CallCommand):
        return None, _too_late(message)
    return None, (_refused(message, CallRefusal.CALL_UNKNOWN),)


def _refused(message: CallCommand | PlaceCall, refusal: CallRefusal) -> CallCommandRefused:
    return CallCommandRefused(**reply(message, "refused"), call=message.call, refusal=refusal)


def _repeated(call: Call, message: PlaceCall | AcceptCall | HangUp) -> CallRepeated:
    return CallRepeated(**reply(message), call=message.call, **same_fields(call, CallRepeated))


# --- placing ----------------------------------------------------------------------------------------------------------------


def _place(message: PlaceCall) -> Decision:
    call = Call(
        **same_fields(message, Call), status=CallStatus.PLACING, placed_by=MessageId(message.id), placed_at=message.at,
        waiting=("caller", "callee", "tariff"),
    )  # fmt: skip
    asks: tuple[Message, ...] = ()
    if message.kind is CallKind.ROULETTE:
        asks = _ask_phones(message)
        call = replace(call, waiting=(*call.waiting, "caller's phone", "callee's phone"))
    if message.caller == message.callee:
        return _refuse(replace(call, waiting=()), message, CallRefusal.SAME_USER)
    roles = (message.caller_role, message.callee_role)
    payer, _ = sides(message.caller, message.callee, *roles)
    traits = Traits(
        message.kind, *(roles if payer == message.caller else roles[::-1]), message.country, message.tags, message.price_class,
        message.at,
    )  # fmt: skip
    select = SelectTariff(**derive(message, 2), book=BOOK, call=message.call, traits=traits)
    return replace(call, traits=traits), (*_seizes(message), select, *asks)


def _ask_phones(message: PlaceCall) -> tuple[AskPresence, AskPresence]:
    """Both wait, and nobody knows whether their phones still do."""
    sides = ((message.caller, message.caller_device), (message.callee, message.callee_device))
    one, other = (
        AskPresence(**derive(message, ordinal), user=user, call=message.call, device=device)
        for ordinal, (user, device) in enumerate(sides, 5)
    )
    return one, other


def _seizes(message: PlaceCall) -> tuple[SeizeLine, SeizeLine | AdmitViewer]:
    """Asks both lines: a clip takes only its viewer's, roulette takes a caller only who is online."""
    caller, callee, call = message.caller, message.callee, message.call
    online = message.kind is CallKind.ROULETTE
    first = SeizeLine(**derive(message, 0), user=caller, call=call, peer=callee, online=online)
    if message.kind is CallKind.CLIP:
        return first, AdmitViewer(**derive(message, 1), user=callee, call=call, peer=caller)
    return first, SeizeLine(**derive(message, 1), user=callee, call=call, peer=caller)


def _answered(call: Call, message: Answer) -> Decision:
    """One of the answers that placing waits for; the last one decides."""
    if call.status is not CallStatus.PLACING:
        return _answered_late(call, message)
    match message:
        case LineSeized():
            who = "caller" if message.user == call.caller else "callee"
            call = replace(call, seized=(*call.seized, message.user)) if len(call.seized) < 2 else call
        case LineRefused():
            who = "caller" if message.user == call.caller else "callee"
            call = worse(call, of_line(call, message.user, message.refusal))
        case ViewerAdmitted():
            who = "callee"
            call = worse(call, of_line(call, message.user, message.refusal)) if message.refusal else call
        case PresenceTold():
            who = "caller's phone" if message.user == call.caller else "callee's phone"
            refusal = of_presence(call, message)
            call = worse(call, refusal) if refusal else call
        case TariffSelected():
            who = "tariff"
            call = replace(call, tariff=message.tariff) if message.tariff else worse(call, CallRefusal.NO_TARIFF)
        case BillOpened():
            who = "bill"
            call = replace(call, billed=True)
        case BillRefused():
            who = "bill"
            own = message.payer == call.caller  # what a payer lacks is told to nobody else
            short = CallRefusal.DAILY_CAP if message.cap_room else CallRefusal.INSUFFICIENT_COINS
            call = worse(call, short if own else CallRefusal.CALLEE_LACKS_COINS)
            if own:
                call = replace(call, shortfall_coins=message.shortfall_coins, cap_room=message.cap_room)
    call = replace(call, waiting=tuple(waited for waited in call.waiting if waited != who))
    return (call, ()) if call.waiting else _placed(call, message)


def _placed(call: Call, message: Answer) -> Decision:
    """All answers are there."""
    if call.refusal is not None:
        return _refuse(call, message, call.refusal)
    if call.reason is not None:  # given up while it was being placed
        return _end(call, message, call.reason, message.at, call.ended_by)
    if not call.billed:
        return replace(call, waiting=("bill",)), (_bill(call, message),)
    if call.kind is CallKind.CLIP:
        return _connect(call, message)
    until = later(message.at, ROULETTE_TIMEOUT if call.kind is CallKind.ROULETTE else RING_TIMEOUT)
    ringing = CallRinging(**_reply(call, message), call=message.call, **same_fields(call, CallRinging), until=until)
    return replace(call, status=CallStatus.RINGING, ring_until=until), (ringing,)


def _answered_late(call: Call, message: Answer) -> Decision:
    """Of a clip that plays: its streamer is banned, since when it is over. Anything else comes too late."""
    plays = call.status is CallStatus.CONNECTED and call.clip
    if plays and isinstance(message, ViewerAdmitted) and message.refusal is LineRefusal.BANNED:
        return _end(call, message, EndReason.BANNED, message.since or message.at, call.callee)
    return call, _too_late(message) if call.status is CallStatus.ENDED else ()


def _bill(call: Call, message: Answer) -> OpenBill:
    assert call.tariff is not None
    assert call.traits is not None
    payer, earner = sides(call.caller, call.callee, call.caller_role, call.callee_role)
    return OpenBill(
        **derive(message, 0), call=message.call, traits=call.traits, payer=payer, earner=earner, tariff=call.tariff
    )  # fmt: skip


def _refuse(call: Call, message: PlaceCall | Answer | Wake, refusal: CallRefusal) -> Decision:
    after = replace(
        call,
        status=CallStatus.ENDED,
        refusal=refusal,
        ended_at=message.at,
        forget_at=later(message.at, REMEMBERED_FOR),
        seized=(),
    )
    refused = CallRefused(**_reply(call, message), call=_name(message), **same_fields(after, CallRefused))
    users = (call.caller, call.callee) if call.kind is CallKind.ROULETTE else call.seized
    return after, (refused, *_release(_name(message), users, message, behind_refusal(call, refusal)))


def _release(call: str, users: Sequence[UserId], message: Message, onward: Onward = NOBODY) -> list[ReleaseLine]:
    return [
        ReleaseLine(
            **derive(message, ordinal), user=user, call=call, again=user in onward.again, keeps=user in onward.keeps,
            met=onward.met,
        )
        for ordinal, user in enumerate(users, 1)
    ]  # fmt: skip


# --- ringing and talking ----------------------------------------------------------------------------------------------------


def _connect(call: Call, message: AcceptCall | Answer) -> Decision:
    at = message.at
    connected = CallConnected(**_reply(call, message), call=message.call, **same_fields(call, CallConnected))
    after = replace(
        call, status=CallStatus.CONNECTED, ring_until=None, connected_at=at, caller_beat_at=at, callee_beat_at=at,
        callee_device=message.device if isinstance(message, AcceptCall) else call.callee_device,
        asks_at=later(at, CLIP_ASKS_EVERY) if call.clip else None,
    )  # fmt: skip
    return after, (connected, StartBill(**derive(message, 1), call=message.call))


def _command(call: Call, message: CallCommand) -> Decision:
    if call.status is CallStatus.RINGING and call.ring_until is not None and message.at >= call.ring_until:
        ended, messages = _end(call, message, EndReason.UNANSWERED, call.ring_until)
        return ended, (*messages, _refused(message, CallRefusal.CALL_ENDED))
    refusal = _command_refusal(call, message)
    if refusal is not None:
        return call, (_refused(message, refusal),)
    match message:
        case AcceptCall() if call.status is CallStatus.CONNECTED:
            return call, (_repeated(call, message),)
        case AcceptCall():
            return _connect(call, message)
        case OpenRoom():
            call = with_beat(moved(call, message), message)  # who asks for credentials is there
            room = call.room or message.provider
            opened = RoomOpened(**reply(message), call=message.call, **same_fields(call, RoomOpened), provider=room)
            return replace(call, room=room), (opened,)
        case DeclineCall():
            return _end(call, message, EndReason.DECLINED, message.at, message.by)
        case HangUp() if call.status is CallStatus.PLACING:
            return replace(call, reason=EndReason.CANCELLED, ended_by=message.by), (_repeated(call, message),)
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


def _end_from_outside(call: Call, message: EndCall) -> Decision:
    """Neither side ends the call, but the bill, a block, a ban or the room. Who quit the room while it rang has not hung up."""
    rang = message.reason is EndReason.HUNG_UP and call.connected_at is not None and message.at <= call.connected_at
    if call.status is CallStatus.ENDED or rang:
        return call, ()
    if call.status is CallStatus.PLACING:
        return replace(call, reason=message.reason, ended_by=message.by), ()
    return _end(call, message, message.reason, message.at, message.by)


def _overdue(call: Call, at: datetime) -> tuple[EndReason, datetime] | None:
    """Whether a call that talks should have ended before `at`: why, and when it ends."""
    lost, over = call.lost_at, call.over_at
    assert lost is not None
    assert over is not None
    if over <= min(at, lost):
        return (EndReason.CLIP_OVER if call.clip else EndReason.TOO_LONG), over
    return (EndReason.PEER_LOST, lost) if lost <= at else None


def _wake(call: Call, message: Wake) -> Decision:
    if not call.is_due(message.at):
        return call, ()
    if call.forget_at is not None:
        return None, ()
    if call.status is CallStatus.PLACING:
        return _not_placed(call, message)
    if call.status is CallStatus.RINGING and call.ring_until is not None:
        return _end(call, message, EndReason.UNANSWERED, call.ring_until)
    if call.status is CallStatus.CONNECTED and call.asks_at is not None and call.asks_at <= message.at:
        ask = AdmitViewer(**derive(message, 4), user=call.callee, call=message.key, peer=call.caller)
        return replace(call, asks_at=later(message.at, CLIP_ASKS_EVERY)), (ask,)
    return call, ()


def _not_placed(call: Call, message: Wake) -> Decision:
    """An answer is missing. What was asked for is given back, whether it was had or not; what comes later is, too."""
    users = (call.caller,) if call.clip else (call.caller, call.callee)
    return _refuse(replace(call, seized=users, waiting=()), message, CallRefusal.NOT_PLACED)


def _close(call: Call, message: CallInbox) -> Decision:
    """Of a play that has ended: only what closes it counts."""
    if found := closed(call, message):
        return _end(call, message, *found)
    return call, (_refused(message, CallRefusal.CALL_ENDED),) if isinstance(message, CallCommand) else ()


def _end(call: Call, message: CallInbox, reason: EndReason, at: datetime, by: str = "") -> Decision:
    if call.clip and call.status is CallStatus.CONNECTED and not (call.closing or isinstance(message, ViewerAdmitted)):
        after, ask = closing(call, message, reason, at, by)
        return after, (ask,)
    name, connected_at = _name(message), call.connected_at
    at, void = max(at, connected_at or call.placed_at), False
    if connected_at is not None:
        at, void = billed_until(call, reason, at, by)
    after = replace(
        call,
        status=CallStatus.ENDED,
        reason=reason,
        ended_at=at,
        ended_by=by,
        void=void,
        forget_at=later(max(at, message.at), REMEMBERED_FOR),
        seized=(),
        waiting=(),
        ring_until=None,
    )
    ended = CallEnded(
        **_reply(call, message, at), call=name, **same_fields(after, CallEnded), by=by, connected=connected_at is not None,
        duration_s=(at - connected_at).total_seconds() if connected_at else 0.0,
    )  # fmt: skip
    bills = (EndBill(**derive(message, 3, at), call=name, void=void),) if call.billed else ()
    return after, (ended, *_release(name, call.seized, message, behind_end(call, after)), *bills)
