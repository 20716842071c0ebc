"""Agencies. The agency: `GET /v1/agency`, its people, `POST`, `DELETE /v1/agency/invitations`, statements by month. The
streamer: `/v1/users/me/agency`, its invitations. Staff: `/v1/admin/agencies`. An agency sees its own people only."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from schemas.agency import (
    AGENCY,
    MEMBERSHIP,
    Agency,
    AgencyPut,
    AgencyRefusal,
    AskToJoin,
    EndInvitation,
    EndMembership,
    Invite,
    Membership,
    MembershipStepped,
    PutAgency,
)
from schemas.balance_share import WHOLE_BPS
from schemas.log.base import MAX_REF_LENGTH, UserId, new_id, now, same_fields
from schemas.user import USER, USER_ID_PATTERN, Role, User
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import UserInPath
from serving.runtime.gate import ActingAgency, ActingStreamer, takes_part
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import MoneyChange, MoneyLook
from serving.runtime.warehouse import micros, rows_of
from serving.view_store.indexes import AGENCY_PEOPLE

router = APIRouter(tags=["agencies"])
LOOKS: Final = responses(401, 403, 404, 422, 503)
ACTS: Final = responses(400, 401, 403, 404, 409, 422, 503)
MONTH_PATTERN: Final = r"^2[01]\d\d-(0[1-9]|1[0-2])$"

REFUSED: Final[Refusals] = {
    AgencyRefusal.AGENCY_UNKNOWN: (404, "there is no such agency; finance makes one by PUT /v1/admin/agencies/{agency}"),
    AgencyRefusal.AGENCY_CLOSED: (409, "this agency is closed: it invites nobody, and nobody joins it; ask finance"),
    AgencyRefusal.SHARE_ABOVE_MOST: (409, "this is more than the agency may ask for; see `most_share_bps`"),
    AgencyRefusal.OWN_AGENCY: (409, "nobody is a member of their own agency"),
    AgencyRefusal.STREAMER_ERASED: (404, "there is no such streamer"),
    AgencyRefusal.INVITATIONS_FULL: (409, "too many invitations of this streamer wait; try again when some have ended"),
    AgencyRefusal.SHARE_STANDS: (409, "the streamer belongs to the agency with this share already"),
    AgencyRefusal.INVITATION_UNKNOWN: (404, "there is no such invitation, or it is over"),
    AgencyRefusal.SHARE_DIFFERS: (409, "the invitation is for another share; look at it again"),
    AgencyRefusal.OTHER_AGENCY: (409, "you belong to another agency; leave it first"),
    AgencyRefusal.NO_MEMBER: (404, "the streamer does not belong to this agency"),
}
STATEMENT: Final = """SELECT user, version, sum(earned_coins) AS earned_coins, sum(share_coins) AS share_coins
FROM agency_shares FINAL
WHERE agency = {agency:String} AND (user, version) > ({last_user:String}, {last_version:Int64})
    AND at >= fromUnixTimestamp64Micro({first:Int64}, 'UTC') AND at < fromUnixTimestamp64Micro({end:Int64}, 'UTC')
GROUP BY user, version ORDER BY user, version LIMIT {limit:UInt32}"""

ShareBpsIn = Annotated[int, Field(strict=True, ge=0, le=WHOLE_BPS, examples=[2_000])]
Because = Annotated[str, Query(min_length=3, max_length=MAX_REF_LENGTH, pattern=r"^[^\x00-\x1f]+$", description="why")]
MonthInPath = Annotated[str, Path(pattern=MONTH_PATTERN, description="a month of UTC: 2026-11")]
LastUser = Annotated[
    str, Query(max_length=128, pattern=f"^$|{USER_ID_PATTERN}", description="the `next_user` of the page before")
]
LastVersion = Annotated[int, Query(ge=-1, le=2**53, description="the `next_version` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]


class AgencyBody(RequestBody):
    """Its name, the most that it may ask of a streamer in hundredths of a percent, and whether it may invite."""

    agency_name: Annotated[
        str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$", examples=["Stars"])
    ]
    most_share_bps: ShareBpsIn
    is_open: bool = True


class AgencyAnswer(BaseModel):
    """An agency. `members` have joined, `invited` have not answered; `version` counts the changes of the agency itself."""

    agency: str
    agency_name: str
    most_share_bps: int
    is_open: bool
    version: int
    members: int
    invited: int


class InvitationBody(RequestBody):
    """Whom, and for which share of what they earn, in hundredths of a percent."""

    user: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["sue"])]
    share_bps: ShareBpsIn


class AcceptBody(RequestBody):
    """The share that you have seen."""

    share_bps: ShareBpsIn


class InvitationAnswer(BaseModel):
    """An invitation that waits for its streamer."""

    agency: str
    agency_name: str
    share_bps: int
    until: datetime


class MembershipAnswer(BaseModel):
    """Whom you belong to (empty: nobody) since when, and with which share; `version` counts the changes of that."""

    agency: str
    agency_name: str
    share_bps: int
    version: int
    since: datetime | None
    invitations: list[InvitationAnswer]


class AgencyPerson(BaseModel):
    """One of an agency's people. `invited_bps`: what an invitation that waits is for, until when; null: there is none."""

    user: str
    is_member: bool
    share_bps: int
    version: int
    since: datetime | None
    invited_bps: int | None
    invited_until: datetime | None


class AgencyPeople(BaseModel):
    """People of an agency, by user; `next_user`: a parameter of the next page, or null at the end."""

    people: list[AgencyPerson]
    next_user: str | None = None


class StatementRow(BaseModel):
    """Of one member and version: what was earned in the month, and the agency's share. Version 0: what came back."""

    user: str
    version: int
    earned_coins: int
    share_coins: int


class StatementAnswer(BaseModel):
    """A page of a month's statement, by user and version; `next_user` and `next_version` are parameters of the next page."""

    agency: str
    month: str
    rows: list[StatementRow]
    next_user: str | None = None
    next_version: int | None = None


# --- the agency -------------------------------------------------------------------------------------------------------------


@router.get("/v1/agency", response_model=AgencyAnswer, responses=LOOKS)
async def read_own_agency(caller: ActingAgency, request: Request) -> Any:
    """Your agency."""
    return _agency(request, caller.user)


@router.get("/v1/agency/people", response_model=AgencyPeople, responses=LOOKS)
async def list_own_people(caller: ActingAgency, request: Request, last_user: LastUser = "", limit: Limit = 100) -> Any:
    """Your members, and whom you have invited."""
    return _people(request, caller.user, last_user, limit)


@router.post("/v1/agency/invitations", status_code=201, response_model=AgencyPerson, responses=ACTS)
async def send_invitation(body: InvitationBody, caller: ActingAgency, request: Request) -> Any:
    """Ask a streamer for a share: to join, or, of a member, another share than now. It takes an earlier one's place."""
    known: User | None = views_of(request).of(USER).get(body.user)
    if known is None or known.role is not Role.STREAMER or not takes_part(views_of(request), body.user):
        raise refusal_of(request, AgencyRefusal.STREAMER_ERASED)
    command = Invite(
        id=new_id(), at=now(), agency=UserId(caller.user), user=UserId(body.user), share_bps=body.share_bps
    )  # fmt: skip
    fact = await commands_of(request).ask(command, MembershipStepped)
    person = _person(request, caller.user, body.user)
    return person.model_copy(update={"invited_bps": fact.share_bps, "invited_until": fact.until})


@router.delete("/v1/agency/invitations/{user}", status_code=204, responses=ACTS)
async def remove_invitation(user: UserInPath, caller: ActingAgency, request: Request) -> None:
    """Take an invitation back."""
    command = EndInvitation(id=new_id(), at=now(), user=UserId(user), agency=UserId(caller.user))
    await commands_of(request).ask(command, MembershipStepped)


@router.delete("/v1/agency/people/{user}", status_code=204, responses=ACTS)
async def remove_member(user: UserInPath, caller: ActingAgency, request: Request) -> None:
    """Let a member go. What they earned so far keeps your share."""
    await _part(request, user, caller.user, caller.user)


@router.get("/v1/agency/statements/{month}", response_model=StatementAnswer, responses=LOOKS)
async def read_own_statement(  # noqa: PLR0917 - a page's parameters
    month: MonthInPath, caller: ActingAgency, request: Request, last_user: LastUser = "", last_version: LastVersion = -1,
    limit: Limit = 500,
) -> Any:  # fmt: skip
    """What your members earned in a month, and your share of it, as the warehouse has it: it follows within seconds."""
    return await _statement(request, caller.user, month, (last_user, last_version, limit))


# --- the streamer -----------------------------------------------------------------------------------------------------------


@router.get("/v1/users/me/agency", response_model=MembershipAnswer, responses=responses(401, 403, 503))
async def read_own_membership(caller: SignedIn, request: Request) -> Any:
    """Which agency you belong to, with which share, and who has invited you."""
    found: Membership = views_of(request).of(MEMBERSHIP).get(caller.user) or Membership()
    invitations = [
        InvitationAnswer(agency=one.agency, agency_name=_name(request, one.agency), share_bps=one.share_bps, until=one.until)
        for one in found.invitations
    ]
    return MembershipAnswer(
        agency=found.agency, agency_name=_name(request, found.agency), share_bps=found.share_bps, version=found.version,
        since=found.since, invitations=invitations,
    )  # fmt: skip


@router.post("/v1/users/me/agency/invitations/{agency}/accept", status_code=204, responses=ACTS)
async def accept_invitation(agency: UserInPath, body: AcceptBody, caller: ActingStreamer, request: Request) -> None:
    """Agree: from now on the agency has this share of what you earn, until you leave or agree to another one."""
    command = AskToJoin(
        id=new_id(), at=now(), user=UserId(caller.user), agency=UserId(agency), share_bps=body.share_bps
    )  # fmt: skip
    await commands_of(request).ask(command, MembershipStepped)


@router.post("/v1/users/me/agency/invitations/{agency}/decline", status_code=204, responses=ACTS)
async def decline_invitation(agency: UserInPath, caller: ActingStreamer, request: Request) -> None:
    """Do not join, or keep the share that you have."""
    command = EndInvitation(id=new_id(), at=now(), user=UserId(caller.user), agency=UserId(agency), refused=True)
    await commands_of(request).ask(command, MembershipStepped)


@router.delete("/v1/users/me/agency", status_code=204, responses=ACTS)
async def leave_agency(caller: ActingStreamer, request: Request) -> None:
    """Leave your agency. What you earned so far keeps its share, what you earn from now on is yours."""
    await _part(request, caller.user, "", caller.user)


# --- staff ------------------------------------------------------------------------------------------------------------------


@router.put("/v1/admin/agencies/{agency}", response_model=AgencyAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_agency(agency: UserInPath, body: AgencyBody, caller: MoneyChange, request: Request) -> Any:
    """Make a user an agency, or change it; it takes the role `agency`, too. What members have agreed to stays as it is."""
    command = PutAgency(id=new_id(), at=now(), agency=UserId(agency), by=caller.user, **body.model_dump())
    fact = await commands_of(request).ask(command, AgencyPut)
    return _shown(request, agency, Agency(**same_fields(fact, Agency)))


@router.get("/v1/admin/agencies", response_model=list[AgencyAnswer], responses=responses(401, 403, 503))
async def list_agencies(_: MoneyLook, request: Request) -> Any:
    """All agencies, by their users."""
    return [_shown(request, name, agency) for name, agency in sorted(views_of(request).of(AGENCY).items())]


@router.get("/v1/admin/agencies/{agency}", response_model=AgencyAnswer, responses=LOOKS)
async def read_agency(agency: UserInPath, _: MoneyLook, request: Request) -> Any:
    """An agency."""
    return _agency(request, agency)


@router.get("/v1/admin/agencies/{agency}/people", response_model=AgencyPeople, responses=LOOKS)
async def list_agency_people(
    agency: UserInPath, _: MoneyLook, request: Request, last_user: LastUser = "", limit: Limit = 100
) -> Any:
    """An agency's members, and whom it has invited."""
    return _people(request, agency, last_user, limit)


@router.get("/v1/admin/agencies/{agency}/statements/{month}", response_model=StatementAnswer, responses=LOOKS)
async def read_statement(  # noqa: PLR0917 - a page's parameters
    agency: UserInPath, month: MonthInPath, _: MoneyLook, request: Request, last_user: LastUser = "",
    last_version: LastVersion = -1, limit: Limit = 500,
) -> Any:  # fmt: skip
    """An agency's statement of a month."""
    return await _statement(request, agency, month, (last_user, last_version, limit))


@router.delete("/v1/admin/agencies/{agency}/people/{user}", status_code=204, responses=ACTS)
async def remove_agency_member(
    agency: UserInPath, user: UserInPath, caller: MoneyChange, request: Request, reason: Because
) -> None:
    """Part a streamer from an agency, for a reason. What they earned so far keeps its share."""
    await _part(request, user, agency, caller.user, reason)


# --- what they share --------------------------------------------------------------------------------------------------------


def _name(request: Request, agency: str) -> str:
    found: Agency | None = views_of(request).of(AGENCY).get(agency) if agency else None
    return found.agency_name if found else ""


def _agency(request: Request, agency: str) -> AgencyAnswer:
    found: Agency | None = views_of(request).of(AGENCY).get(agency)
    if found is None:
        raise refusal_of(request, AgencyRefusal.AGENCY_UNKNOWN, agency=agency)
    return _shown(request, agency, found)


def _shown(request: Request, name: str, agency: Agency) -> AgencyAnswer:
    members, invited = (views_of(request).count(AGENCY_PEOPLE, group) for group in (name, f"{name}/invited"))
    return AgencyAnswer(
        agency=name, agency_name=agency.agency_name, most_share_bps=agency.most_share_bps, is_open=agency.is_open,
        version=agency.version, members=members, invited=invited,
    )  # fmt: skip


def _people(request: Request, agency: str, last_user: str, limit: int) -> AgencyPeople:
    """Members and invited ones together, by user; who is both stands there once."""
    views = views_of(request)
    known = {user for group in (agency, f"{agency}/invited") for user in views.rows(AGENCY_PEOPLE, group)}
    users = sorted(user for user in known if user > last_user)
    people = [_person(request, agency, user) for user in users[:limit]]
    return AgencyPeople(people=people, next_user=users[limit - 1] if len(users) > limit else None)


def _person(request: Request, agency: str, user: str) -> AgencyPerson:
    """What an agency sees of one of its people: nothing that is between the streamer and others."""
    found: Membership = views_of(request).of(MEMBERSHIP).get(user) or Membership()
    member, invitation = found.agency == agency, found.invitation(agency)
    return AgencyPerson(
        user=user, is_member=member, share_bps=found.share_bps if member else 0, version=found.version if member else 0,
        since=found.since if member else None, invited_bps=invitation.share_bps if invitation else None,
        invited_until=invitation.until if invitation else None,
    )  # fmt: skip


async def _part(request: Request, user: str, agency: str, by: str, ref: str = "") -> None:
    command = EndMembership(id=new_id(), at=now(), user=UserId(user), agency=agency, by=by, ref=ref)
    await commands_of(request).ask(command, MembershipStepped)


async def _statement(request: Request, agency: str, month: str, page: tuple[str, int, int]) -> StatementAnswer:
    last_user, last_version, limit = page
    if not re.fullmatch(MONTH_PATTERN, month):
        raise Problem(422, "month_invalid", "say a month as 2026-11")
    first = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
    end = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    asked = {
        "agency": agency, "last_user": last_user, "last_version": last_version, "limit": limit,
        "first": micros(first), "end": micros(end),
    }  # fmt: skip
    rows = [StatementRow(**row) for row in await rows_of(request, STATEMENT, asked)]
    answer = StatementAnswer(agency=agency, month=month, rows=rows)
    if len(rows) < limit:
        return answer
    return answer.model_copy(update={"next_user": rows[-1].user, "next_version": rows[-1].version})
