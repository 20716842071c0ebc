"""Interaction: who did what with whom. `pair`: two users, whatever happened between them, and how close they are (affinity).

`contact`: whether they have met, in a call or by a gift, and who has written to whom: whoever was written to has met the
writer, and nobody meets others by writing to them. A block bars at once, whoever it is from; it counts against the
blocked one only from somebody who met them, once for each reason: else a troll's many accounts would be a weapon. The call
in which they met may end by the block itself, so a block that comes first waits for a day.

A pair's key: `schemas.pair.pair_of`.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.billing_rules import CallKind
from schemas.blocklist import MAX_RULES, BlockReason, BlockRule, UserBlocked, UserUnblocked
from schemas.chat import ItemKind, ItemPosted
from schemas.favorites import FavoriteAdded, FavoriteRemoved
from schemas.gift import GiftSent, if_paid
from schemas.log.base import Fact, Message, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.windows import expires_at
from schemas.pair import PairKey, pair_by, pair_of
from schemas.user import User_, UserInList
from schemas.video import CallEnded

# Affinity is what happened in the last week, an hour at a time.
HOUR_S: Final = 3_600
WINDOW_HOURS: Final = 7 * 24
# An event that comes later than this behind the pair's newest one is kept, and not counted any more.
LATE: Final = timedelta(minutes=10)


class InteractionKind(StrEnum):
    """What happened. Members are only ever added."""

    CALL = "call"
    MISSED_CALL = "missed_call"
    GIFT = "gift"
    MESSAGE = "message"
    VIEW = "view"
    FAVORITE = "favorite"
    UNFAVORITE = "unfavorite"
    BLOCK = "block"


class RecordView(Message):
    """`user` has looked at the profile of `peer`."""

    pair: PairKey
    user: User_
    peer: User_


class InteractionRecorded(Fact):
    """`user` did something with `peer` at `at`. `amount`: a call's seconds, a gift's coins, else 1. `late`: it came too late to
    count. `affinity`: of the two, with it."""

    pair: PairKey
    user: User_
    peer: User_
    kind: InteractionKind
    amount: float
    affinity: float
    late: bool = False


class Pair(State):
    """What is between two users: points by hour, the newest event's time, and their sum over the window."""

    points: Annotated[dict[int, float], Meta(max_length=WINDOW_HOURS)]
    seen_at: Time
    affinity: float = 0.0

    @property
    def wake_at(self) -> datetime | None:
        """When the oldest hour leaves the window."""
        return expires_at(self.points, HOUR_S, WINDOW_HOURS)


# --- contact ---------------------------------------------------------------------------------------------------------------

# A block that comes before the meeting is told waits so long: no call lasts longer than six hours.
PENDING_FOR: Final = timedelta(days=1)
# No rule looks back further than a year.
MET_FOR: Final = timedelta(days=366)


_Reasons = Annotated[tuple[BlockReason, ...], Meta(max_length=len(BlockReason))]


class ContactMade(Fact):
    """Two users met for the first time (or for the first time in a year)."""

    pair: PairKey
    user: User_
    peer: User_


class PendingBlock(State):
    """A block from somebody who has not met the blocked one, as far as is known."""

    reason: BlockReason
    rules: Annotated[tuple[BlockRule, ...], Meta(max_length=MAX_RULES)]
    at: Time


class Contact(State):
    """Whether two have met, who `wrote` to the other, what each has counted against the other, and blocks that wait for a
    meeting."""

    forget_at: Time
    met: bool = False
    wrote: Annotated[tuple[UserInList, ...], Meta(max_length=2)] = ()
    counted: Annotated[dict[UserInList, _Reasons], Meta(max_length=2)] = {}
    pending: Annotated[dict[UserInList, PendingBlock], Meta(max_length=2)] = {}

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return self.forget_at


PairInbox = RecordView | CallEnded | GiftSent | ItemPosted | FavoriteAdded | FavoriteRemoved | UserBlocked | Wake
ContactInbox = CallEnded | GiftSent | ItemPosted | UserBlocked | UserUnblocked | Wake


def _of_message(posted: ItemPosted) -> str:
    """Calls and gifts are heard of by themselves, and outreach brings nobody closer."""
    return posted.pair if posted.kind is ItemKind.MESSAGE and not posted.campaign else ""


PAIR: Final = Entity(
    "pair",
    key="pair",
    flow=Flow.GROWTH,
    state=Pair,
    commands=(RecordView,),
    facts=(InteractionRecorded,),
    hears=(
        Hears(CallEnded, pair_by("caller", "callee"), "a call brings two closer"),
        Hears(GiftSent, if_paid(pair_by("sender", "receiver")), "a gift brings two closer"),
        Hears(ItemPosted, _of_message, "a message brings two closer"),
        Hears(FavoriteAdded, pair_by("user", "peer"), "a favourite is close"),
        Hears(FavoriteRemoved, pair_by("user", "peer"), "who is no favourite any more is less close"),
        Hears(UserBlocked, pair_by("user", "peer"), "a block ends all closeness"),
    ),
)


def _of_call(ended: CallEnded) -> str:
    """The pair of a talk; who watches a recorded video, or is not answered, meets nobody."""
    return pair_of(ended.caller, ended.callee) if ended.connected and ended.kind is not CallKind.CLIP else ""


CONTACT: Final = Entity(
    "contact",
    key="pair",
    flow=Flow.LIVE,
    state=Contact,
    facts=(ContactMade,),
    hears=(
        Hears(CallEnded, _of_call, "who has talked has met"),
        Hears(GiftSent, if_paid(pair_by("sender", "receiver")), "who has given or got a gift has met"),
        Hears(ItemPosted, _of_message, "who was written to has met the writer"),
        Hears(UserBlocked, pair_by("user", "peer"), "a block counts between those who have met"),
        Hears(UserUnblocked, pair_by("user", "peer"), "a block that was taken back waits no more"),
    ),
    raw="who met whom stands in `interactions`",
)
