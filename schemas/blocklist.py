"""The block list: `blocks` (whom one user blocked) and `record` (who blocked one user, and what came of it).

What follows from blocks is data: a rule names a reason, how many different people within which time, and what then. The rules
in force travel in the block's own message, so that a replay decides the same.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.balance import EntryRecorded, Reason, owner_of
from schemas.erased import mark_ends
from schemas.log.base import MAX_COINS, By, Fact, Fields, Id, Message, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.user import (
    MAX_BLOCKS,
    ListedUser,
    PeerCommand,
    PeerFact,
    Role,
    UserBanned,
    UserCommand,
    UserErased,
    UserFact,
    UserInList,
    UserSignedUp,
    UserUnbanned,
)

PENALTIES: Final = "@penalties"
MAX_RULES: Final = 20
# The newest so many blocks for each reason are looked at; a rule that asks for more fires at as many.
MAX_COUNTED: Final = 100
# Consequences that a record remembers, and the people that each of them names: the newest.
MAX_CASES: Final = 40
MAX_NAMED: Final = 10


class BlockReason(StrEnum):
    """Why somebody was blocked. Members are only ever added."""

    NOT_INTERESTED = "not_interested"
    HARASSMENT = "harassment"
    INDECENCY = "indecency"
    SPAM = "spam"
    UNDERAGE = "underage"
    OTHER = "other"


class BlockRefusal(StrEnum):
    """Why a block was refused, in order of precedence."""

    SAME_USER = "same_user"
    TOO_MANY_BLOCKS = "too_many_blocks"
    NOT_BLOCKED = "not_blocked"
    REVIEW_UNKNOWN = "review_unknown"
    USER_ERASED = "user_erased"


MAX_BAN_S: Final = 10 * 366 * 86_400


class Consequence(StrEnum):
    """What follows."""

    PENALTY = "penalty"
    BAN = "ban"


class BlockRule(State):
    """`blocks` different people who met somebody of `role` blocked them for `reason` within `window_s`: then `then`.

    A penalty takes `coins` from the earnings; a ban lasts `ban_s` (0: for good). `min_age_s`: only those count whose account
    was as old as this when they blocked; `percent`: they are at least so many percent of all whom the blocked one has met."""

    rule: Annotated[str, Meta(min_length=1, max_length=64), PLAIN]
    reason: BlockReason
    blocks: Annotated[int, Meta(ge=1, le=1_000)]
    window_s: Annotated[int, Meta(ge=60, le=366 * 86_400)]
    then: Consequence
    role: Role | None = None
    coins: Annotated[int, Meta(ge=0, le=MAX_COINS)] = 0
    ban_s: Annotated[int, Meta(ge=0, le=MAX_BAN_S)] = 0
    min_age_s: Annotated[int, Meta(ge=0, le=MAX_BAN_S)] = 0
    percent: Annotated[int, Meta(ge=0, le=100)] = 0


SHIPPED_RULES: Final = (
    BlockRule("indecency", BlockReason.INDECENCY, 3, 86_400, Consequence.PENALTY, Role.STREAMER, coins=100),
    BlockRule("harassment", BlockReason.HARASSMENT, 5, 7 * 86_400, Consequence.BAN),
)

_Rules = Annotated[tuple[BlockRule, ...], Meta(max_length=MAX_RULES)]


class BlockUser(PeerCommand):
    """`user` blocks `peer`."""

    reason: BlockReason
    rules: _Rules = ()


class UnblockUser(PeerCommand):
    """`user` takes the block back; what it counted stays counted."""


class UserBlocked(PeerFact):
    """The block stands (told again when its reason changes)."""

    reason: BlockReason
    rules: _Rules = ()


class UserUnblocked(PeerFact):
    """The block is gone."""


class BlockRefused(PeerFact, Refused):
    """Nothing was changed."""

    refusal: BlockRefusal


class Blocks(State):
    """Whom a user has blocked, and why. Who has blocked a user stands nowhere: each blocker's own side knows. `erased_at`: the
    user was erased then; for a day, so that what comes late is refused."""

    peers: Annotated[dict[UserInList, BlockReason], Meta(max_length=MAX_BLOCKS)]
    erased_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When the mark of an erasure is forgotten."""
        return mark_ends(self.erased_at)


# --- the record of the blocked ----------------------------------------------------------------------------------------------


class CountContact(UserCommand):
    """The user has met one person more."""


class VouchBlock(PeerCommand):
    """`user` has blocked `peer`, whom they met. Whether `user` has signed up, and when, its own record knows, and has the block
    counted."""

    reason: BlockReason
    rules: _Rules = ()


class CountBlock(UserCommand):
    """`by` has blocked `user`, whom they met: count it, and see what follows. `age_s`: how old the account of `by` was then (of
    those who signed up before this was kept: the oldest there can be)."""

    by: ListedUser
    reason: BlockReason
    rules: _Rules = ()
    age_s: Annotated[int, Meta(ge=0, le=MAX_BAN_S)] = MAX_BAN_S


class RulebookFields(Fields):
    """The rulebook, what is in it, and who put that there."""

    rulebook: Id
    rules: _Rules
    by: By = ""


class PublishRules(Message, RulebookFields):
    """The rules from now on."""


class RulesPublished(Fact, RulebookFields):
    """The rules are these."""


class Review(UserCommand):
    """A person looked at a consequence: it stands, or it is taken back (the coins returned, the ban lifted)."""

    case: Id
    upheld: bool
    by: By


class _OfCase(UserFact):
    case: Id


class ConsequenceDrawn(_OfCase):
    """A rule fired; it waits for a review."""

    rule: BlockRule
    by: Annotated[tuple[UserInList, ...], Meta(max_length=MAX_NAMED)] = ()


class ConsequenceReviewed(_OfCase):
    """The review's outcome."""

    upheld: bool
    reviewer: By


class ReviewRefused(_OfCase, Refused):
    """There is no such case that waits for a review."""

    refusal: BlockRefusal


class Counted(State):
    """One block that counts."""

    by: UserInList
    reason: BlockReason
    at: Time
    age_s: int = MAX_BAN_S


class Case(State):
    """A consequence: the rule that fired, and whether it was upheld (None: not reviewed yet)."""

    case: Id
    rule: BlockRule
    at: Time
    by: Annotated[tuple[UserInList, ...], Meta(max_length=MAX_NAMED)]
    upheld: bool | None = None
    taken_coins: int = 0


class Record(State):
    """Who blocked this user, newest last (the newest MAX_COUNTED for each reason), and what came of it (the newest MAX_CASES).
    `drawn`: how many consequences there were; `met`: how many people the user has met."""

    role: Role | None = None
    signed_up_at: Time | None = None
    met: int = 0
    counted: Annotated[tuple[Counted, ...], Meta(max_length=MAX_COUNTED * len(BlockReason))] = ()
    cases: Annotated[tuple[Case, ...], Meta(max_length=MAX_CASES)] = ()
    drawn: int = 0
    banned: bool = False


class Rulebook(State):
    """The rules in force."""

    rules: _Rules


BOOK: Final = "blocks"
BlocksInbox = BlockUser | UnblockUser | UserErased | Wake
RecordInbox = (
    CountContact | VouchBlock | CountBlock | Review | UserSignedUp | UserBanned | UserUnbanned | UserErased | EntryRecorded
    | Wake
)  # fmt: skip
RulebookInbox = PublishRules | Wake

BLOCKS: Final = Entity(
    "blocks",
    key="user",
    flow=Flow.LIVE,
    state=Blocks,
    commands=(BlockUser, UnblockUser),
    facts=(UserBlocked, UserUnblocked, BlockRefused),
    hears=(Hears(UserErased, "user", "whom the user has blocked is forgotten"),),
)
RECORD: Final = Entity(
    "record",
    key="user",
    flow=Flow.LIVE,
    state=Record,
    commands=(CountContact, VouchBlock, CountBlock, Review),
    facts=(ConsequenceDrawn, ConsequenceReviewed, ReviewRefused),
    hears=(
        Hears(UserBanned, "user", "whose blocks do not count: they cost others coins"),
        Hears(UserUnbanned, "user", "whose blocks count again"),
        Hears(UserErased, "user", "who has blocked the user, and what came of it, is forgotten"),
        Hears(UserSignedUp, "user", "rules look at the role, and at the age of the accounts that block"),
        Hears(
            EntryRecorded,
            lambda entry: owner_of(entry.account) if entry.reason == Reason.PENALTY else "",
            "a penalty that was paid can be given back",
        ),
    ),
    shown=(Shown(ConsequenceDrawn, ("user",), "the phone is told, and never who has blocked its user", ("by",)),),
    raw="cases are few, and reviewed one by one",
)
RULEBOOK: Final = Entity(
    "rulebook",
    key="rulebook",
    flow=Flow.LIVE,
    state=Rulebook,
    commands=(PublishRules,),
    facts=(RulesPublished,),
    raw="rules change a few times a year",
)
