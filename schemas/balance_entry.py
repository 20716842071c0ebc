"""The next entry of an account, and the state behind it: the only place where an account changes."""

from collections.abc import Mapping
from typing import Any

from schemas.balance import SPENT, Account, AccountInbox, Credit, EntryKind, EntryRecorded, Reason, StandingHold, is_outside
from schemas.balance_lots import Lot, spent
from schemas.log.base import AccountId, Message


def enter(
    account: Account,
    message: AccountInbox,
    name: AccountId,
    kind: EntryKind,
    why: Mapping[str, Any],
    *,
    coins: int = 0,
    held_change_coins: int = 0,
    holds: tuple[StandingHold, ...] | None = None,
    frozen: bool | None = None,
    closed: bool | None = None,
    ordinal: int | str = 0,
    debt_change_coins: int = 0,
    lots: tuple[Lot, ...] | None = None,
) -> tuple[Account, EntryRecorded]:
    """The next entry of the account `name` and the state after it: the only place where an account changes.

    This is the busiest code of all: the entry's envelope is written out, since `reply` would make a decision 10 % slower."""
    at, cap = message.at if message.at > account.at else account.at, account.cap
    if cap is not None and coins and why.get("reason") in SPENT:
        cap = cap.after(at, -coins)
    after = Account(
        account.seq + 1,
        at,
        account.balance_coins + coins,
        account.held_coins + held_change_coins,
        account.frozen if frozen is None else frozen,
        account.holds if holds is None else holds,
        account.closed if closed is None else closed,
        account.debt_coins + debt_change_coins,
        (spent(account.lots, -coins) if coins < 0 and account.lots else account.lots) if lots is None else lots,
        account.share,
        cap,
    )
    entry = EntryRecorded(
        id=f"{message.id}/{ordinal}",
        at=at,
        cause=message.id,
        account=name,
        seq=after.seq,
        kind=kind,
        balance_coins=after.balance_coins,
        held_coins=after.held_coins,
        coins=coins,
        held_change_coins=held_change_coins,
        debt_coins=after.debt_coins,
        debt_change_coins=debt_change_coins,
        frozen=after.frozen,
        cap=cap,
        **why,
    )
    return after, entry


def credit_leg(debit: EntryRecorded) -> tuple[Message, ...]:
    """The other half of a debit; an outside party has no account that could be credited."""
    if is_outside(debit.counterparty) or not debit.coins:
        return ()
    leg = Credit(
        id=f"{debit.cause}/credit", at=debit.at, account=AccountId(debit.counterparty), counterparty=debit.account,
        coins=-debit.coins, reason=Reason(debit.reason), ref=debit.ref, transfer=debit.transfer,
    )  # fmt: skip
    return (leg,)
