"""A person, whole: `GET /v1/admin/people/{user}`, what is known of somebody now, and all that has happened, newest first.

What is now comes from the views, what has happened from the warehouse, which follows within seconds. Of a kind of moment
nothing is shown to whoever may not look at it elsewhere. What people wrote and said is nowhere here. How much was on an
account at any time says `GET /v1/balance?user=...&at=...`.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from schemas.balance_ledger import accounts_of
from schemas.log.base import now
from schemas.mission_control_roles import Permission
from schemas.panel import MEMBER, Attribute, Member
from schemas.user import USER, Role, User, UserRefusal
from serving.runtime.commands import views_of
from serving.runtime.fields import LATEST, KeptMoment, UserInPath
from serving.runtime.problems import responses
from serving.runtime.refusals import refusal_of
from serving.runtime.staff import PeopleLook, word_of
from serving.runtime.views import Views
from serving.runtime.warehouse import micros, rows_of

router = APIRouter(tags=["staff"])

# Whoever looks at the page reads a range of the table's key from its end. Moments of one microsecond stand on one page.
MOMENTS: Final = """
SELECT at, kind, type, acted, peer, coins, book, balance_coins, thing, note, partition, offset
FROM person_moments FINAL
WHERE user = {user:String} AND at < fromUnixTimestamp64Micro({before:Int64}, 'UTC') AND kind IN {kinds:Array(String)}
ORDER BY at DESC LIMIT {limit:UInt32} WITH TIES"""


class MomentKind(StrEnum):
    """Which part of a person's life: the entity that tells of it."""

    ACCOUNT = "account"
    ATTRIBUTION = "attribution"
    BLOCKS = "blocks"
    CALL = "call"
    CHAT = "chat"
    CHAT_REPORT = "chat_report"
    FAVORITES = "favorites"
    GIFT = "gift"
    MEMBER = "member"
    MEMBERSHIP = "membership"
    NOTIFICATION = "notification"
    OUTBOX = "outbox"
    OUTREACH = "recipient"
    PAYEE = "payee"
    PAYOUT = "payout"
    PRICE_CLASS = "price_class"
    PRIVATE_PROFILE = "private_profile"
    PROFILE = "profile"
    PURCHASE = "purchase"
    RECORD = "record"
    STAFF = "staff"
    STAFF_ACT = "staff_act"
    USER = "user"


# What it takes to see a kind, besides the look at people.
TAKES: Final[Mapping[MomentKind, Permission]] = {
    MomentKind.ACCOUNT: Permission.MONEY_LOOK,
    MomentKind.GIFT: Permission.MONEY_LOOK,
    MomentKind.MEMBERSHIP: Permission.MONEY_LOOK,
    MomentKind.PAYEE: Permission.MONEY_LOOK,
    MomentKind.PAYOUT: Permission.MONEY_LOOK,
    MomentKind.PURCHASE: Permission.MONEY_LOOK,
    MomentKind.CHAT_REPORT: Permission.REPORTS_LOOK,
    MomentKind.RECORD: Permission.REPORTS_LOOK,
    MomentKind.PRIVATE_PROFILE: Permission.PRIVATE_LOOK,
    MomentKind.STAFF: Permission.ROLES_LOOK,
    MomentKind.STAFF_ACT: Permission.AUDIT_LOOK,
}


class HoldingAnswer(BaseModel):
    """What is on an account now. `cap_coins`: the daily cap of what is spent, and `left_coins`, what it leaves."""

    account: str
    balance_coins: int
    held_coins: int
    debt_coins: int
    frozen: bool
    as_of: datetime
    cap_coins: int | None = None
    left_coins: int | None = None


class MomentAnswer(BaseModel):
    """Something that happened. `type`: the fact that tells it; `acted`: it came from this person; `peer`: the other one, or an
    outside party; `coins` moved in `book`, in which `balance_coins` were then; `thing`: which call, gift, purchase; `note`: why
    it was, or was not. The topic `<kind>.events` has the fact at `partition` and `offset`."""

    at: datetime
    kind: MomentKind
    type: str
    acted: bool
    peer: str
    coins: int
    book: str
    balance_coins: int
    thing: str
    note: str
    partition: int
    offset: int


class PersonPageAnswer(BaseModel):
    """What is known of a person now, and a page of what has happened, newest first. `holdings`: for whoever may look at money.
    `hidden`: kinds that the one who asks may not see. `next_before` null: that was all."""

    user: str
    roles: list[Role]
    signed_up_at: datetime | None
    country: str = ""
    online: bool
    banned: bool
    banned_until: datetime | None = None
    erased_at: datetime | None = None
    tags: list[str]
    cohorts: list[str]
    holdings: list[HoldingAnswer]
    moments: list[MomentAnswer]
    hidden: list[MomentKind]
    next_before: datetime | None = Field(description="the `before` of the next page, or null at the end")


Kinds = Annotated[list[MomentKind] | None, Query(max_length=len(MomentKind), description="only moments of these kinds")]
Before = Annotated[KeptMoment | None, Query(description="only what happened earlier")]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get(
    "/v1/admin/people/{user}", response_model=PersonPageAnswer, responses=responses(401, 403, 404, 422, 503)
)  # fmt: skip
async def read_person(
    user: UserInPath, caller: PeopleLook, request: Request, *, kind: Kinds = None, before: Before = None, limit: Limit = 50
) -> Any:
    """Somebody as they are now, and what has happened to them and by them: money, calls, gifts, chats (that, not what),
    notices, payments, payouts, cohorts, staff."""
    views = views_of(request)
    known: User | None = views.of(USER).get(user)
    hidden = [one for one, takes in TAKES.items() if takes not in caller.permissions]
    kinds = [one for one in kind or MomentKind if one not in hidden]
    asked = {"user": user, "before": micros(before or LATEST), "kinds": kinds, "limit": limit}
    rows = sorted(await rows_of(request, MOMENTS, asked), key=_order)
    if known is None and not rows:
        raise refusal_of(request, UserRefusal.USER_UNKNOWN, user=user)
    return PersonPageAnswer(
        **_now(views, user, known),
        holdings=_holdings(views, user) if Permission.MONEY_LOOK in caller.permissions else [],
        moments=[MomentAnswer(**row) for row in rows],
        hidden=hidden,
        next_before=rows[-1]["at"] if len(rows) >= limit else None,
    )


def _order(row: dict[str, Any]) -> tuple[float, str, int, int]:
    """Newest first; in the log's order, backwards, where that does not say."""
    return -row["at"].timestamp(), row["kind"], -row["partition"], -row["offset"]


def _now(views: Views, user: str, known: User | None) -> dict[str, Any]:
    member: Member = views.of(MEMBER).get(user) or Member()
    word = word_of(views, user)
    return {
        "user": user,
        "roles": list(word) if word is not None else [known.role] if known else [],
        "signed_up_at": known and known.signed_up_at,
        "country": member.attributes.get(Attribute.COUNTRY, ""),
        "online": bool(known and known.online_since),
        "banned": bool(known and known.banned),
        "banned_until": known and known.banned_until,
        "erased_at": known and known.erased_at,
        "tags": sorted({*member.tags, *member.cohorts.values()} - {""}),
        "cohorts": sorted(member.cohorts),
    }


def _holdings(views: Views, user: str) -> list[HoldingAnswer]:
    at = now()
    return [
        HoldingAnswer(
            account=account, balance_coins=found.balance_coins, held_coins=found.held_coins, debt_coins=found.debt_coins,
            frozen=found.frozen, as_of=found.at, cap_coins=found.cap.coins_at(at) if found.cap else None,
            left_coins=found.cap.left_at(at, found.held_coins) if found.cap else None,
        )
        for account in accounts_of(user)
        if (found := views.balance(account)) is not None
    ]  # fmt: skip
