"""What staff does to an account: `POST /v1/admin/accounts/{user}/freeze`, `/unfreeze`, `/write-off`; and where an account's
coins came from: `GET /v1/balance/lots`."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.adjustment import Act, AdjustmentRepeated, AdjustmentSettled, AskLots, LotsTold, PlaceAdjustment
from schemas.balance import Refusal, coins_account
from schemas.log.base import MAX_COINS, MAX_REF_LENGTH, TransferId, new_id, now
from serving.body import RequestBody
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, UserInPath
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import MoneyChange, MoneyLook

router = APIRouter(tags=["balance"])
ANSWERS: Final = responses(400, 401, 403, 404, 409, 422, 503)

REFUSED: Final[Refusals] = {
    Refusal.DEBT_CHANGED: (409, "{account} owes another sum by now, or less than that; look again: GET /v1/balance"),
}

Because = Annotated[str, Field(min_length=1, max_length=MAX_REF_LENGTH, pattern=r"^[^\x00-\x1f]*$", examples=["ticket 4711"])]
ForgivenCoins = Annotated[int, Field(strict=True, gt=0, le=MAX_COINS, examples=[30])]


class BecauseBody(RequestBody):
    """Why: a ticket, a case; it stands in the account's book."""

    ref: Because


class WriteOffBody(BecauseBody):
    """`coins` of a debt are forgiven. `debt_coins`: the whole debt as it was seen; where it has changed, nothing is done."""

    coins: ForgivenCoins
    debt_coins: Annotated[int, Field(strict=True, gt=0, examples=[80])]


class AdjustmentAnswer(BaseModel):
    """The account behind it."""

    adjustment: str
    account: str
    balance_coins: int
    held_coins: int
    debt_coins: int


class LotAnswer(BaseModel):
    """Coins of one origin: of a purchase, of its bonus, or of a grant that expires."""

    lot: str
    coins: int
    expires_at: datetime | None = None


class LotsAnswer(BaseModel):
    """The lots in the order in which they are spent; what is on the account beyond them never expires."""

    account: str
    lots: list[LotAnswer]


@router.post("/v1/admin/accounts/{user}/freeze", response_model=AdjustmentAnswer, responses=ANSWERS)
async def freeze_account(
    user: UserInPath, body: BecauseBody, caller: MoneyChange, key: IdempotencyKey, request: Request
) -> Any:
    """Let nothing go out of a user's coins any more; what comes in, and the holds that stand, go on."""
    return await _place(request, caller, key, user, Act.FREEZE, ref=body.ref)


@router.post("/v1/admin/accounts/{user}/unfreeze", response_model=AdjustmentAnswer, responses=ANSWERS)
async def unfreeze_account(
    user: UserInPath, body: BecauseBody, caller: MoneyChange, key: IdempotencyKey, request: Request
) -> Any:
    """End a freeze, whoever or whatever debt began it."""
    return await _place(request, caller, key, user, Act.UNFREEZE, ref=body.ref)


@router.post("/v1/admin/accounts/{user}/write-off", response_model=AdjustmentAnswer, responses=ANSWERS)
async def write_off_debt(
    user: UserInPath, body: WriteOffBody, caller: MoneyChange, key: IdempotencyKey, request: Request
) -> Any:
    """Forgive what a user owes for refunds, or a part of it."""
    return await _place(
        request, caller, key, user, Act.WRITE_OFF, ref=body.ref, coins=body.coins, debt_coins=body.debt_coins
    )  # fmt: skip


async def _place(request: Request, caller: Caller, key: str, user: str, act: Act, **fields: Any) -> AdjustmentAnswer:
    command = PlaceAdjustment(
        id=new_id(), at=now(), adjustment=TransferId(request_id(caller.user, f"adjust {key}")), account=coins_account(user),
        act=act, by=caller.user, **fields,
    )  # fmt: skip
    fact = await commands_of(request).ask(command, AdjustmentSettled, AdjustmentRepeated)
    return AdjustmentAnswer(
        adjustment=command.adjustment, account=command.account, balance_coins=fact.after.balance_coins,
        held_coins=fact.after.held_coins, debt_coins=fact.after.debt_coins,
    )  # fmt: skip


@router.get("/v1/balance/lots", response_model=LotsAnswer, responses=responses(401, 403, 404, 422, 503))
async def list_balance_lots(caller: SignedIn, request: Request) -> Any:
    """Where your coins came from, and until when they can be spent, as the ledger has it now."""
    return await _lots(request, caller.user)


@router.get("/v1/admin/accounts/{user}/lots", response_model=LotsAnswer, responses=responses(401, 403, 404, 422, 503))
async def list_account_lots(user: UserInPath, _: MoneyLook, request: Request) -> Any:
    """Likewise, of any user."""
    return await _lots(request, user)


async def _lots(request: Request, user: str) -> LotsAnswer:
    account = coins_account(user)
    if views_of(request).balance(account) is None:
        raise refusal_of(request, Refusal.ACCOUNT_UNKNOWN, account=account)
    name = new_id()
    fact = await commands_of(request).ask(AskLots(id=name, at=now(), adjustment=TransferId(name), account=account), LotsTold)
    lots = [LotAnswer(lot=lot.lot, coins=lot.coins, expires_at=lot.expires_at) for lot in fact.lots]
    return LotsAnswer(account=account, lots=lots)
