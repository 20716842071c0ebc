"""The gallery's decisions: engagement over sliding windows (`rank`, keyed by user), the rules by role, what was shown.

State: `schemas.gallery`. Laws: engagement is a function of the hours in the window, between 0 and 1, and is told when its third
decimal changes; a rank whose window is empty is forgotten. The order itself is made by serving, from what is decided here.
"""

from collections.abc import Sequence

from msgspec.structs import asdict, replace

from schemas.blocklist import UserBlocked
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
from schemas.log.base import Message, UserId, Wake, derived_id
from schemas.log.windows import bucket_of
from schemas.video import CallEnded


def engagement_of(hours: Sequence[Hour]) -> float:
    """Half of it is answering, three tenths talking long, two tenths gifts; every complaint divides it. A user of whom little
    is known starts in the middle: two of three calls answered."""
    rings, answered = sum(h.rings for h in hours), sum(h.answered for h in hours)
    minutes = sum(h.talked_s for h in hours) / 60 / max(1, answered)
    gifts = sum(h.gift_coins for h in hours)
    good = 0.5 * (answered + 2) / (rings + 3) + 0.3 * minutes / (minutes + 3) + 0.2 * gifts / (gifts + 100)
    return round(good / (1 + sum(h.complaints for h in hours)), 3)


def decide_rank(rank: Rank | None, message: RankInbox) -> tuple[Rank | None, Sequence[Message]]:
    """Decide one message of a user's rank."""
    known = rank or Rank({})
    match message:
        case Wake():
            if rank is None or rank.wake_at is None or rank.wake_at > message.at:
                return rank, ()
            return _as_of(rank, rank.hours, message, UserId(message.key))
        case CallEnded():
            user, more = message.callee, Hour(1, int(message.connected), message.duration_s)
        case GiftSent():
            user, more = message.receiver, Hour(gift_coins=message.share_coins)
        case UserBlocked():
            user, more = message.peer, Hour(complaints=int(message.reason in COMPLAINTS))
    number = bucket_of(message.at, HOUR_S)
    hours = {**known.hours, number: _sum(known.hours.get(number, Hour()), more)}
    return _as_of(known, hours, message, user)


def _sum(one: Hour, other: Hour) -> Hour:
    return Hour(**{name: held + getattr(other, name) for name, held in asdict(one).items()})


def _as_of(rank: Rank, hours: dict[int, Hour], message: Message, user: UserId) -> tuple[Rank | None, Sequence[Message]]:
    now = max(bucket_of(message.at, HOUR_S), max(hours) if not isinstance(message, Wake) else 0)
    kept = {number: hour for number, hour in hours.items() if number > now - WINDOW_HOURS}
    found = list(kept.values())
    engagement = engagement_of(found) if found else 0.0
    after = replace(rank, hours=kept, engagement=engagement) if found else None
    if engagement == rank.engagement:
        return after, ()
    totals = {name: sum(getattr(hour, name) for hour in found) for name in Hour.__struct_fields__}
    told = EngagementChanged(
        id=derived_id(message.id, "rank"), at=message.at, cause=message.id, user=user, engagement=engagement, **totals
    )
    return after, (told,)


def decide_gallery_rules(rules: GalleryRules | None, message: RulesInbox) -> tuple[GalleryRules | None, Sequence[Message]]:
    """Decide one message of a role's rules: whatever serving has checked is in force."""
    if isinstance(message, Wake):
        return rules, ()
    put = GalleryRulesPut(
        id=derived_id(message.id, 0), at=message.at, cause=message.id, role=message.role, rules=message.rules, by=message.by
    )
    return message.rules, (put,)


def decide_viewer(viewer: Viewer | None, message: ViewerInbox) -> tuple[Viewer | None, Sequence[Message]]:
    """Decide one message of a viewer: what was shown is a fact, and nothing is remembered."""
    if not isinstance(message, ShowCards):
        return viewer, ()
    shown = CardsShown(
        id=derived_id(message.id, 0), at=message.at, cause=message.id, viewer=message.viewer, cards=message.cards,
        first=message.first,
    )  # fmt: skip
    return None, (shown,)
