"""A call's room at a provider, keyed by call id: who is in it.

State: the provider, both sides, the last notice about each (`schemas.video_room.Room`); it begins with the call's first
credentials and is forgotten a day after the call's end.
Laws: a notice that is not newer than the last one about the same participant changes nothing, so repeats and reordering do no
harm; coming and going alternate; who quits the room has hung up, at the notice's time; who is lost is left to the call's beats.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.log.base import REMEMBERED_FOR, Message, Wake, derive, later, reply
from schemas.video import CallEnded, EndCall, EndReason, RoomOpened
from schemas.video_room import (
    CALLEE_UID,
    CALLER_UID,
    LeaveReason,
    NoteParticipant,
    ParticipantJoined,
    ParticipantLeft,
    Room,
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
        case Wake() if room is not None and room.forget_at is not None and room.forget_at <= message.at:
            return None, ()
    return room, ()


def _note(room: Room, message: NoteParticipant) -> Decision:
    if message.member in (str(CALLER_UID), room.caller):
        user, last = room.caller, room.caller_seq
    elif message.member in (str(CALLEE_UID), room.callee):
        user, last = room.callee, room.callee_seq
    else:
        return room, ()
    if message.seq <= last:
        return room, ()
    others = tuple(one for one in room.present if one != user)
    after = replace(room, present=(*others, user) if message.joined else others)
    after = replace(after, caller_seq=message.seq) if user == room.caller else replace(after, callee_seq=message.seq)
    messages: list[Message] = []
    call, provider = message.call, room.provider
    if message.joined and user not in room.present:
        messages.append(ParticipantJoined(**reply(message), call=call, user=user, provider=provider))
    elif not message.joined and user in room.present:
        messages.append(ParticipantLeft(**reply(message), call=call, user=user, provider=provider, reason=message.reason))
    if not message.joined and message.reason is LeaveReason.QUIT and room.forget_at is None:
        messages.append(EndCall(**derive(message, 1), call=call, reason=EndReason.HUNG_UP, by=user))
    return after, messages
