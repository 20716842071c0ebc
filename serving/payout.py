"""Payouts: what streamers and agencies earned, as money. They: `PUT`, `GET /v1/payouts/destination`, `POST`, `GET /v1/payouts`,
`GET /v1/payouts/{payout}`. Staff: terms, `POST /v1/admin/payouts` for a user, approve, reject, settle; batches stand in
`payout_batch`."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from infra.config import Config, missing_for_payouts
from infra.sepa import name_at_bank
from schemas.log.base import MAX_REF_LENGTH, Message, UserId, new_id, now
from schemas.mission_control_roles import Permission
from schemas.payee import PAYEE, AutomaticPut, DestinationPut, Payee, PutAutomatic, PutDestination
from schemas.payout import (
    PAYOUT,
    PAYOUT_TERMS,
    TERMS,
    ApprovePayout,
    BeginPayoutRound,
    Payout,
    PayoutRepeated,
    PayoutRoundBegun,
    PayoutStepped,
    PutTerms,
    RejectPayout,
    RequestPayout,
    SendPayout,
    SettlePayout,
    Terms,
    TermsPut,
)
from schemas.payout_fields import MAX_ASK_DAYS, MAX_CENTS, MAX_RESERVE_DAYS, PayoutRefusal, PayoutStatus
from schemas.user import USER_ID_PATTERN
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import LATEST, IdempotencyKey, IdInPath, KeptMoment
from serving.runtime.gate import ActingPayee, Looking
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import MoneyChange, MoneyLook, look_as_staff
from serving.runtime.warehouse import micros, rows_of

router = APIRouter(tags=["payouts"])
ACTS: Final = responses(400, 401, 403, 404, 409, 422, 503)

REFUSED: Final[Refusals] = {
    PayoutRefusal.TERMS_UNKNOWN: (409, "nobody has said yet what a coin is worth; see PUT /v1/admin/payouts/terms"),
    PayoutRefusal.DESTINATION_UNKNOWN: (409, "nobody knows where to pay to; see PUT /v1/payouts/destination"),
    PayoutRefusal.PAYOUT_OPEN: (409, "a payout of this user is under way; wait until it has ended"),
    PayoutRefusal.BELOW_MINIMUM: (409, "what is old enough to be paid is less than the least that is paid"),
    PayoutRefusal.PAYEE_ERASED: (409, "the user was erased, and is not paid any more"),
    PayoutRefusal.ACCOUNT_REFUSES: (409, "the account does not have the coins any more; nothing was done"),
    PayoutRefusal.PAYOUT_UNKNOWN: (404, "there is no such payout"),
    PayoutRefusal.PAYOUT_DIFFERS: (409, "this Idempotency-Key was used for another payout; use a new one"),
    PayoutRefusal.PAYOUT_IN_PROGRESS: (409, "this payout is being drawn; ask again in a moment, under the same key", 1),
    PayoutRefusal.PAYOUT_ELSEWHERE: (409, "the payout does not stand where this can be done; look again"),
    PayoutRefusal.OWN_PAYOUT: (403, "nobody decides on a payout to themselves"),
    PayoutRefusal.PROVIDER_DECIDES: (409, "the provider has it, and says itself what became of it; it is asked until it does"),
    PayoutRefusal.SAME_PERSON: (403, "whoever asked for a payout does not approve it; a second person has to"),
    PayoutRefusal.SEEN_DIFFERS: (409, "what you have seen is not what the payout is; look again, and send its `seen`"),
    PayoutRefusal.BATCH_DIFFERS: (409, "this Idempotency-Key was used for a batch of other payouts; use a new one"),
}

Because = Annotated[str, Field(min_length=1, max_length=MAX_REF_LENGTH, pattern=r"^[^\x00-\x1f]*$", examples=["statement 12"])]
STANDS: Final = """SELECT payout, stands AS status, whose AS user, drawn AS coins, amount AS amount_cents, fee AS fee_cents,
    money AS currency, file AS batch, first_at AS asked_at, last_at AS changed_at
FROM (
    SELECT payout, argMax(status, (at, offset)) AS stands, any(user) AS whose, max(coins) AS drawn, max(amount_cents) AS amount,
        max(fee_cents) AS fee, max(currency) AS money, max(batch) AS file, min(at) AS first_at, max(at) AS last_at
    FROM payout_steps FINAL WHERE {user:String} = '' OR user = {user:String} GROUP BY payout
)
WHERE ({status:String} = '' OR stands = {status:String})
    AND (first_at, payout) < (fromUnixTimestamp64Micro({before:Int64}, 'UTC'), {last:String})
ORDER BY first_at DESC, payout DESC LIMIT {limit:UInt32}"""


class TermsBody(RequestBody):
    """`cents_per_100_coins`: what 100 coins are worth, in hundredths of the currency; earnings younger than `reserve_days`
    wait. For `ask_days` behind a payment its provider is asked whether it came back."""

    currency: Literal["EUR"] = "EUR"
    cents_per_100_coins: Annotated[int, Field(strict=True, gt=0, le=1_000_000, examples=[50])]
    fee_cents: Annotated[int, Field(strict=True, ge=0, le=MAX_CENTS)] = 0
    minimum_coins: Annotated[int, Field(strict=True, ge=1, le=10**12)] = 1
    reserve_days: Annotated[int, Field(strict=True, ge=0, le=MAX_RESERVE_DAYS)] = 14
    ask_days: Annotated[int, Field(strict=True, ge=0, le=MAX_ASK_DAYS)] = 30


class TermsAnswer(TermsBody):
    """The terms in force; `version` counts their changes."""

    version: int


class DestinationBody(RequestBody):
    """Whose account, and which."""

    holder: Annotated[
        str, Field(min_length=1, max_length=70, pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$", examples=["Sue Strom"])
    ]
    iban: Annotated[str, Field(min_length=5, max_length=42, examples=["DE89 3704 0044 0532 0130 00"])]


class DestinationAnswer(BaseModel):
    """The destination, its number with all but its ends hidden. `automatic`: a payout is asked for in each round."""

    holder: str
    iban: str
    automatic: bool


class AutomaticBody(RequestBody):
    """Whether a payout is to be asked for in each round."""

    automatic: Annotated[bool, Field(strict=True, examples=[True])]


class AutomaticAnswer(BaseModel):
    """Whether a payout is asked for in each round."""

    automatic: bool


class RoundAnswer(BaseModel):
    """A round has begun."""

    round: str


class PayoutAnswer(BaseModel):
    """A payout as it stands. Gross is `amount_cents + fee_cents`; `coins` are the credits of the earnings' entries from
    `from_seq` to `to_seq`, less `debits_coins`, and `again_coins` of payouts that came back. For staff: `maker`, who asked for
    it, and `seen`, what an approval names."""

    payout: str
    user: str
    status: str
    coins: int
    from_seq: int
    to_seq: int
    debits_coins: int
    again_coins: int
    currency: str
    cents_per_100_coins: int
    amount_cents: int
    fee_cents: int
    version: int
    batch: str
    maker: str = ""
    seen: str = ""


class PayoutRow(BaseModel):
    """A payout in a list."""

    payout: str
    user: str
    status: str
    coins: int
    amount_cents: int
    fee_cents: int
    currency: str
    batch: str
    asked_at: datetime
    changed_at: datetime


class PayoutsAnswer(BaseModel):
    """A page, the last asked for first; `next_before` and `next_last` are parameters of the next page, or null at the end."""

    payouts: list[PayoutRow]
    next_before: datetime | None = None
    next_last: str | None = None


class ApproveBody(RequestBody):
    """The `seen` of the payout as you have looked at it."""

    seen: Annotated[str, Field(min_length=1, max_length=64, examples=["5f2d"])]


class PayoutReasonBody(RequestBody):
    """Why."""

    ref: Because


class SettleBody(PayoutReasonBody):
    """The bank's word: `paid`, `failed` (it never left), or `returned` (it came back)."""

    status: Literal["paid", "failed", "returned"]


class ForBody(RequestBody):
    """Whom to pay."""

    user: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["sue"])]


@router.put("/v1/admin/payouts/terms", response_model=TermsAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_payout_terms(body: TermsBody, caller: MoneyChange, request: Request) -> Any:
    """Say what a coin is worth: payouts that were asked for before keep their terms."""
    fact = await commands_of(request).ask(
        PutTerms(id=new_id(), at=now(), terms=TERMS, by=caller.user, **body.model_dump()), TermsPut
    )  # fmt: skip
    return TermsAnswer(version=fact.version, **body.model_dump())


@router.get("/v1/payouts/terms", response_model=TermsAnswer, responses=responses(401, 403, 409, 503))
async def read_payout_terms(_: Looking, request: Request) -> Any:
    """What a coin is worth, what a payout costs, and how long earnings wait."""
    found: Terms | None = views_of(request).of(PAYOUT_TERMS).get(TERMS)
    if found is None:
        raise refusal_of(request, PayoutRefusal.TERMS_UNKNOWN)
    return TermsAnswer(
        version=found.version, currency="EUR", cents_per_100_coins=found.cents_per_100_coins, fee_cents=found.fee_cents,
        minimum_coins=found.minimum_coins, reserve_days=found.reserve_days, ask_days=found.ask_days,
    )  # fmt: skip


@router.put("/v1/payouts/destination", response_model=DestinationAnswer, responses=ACTS)
async def put_payout_destination(body: DestinationBody, caller: ActingPayee, request: Request) -> Any:
    """Say where your earnings are paid to. While a payout is under way it cannot be changed."""
    try:
        iban = IBAN(body.iban)
    except SchwiftyException as error:
        raise Problem(422, "iban_invalid", f"this is no IBAN: {str(error)[:200]}") from error
    if not iban.in_sepa_zone:
        raise Problem(422, "iban_outside_sepa", "payouts are SEPA transfers, and this country's banks take none")
    if not name_at_bank(body.holder):
        raise Problem(422, "holder_unwritable", "banks write names in Latin letters, and nothing of this one is left in them")
    command = PutDestination(id=new_id(), at=now(), user=UserId(caller.user), holder=body.holder.strip(), iban=iban.compact)
    await commands_of(request).ask(command, DestinationPut)
    known: Payee | None = views_of(request).of(PAYEE).get(caller.user)
    automatic = known is not None and known.automatic
    return DestinationAnswer(holder=command.holder, iban=_hidden(iban.compact), automatic=automatic)


@router.put("/v1/payouts/automatic", response_model=AutomaticAnswer, responses=ACTS)
async def put_automatic_payouts(body: AutomaticBody, caller: ActingPayee, request: Request) -> Any:
    """Say whether a payout is to be asked for in each round that staff has on the timetable. Each is looked at as any other."""
    command = PutAutomatic(id=new_id(), at=now(), user=UserId(caller.user), automatic=body.automatic)
    fact = await commands_of(request).ask(command, AutomaticPut)
    return AutomaticAnswer(automatic=fact.automatic)


@router.post("/v1/admin/payouts/rounds", status_code=201, response_model=RoundAnswer, responses=ACTS)
async def open_payout_round(caller: MoneyChange, key: IdempotencyKey, request: Request) -> Any:
    """Ask for payouts of all who want that by themselves, as a job of the timetable does that sends `BeginPayoutRound`."""
    name = request_id(caller.user, f"round {key}")
    command = BeginPayoutRound(id=new_id(), at=now(), terms=TERMS, round=name, by=caller.user)
    fact = await commands_of(request).ask(command, PayoutRoundBegun)
    return RoundAnswer(round=fact.round)


@router.get("/v1/payouts/destination", response_model=DestinationAnswer, responses=responses(401, 403, 409, 503))
async def read_payout_destination(caller: SignedIn, request: Request) -> Any:
    """Where your earnings are paid to."""
    found: Payee | None = views_of(request).of(PAYEE).get(caller.user)
    if found is None or not found.destination:
        raise refusal_of(request, PayoutRefusal.DESTINATION_UNKNOWN)
    return DestinationAnswer(holder=found.holder, iban=_hidden(found.iban), automatic=found.automatic)


def _hidden(iban: str) -> str:
    return f"{iban[:4]}{'*' * (len(iban) - 8)}{iban[-4:]}"


@router.post("/v1/payouts", status_code=201, response_model=PayoutAnswer, responses=ACTS)
async def request_payout(caller: ActingPayee, key: IdempotencyKey, request: Request) -> Any:
    """Ask for all that you earned long enough ago. Somebody of the staff looks at it before it is paid."""
    return await _request(request, request_id(caller.user, f"payout {key}"), caller.user, caller.user)


@router.post("/v1/admin/payouts", status_code=201, response_model=PayoutAnswer, responses=ACTS)
async def request_payout_for(body: ForBody, caller: MoneyChange, key: IdempotencyKey, request: Request) -> Any:
    """Ask for a streamer's or an agency's payout; another one of the staff approves it."""
    return await _request(request, request_id(caller.user, f"payout {key}"), body.user, caller.user)


async def _request(request: Request, name: str, user: str, by: str) -> PayoutAnswer:
    command = RequestPayout(id=new_id(), at=now(), payout=name, user=UserId(user), by=by)
    return _shown(name, await commands_of(request).ask(command, PayoutStepped, PayoutRepeated))


@router.post("/v1/admin/payouts/{payout}/approve", response_model=PayoutAnswer, responses=ACTS)
async def approve_payout(payout: IdInPath, body: ApproveBody, caller: MoneyChange, request: Request) -> Any:
    """Agree, as a second person, to what you have seen."""
    return await _act(request, ApprovePayout(id=new_id(), at=now(), payout=payout, by=caller.user, seen=body.seen))


@router.post("/v1/admin/payouts/{payout}/reject", response_model=PayoutAnswer, responses=ACTS)
async def reject_payout(payout: IdInPath, body: PayoutReasonBody, caller: MoneyChange, request: Request) -> Any:
    """Do not pay it: the coins can be drawn again."""
    return await _act(request, RejectPayout(id=new_id(), at=now(), payout=payout, by=caller.user, ref=body.ref))


@router.post("/v1/admin/payouts/{payout}/send", response_model=PayoutAnswer, responses=ACTS)
async def send_payout(payout: IdInPath, caller: MoneyChange, request: Request) -> Any:
    """Let the provider pay it, instead of a bank's file. It is asked under the same id until it says what became of it."""
    config: Config = request.app.state.config
    if missing := missing_for_payouts(config):
        raise Problem(409, "provider_unknown", f"set {' and '.join(missing)}: nobody is there who pays")
    return await _act(request, SendPayout(id=new_id(), at=now(), payout=payout, by=caller.user))


@router.post("/v1/admin/payouts/{payout}/settle", response_model=PayoutAnswer, responses=ACTS)
async def settle_payout(payout: IdInPath, body: SettleBody, caller: MoneyChange, request: Request) -> Any:
    """Write down the bank's word. What the bank has not answered stays as it is, and is not sent again."""
    status = PayoutStatus(body.status)
    return await _act(request, SettlePayout(id=new_id(), at=now(), payout=payout, by=caller.user, status=status, ref=body.ref))


async def _act(request: Request, command: Message) -> PayoutAnswer:
    name: str = command.payout  # type: ignore[attr-defined]
    return _shown(name, await commands_of(request).ask(command, PayoutStepped))


@router.get("/v1/payouts/{payout}", response_model=PayoutAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_payout(payout: IdInPath, caller: SignedIn, request: Request) -> Any:
    """A payout as it stands: yours, or, for staff, anybody's."""
    found: Payout | None = views_of(request).of(PAYOUT).get(payout)
    if found is None or (
        found.user != caller.user and not await look_as_staff(request, caller, Permission.MONEY_LOOK, found.user)
    ):
        raise refusal_of(request, PayoutRefusal.PAYOUT_UNKNOWN)
    shown = _shown(payout, found)
    own = found.user == caller.user
    return shown.model_copy(update={"seen": ""} if own else {"maker": found.maker})


def _shown(name: str, found: Payout | PayoutStepped | PayoutRepeated) -> PayoutAnswer:
    fields = {field: getattr(found, field) for field in PayoutAnswer.model_fields if field not in ("payout", "maker")}
    return PayoutAnswer(payout=name, **fields)


Status = Annotated[PayoutStatus | None, Query(description="only those that stand there")]
Before = Annotated[KeptMoment | None, Query(description="the `next_before` of the page before")]
Last = Annotated[str, Query(max_length=128, pattern=r"^[^\x00-\x1f]*$", description="the `next_last` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/v1/payouts", response_model=PayoutsAnswer, responses=responses(401, 403, 422, 503))
async def list_payouts(caller: SignedIn, request: Request, before: Before = None, last: Last = "", limit: Limit = 50) -> Any:
    """Your payouts, the last asked for first."""
    return await _listed(request, caller.user, None, (before, last, limit))


@router.get("/v1/admin/payouts", response_model=PayoutsAnswer, responses=responses(401, 403, 422, 503))
async def list_all_payouts(
    _: MoneyLook, request: Request, *, status: Status = None, before: Before = None, last: Last = "", limit: Limit = 50
) -> Any:
    """Everybody's payouts, as the warehouse has them: it follows within a second."""
    return await _listed(request, "", status, (before, last, limit))


async def _listed(
    request: Request, user: str, status: PayoutStatus | None, page: tuple[datetime | None, str, int]
) -> PayoutsAnswer:
    before, last, limit = page
    asked = {
        "user": user,
        "status": status or "",
        "before": micros(before or LATEST),
        "last": last,
        "limit": limit,
    }
    rows = [PayoutRow(**row) for row in await rows_of(request, STANDS, asked)]
    if len(rows) < limit:
        return PayoutsAnswer(payouts=rows)
    return PayoutsAnswer(payouts=rows, next_before=rows[-1].asked_at, next_last=rows[-1].payout)
