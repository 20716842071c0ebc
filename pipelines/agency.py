"""Agencies, keyed by the agency's user, and memberships, keyed by streamer.

State: `schemas.agency.Agency`, `schemas.agency.Membership`.
Laws: a streamer belongs to one agency at most; a share is one that the streamer has accepted, and no more than the agency might
ask for when it asked; each change of a membership is a version, which counts up by one, and the account of the streamer's
earnings is told of each; an invitation ends once: accepted, refused, taken back, or over.
Refusals: `schemas.agency.AgencyRefusal`, in order of precedence.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.agency import (
    INVITED_FOR,
    MAX_INVITATIONS,
    AcceptInvitation,
    Agency,
    AgencyInbox,
    AgencyPut,
    AgencyRefusal,
    AgencyRefused,
    AskToJoin,
    EndInvitation,
    EndMembership,
    Invitation,
    Invite,
    Membership,
    MembershipInbox,
    MembershipRefused,
    MembershipStep,
    MembershipStepped,
    OfferShare,
    PutAgency,
)
from schemas.balance import EntryRecorded, SetShare, earnings_account, owner_of
from schemas.log.base import Message, UserId, Wake, derive, later, reply, same_fields
from schemas.user import UserErased

UNPAID = "the agency's account takes no share"
Decision = tuple[Membership | None, Sequence[Message]]
NOTHING = Membership()


def decide_agency(agency: Agency | None, message: AgencyInbox) -> tuple[Agency | None, Sequence[Message]]:
    """Decide one message of an agency's inbox."""
    match message:
        case Wake():
            return agency, ()
        case PutAgency():
            after = Agency(**same_fields(message, Agency), version=agency.version + 1 if agency else 1)
            fact = AgencyPut(**reply(message), agency=message.agency, by=message.by, **same_fields(after, AgencyPut))
            return after, (fact,)
        case Invite():
            return agency, (_invite(agency, message),)
        case AskToJoin():
            return agency, (_let_in(agency, message),)


def _invite(agency: Agency | None, message: Invite) -> Message:
    refusal = _not_inviting(agency, message)
    if refusal is not None:
        return AgencyRefused(**reply(message), agency=message.agency, user=message.user, refusal=refusal)
    return OfferShare(
        **derive(message, "offer"), user=message.user, agency=message.agency, share_bps=message.share_bps, asked=message.id
    )  # fmt: skip


def _let_in(agency: Agency | None, message: AskToJoin) -> Message:
    """Who was invited before an agency was closed does not join it behind that."""
    if agency is None or not agency.is_open:
        refusal = AgencyRefusal.AGENCY_UNKNOWN if agency is None else AgencyRefusal.AGENCY_CLOSED
        return AgencyRefused(**reply(message), agency=message.agency, user=message.user, refusal=refusal)
    return AcceptInvitation(
        **derive(message, "accept"), user=message.user, agency=message.agency, share_bps=message.share_bps, asked=message.id
    )  # fmt: skip


def _not_inviting(agency: Agency | None, message: Invite) -> AgencyRefusal | None:
    if agency is None:
        return AgencyRefusal.AGENCY_UNKNOWN
    if not agency.is_open:
        return AgencyRefusal.AGENCY_CLOSED
    if message.share_bps > agency.most_share_bps:
        return AgencyRefusal.SHARE_ABOVE_MOST
    return AgencyRefusal.OWN_AGENCY if message.user == message.agency else None


# --- memberships ------------------------------------------------------------------------------------------------------------


def decide_membership(member: Membership | None, message: MembershipInbox) -> Decision:
    """Decide one message of a membership's inbox."""
    known = member or NOTHING
    match message:
        case Wake():
            return _wake(member, message)
        case UserErased():
            return _erased(known, message)
        case EntryRecorded():
            unpaid = known.agency and message.counterparty == earnings_account(known.agency)
            return _left(known, message, owner_of(message.account), "", UNPAID) if unpaid else (member, ())
    refusal = _refusal_of(known, message)
    if refusal is not None:
        to = (message.asked or "") if isinstance(message, OfferShare | AcceptInvitation) else ""
        told = MembershipRefused(**reply(message, to=to), user=message.user, agency=message.agency, refusal=refusal)
        return member, (told,)
    match message:
        case OfferShare():
            return _offer(known, message)
        case EndInvitation():
            step = MembershipStep.REFUSED if message.refused else MembershipStep.TAKEN_BACK
            return _without(known, message.agency), (_step(message, message.user, message.agency, step),)
        case AcceptInvitation():
            return _join(known, message)
        case EndMembership():
            return _left(known, message, message.user, message.by, message.ref)


def _refusal_of(
    member: Membership, message: OfferShare | EndInvitation | AcceptInvitation | EndMembership
) -> AgencyRefusal | None:
    match message:
        case EndMembership():
            there = member.agency and message.agency in ("", member.agency)
            return None if there else AgencyRefusal.NO_MEMBER
        case OfferShare():
            return _not_offered(member, message)
    invitation = member.invitation(message.agency)
    if invitation is None or invitation.until <= message.at:
        return AgencyRefusal.INVITATION_UNKNOWN
    if isinstance(message, EndInvitation):
        return None
    if invitation.share_bps != message.share_bps:
        return AgencyRefusal.SHARE_DIFFERS
    return AgencyRefusal.OTHER_AGENCY if member.agency not in ("", message.agency) else None


def _not_offered(member: Membership, message: OfferShare) -> AgencyRefusal | None:
    if member.erased_at is not None:
        return AgencyRefusal.STREAMER_ERASED
    if member.invitation(message.agency) is None and len(member.invitations) == MAX_INVITATIONS:
        return AgencyRefusal.INVITATIONS_FULL
    stands = member.agency == message.agency and member.share_bps == message.share_bps
    return AgencyRefusal.SHARE_STANDS if stands else None


def _offer(member: Membership, message: OfferShare) -> Decision:
    """An agency has one invitation to a streamer: a later one takes the earlier one's place."""
    invitation = Invitation(message.agency, message.share_bps, later(message.at, INVITED_FOR))
    others = _without(member, message.agency).invitations
    after = replace(member, invitations=tuple(sorted((*others, invitation), key=lambda one: one.until)))
    told = MembershipStepped(
        **reply(message, to=message.asked or ""), user=message.user, agency=message.agency, step=MembershipStep.INVITED,
        share_bps=message.share_bps, until=invitation.until, by=message.agency,
    )  # fmt: skip
    return after, (told,)


def _join(member: Membership, message: AcceptInvitation) -> Decision:
    after = replace(
        _without(member, message.agency), agency=message.agency, share_bps=message.share_bps, version=member.version + 1,
        since=message.at,
    )  # fmt: skip
    told = MembershipStepped(
        **reply(message, to=message.asked or ""), user=message.user, agency=message.agency, step=MembershipStep.JOINED,
        share_bps=message.share_bps, version=after.version, by=message.user,
    )  # fmt: skip
    return after, (told, _set_share(after, message, message.user))


def _left(member: Membership, message: Message, user: UserId, by: str, ref: str) -> Decision:
    after = replace(member, agency="", share_bps=0, version=member.version + 1, since=None)
    told = MembershipStepped(
        **reply(message), user=user, agency=UserId(member.agency), step=MembershipStep.LEFT, version=after.version, by=by,
        ref=ref,
    )  # fmt: skip
    return after, (told, _set_share(after, message, user))


def _set_share(member: Membership, message: Message, user: str) -> SetShare:
    return SetShare(
        **derive(message, "share"), account=earnings_account(user), agency=member.agency, share_bps=member.share_bps,
        version=member.version,
    )  # fmt: skip


def _without(member: Membership, agency: str) -> Membership:
    return replace(member, invitations=tuple(one for one in member.invitations if one.agency != agency))


def _step(message: Message, user: str, agency: str, step: MembershipStep, ordinal: int = 0) -> MembershipStepped:
    return MembershipStepped(**reply(message, ordinal), user=UserId(user), agency=UserId(agency), step=step)


def _wake(member: Membership | None, message: Wake) -> Decision:
    if member is None or not member.is_due(message.at):
        return member, ()
    if member.erased_at is not None:
        return None, ()
    over = [one for one in member.invitations if one.until <= message.at]
    told = [_step(message, message.key, one.agency, MembershipStep.EXPIRED, number) for number, one in enumerate(over)]
    return replace(member, invitations=member.invitations[len(over) :]), told


def _erased(member: Membership, message: UserErased) -> Decision:
    """The account closes by itself; whoever had invited them is told that this came to nothing."""
    gone = [(one.agency, MembershipStep.TAKEN_BACK) for one in member.invitations]
    gone += [(member.agency, MembershipStep.LEFT)] if member.agency else []
    told = [_step(message, message.user, agency, step, number) for number, (agency, step) in enumerate(gone)]
    return Membership(version=member.version, erased_at=message.at), told
