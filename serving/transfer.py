"""Grants and transfers: `POST /v1/admin/grants`, `POST /v1/admin/transfers`, `GET /v1/transfers/{id}`.

A command's answer is its outcome: 201 done, 402 not enough coins, 404 an account that nobody has, 409 another refusal, 202 not
decided yet (look at `Location`). The same Idempotency-Key gives the same transfer id, and with it the same answer.
"""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.balance import (
    ACCOUNT_ID_PATTERN,
    PARTY_PATTERN,
    TRANSFER,
    PlaceTransfer,
    Reason,
    Refusal,
    TransferConflicted,
    TransferOutcome,
    TransferRepeated,
    TransferSettled,
    TransferStatus,
)
from schemas.log.base import MAX_COINS, MAX_REF_LENGTH, AccountId, TransferId, new_id, now
from schemas.user import Role
from serving.runtime.auth import Admin, Caller, SignedIn
from serving.runtime.commands import IdempotencyKey, commands_of, request_id, views_of
from serving.runtime.problems import Problem, responses

router = APIRouter(tags=["transfers"])

PROMOTIONS: Final = AccountId("@promotions")
STORE: Final = AccountId("@store")
REFUSED: Final = {
    Refusal.INSUFFICIENT_COINS: (402, "{account} is {short} coins short; nothing was moved"),
    Refusal.ACCOUNT_UNKNOWN: (404, "there is no account {account}; its owner has to sign up first"),
    Refusal.ACCOUNT_FROZEN: (409, "{account} is frozen: nothing goes out of it"),
    Refusal.SAME_ACCOUNT: (409, "payer and payee are the same account, {account}"),
    Refusal.BALANCE_LIMIT: (409, "{account} cannot hold so many coins; they went back to where they came from"),
    Refusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another request; use a new one"),
    Refusal.IN_PROGRESS: (409, "too many requests with this Idempotency-Key are waiting; ask again when one has answered"),
}

Coins = Annotated[int, Field(strict=True, gt=0, le=MAX_COINS, examples=[500])]
Ref = Annotated[str, Field(max_length=MAX_REF_LENGTH, pattern=r"^[^\x00-\x1f]*$", examples=["ticket 4711"])]
OwnAccount = Annotated[str, Field(pattern=ACCOUNT_ID_PATTERN, examples=["ann/coins"])]
Party = Annotated[str, Field(pattern=PARTY_PATTERN, examples=["bob/earnings", "@shop"])]


class GrantBody(BaseModel):
    """Coins as a present, from @promotions; or, `reason: purchase`, coins that were paid for elsewhere, from @store: whoever
    counts purchases counts them."""

    model_config = ConfigDict(extra="forbid")
    account: OwnAccount
    coins: Coins
    ref: Ref = ""
    reason: Literal["grant", "purchase"] = "grant"


class TransferBody(BaseModel):
    """Coins from one account to another, or to an outside party."""

    model_config = ConfigDict(extra="forbid")
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
    responses={202: {"model": TransferAnswer}, **responses(400, 401, 403, 404, 409, 422, 503)},
)  # fmt: skip
async def grant(body: GrantBody, caller: Admin, key: IdempotencyKey, request: Request, response: Response) -> Any:
    """Give coins to an account."""
    reason = Reason(body.reason)
    payer = STORE if reason is Reason.PURCHASE else PROMOTIONS
    return await _place(request, response, caller, key, (payer, body.account, body.coins, reason, body.ref))


@router.post(
    "/v1/admin/transfers", status_code=201, response_model=TransferAnswer,
    responses={202: {"model": TransferAnswer}, **responses(400, 401, 402, 403, 404, 409, 422, 503)},
)  # fmt: skip
async def transfer(body: TransferBody, caller: Admin, key: IdempotencyKey, request: Request, response: Response) -> Any:
    """Move coins between accounts."""
    return await _place(request, response, caller, key, (body.payer, body.payee, body.coins, Reason.TRANSFER, body.ref))


@router.get("/v1/transfers/{transfer}", response_model=TransferAnswer, responses=responses(401, 403, 404, 422, 503))
async def look(transfer: Annotated[str, Path(max_length=64)], caller: SignedIn, request: Request) -> Any:
    """A transfer's state, for a day after it began: for its caller, support and admins."""
    state = views_of(request).of(TRANSFER).get(transfer)
    if state is None or (caller.role not in (Role.ADMIN, Role.SUPPORT) and state.by != caller.user):
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
    request: Request, response: Response, caller: Caller, key: str, what: tuple[str, str, int, Reason, str]
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
    )
    fact = await commands_of(request).ask(command)
    response.headers["Location"] = f"/v1/transfers/{command.transfer}"
    status = "pending"
    match fact:
        case TransferConflicted():
            raise _refused(TransferOutcome(TransferStatus.REFUSED, fact.refusal))
        case TransferSettled() | TransferRepeated():
            if fact.outcome.refusal is not None:
                raise _refused(fact.outcome)
            status = fact.outcome.status
        case _:
            response.status_code = 202
    return TransferAnswer(
        transfer=command.transfer, status=status, payer=payer, payee=payee, coins=coins, reason=reason, ref=ref
    )


def _refused(outcome: TransferOutcome) -> Problem:
    assert outcome.refusal is not None
    status, detail = REFUSED[outcome.refusal]
    problem = Problem(status, outcome.refusal, detail.format(account=outcome.account, short=outcome.shortfall_coins))
    if outcome.refusal is Refusal.IN_PROGRESS:
        problem.headers = {"Retry-After": "1"}
    if outcome.shortfall_coins:
        problem.more["shortfall_coins"] = outcome.shortfall_coins
    return problem
