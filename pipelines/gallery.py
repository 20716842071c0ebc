"""The gallery's decisions: engagement over sliding windows (`rank`, keyed by user), the rules by role, what was shown.

State: `schemas.gallery`. Laws: engagement is a function of the hours in the window, between 0 and 1, and is told when its third
decimal changes; a rank whose window is empty is forgotten. The order itself is made by serving, from what is decided here.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import asdict, replace

from schemas.blocklist import UserBlocked
from schemas.chat import ItemPosted
from schemas.gallery import (
    COMPLAINTS,
    HOUR_S,
    WINDOW_HOURS,
    CardsShown,
    EngagementChanged,
    GalleryRules,
    GalleryRulesPut,
    Hour,
    Rank,
    RankInbox,
    RulesInbox,
    ShowCards,
    Viewer,
    ViewerInbox,
)
from schemas.gift import GiftSent
from schemas.log.base import Message, UserId, Wake, reply, same_fields
from schemas.log.windows import bucket_of
from schemas.user import UserErased
from schemas.video import CallEnded

# To write costs nothing, so that a crowd lifts nobody beyond this.
MESSAGES: Final = 100


def engagement_of(hours: Sequence[Hour]) -> float:
    """Half of it is answering, three tenths talking long, two tenths gifts; every complaint divides it. A message of somebody
    else counts as a coin, up to MESSAGES of them. A user of whom little is known starts in the middle: two of three calls
    answered."""
    total = total_of(hours)
    minutes = total.talked_s / 60 / max(1, total.answered)
    answers, gifts = (total.answered + 2) / (total.rings + 3), total.gift_coins + min(total.messages, MESSAGES)
    good = 0.5 * answers + 0.3 * minutes / (minutes + 3) + 0.2 * gifts / (gifts + 100)
    return round(good / (1 + total.complaints), 3)


def total_of(hours: Sequence[Hour]) -> Hour:
    """All that happened in some hours."""
    return Hour(
        rings=sum(hour.rings for hour in hours),
        answered=sum(hour.answered for hour in hours),
        talked_s=sum(hour.talked_s for hour in hours),
        gift_coins=sum(hour.gift_coins for hour in hours),
        complaints=sum(hour.complaints for hour in hours),
        messages=sum(hour.messages for hour in hours),
    )


def decide_rank(rank: Rank | None, message: RankInbox) -> tuple[Rank | None, Sequence[Message]]:
    """Decide one message of a user's rank."""
    state = rank or Rank({})
    match message:
        case Wake():
            if rank is None or not rank.is_due(message.at):
                return rank, ()
            return _as_of(rank, rank.hours, message, UserId(message.key))
        case UserErased():
            return None, ()
        case CallEnded():
            user, more = message.callee, Hour(1, int(message.connected), message.duration_s)
        case GiftSent():
            user, more = message.receiver, Hour(gift_coins=message.share_coins)
        case ItemPosted():
            user, more = message.peer, Hour(messages=1)
        case UserBlocked():
            user, more = message.peer, Hour(complaints=int(message.reason in COMPLAINTS))
    number = bucket_of(message.at, HOUR_S)
    hours = {**state.hours, number: total_of((state.hours.get(number, Hour()), more))}
    return _as_of(state, hours, message, user)


def _as_of(rank: Rank, hours: dict[int, Hour], message: Message, user: UserId) -> tuple[Rank | None, Sequence[Message]]:
    now = max(bucket_of(message.at, HOUR_S), max(hours) if not isinstance(message, Wake) else 0)
    kept = {number: hour for number, hour in hours.items() if number > now - WINDOW_HOURS}
    engagement = engagement_of(tuple(kept.values())) if kept else 0.0
    after = replace(rank, hours=kept, engagement=engagement) if kept else None
    if engagement == rank.engagement:
        return after, ()
    total = asdict(total_of(tuple(kept.values())))
    return after, (EngagementChanged(**reply(message, "rank"), user=user, engagement=engagement, **total),)


def decide_gallery_rules(rules: GalleryRules | None, message: RulesInbox) -> tuple[GalleryRules | None, Sequence[Message]]:
    """Decide one message of a role's rules: whatever serving has checked is in force."""
    if isinstance(message, Wake):
        return rules, ()
    return message.rules, (GalleryRulesPut(**reply(message), **same_fields(message, GalleryRulesPut)),)


def decide_viewer(viewer: Viewer | None, message: ViewerInbox) -> tuple[Viewer | None, Sequence[Message]]:
    """Decide one message of a viewer: what was shown is a fact, and nothing is remembered."""
    if not isinstance(message, ShowCards):
        return viewer, ()
    return None, (CardsShown(**reply(message), viewer=message.viewer, cards=message.cards, first=message.first),)
