"""Outreach: campaigns by which the platform writes to the members of a cohort.

A campaign is data: a *notice* of staff to each member, at a pace, or an *opening*: some online streamers (the members of
another cohort) begin a chat with whoever enters the cohort. `outreach` is the one book of campaigns, told to every partition of
`recipient`; a recipient is a user as campaigns see one; `outreach_writers` has who may write for a campaign now.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.blocklist import UserBlocked
from schemas.chat import ItemPosted, message_sender
from schemas.chat_message import ChatRefusal, MessageRefused
from schemas.erased import mark_ends
from schemas.log.base import BookName, By, Fact, Fields, Id, Message, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import PLAIN
from schemas.notification_state import NoticeText
from schemas.panel import MAX_COHORTS, CohortEntered, CohortLeft, Name, NameInList
from schemas.user import (
    CameOnline,
    Code,
    OptionalUser,
    User_,
    UserBanned,
    UserCommand,
    UserErased,
    UserFact,
    UserInList,
    UserSignedUp,
    UserUnbanned,
    WentOffline,
)

BOOK: Final = "outreach"
MAX_CAMPAIGNS: Final = 20
# The book as JSON; all of it goes to every partition of recipients.
MAX_BOOK_BYTES: Final = 64 * 1024
MAX_LANGUAGES: Final = 8
MAX_OPENINGS: Final = 5
# So many streamers are tried for a person, where openings are refused.
MAX_TRIED: Final = 2 * MAX_OPENINGS
# Of the streamers that may write for a campaign now so many are remembered; they take turns.
MAX_THERE: Final = 200
# Where nobody is there to write, it is asked again so much later, and for so long.
ASK_EVERY: Final = timedelta(minutes=10)
ASK_FOR: Final = timedelta(days=1)
DAY: Final = timedelta(days=1)
# A pace ends at the latest then, some three hundred years, which is a span of time to every machine.
MAX_SPREAD_S: Final = 1e10
# Whoever has written to a person for any campaign does not write for another one.
MAX_AVOIDED: Final = MAX_CAMPAIGNS * MAX_TRIED

Language = Annotated[str, Meta(max_length=16, extra={"max_bytes": 18}), PLAIN]
# What staff writes for many alike is about nobody.
OpeningWords = Annotated[str, Meta(min_length=1, max_length=500), PLAIN]


class OpeningText(Struct, frozen=True):
    """What a streamer's first message says, in one language."""

    language: Code
    text: OpeningWords


class Campaign(State):
    """A campaign: whom (`cohort`), and what.

    `notice`: its words by language; told to `pace_per_s` people a second, spread over `spread_s` from when it runs; `done`: the
    share of that which was over at `since`. `opening`: likewise words; `writers` is the cohort whose online members write,
    `each` so many to a person, the first `delay_s` behind the entering, each next one as much later, at most `per_day` within a
    day. `begun`: the book's version in which it began, which tells it from one of the same name that was removed, or was of the
    other kind."""

    campaign: Name
    cohort: Name
    running: bool = False
    notice: Annotated[tuple[NoticeText, ...], Meta(max_length=MAX_LANGUAGES)] = ()
    pace_per_s: Annotated[float, Meta(gt=0, le=10_000)] = 10.0
    opening: Annotated[tuple[OpeningText, ...], Meta(max_length=MAX_LANGUAGES)] = ()
    writers: Annotated[str, Meta(max_length=64), PLAIN] = ""
    delay_s: Annotated[int, Meta(ge=0, le=7 * 86_400)] = 60
    each: Annotated[int, Meta(ge=1, le=MAX_OPENINGS)] = 3
    per_day: Annotated[int, Meta(ge=1, le=MAX_OPENINGS)] = 3
    spread_s: float = 0.0
    done: float = 0.0
    since: Time | None = None
    begun: Annotated[int, Meta(ge=0, le=2**53)] = 0

    def done_at(self, at: datetime) -> float:
        """Which share of the people a notice's pace has come to."""
        if self.since is None:
            return self.done
        gone_s = max(0.0, (at - self.since).total_seconds())
        return min(1.0, self.done + gone_s / self.spread_s) if self.spread_s else 1.0


class OutreachRefusal(StrEnum):
    """Why the book of campaigns was not changed, in order of precedence."""

    CAMPAIGN_UNKNOWN = "campaign_unknown"
    TOO_MANY_CAMPAIGNS = "too_many_campaigns"
    CAMPAIGNS_TOO_LONG = "campaigns_too_long"


class OpeningsEnd(StrEnum):
    """Why nobody writes to a person for a campaign any more: they have replied to one, or blocked one; they were banned; no
    writer was there for a day."""

    REPLIED = "replied"
    BLOCKED = "blocked"
    BANNED = "banned"
    NOBODY = "nobody"


# --- the book ---------------------------------------------------------------------------------------------------------------


class PutCampaign(Message, BookName):
    """The campaign is this from now on. `people`: how many members its cohort has, by which a notice's pace is kept; 0: as many
    as were said before."""

    campaign: Campaign
    people: Annotated[int, Meta(ge=0, le=2**53)] = 0
    by: By = ""


class RemoveCampaign(Message, BookName):
    """The campaign is no more."""

    campaign: Name
    by: By = ""


class CampaignPut(Fact, BookName):
    """The campaign is in the book, whose version is `version` now."""

    campaign: Campaign
    version: int
    by: By = ""


class CampaignRemoved(Fact, BookName):
    """The campaign is out of the book."""

    campaign: Name
    version: int
    by: By = ""


class OutreachRefused(Refused, BookName):
    """Nothing was changed."""

    campaign: Name
    refusal: OutreachRefusal


class CampaignBook(State):
    """All campaigns; each change is a version."""

    version: int = 0
    campaigns: Annotated[tuple[Campaign, ...], Meta(max_length=MAX_CAMPAIGNS, extra={"max_bytes": MAX_BOOK_BYTES})] = ()


# --- who may write ----------------------------------------------------------------------------------------------------------


class _ForCampaign(Fields):
    campaign: Id
    user: User_


class OfferWriter(Message, _ForCampaign):
    """`user` is online, and may write for the campaign."""


class WithdrawWriter(Message, _ForCampaign):
    """`user` may not any more."""


class AskWriter(Message, _ForCampaign):
    """Who is to write to `user`? None of `avoid`. Answered by `TellWriter`."""

    avoid: Annotated[tuple[UserInList, ...], Meta(max_length=MAX_AVOIDED)] = ()


class Writers(State):
    """Who may write for a campaign now; whoever stands first has not written for longest."""

    there: Annotated[tuple[UserInList, ...], Meta(max_length=MAX_THERE)] = ()


# --- whom it is written to --------------------------------------------------------------------------------------------------


class ShareOutreach(UserCommand):
    """To the broadcast key of a partition (`user`): the campaigns that all its recipients are decided under."""

    shared: CampaignBook


class TellWriter(UserCommand):
    """`writer` is to write to the user for the campaign; empty: nobody is there."""

    campaign: Name
    writer: OptionalUser = ""


class CampaignTold(UserFact):
    """The user was sent the campaign's notice."""

    campaign: Name


class OpeningSent(UserFact):
    """`peer` writes to the user for the campaign, as the `number`th: the message has this id. `OpeningRefused` where it is not
    sent."""

    campaign: Name
    peer: User_
    message: Id
    number: int = 1


class OpeningRefused(UserFact):
    """The opening `message` of `peer` was not sent, and does not count: one has blocked the other, say, or is banned."""

    campaign: Name
    peer: User_
    message: Id
    why: ChatRefusal


class OpeningsEnded(UserFact):
    """Nobody writes to the user for the campaign any more."""

    campaign: Name
    why: OpeningsEnd


class Course(State):
    """How far a campaign (the one that has `begun` then) is with a person. `due_at`: what comes next is done then, if the
    campaign runs; `asked`: a writer is looked for; `until`: when that is given up, from the first time on that it was asked;
    `peers` have written, or tried to; what was not refused, at `sent`; `over`: nothing comes any more."""

    campaign: NameInList
    due_at: Time | None = None
    asked: bool = False
    until: Time | None = None
    peers: Annotated[tuple[UserInList, ...], Meta(max_length=MAX_TRIED)] = ()
    sent: Annotated[tuple[Time, ...], Meta(max_length=MAX_OPENINGS)] = ()
    over: bool = False
    begun: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Recipient(State):
    """A user as campaigns see one: cohorts, language, whether a phone is there, or a ban; `offered`: the campaigns for which
    the user may write; `courses`: how far each campaign is. `next_at`: when something of a running campaign is due. `version`
    is that of the book under which the user was decided last. The state under a broadcast key has only `shared`. `erased_at`:
    the user was erased then, and nothing else is known, for a day."""

    cohorts: Annotated[tuple[NameInList, ...], Meta(max_length=MAX_COHORTS)] = ()
    language: Language = ""
    online: bool = False
    offered: Annotated[tuple[NameInList, ...], Meta(max_length=MAX_CAMPAIGNS)] = ()
    courses: Annotated[tuple[Course, ...], Meta(max_length=MAX_CAMPAIGNS)] = ()
    next_at: Time | None = None
    version: int = 0
    shared: CampaignBook | None = None
    erased_at: Time | None = None
    banned: bool = False

    @property
    def wake_at(self) -> datetime | None:
        """When something is due, or the mark of an erasure is forgotten."""
        return mark_ends(self.erased_at) or self.next_at

    def behind(self, common: State | None) -> bool:
        """Whether the user was decided under another version of the book than the one that the partition was told."""
        if self.shared is not None or self.erased_at is not None or not isinstance(common, Recipient):
            return False
        return common.shared is not None and self.version != common.shared.version


def _refused_receiver(refused: MessageRefused) -> str:
    """To whom an opening was not sent; empty where it was no opening."""
    return refused.receiver if refused.campaign else ""


OutreachInbox = PutCampaign | RemoveCampaign | Wake
WritersInbox = OfferWriter | WithdrawWriter | AskWriter | Wake
RecipientInbox = (
    ShareOutreach | TellWriter | CohortEntered | CohortLeft | UserSignedUp | CameOnline | WentOffline | ItemPosted | UserBlocked
    | MessageRefused | UserBanned | UserUnbanned | UserErased | Wake
)  # fmt: skip

OUTREACH: Final = Entity(
    "outreach",
    key="book",
    flow=Flow.GROWTH,
    state=CampaignBook,
    commands=(PutCampaign, RemoveCampaign),
    facts=(CampaignPut, CampaignRemoved, OutreachRefused),
    raw="what became of a campaign stands in `outreach_steps`",
)
WRITERS: Final = Entity(
    "outreach_writers",
    key="campaign",
    flow=Flow.GROWTH,
    state=Writers,
    commands=(OfferWriter, WithdrawWriter, AskWriter),
    raw="who wrote stands in `outreach_steps`",
)
RECIPIENT: Final = Entity(
    "recipient",
    key="user",
    flow=Flow.GROWTH,
    state=Recipient,
    commands=(ShareOutreach, TellWriter),
    facts=(CampaignTold, OpeningSent, OpeningRefused, OpeningsEnded),
    hears=(
        Hears(CohortEntered, "user", "campaigns are for the members of a cohort"),
        Hears(CohortLeft, "user", "who leaves a cohort is not written to any more"),
        Hears(UserSignedUp, "user", "campaigns speak the user's language"),
        Hears(CameOnline, "user", "who is online may write for a campaign"),
        Hears(WentOffline, "user", "who is offline writes for none"),
        Hears(ItemPosted, message_sender, "a reply ends a campaign's openings"),
        Hears(MessageRefused, _refused_receiver, "an opening that is not sent does not count"),
        Hears(UserBlocked, "user", "a block ends a campaign's openings"),
        Hears(UserBanned, "user", "a ban ends a campaign's openings, and nobody writes to, or as, who is banned"),
        Hears(UserUnbanned, "user", "who is not banned any more is like others"),
        Hears(UserErased, "user", "who is erased is written to by nobody"),
    ),
    broadcast=True,
)
