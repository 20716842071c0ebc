"""Balances and entries: `GET /v1/balance` (live, from the view; or as of a time) and `GET /v1/balance/entries` (paged).

What is live comes from memory and carries the cursor from which `GET /v1/feed` goes on without a gap. What is past comes from
ClickHouse, which follows the log within a second.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from schemas.balance import Refusal
from schemas.balance_ledger import Ledger, account_in, ledger_of
from schemas.log.base import now
from schemas.mission_control_roles import Permission
from schemas.user import USER_ID_PATTERN
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import views_of
from serving.runtime.fields import EARLIEST, LATEST, Moment
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import look_as_staff
from serving.runtime.warehouse import micros, rows_of

router = APIRouter(tags=["balance"])

COLUMNS: Final = (
    "seq, kind, at, coins, held_change_coins, balance_coins, held_coins, counterparty, reason, ref, hold, transfer, id, cause,"
    " debt_coins, debt_change_coins"
)
AT: Final = f"""SELECT {COLUMNS} FROM balance_entries FINAL
WHERE account = {{account:String}} AND at <= fromUnixTimestamp64Micro({{at:Int64}}, 'UTC') ORDER BY seq DESC LIMIT 1"""
PAGE: Final = f"""SELECT {COLUMNS} FROM balance_entries FINAL
WHERE account = {{account:String}} AND seq < {{before:UInt64}} ORDER BY seq DESC LIMIT {{limit:UInt32}}"""


AFTER: Final = {
    Ledger.ORDINARY: "sign up first: POST /v1/users",
    Ledger.SANDBOX: "the first test purchase opens it, where the platform takes any; see OLO_SANDBOX_PURCHASES",
}


class Book(StrEnum):
    """Which of a user's two accounts."""

    COINS = "coins"
    EARNINGS = "earnings"


InBook = Annotated[Book, Query(description="what was bought or granted, or what was earned")]
InLedger = Annotated[Ledger, Query(description="`sandbox`: the coins of test purchases, which are worth no money")]
Of = Annotated[str | None, Query(pattern=USER_ID_PATTERN, description="another user's account: for staff")]


class BalanceAnswer(BaseModel):
    """An account: `seq` and `as_of` are those of its last entry; `cursor`: where the feed goes on (live answers only).
    `debt_coins`: what is owed for refunds of coins that were spent; whatever comes in pays it first. `frozen`: nothing goes out
    of it, by a debt or by staff, and what would is refused with `account_frozen` (of a past balance it is not told).
    `cap_left_coins`: so many may go to calls and gifts now by the daily cap, and more at `cap_more_at`; null: there is no
    cap (see GET /v1/spending-cap)."""

    account: str
    balance_coins: int
    held_coins: int
    available_coins: int
    debt_coins: int = 0
    frozen: bool | None = None
    cap_left_coins: int | None = None
    cap_more_at: datetime | None = None
    seq: int
    as_of: datetime
    cursor: str | None = None


class BalanceEntry(BaseModel):
    """One line of the book; `coins` is the change of the balance, `debt_change_coins` of what is owed."""

    seq: int
    kind: str
    at: datetime
    coins: int
    held_change_coins: int
    balance_coins: int
    held_coins: int
    counterparty: str
    reason: str
    ref: str
    hold: str
    transfer: str
    id: str
    cause: str
    debt_coins: int
    debt_change_coins: int


class EntriesAnswer(BaseModel):
    """A page, newest first; `next_before` is the `before` of the next page, or null at the end."""

    account: str
    entries: list[BalanceEntry]
    next_before: int | None = Field(description="null: these were the first entries")


@router.get("/v1/balance", response_model=BalanceAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_balance(
    caller: SignedIn,
    request: Request,
    *,
    book: InBook = Book.COINS,
    ledger: InLedger = Ledger.ORDINARY,
    user: Of = None,
    at: Moment | None = None,
) -> Any:
    """The balance now, or as it was `at` a time."""
    account = account_in(ledger, await _owner(request, caller, user), book)
    if at is not None:
        return await _balance_at(request, account, at)
    views = views_of(request)
    known = views.balance(account)
    if known is None:
        raise _unknown(account)
    room = known.cap.room_at(now(), known.held_coins) if known.cap else None
    return BalanceAnswer(
        account=account,
        balance_coins=known.balance_coins,
        held_coins=known.held_coins,
        available_coins=known.balance_coins - known.held_coins,
        debt_coins=known.debt_coins,
        frozen=known.frozen,
        cap_left_coins=room.left_coins if room else None,
        cap_more_at=room.more_at if room else None,
        seq=known.seq,
        as_of=known.at,
        cursor=views.hub.cursor(account.rpartition("/")[0]),
    )


@router.get("/v1/balance/entries", response_model=EntriesAnswer, responses=responses(401, 403, 404, 422, 503))
async def list_balance_entries(
    caller: SignedIn,
    request: Request,
    *,
    book: InBook = Book.COINS,
    ledger: InLedger = Ledger.ORDINARY,
    user: Of = None,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="only entries with a lower seq")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:
    """The account's entries, newest first."""
    account = account_in(ledger, await _owner(request, caller, user), book)
    rows = await rows_of(request, PAGE, {"account": account, "before": before or 2**62, "limit": limit})
    if not rows and views_of(request).balance(account) is None:
        raise _unknown(account)
    page = [BalanceEntry(**row) for row in rows]
    more = len(page) == limit and page[-1].seq > 1
    return EntriesAnswer(account=account, entries=page, next_before=page[-1].seq if more else None)


async def _balance_at(request: Request, account: str, at: datetime) -> BalanceAnswer:
    bounded = min(max(at.astimezone(UTC) if EARLIEST < at < LATEST else at, EARLIEST), LATEST)
    rows = await rows_of(request, AT, {"account": account, "at": micros(bounded)})
    if not rows:
        raise Problem(404, "no_entry_yet", f"{account} had no entry at that time, or it has not reached the warehouse yet")
    row = rows[0]
    return BalanceAnswer(
        account=account,
        balance_coins=row["balance_coins"],
        held_coins=row["held_coins"],
        available_coins=row["balance_coins"] - row["held_coins"],
        debt_coins=row["debt_coins"],
        seq=row["seq"],
        as_of=row["at"],
    )


async def _owner(request: Request, caller: Caller, user: str | None) -> str:
    others = user is not None and user != caller.user
    if others and not await look_as_staff(request, caller, Permission.MONEY_LOOK):
        raise Problem(403, "forbidden", f"another user's account takes the permission {Permission.MONEY_LOOK}")
    return user or caller.user


def _unknown(account: str) -> Problem:
    return Problem(404, Refusal.ACCOUNT_UNKNOWN, f"there is no account {account}; {AFTER[ledger_of(account)]}")
