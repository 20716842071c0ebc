"""The daily cap of what goes to calls and gifts in any 24 hours: `GET`, `PUT /v1/spending-cap` for a payer, and `GET`, `PUT
/v1/admin/accounts/{user}/spending-cap` for staff, who set one beside the payer's; the smaller counts."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.adjustment import Act, AdjustmentRepeated, AdjustmentSettled, PlaceAdjustment
from schemas.balance import Refusal, coins_account
from schemas.balance_cap import Cap
from schemas.log.base import MAX_BALANCE_COINS, TransferId, new_id, now
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, UserInPath
from serving.runtime.gate import Acting
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import MoneyChange, MoneyLook

router = APIRouter(tags=["balance"])
LOOKS: Final = responses(401, 403, 404, 422, 503)
CHANGES: Final = responses(400, 401, 403, 404, 409, 422, 503)

REFUSED: Final[Refusals] = {
    Refusal.DAILY_CAP: (409, "{account} has a daily cap, which leaves less; see GET /v1/spending-cap"),
}

CapCoins = Annotated[
    int | None,
    Field(strict=True, ge=0, le=MAX_BALANCE_COINS, examples=[500], description="coins in any 24 hours; null: no cap"),
]
CapReason = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$", examples=["ticket 4711"])]


class SpendingCapBody(RequestBody):
    """The most that goes to calls and gifts in any 24 hours. Less counts at once; more, or no cap, a day later."""

    coins: CapCoins


class StaffCapBody(RequestBody):
    """Likewise, by staff: it counts at once, beside the payer's own. `ref`: why; it stands in the account's book."""

    coins: CapCoins
    ref: CapReason


class SpendingCapAnswer(BaseModel):
    """`coins`: the cap that counts, the smaller of `own_coins` and `staff_coins`; null: none. From `next_at` on `own_coins` is
    `next_coins`; until then who puts `own_coins` again takes that back. `spent_coins`: what counts of it now, and is held;
    `left_coins`: what is left; by itself that is more at `more_at`."""

    account: str
    coins: int | None = None
    own_coins: int | None = None
    staff_coins: int | None = None
    next_coins: int | None = None
    next_at: datetime | None = None
    spent_coins: int = 0
    left_coins: int | None = None
    more_at: datetime | None = None


@router.get("/v1/spending-cap", response_model=SpendingCapAnswer, responses=LOOKS)
async def read_spending_cap(caller: SignedIn, request: Request) -> Any:
    """Your daily cap, what you have spent of it, and when there will be more."""
    return _seen(request, caller.user)


@router.put("/v1/spending-cap", response_model=SpendingCapAnswer, responses=CHANGES)
async def put_spending_cap(body: SpendingCapBody, caller: Acting, request: Request) -> Any:
    """Limit what you spend in any 24 hours. Less counts at once; more, or no limit, 24 hours later."""
    name = TransferId(new_id())
    ref = "own: no cap" if body.coins is None else f"own: {body.coins}"
    return await _put(request, name, caller.user, Act.CAP, by=caller.user, cap_coins=body.coins, ref=ref)


@router.get("/v1/admin/accounts/{user}/spending-cap", response_model=SpendingCapAnswer, responses=LOOKS)
async def read_account_spending_cap(user: UserInPath, _: MoneyLook, request: Request) -> Any:
    """Likewise, of any user."""
    return _seen(request, user)


@router.put("/v1/admin/accounts/{user}/spending-cap", response_model=SpendingCapAnswer, responses=CHANGES)
async def put_account_spending_cap(
    user: UserInPath, body: StaffCapBody, caller: MoneyChange, key: IdempotencyKey, request: Request
) -> Any:
    """Limit what a user spends in any 24 hours, beside the user's own cap; it counts at once, and so does its end."""
    name = TransferId(request_id(caller.user, f"adjust {key}"))
    ref = f"staff: {'no cap' if body.coins is None else body.coins}; {body.ref}"
    return await _put(request, name, user, Act.STAFF_CAP, by=caller.user, cap_coins=body.coins, ref=ref)


async def _put(request: Request, name: TransferId, user: str, act: Act, **fields: Any) -> SpendingCapAnswer:
    account = coins_account(user)
    command = PlaceAdjustment(id=new_id(), at=now(), adjustment=name, account=account, act=act, **fields)
    fact = await commands_of(request).ask(command, AdjustmentSettled, AdjustmentRepeated)
    return _answer(account, fact.after.cap, fact.after.held_coins)


def _seen(request: Request, user: str) -> SpendingCapAnswer:
    account = coins_account(user)
    found = views_of(request).balance(account)
    if found is None:
        raise refusal_of(request, Refusal.ACCOUNT_UNKNOWN, account=account)
    return _answer(account, found.cap, found.held_coins)


def _answer(account: str, cap: Cap | None, held_coins: int) -> SpendingCapAnswer:
    if cap is None:
        return SpendingCapAnswer(account=account)
    at = now()
    turned, room = cap.turned(at), cap.room_at(at, held_coins)
    return SpendingCapAnswer(
        account=account, coins=turned.coins_at(at), own_coins=turned.own_coins, staff_coins=turned.staff_coins,
        next_coins=turned.next_coins, next_at=turned.next_at,
        spent_coins=held_coins + sum(hour.coins for hour in cap.counting(at)),
        left_coins=room.left_coins if room else None, more_at=room.more_at if room else None,
    )  # fmt: skip
