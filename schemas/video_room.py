"""Video: `room`, where a provider (Agora, Twilio) carries a call's picture and sound: who is in it, as the provider tells.

A room has the call's id as its channel or name. Twilio tells a participant by the user's id, Agora by a number: 1 is the
caller, 2 the callee. A provider tells late, twice, and in another order than things happened; `seq` is its order within one
connection of a participant.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.billing import CallId
from schemas.log.base import Fact, Id, Message, OptionalId, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.user import Code, User_
from schemas.video import CallEnded, RoomOpened

CALLER_UID: Final = 1
CALLEE_UID: Final = 2
# Each join of a phone may be a connection of its own; the one that was told of first is forgotten.
MAX_CONNECTIONS: Final = 16


class LeaveReason(StrEnum):
    """Why somebody left a room, as far as a provider tells. Only who quits has hung up: the others may come back."""

    QUIT = "quit"
    LOST = "lost"
    KICKED = "kicked"
    OTHER = "other"


class NoteParticipant(Message):
    """A provider's notice, which reached Olo at `at`: `member` (a user id, or an Agora uid as text) came or went at
    `happened_at` (none: at `at`) by the provider's clock. `connection`: which of his phones, if the provider tells."""

    call: CallId
    member: Id
    joined: bool
    seq: Annotated[int, Meta(ge=0, le=2**53)]
    reason: LeaveReason = LeaveReason.OTHER
    happened_at: Time | None = None
    connection: OptionalId = ""


class _OfParticipant(Fact):
    call: CallId
    user: User_
    provider: Code


class ParticipantJoined(_OfParticipant):
    """The user is in the room."""


class ParticipantLeft(_OfParticipant):
    """The user is not in the room any more."""

    reason: LeaveReason


class RoomConnection(State):
    """One connection of a side, as of the last notice about it."""

    user: User_
    seq: int
    joined: bool
    connection: OptionalId = ""


class Room(State):
    """A call's room: its provider, and the last notice about each connection. Forgotten a day after the call. `caller_seq`,
    `callee_seq`: as rooms once kept it, of the side as a whole."""

    provider: Code
    caller: User_
    callee: User_
    caller_seq: int = -1
    callee_seq: int = -1
    present: Annotated[tuple[User_, ...], Meta(max_length=2)] = ()
    connections: Annotated[tuple[RoomConnection, ...], Meta(max_length=MAX_CONNECTIONS)] = ()
    forget_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return self.forget_at


RoomInbox = NoteParticipant | RoomOpened | CallEnded | Wake

ROOM: Final = Entity(
    "room",
    key="call",
    flow=Flow.LIVE,
    state=Room,
    commands=(NoteParticipant,),
    facts=(ParticipantJoined, ParticipantLeft),
    hears=(
        Hears(RoomOpened, "call", "a room knows who may be in it"),
        Hears(CallEnded, lambda ended: ended.call if ended.room else "", "a room outlives its call a day"),
    ),
    raw="providers' notices are for looking into one call, not for sums",
)
