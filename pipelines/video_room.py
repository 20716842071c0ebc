"""A call's room at a provider, keyed by call id: who is in it.

State: the provider, both sides, the last notice about each (`schemas.video_room.Room`); it begins with the call's first
credentials and is forgotten a day after the call's end.
Laws: a notice that is not newer than the last one about the same connection changes nothing, so repeats and reordering do no
harm; a side is there while one of its connections is; coming and going alternate; who quits the room has hung up, at the
notice's time, which is never later than now; who is lost is left to the call's beats; a room that somebody joins behind the
call's end is closed again.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.log.base import REMEMBERED_FOR, Message, UserId, Wake, derive, later, reply
from schemas.outbox import ROOM_EXPIRES, EffectKind, OweEffect, close_room_id
from schemas.video import CallEnded, EndCall, EndReason, LeaveCall, RoomOpened
from schemas.video_room import (
    CALLEE_UID,
    CALLER_UID,
    MAX_CONNECTIONS,
    LeaveReason,
    NoteParticipant,
    ParticipantJoined,
    ParticipantLeft,
    Room,
    RoomConnection,
    RoomInbox,
)

Decision = tuple[Room | None, Sequence[Message]]


def decide_room(room: Room | None, message: RoomInbox) -> Decision:
    """Decide one message of a room's inbox."""
    match message:
        case RoomOpened():
            return room or Room(message.provider, message.caller, message.callee), ()
        case CallEnded() if room is not None:
            return replace(room, forget_at=later(message.at, REMEMBERED_FOR)), ()
        case NoteParticipant() if room is not None:
            return _note(room, message)
        case Wake() if room is not None and room.is_due(message.at):
            return None, ()
    return room, ()


def _note(room: Room, message: NoteParticipant) -> Decision:
    user = _user(room, message.member)
    if user is None or message.seq <= _last(room, user, message.connection):
        return room, ()
    others = tuple(one for one in room.connections if (one.user, one.connection) != (user, message.connection))
    told = RoomConnection(user, message.seq, message.joined, message.connection)
    connections = (*others, told)[-MAX_CONNECTIONS:]
    is_here, was_here = any(one.joined for one in connections if one.user == user), user in room.present
    present = tuple(one for one in room.present if one != user)
    after = replace(room, connections=connections, present=(*present, user) if is_here else present)
    messages: list[Message] = []
    at, call, provider = _happened_at(message), message.call, room.provider
    if is_here and not was_here:
        messages.append(ParticipantJoined(**reply(message, at=at), call=call, user=user, provider=provider))
    elif was_here and not is_here:
        left = ParticipantLeft(**reply(message, at=at), call=call, user=user, provider=provider, reason=message.reason)
        messages.append(left)
    if room.forget_at is not None:
        messages += _close_again(room, message, at)
    elif not is_here and message.reason is LeaveReason.QUIT:
        messages.append(EndCall(**derive(message, 1, at), call=call, reason=EndReason.HUNG_UP, by=user))
    elif not is_here:
        messages.append(LeaveCall(**derive(message, 1, at), call=call, by=user))
    return after, messages


def _user(room: Room, member: str) -> UserId | None:
    if member in (str(CALLER_UID), room.caller):
        return room.caller
    return room.callee if member in (str(CALLEE_UID), room.callee) else None


def _last(room: Room, user: str, connection: str) -> int:
    """The number of the last notice about a connection; -1: there was none."""
    known = (one.seq for one in room.connections if (one.user, one.connection) == (user, connection))
    return next(known, -1 if connection else room.caller_seq if user == room.caller else room.callee_seq)


def _happened_at(message: NoteParticipant) -> datetime:
    """By the provider's clock, but not later than now: what lies ahead has not been talked."""
    return min(message.happened_at or message.at, message.at)


def _close_again(room: Room, message: NoteParticipant, at: datetime) -> tuple[Message, ...]:
    """Who joins behind the call's end, with credentials that live, is put out, too: a closing of its own for each join."""
    assert room.forget_at is not None
    if not message.joined or at <= later(room.forget_at, -REMEMBERED_FOR):
        return ()
    owe = OweEffect(
        **derive(message, 1), effect=f"{close_room_id(message.call)}/{message.connection}/{message.seq}",
        kind=EffectKind.CLOSE_ROOM, provider=room.provider, subject=message.call, expires_at=later(message.at, ROOM_EXPIRES),
    )  # fmt: skip
    return (owe,)
