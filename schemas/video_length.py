"""How long a call is for its bill: who pays, who earns, and until when.

What is billed is what was talked, one length for both sides, by the phones' last beats:

- Who pays and falls silent pays until the cut, or until the room's provider says that he left. Otherwise whoever pulls the plug
  would have the time until it is noticed for nothing.
- Who earns and falls silent earns until the last beat: nobody pays for looking at a picture that stands still.
- A side that was never there, with no beat since the call connected, makes the call void: nobody pays, nobody earns.

Only the phone in the call beats for its side: the one that called, joined, took the call, or asked for credentials last.
Silent is who has not beaten for SILENT_AFTER when the call ends, however it ends; who hangs up is there.

A clip's streamer earns nothing behind a ban. Nobody rings her, so her line is asked while the clip plays and once more when the
play has ended, before it is billed: it was over as of the ban.
"""

from datetime import datetime

from msgspec.structs import replace

from schemas.log.base import MessageId, UserId, Wake, derive, later
from schemas.user import Role
from schemas.video import CLIP_ASKS_EVERY, SILENT_AFTER, BeatCall, Call, CallInbox, CallStatus, EndReason, LeaveCall, OpenRoom
from schemas.video_line import AdmitViewer, LineRefusal, ViewerAdmitted


def sides(caller: str, callee: str, caller_role: Role, callee_role: Role) -> tuple[UserId, UserId]:
    """Who pays and who earns."""
    callee_pays = callee_role is Role.USER and caller_role is not Role.USER
    return (UserId(callee), UserId(caller)) if callee_pays else (UserId(caller), UserId(callee))


def moved(call: Call, message: OpenRoom) -> Call:
    """The side is at the phone that asks for its place in the room."""
    if not message.device:
        return call
    if message.by == call.caller:
        return replace(call, caller_device=message.device)
    return replace(call, callee_device=message.device)


def with_beat(call: Call, message: BeatCall | OpenRoom) -> Call:
    """A phone of one of both is there; only the one that is in the call counts, until the side moves."""
    if call.status is not CallStatus.CONNECTED or call.caller_beat_at is None or call.callee_beat_at is None:
        return call
    if message.by not in (call.caller, call.callee) or call.device_of(message.by) not in ("", message.device):
        return call
    if message.by == call.caller:
        return replace(call, caller_beat_at=max(call.caller_beat_at, message.at))
    return replace(call, callee_beat_at=max(call.callee_beat_at, message.at))


def with_leave(call: Call, message: LeaveCall) -> Call:
    """The room's provider says that a side has lost its connection; only of who pays it counts."""
    payer, _ = sides(call.caller, call.callee, call.caller_role, call.callee_role)
    if call.status is not CallStatus.CONNECTED or message.by != payer:
        return call
    return replace(call, payer_left_at=message.at)


def closing(call: Call, message: CallInbox, reason: EndReason, at: datetime, by: str) -> tuple[Call, AdmitViewer]:
    """A play that has ended, until her line has told whether its streamer was banned by then, or has not told in time."""
    ended_at = max(at, call.connected_at or at)
    asked_at = max(ended_at, message.at)
    name = message.key if isinstance(message, Wake) else message.call
    ask = AdmitViewer(**derive(message, 4, asked_at), user=call.callee, call=name, peer=call.caller)
    after = replace(
        call, reason=reason, ended_at=ended_at, ended_by=by, placed_by=MessageId(message.id),
        asks_at=later(asked_at, CLIP_ASKS_EVERY),
    )  # fmt: skip
    return after, ask


def closed(call: Call, message: CallInbox) -> tuple[EndReason, datetime, str] | None:
    """Why, when and by whom a closing play has ended, as a message tells; None: it tells nothing of that."""
    assert call.reason is not None
    assert call.ended_at is not None
    if isinstance(message, ViewerAdmitted) and message.at >= call.ended_at:
        since = message.since or call.ended_at
        if message.refusal is LineRefusal.BANNED and since < call.ended_at:
            return EndReason.BANNED, since, call.callee
    elif not isinstance(message, Wake) or call.asks_at is None or message.at < call.asks_at:
        return None
    return call.reason, call.ended_at, call.ended_by


def billed_until(call: Call, reason: EndReason, at: datetime, by: str) -> tuple[datetime, bool]:
    """Until when a call that connected and ends at `at` is billed, and whether it is void. Of a clip only the viewer beats, who
    has the film before the first beat; one whose streamer was banned before is void."""
    connected_at = call.connected_at
    assert connected_at is not None
    if call.clip:
        return at, reason in (EndReason.BANNED, EndReason.ERASED) and at <= connected_at
    payer, earner = sides(call.caller, call.callee, call.caller_role, call.callee_role)
    beats = {call.caller: call.caller_beat_at or connected_at, call.callee: call.callee_beat_at or connected_at}
    here = by if reason is EndReason.HUNG_UP else ""
    silent = {side: beat for side, beat in beats.items() if side != here and at >= later(beat, SILENT_AFTER)}
    if connected_at in silent.values():
        return connected_at, True
    if earner in silent:
        return silent[earner], False
    left = call.payer_left_at
    if reason is EndReason.PEER_LOST and left is not None and payer in silent and silent[payer] <= left:
        return min(left, at), False
    return at, False
