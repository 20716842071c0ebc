"""Agencies: `agency` (who it is, and the most that it may ask for) and `membership` (which agency a streamer belongs to, with
which share, and who has invited them).

A streamer belongs to one agency at most, and nobody's share changes without them: an agency asks by an invitation, of its own
members, too, and the streamer accepts it. Each change is a version of the membership. The account of the streamer's earnings is
told of it (`schemas.balance_share`), and from that entry of its book on the agency has its share of what is earned.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import EntryKind, EntryRecorded, Reason, owner_of
from schemas.balance_share import ShareBps
from schemas.erased import mark_ends
from schemas.log.base import By, Fact, Fields, Message, MessageName, Ref, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.user import ListedUser, OptionalUser, User_, UserErased, UserInList

# An invitation that nobody answers is over.
INVITED_FOR: Final = timedelta(days=30)
MAX_INVITATIONS: Final = 8

AgencyName = Annotated[str, Meta(min_length=1, max_length=80), PLAIN]


class AgencyRefusal(StrEnum):
    """Why not, in order of precedence."""

    AGENCY_UNKNOWN = "agency_unknown"
    AGENCY_CLOSED = "agency_closed"
    SHARE_ABOVE_MOST = "share_above_most"
    OWN_AGENCY = "own_agency"
    STREAMER_ERASED = "streamer_erased"
    INVITATIONS_FULL = "invitations_full"
    SHARE_STANDS = "share_stands"
    INVITATION_UNKNOWN = "invitation_unknown"
    SHARE_DIFFERS = "share_differs"
    OTHER_AGENCY = "other_agency"
    NO_MEMBER = "no_member"


class MembershipStep(StrEnum):
    """What happened: invited; then joined, refused, taken back by the agency, or expired; later left, whoever wanted it."""

    INVITED = "invited"
    JOINED = "joined"
    REFUSED = "refused"
    TAKEN_BACK = "taken_back"
    EXPIRED = "expired"
    LEFT = "left"


# --- agencies ---------------------------------------------------------------------------------------------------------------


class AgencyFields(Fields):
    """What it is called, the most that it may ask of a streamer, and whether it may invite anybody."""

    agency_name: AgencyName
    most_share_bps: ShareBps
    is_open: bool = True


class PutAgency(Message, AgencyFields):
    """The user `agency` is an agency, with this name and limit. What members have agreed to stays as it is."""

    agency: User_
    by: By = ""


class Invite(Message):
    """The agency asks a streamer for a share, whether they belong to it already or not."""

    agency: User_
    user: ListedUser
    share_bps: ShareBps


class AgencyPut(Fact, AgencyFields):
    """The agency as it stands now; `version` counts from 1."""

    agency: User_
    version: int
    by: By = ""


class AgencyRefused(Refused):
    """The agency may not invite, or asks for too much."""

    agency: User_
    user: User_
    refusal: AgencyRefusal


class Agency(State, AgencyFields):
    """An agency; it is kept for good."""

    version: int = 0


# --- memberships ------------------------------------------------------------------------------------------------------------


class _OfMember(Message):
    user: User_
    agency: User_


class OfferShare(_OfMember):
    """An agency's invitation, which the agency's entity has let through. `asked`: the request that waits for an answer."""

    agency: ListedUser
    share_bps: ShareBps
    asked: MessageName


class EndInvitation(_OfMember):
    """The agency takes its invitation back, or the streamer (`refused`) does not want it."""

    refused: bool = False


class AskToJoin(_OfMember):
    """The streamer agrees to the share that they have seen: the agency's entity lets it through while the agency is open."""

    share_bps: ShareBps


class AcceptInvitation(_OfMember):
    """Likewise, let through. `asked`: the request that waits for an answer."""

    share_bps: ShareBps
    asked: MessageName | None = None


class EndMembership(Message):
    """The streamer leaves (`agency` is empty: whichever it is), the agency lets them go, or staff parts them."""

    user: User_
    agency: OptionalUser
    by: By
    ref: Ref = ""


class MembershipStepped(Fact):
    """One step of a streamer's with an agency. `version`: of the membership, when it changed. `until`: of an invitation."""

    user: User_
    agency: User_
    step: MembershipStep
    share_bps: ShareBps = 0
    version: int = 0
    until: Time | None = None
    by: By = ""
    ref: Ref = ""


class MembershipRefused(Refused):
    """Nothing was changed."""

    user: User_
    agency: OptionalUser
    refusal: AgencyRefusal
    changes_state: ClassVar[bool] = False


class Invitation(State):
    """An invitation that nobody has answered."""

    agency: UserInList
    share_bps: ShareBps
    until: Time


class Membership(State):
    """Whom a streamer belongs to, since when, with which share; `version` counts what changed. Invitations stand in the order
    in which they end. `erased_at`: the streamer was erased then; for a day, so that what comes late is refused."""

    agency: OptionalUser = ""
    share_bps: ShareBps = 0
    version: int = 0
    since: Time | None = None
    invitations: Annotated[tuple[Invitation, ...], Meta(max_length=MAX_INVITATIONS)] = ()
    erased_at: Time | None = None

    def invitation(self, agency: str) -> Invitation | None:
        """The agency's invitation; None: there is none."""
        return next((one for one in self.invitations if one.agency == agency), None)

    @property
    def wake_at(self) -> datetime | None:
        """When the first invitation is over, or the mark of the erasure is forgotten."""
        return mark_ends(self.erased_at) or (self.invitations[0].until if self.invitations else None)


def of_share(entry: EntryRecorded) -> str:
    """Whose agency could not be paid its share: the coins came back to the streamer."""
    came_back = entry.kind is EntryKind.RETURN and entry.reason == Reason.SHARE
    return owner_of(entry.account) if came_back else ""


AgencyInbox = PutAgency | Invite | AskToJoin | Wake
MembershipInbox = OfferShare | EndInvitation | AcceptInvitation | EndMembership | EntryRecorded | UserErased | Wake

AGENCY: Final = Entity(
    "agency",
    key="agency",
    flow=Flow.GROWTH,
    state=Agency,
    commands=(PutAgency, Invite, AskToJoin),
    facts=(AgencyPut, AgencyRefused),
    raw="what agencies do with streamers stands in the table membership_steps",
)
MEMBERSHIP: Final = Entity(
    "membership",
    key="user",
    flow=Flow.GROWTH,
    state=Membership,
    commands=(OfferShare, EndInvitation, AcceptInvitation, EndMembership),
    facts=(MembershipStepped, MembershipRefused),
    hears=(
        Hears(EntryRecorded, of_share, "an agency whose account takes no share any more has no members"),
        Hears(UserErased, "user", "who was erased belongs to no agency"),
    ),
    shown=(Shown(MembershipStepped, ("user", "agency"), "both see where they stand with each other", hides=("by", "ref")),),
)
