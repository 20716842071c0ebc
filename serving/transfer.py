"""Grants and transfers: `POST /v1/admin/grants`, `POST /v1/admin/transfers`, `GET /v1/transfers/{id}`.

A command's answer is its outcome: 201 done, 402 not enough coins, 404 an account that nobody has, 409 another refusal, 202 not
decided yet (look at `Location`). Staff says why, in `ref` or in the header X-Reason. The same Idempotency-Key gives the same
transfer id, and with it the same answer.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from schemas.balance import Reason, Refusal
from schemas.balance_fields import ACCOUNT_ID_PATTERN, PARTY_PATTERN
from schemas.log.base import MAX_COINS, MAX_REF_LENGTH, AccountId, TransferId, new_id, now
from schemas.mission_control_roles import Permission
from schemas.transfer import TRANSFER, PlaceTransfer, TransferRepeated, TransferSettled
from serving.body import RequestBody
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import LATEST, IdempotencyKey, Moment
from serving.runtime.later import Later, accepted
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals
from serving.runtime.staff import CoinsMove, look_as_staff

router = APIRouter(tags=["transfers"])

PROMOTIONS: Final = AccountId("@promotions")
STORE: Final = AccountId("@store")
REFUSED: Final[Refusals] = {
    Refusal.INSUFFICIENT_COINS: (402, "{account} is {shortfall_coins} coins short; nothing was moved"),
    Refusal.ACCOUNT_UNKNOWN: (404, "there is no account {account}; its owner has to sign up first"),
    Refusal.ACCOUNT_FROZEN: (409, "{account} is frozen: nothing goes out of it"),
    Refusal.SAME_ACCOUNT: (409, "payer and payee are the same account, {account}"),
    Refusal.OTHER_LEDGER: (409, "coins of the sandbox's ledger stay in it, and no others come into it; nothing was moved"),
    Refusal.BALANCE_LIMIT: (409, "{account} cannot hold so many coins; they went back to where they came from"),
    Refusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another request; use a new one"),
    Refusal.IN_PROGRESS: (409, "too many requests with this Idempotency-Key are waiting; ask again when one has answered", 1),
}

Coins = Annotated[int, Field(strict=True, gt=0, le=MAX_COINS, examples=[500])]
Ref = Annotated[str, Field(max_length=MAX_REF_LENGTH, pattern=r"^[^\x00-\x1f]*$", examples=["ticket 4711"])]
OwnAccount = Annotated[str, Field(pattern=ACCOUNT_ID_PATTERN, examples=["ann/coins"])]
Party = Annotated[str, Field(pattern=PARTY_PATTERN, examples=["bob/earnings", "@shop"])]


class GrantBody(RequestBody):
    """Coins as a present, from @promotions; or, `reason: purchase`, coins that were paid for elsewhere, from @store: whoever
    counts purchases counts them. `expires_at`: what is not spent until then lapses."""

    account: OwnAccount
    coins: Coins
    ref: Ref = ""
    reason: Literal["grant", "purchase"] = "grant"
    expires_at: Moment | None = None


class TransferBody(RequestBody):
    """Coins from one account to another, or to an outside party."""

    payer: OwnAccount
    payee: Party
    coins: Coins
    ref: Ref = ""


class TransferAnswer(BaseModel):
    """A transfer as it stands. `status`: pending, completed, refused; `refusal` is the stable code of a refusal."""

    transfer: str
    status: str
    payer: str
    payee: str
    coins: int
    reason: str
    ref: str
    refusal: str | None = None


@router.post(
    "/v1/admin/grants", status_code=201, response_model=TransferAnswer,
    responses={**accepted(TransferAnswer), **responses(400, 401, 403, 404, 409, 422, 503)},
)  # fmt: skip
async def grant_coins(body: GrantBody, caller: CoinsMove, key: IdempotencyKey, request: Request, response: Response) -> Any:
    """Give coins to an account."""
    reason = Reason(body.reason)
    payer = STORE if reason is Reason.PURCHASE else PROMOTIONS
    if body.expires_at is not None and not now() < body.expires_at < LATEST:
        raise Problem(422, "expires_in_past", "expires_at has to be a time to come; leave it out for coins that never expire")
    what = (payer, body.account, body.coins, reason, body.ref)
    return await _place(request, response, caller, key, what, expires_at=body.expires_at)


@router.post(
    "/v1/admin/transfers", status_code=201, response_model=TransferAnswer,
    responses={**accepted(TransferAnswer), **responses(400, 401, 402, 403, 404, 409, 422, 503)},
)  # fmt: skip
async def transfer_coins(
    body: TransferBody, caller: CoinsMove, key: IdempotencyKey, request: Request, response: Response
) -> Any:
    """Move coins between accounts."""
    return await _place(request, response, caller, key, (body.payer, body.payee, body.coins, Reason.TRANSFER, body.ref))


@router.get("/v1/transfers/{transfer}", response_model=TransferAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_transfer(transfer: Annotated[str, Path(max_length=64)], caller: SignedIn, request: Request) -> Any:
    """A transfer's state, for a day after it began: for its caller, and staff."""
    state = views_of(request).of(TRANSFER).get(transfer)
    own = state is not None and state.by == caller.user
    if state is None or not (own or await look_as_staff(request, caller, Permission.MONEY_LOOK)):
        raise Problem(404, "transfer_unknown", f"there is no transfer {transfer!r}, or it is older than a day")
    outcome = state.outcome
    return TransferAnswer(
        transfer=transfer,
        status=outcome.status if outcome else "pending",
        payer=state.payer,
        payee=state.payee,
        coins=state.coins,
        reason=state.reason,
        ref=state.ref,
        refusal=outcome.refusal if outcome else None,
    )


async def _place(
    request: Request,
    response: Response,
    caller: Caller,
    key: str,
    what: tuple[str, str, int, Reason, str],
    *,
    expires_at: datetime | None = None,
) -> TransferAnswer:
    payer, payee, coins, reason, ref = what
    command = PlaceTransfer(
        id=new_id(),
        at=now(),
        transfer=TransferId(request_id(caller.user, key)),
        payer=AccountId(payer),
        payee=AccountId(payee),
        coins=coins,
        reason=reason,
        ref=ref,
        by=caller.user,
        expires_at=expires_at,
    )
    answer = TransferAnswer(
        transfer=command.transfer, status="pending", payer=payer, payee=payee, coins=coins, reason=reason, ref=ref
    )
    later = Later(f"/v1/transfers/{command.transfer}", answer)
    fact = await commands_of(request).ask(command, TransferSettled, TransferRepeated, later=later)
    response.headers["Location"] = later.location
    return answer.model_copy(update={"status": fact.outcome.status})
