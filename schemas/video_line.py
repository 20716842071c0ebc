"""Video: `line` (one user's only line: can this user be called?) and `pool` (roulette), messages and states.

The pool's state has room for the few hundred who have waited longest. Everybody who waits asks again in a while, by a wake of
the own line; so whoever found no room comes in when there is some, and is compared each time with all of the other side inside.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from zlib import crc32

from msgspec import Meta

from schemas.billing import CallId
from schemas.billing_rules import CallTags
from schemas.log.base import Fact, Fields, Id, Message, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.user import (
    MAX_BLOCKS,
    BlockedUsers,
    CameOnline,
    Code,
    ListedUser,
    OptionalUser,
    Role,
    User_,
    UserBanned,
    UserCommand,
    UserErased,
    UserSignedUp,
    UserUnbanned,
    WentOffline,
)

OptionalCall = Annotated[str, Meta(max_length=128), PLAIN]
ROULETTE: Final = "roulette"
# So many of each side stand in the pool's state, if they have room: an entry has some 250 bytes, and one of somebody who has
# blocked a thousand people eleven thousand.
MAX_WAITING: Final = 256
MAX_SIDE_BYTES: Final = 96 * 1024
# Who waits asks again so often, a quarter sooner or later: 50,000 who wait ask 1,700 times a second.
ASK_EVERY: Final = timedelta(seconds=30)
# Each other's last partner is not paired again before; then rather the same person than nobody.
APART_FOR: Final = timedelta(minutes=3)
# A user id as a number, to be compared with: two that share one are not paired, which harms nobody.
Mark = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Marks = Annotated[tuple[Mark, ...], Meta(max_length=MAX_BLOCKS)]


def mark_of(user: str) -> int:
    """The user's mark."""
    return crc32(user.encode())


def asks_every(user: str) -> timedelta:
    """How often a user who waits asks again: spread by the user's mark, so that they do not all come at once."""
    return ASK_EVERY * (0.75 + mark_of(user) % 1_000 / 2_000)


# Who talks, and earns by it: staff and agencies neither call nor answer, wait for roulette, watch clips nor are given gifts.
TALKERS: Final = frozenset({Role.USER, Role.STREAMER})


class LineRefusal(StrEnum):
    """Why a line cannot be taken, in order of precedence."""

    UNKNOWN = "unknown"
    NO_TALKER = "no_talker"
    BANNED = "banned"
    BLOCKED = "blocked"
    OFFLINE = "offline"
    BUSY = "busy"
    WAITING = "waiting"
    NOT_WAITING = "not_waiting"


# --- line -------------------------------------------------------------------------------------------------------------------


class SeizeLine(UserCommand):
    """A call wants the line, for a talk with `peer` (of a clip: none)."""

    call: CallId
    peer: OptionalUser
    online: bool = True


class ReleaseLine(UserCommand):
    """The call does not need the line any more; `again`: the user goes on looking for a partner in roulette; `keeps`: who
    waited before does so at the same place, with the waiting time from before; `met`: the peer is now the last partner."""

    call: CallId
    again: bool = False
    keeps: bool = False
    met: bool = False


class JoinRoulette(UserCommand):
    """The user waits for a partner; `tags`: what tariff rules look at; `device`: on which phone; `price_class`: what
    the user has picked, who may earn."""

    tags: CallTags = ()
    device: Code = ""
    price_class: Code = ""


class LeaveRoulette(UserCommand):
    """The user does not wait any more."""


class Bar(UserCommand):
    """This user has blocked `peer`: no calls between them; one that runs ends."""

    peer: ListedUser


class Unbar(UserCommand):
    """This user has taken the block back."""

    peer: ListedUser


class PartFrom(UserCommand):
    """`peer` has blocked this user: a call between them ends. The line does not remember it: `peer`'s own line does."""

    peer: User_


class AdmitGift(UserCommand):
    """Does anything on this user's side stand against a gift between `peer` and this user? Answered by GiftAdmitted."""

    gift: Id
    peer: User_


class AdmitViewer(UserCommand):
    """May `peer` watch a clip of this user? Answered by ViewerAdmitted."""

    call: CallId
    peer: User_


class AdmitMessage(UserCommand):
    """Does anything on this user's side stand against a message between `peer` and this user? Answered by MessageAdmitted."""

    message: Id
    peer: User_


class _OfLine(Fact):
    user: User_


class LineSeized(_OfLine):
    """The line is the call's."""

    call: CallId


class LineRefused(_OfLine, Refused):
    """The line is not to be had."""

    call: OptionalCall
    refusal: LineRefusal


class LineFreed(_OfLine):
    """The user can be called again."""

    call: CallId


class RouletteJoined(_OfLine):
    """The user waits for a partner since `at`."""


class RouletteLeft(_OfLine):
    """The user does not wait any more."""


class GiftAdmitted(_OfLine):
    """The answer to AdmitGift: None, or why not."""

    gift: Id
    refusal: LineRefusal | None = None


class ViewerAdmitted(_OfLine):
    """The answer to AdmitViewer: None, or why not; `since`: of a ban, when it began."""

    changes_state: ClassVar[bool] = False
    call: CallId
    refusal: LineRefusal | None = None
    since: Time | None = None


class MessageAdmitted(_OfLine):
    """The answer to AdmitMessage: None, or why not."""

    changes_state: ClassVar[bool] = False
    message: Id
    refusal: LineRefusal | None = None


class Line(State):
    """What decides whether a user can be called: known, banned, online, in which call, whom the user has blocked (`barred`);
    `tags`, `device` and `price_class` as of the last time in roulette; `waited_since`: since when the user waited before the
    call; `met_at`: when the talk with `last_partner` was over."""

    role: Role | None = None
    country: Code = ""
    tags: CallTags = ()
    banned: bool = False
    banned_at: Time | None = None
    online: bool = False
    call: OptionalCall = ""
    peer: OptionalUser = ""
    waiting_since: Time | None = None
    waited_since: Time | None = None
    last_partner: OptionalUser = ""
    met_at: Time | None = None
    barred: BlockedUsers = ()
    asks_at: Time | None = None
    device: Code = ""
    price_class: Code = ""

    @property
    def wake_at(self) -> datetime | None:
        """When a user who waits asks the pool again."""
        return self.asks_at


# --- pool -------------------------------------------------------------------------------------------------------------------


class WaitingFields(Fields):
    """Somebody who waits for a partner, and what decides who fits. `bars`: the marks of those whom the user has blocked;
    `met_at`: when the talk with `last_partner` was over; `device`: the phone that waits."""

    user: ListedUser
    role: Role
    since: Time
    country: Code = ""
    last_partner: OptionalUser = ""
    met_at: Time | None = None
    tags: CallTags = ()
    bars: Marks = ()
    device: Code = ""
    price_class: Code = ""


class _ToPool(Message):
    pool: Id


class EnterPool(_ToPool, WaitingFields):
    """A line puts its user into the pool, asks again, or brings what the pool knows of the user up to date. `barred`: `bars` as
    they once were told."""

    barred: BlockedUsers = ()


class QuitPool(_ToPool):
    """A line takes its user out."""

    user: User_


class Matched(Fact):
    """The pool brought two together; their call rings next. `waited_s`: how long the one who had waited longer did."""

    pool: Id
    call: CallId
    user: User_
    streamer: User_
    waited_s: float


class Waiting(State, WaitingFields):
    """Somebody who waits; `weight`: how many bytes this takes."""

    weight: int = 0


Side = Annotated[tuple[Waiting, ...], Meta(max_length=MAX_WAITING, extra={"max_bytes": MAX_SIDE_BYTES})]


class Pool(State):
    """Those who have waited longest, in this order, and how many pairs were made."""

    users: Side = ()
    streamers: Side = ()
    matches: int = 0


LineInbox = (
    SeizeLine | ReleaseLine | JoinRoulette | LeaveRoulette | Bar | Unbar | PartFrom | AdmitGift
    | AdmitViewer | AdmitMessage | UserSignedUp | CameOnline | WentOffline
    | UserBanned | UserUnbanned | UserErased | Wake
)  # fmt: skip
PoolInbox = EnterPool | QuitPool | Wake

LINE: Final = Entity(
    "line",
    key="user",
    flow=Flow.LIVE,
    state=Line,
    commands=(SeizeLine, ReleaseLine, JoinRoulette, LeaveRoulette, Bar, Unbar, PartFrom, AdmitGift, AdmitViewer, AdmitMessage),
    facts=(LineSeized, LineRefused, LineFreed, RouletteJoined, RouletteLeft, GiftAdmitted, ViewerAdmitted, MessageAdmitted),
    hears=(
        Hears(UserSignedUp, "user", "who has signed up can be called"),
        Hears(CameOnline, "user", "who is online can be called"),
        Hears(WentOffline, "user", "who is offline cannot be called"),
        Hears(UserBanned, "user", "a ban ends calls"),
        Hears(UserUnbanned, "user", "who is no longer banned can be called"),
        Hears(UserErased, "user", "who is erased is in no call, and cannot be called"),
    ),
    shown=(
        Shown(RouletteJoined, ("user",), "the phone shows that it waits"),
        Shown(RouletteLeft, ("user",), "the phone shows that it waits no more"),
    ),
    raw="lines coordinate calls; what came of a call stands in `calls`",
)
POOL: Final = Entity(
    "pool",
    key="pool",
    flow=Flow.LIVE,
    state=Pool,
    commands=(EnterPool, QuitPool),
    facts=(Matched,),
    raw="the call that a match leads to stands in `calls`",
)
