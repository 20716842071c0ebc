"""Indexes over the views' states: which keys of an entity are in which group, kept by whoever writes the store.

They answer what would take a look at every state: who is online, whose cases wait, which reports do, who is in a cohort, whom
somebody is close to, whom they talked to on a day, which deliveries ended badly. A change of what an index says needs another
`folder.FORMAT`: stores are then built anew.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.agency import MEMBERSHIP
from schemas.agency import Membership as OfAgency
from schemas.blocklist import RECORD, Record
from schemas.chat import CHAT, Chat
from schemas.chat_report import CHAT_REPORT, ChatReport
from schemas.interaction import PAIR, Pair
from schemas.log.base import unix_second
from schemas.log.codec import state_decoder
from schemas.log.entity import Entity
from schemas.mission_control_approval import APPROVAL, Approval, ApprovalStatus
from schemas.outbox import OUTBOX, Effect, EffectStatus
from schemas.panel import MEMBER, Member
from schemas.subscription import SUBSCRIPTION, Subscription
from schemas.user import USER, User
from schemas.video import CALL, Call, CallStatus

# An index's name, and one of its groups.
Membership = tuple[str, str]
NOWHERE: Final[frozenset[Membership]] = frozenset()
EVERYBODY: Final = "everybody"


class Index(NamedTuple):
    """`of`: the groups of a key and its state. `listed`: whether keys are kept, or just how many a group has."""

    name: str
    entity: Entity
    of: Callable[[str, Any], tuple[str, ...]]
    listed: bool = True


def _online(_: str, user: User) -> tuple[str, ...]:
    return (user.role,) if user.online_since is not None else ()


def _waiting(_: str, record: Record) -> tuple[str, ...]:
    return ("",) if any(case.upheld is None for case in record.cases) else ()


def _close(pair: str, state: Pair) -> tuple[str, ...]:
    one, _, other = pair.partition("/")
    return (one, other) if state.affinity else ()


def chat_day(user: str, at: datetime) -> str:
    """The group of the chats in a user's list whose newest item is of this day."""
    return f"{user}/{unix_second(at) // 86_400}"


def chat_hour(user: str, at: datetime) -> str:
    """Likewise, of this hour."""
    return f"{user}/h{unix_second(at) // 3_600}"


def _chats(pair: str, chat: Chat) -> tuple[str, ...]:
    one, _, other = pair.partition("/")
    listed = [user for user, side in zip((one, other), chat.sides, strict=True) if chat.seq > side.hidden and chat.items]
    return tuple(group(user, chat.items[-1].at) for user in listed for group in (chat_day, chat_hour))


def _reports(_: str, report: ChatReport) -> tuple[str, ...]:
    return ("",) if report.is_open else ()


def _approvals(_: str, approval: Approval) -> tuple[str, ...]:
    return ("",) if approval.status is ApprovalStatus.OPEN else ()


def _agencies(_: str, member: OfAgency) -> tuple[str, ...]:
    invited = tuple(f"{one.agency}/invited" for one in member.invitations)
    return (member.agency, *invited) if member.agency else invited


def _cohorts(user: str, member: Member) -> tuple[str, ...]:
    return () if user.startswith("@") else tuple(member.cohorts)


def _versions(user: str, member: Member) -> tuple[str, ...]:
    return () if user.startswith("@") or member.erased_at is not None else (EVERYBODY, str(member.version))


# What the index of effects has; all others are done, or under way for some seconds only.
LISTED_EFFECTS: Final = (EffectStatus.WAITING, EffectStatus.REFUSED, EffectStatus.EXPIRED)


def _effects(name: str, effect: Effect) -> tuple[str, ...]:
    listed = effect.status in LISTED_EFFECTS and not name.startswith("@")
    return (effect.status, f"{effect.status}/{effect.provider}") if listed else ()


def _calls(_: str, call: Call) -> tuple[str, ...]:
    return ("",) if call.status in (CallStatus.RINGING, CallStatus.CONNECTED) else ()


def _subscriptions(_: str, subscription: Subscription) -> tuple[str, ...]:
    return (subscription.user,) if subscription.user else ()


# Who is online, by role.
ONLINE: Final = Index("online", USER, _online)
# The records of which a case waits for a person.
OPEN_CASES: Final = Index("open_cases", RECORD, _waiting)
# The pairs that somebody is in and that are close, by user.
PAIRS: Final = Index("pairs", PAIR, _close)
# The chats in somebody's list, by user and the day, and the hour, of the newest item.
CHATS: Final = Index("chats", CHAT, _chats)
# The reports of chats that wait for a person.
OPEN_REPORTS: Final = Index("open_reports", CHAT_REPORT, _reports)
# What waits for a second person.
OPEN_APPROVALS: Final = Index("open_approvals", APPROVAL, _approvals)
# Who belongs to an agency, and, under "<agency>/invited", whom it has invited.
AGENCY_PEOPLE: Final = Index("agency_people", MEMBERSHIP, _agencies)
# Who is in a cohort.
COHORT_MEMBERS: Final = Index("cohort_members", MEMBER, _cohorts)
# How many members there are, and how many were decided under a version of the book.
MEMBER_VERSIONS: Final = Index("member_versions", MEMBER, _versions, listed=False)
# What is owed to vendors and waits for its next attempt, or ended badly: by status, and by status and vendor.
EFFECTS: Final = Index("effects", OUTBOX, _effects)
# The calls that ring or run.
LIVE_CALLS: Final = Index("live_calls", CALL, _calls)
# What somebody has subscribed to.
SUBSCRIPTIONS_OF: Final = Index("subscriptions_of", SUBSCRIPTION, _subscriptions)

INDEXES: Final = (
    ONLINE, OPEN_CASES, PAIRS, CHATS, OPEN_REPORTS, OPEN_APPROVALS, AGENCY_PEOPLE, COHORT_MEMBERS, MEMBER_VERSIONS, EFFECTS,
    LIVE_CALLS, SUBSCRIPTIONS_OF,
)  # fmt: skip
LISTED: Final = frozenset(index.name for index in INDEXES if index.listed)
OVER: Final = {one.entity.changelog: [index for index in INDEXES if index.entity is one.entity] for one in INDEXES}
_DECODERS: Final = {index.entity.changelog: state_decoder(index.entity.state) for index in INDEXES}


def memberships(changelog: str, key: bytes, value: bytes | None) -> frozenset[Membership]:
    """Where a key belongs with this state's JSON; a forgotten one belongs nowhere, and so does one that cannot be read."""
    if value is None:
        return NOWHERE
    try:
        name, state = key.decode(), _DECODERS[changelog](value)
    except ValueError:
        return NOWHERE
    return frozenset((index.name, group) for index in OVER[changelog] for group in index.of(name, state))
