"""The gallery: `rank` (how a user answers, talks and is liked, over sliding windows), the rules that order what each role sees,
and which cards were shown to whom.

A place is counted in seconds online: a boost of 3,600 lifts a card as if it had been online an hour longer (or, where the
newest come first, an hour less).
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.billing_rules import CallKind
from schemas.blocklist import BlockReason, UserBlocked
from schemas.chat import ItemPosted, message_sender
from schemas.gift import GiftSent, if_paid
from schemas.log.base import By, Fact, Fields, Message, State, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.windows import expires_at
from schemas.user import Code, Role, User_, UserErased
from schemas.video import CallEnded

HOUR_S: Final = 3_600
WINDOW_HOURS: Final = 3 * 24
MAX_BOOSTS: Final = 20
MAX_BOOST_S: Final = 30 * 86_400
PAGE_LIMIT: Final = 100
COMPLAINTS: Final = frozenset({BlockReason.HARASSMENT, BlockReason.INDECENCY, BlockReason.SPAM, BlockReason.UNDERAGE})


# --- engagement -------------------------------------------------------------------------------------------------------------


class Hour(State):
    """One hour of a user: calls that rang here, those taken, seconds talked, coins of gifts, complaints, messages of others."""

    rings: int = 0
    answered: int = 0
    talked_s: float = 0.0
    gift_coins: int = 0
    complaints: int = 0
    messages: int = 0


class EngagementChanged(Fact):
    """Over the last three days; `engagement` is between 0 and 1."""

    user: User_
    rings: int
    answered: int
    talked_s: float
    gift_coins: int
    complaints: int
    engagement: float
    messages: int = 0


class Rank(State):
    """A user's hours in the window, and what they come to."""

    hours: Annotated[dict[int, Hour], Meta(max_length=WINDOW_HOURS)]
    engagement: float = 0.0

    @property
    def wake_at(self) -> datetime | None:
        """When the oldest hour leaves the window."""
        return expires_at(dict.fromkeys(self.hours, 0.0), HOUR_S, WINDOW_HOURS)


# --- rules ------------------------------------------------------------------------------------------------------------------


class Order(StrEnum):
    """Who stands first before any boost."""

    LONGEST_FIRST = "longest_first"
    NEWEST_FIRST = "newest_first"


class BoostKind(StrEnum):
    """What lifts a card: its own traits (`tag`, `engagement`, `busy`), or what is between it and the viewer."""

    TAG = "tag"
    ENGAGEMENT = "engagement"
    BUSY = "busy"
    FAVORITE = "favorite"
    AFFINITY = "affinity"
    COUNTRY = "country"
    LANGUAGE = "language"


class Boost(State):
    """`seconds` (negative: sinks) for a card of which `kind` holds. Engagement counts by its share of 1, affinity by its share
    of 100 points."""

    kind: BoostKind
    seconds: Annotated[int, Meta(ge=-MAX_BOOST_S, le=MAX_BOOST_S)]
    tag: Code = ""


class GalleryRules(State):
    """What one role sees: whom, in which order, lifted by what, without whom. `only_tags`: a card needs one of them."""

    shows: Role
    order: Order
    boosts: Annotated[tuple[Boost, ...], Meta(max_length=MAX_BOOSTS)] = ()
    show_busy: bool = True
    same_country: bool = False
    only_tags: Annotated[tuple[Code, ...], Meta(max_length=MAX_BOOSTS)] = ()
    never_tags: Annotated[tuple[Code, ...], Meta(max_length=MAX_BOOSTS)] = ()


SHIPPED_BOOSTS: Final = (Boost(BoostKind.FAVORITE, 3_600), Boost(BoostKind.AFFINITY, 1_800))
SHIPPED_RULES: Final = {
    Role.USER: GalleryRules(Role.STREAMER, Order.LONGEST_FIRST, SHIPPED_BOOSTS),
    Role.STREAMER: GalleryRules(Role.USER, Order.NEWEST_FIRST, SHIPPED_BOOSTS),
}


class GalleryRulesFields(Fields):
    """A role, what it sees, and who decided that."""

    role: Role
    rules: GalleryRules
    by: By = ""


class PutGalleryRules(Message, GalleryRulesFields):
    """What a role sees from now on."""


class GalleryRulesPut(Fact, GalleryRulesFields):
    """What a role sees."""


# --- impressions ------------------------------------------------------------------------------------------------------------


class ShowCards(Message):
    """A page of the gallery went to `viewer`: `cards`, the first of them at place `first` (from 1)."""

    viewer: User_
    cards: Annotated[tuple[User_, ...], Meta(max_length=PAGE_LIMIT)]
    first: int = 1


class CardsShown(Fact):
    """A page of the gallery was shown."""

    viewer: User_
    cards: Annotated[tuple[User_, ...], Meta(max_length=PAGE_LIMIT)]
    first: int = 1


class Viewer(State):
    """Nothing is remembered of what a viewer was shown."""


RankInbox = CallEnded | GiftSent | ItemPosted | UserBlocked | UserErased | Wake
RulesInbox = PutGalleryRules | Wake
ViewerInbox = ShowCards | Wake

RANK: Final = Entity(
    "rank",
    key="user",
    flow=Flow.GROWTH,
    state=Rank,
    facts=(EngagementChanged,),
    hears=(
        Hears(CallEnded, lambda ended: "" if ended.kind is CallKind.CLIP else ended.callee, "who answers, and talks long"),
        Hears(GiftSent, if_paid("receiver"), "who is given gifts"),
        Hears(ItemPosted, lambda posted: posted.peer if message_sender(posted) else "", "who is written to"),
        Hears(UserBlocked, lambda block: block.peer if block.reason in COMPLAINTS else "", "who is complained about"),
        Hears(UserErased, "user", "how the user answered is forgotten"),
    ),
)
GALLERY_RULES: Final = Entity(
    "gallery_rules",
    key="role",
    flow=Flow.GROWTH,
    state=GalleryRules,
    commands=(PutGalleryRules,),
    facts=(GalleryRulesPut,),
    raw="rules change a few times a year",
)
VIEWER: Final = Entity("viewer", key="viewer", flow=Flow.GROWTH, state=Viewer, commands=(ShowCards,), facts=(CardsShown,))
