"""The ledger: `account`, keyed by account id; double entry, event-sourced.

State: balance, held, seq, standing holds (`schemas.balance.Account`); no state: the account is unknown.
Laws, tested by `tests/test_balance.py` and, independently, by the auditor of `tests.lab.proofs.auditor`:
- an entry's seq is the last one's plus 1; its balance and held are the last ones' plus its changes; its time never goes back;
- 0 <= held <= balance, always; held is the sum of the standing holds;
- coins leave one account only to enter another, or to or from outside: debits to accounts equal credits from accounts once
  the log is quiet. A credit leg that the payee refuses comes back to the payer as a `return` entry, which nothing refuses;
- a closed account is frozen for good, and what is free in it goes to `@forfeited`; what it owes is a loss;
- what is taken back and cannot be paid is owed: no balance is ever negative, and who owes something has nothing free, since
  whatever comes in or is freed pays the debt first;
- of what a member of an agency earns (`EARNED`) its share goes on to the agency's earnings, in the same decision;
- what goes to calls and gifts in any 24 hours, and is held for them, is never more than a cap that stood when it was asked;
- lots never add up to more than the balance, and coins whose time is over lapse as soon as they are free;
- no coins go from a name of one ledger to one of the other (`schemas.balance_ledger`);
- every command is answered by one entry or one refusal, whose `cause` it is (opening an open account, closing a closed one,
  a stale wake: by none); entries that follow from it (a freeze, a lapse, a repayment) come behind it, with the same cause.
Refusals, in order of precedence: see `schemas.balance.Refusal`.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from schemas.balance import (
    EARNED,
    SPENT,
    Account,
    AccountInbox,
    AccountRefused,
    Clawback,
    CloseAccount,
    Credit,
    EntryKind,
    EntryRecorded,
    Freeze,
    Hold,
    LotsRead,
    OpenAccount,
    Post,
    ReadLots,
    Reason,
    Refusal,
    SetCap,
    SetShare,
    StandingHold,
    Transfer,
    Unfreeze,
    Void,
    WriteOff,
    earnings_account,
    is_outside,
)
from schemas.balance_cap import Cap
from schemas.balance_entry import credit_leg, enter
from schemas.balance_fields import EXPIRED, FORFEITED, MAX_HOLDS, WRITTEN_OFF
from schemas.balance_ledger import crosses, ledger_of, party_in
from schemas.balance_lots import taken, with_lots
from schemas.balance_share import Share, share_of, without
from schemas.log.base import MAX_BALANCE_COINS, MAX_COINS, AccountId, Message, UserId, Wake, in_calendar, reply, same_fields

Decision = tuple[Account | None, Sequence[Message]]
# Opening and closing an account and waking it are never refused.
Refusable = Credit | Transfer | Hold | Post | Void | Freeze | Unfreeze | Clawback | WriteOff | SetShare | SetCap


def decide_account(account: Account | None, message: AccountInbox) -> Decision:
    """Decide one message of an account's inbox: the new state (the same object: unchanged) and what to tell."""
    after, told = _decide(account, message)
    if after is None or (after is account and not isinstance(message, Wake)):
        return after, told
    if after.closed:
        return after, (*told, *_forfeits(account, after, message)) if after is not account else told
    # What follows is asked for behind each decision: whether coins are there whose time may be over. Those come first.
    first = after.lots[0].expires_at if after.lots else None
    expires = first is not None and (first <= after.at or first <= message.at)
    return _settle(after, message, told) if expires or after.debt_coins else (after, told)


def _decide(account: Account | None, message: AccountInbox) -> Decision:
    match message:
        case Wake():
            return _wake(account, message)
        case OpenAccount():
            return _open(account, message)
        case CloseAccount():
            return _shut(account, message)
        case ReadLots():
            lots, closed = (account.lots, account.closed) if account is not None else ((), True)
            return account, (LotsRead(**reply(message), **same_fields(message, LotsRead), lots=lots, closed=closed),)
    refusal = refusal_of(account, message)
    if account is None or refusal is not None:
        return account, _refuse(account, message, refusal or Refusal.ACCOUNT_UNKNOWN)
    match message:
        case Credit():
            return _credit(account, message)
        case Transfer():
            return _transfer(account, message)
        case Hold():
            return _hold(account, message)
        case Post():
            return _post(account, message)
        case Void():
            return _void(account, message)
        case Freeze() | Unfreeze() | SetShare() | SetCap():
            return _mark(account, message)
        case Clawback() | WriteOff():
            return _owe(account, message)


def refusal_of(account: Account | None, message: Refusable) -> Refusal | None:
    """The first guard that the message fails, or None."""
    if account is None:
        return Refusal.ACCOUNT_UNKNOWN
    match message:
        case Credit():
            return None if message.returned else _not_credited(account, message)
        case Transfer() if account.closed and message.to == party_in(ledger_of(message.account), FORFEITED):
            return Refusal.INSUFFICIENT_COINS if message.coins > account.available_coins else None
        case Transfer() | Hold() | Unfreeze() if account.closed or (account.frozen and not isinstance(message, Unfreeze)):
            return Refusal.ACCOUNT_FROZEN
        case Transfer() | Hold() if message.to == message.account:
            return Refusal.SAME_ACCOUNT
        case Post() | Void() if account.standing(message.hold) is None:
            return Refusal.HOLD_UNKNOWN
        case Hold() if account.standing(message.hold) is not None:
            return Refusal.HOLD_EXISTS
        case Hold() if message.expires_at <= message.at:
            return Refusal.HOLD_EXPIRES_IN_PAST
        case Post() if (standing := account.standing(message.hold)) and message.coins > standing.coins:
            return Refusal.HOLD_EXCEEDED
        case Hold() if len(account.holds) >= MAX_HOLDS:
            return Refusal.TOO_MANY_HOLDS
        case Transfer() | Hold():
            return _not_spent(account, message)
        case WriteOff() if message.debt_coins != account.debt_coins or message.coins > account.debt_coins:
            return Refusal.DEBT_CHANGED
    return None


def _not_spent(account: Account, message: Transfer | Hold) -> Refusal | None:
    if crosses(message.account, message.to):
        return Refusal.OTHER_LEDGER
    if account.cap is not None and message.reason in SPENT:
        left = account.cap.left_at(max(message.at, account.at), account.held_to_spend)
        if left is not None and message.coins > left:
            return Refusal.DAILY_CAP
    return Refusal.INSUFFICIENT_COINS if message.coins > account.available_coins else None


def _not_credited(account: Account, message: Credit) -> Refusal | None:
    """An agency whose account is closed has no share any more: what was meant for it is the member's."""
    if account.closed and message.reason is Reason.SHARE:
        return Refusal.ACCOUNT_FROZEN
    if account.balance_coins + message.coins > MAX_BALANCE_COINS:
        return Refusal.BALANCE_LIMIT
    return Refusal.OTHER_LEDGER if crosses(message.account, message.counterparty) else None


def _open(account: Account | None, message: OpenAccount) -> Decision:
    if account is not None:
        return account, ()
    after, entry = enter(Account(0, message.at), message, message.account, EntryKind.OPEN, {})
    return after, (entry,)


def _shut(account: Account | None, message: CloseAccount) -> Decision:
    if account is None or account.closed:
        return account, ()
    after, entry = enter(account, message, message.account, EntryKind.CLOSE, {}, frozen=True, closed=True, lots=())
    return replace(after, share=None, cap=None), (entry,)


def _forfeits(before: Account | None, after: Account, message: AccountInbox) -> Sequence[Message]:
    """What has become free in a closed account goes out, by the account's own order: a message moves at most MAX_COINS."""
    free = before.available_coins if before is not None and before.closed else 0
    freed, name = after.available_coins - free, AccountId(message.key if isinstance(message, Wake) else message.account)
    forfeited = party_in(ledger_of(name), FORFEITED)
    return [
        Transfer(
            id=f"{message.id}/forfeit/{number}", at=after.at, account=name, to=forfeited, coins=min(MAX_COINS, freed - taken),
            reason=Reason.FORFEIT,
        )
        for number, taken in enumerate(range(0, freed, MAX_COINS))
    ]  # fmt: skip


def _credit(account: Account, message: Credit) -> Decision:
    kind = EntryKind.RETURN if message.returned else EntryKind.CREDIT
    why = _why_moved(message, message.counterparty)
    lots = with_lots(account.lots, message.lots) if message.lots and not account.closed else None
    after, entry = enter(account, message, message.account, kind, why, coins=message.coins, lots=lots)
    if account.share is None or account.closed or message.reason not in EARNED or message.returned:
        return after, (entry,)
    return _split(after, message, entry, account.share)


def _split(account: Account, message: Credit, earned: EntryRecorded, share: Share) -> Decision:
    """Of what was earned the agency's share goes on, in the same decision."""
    coins, earned_coins, after = share_of(share, earned.coins)
    if not coins:
        return replace(account, share=after), (earned,)
    why = {"counterparty": earnings_account(share.agency), "reason": Reason.SHARE, "ref": message.ref}
    of = {"share_version": share.version, "shared_coins": earned_coins}
    split, entry = enter(account, message, message.account, EntryKind.DEBIT, why | of, coins=-coins, ordinal="share")
    return replace(split, share=after), (earned, entry, *credit_leg(entry))


def _transfer(account: Account, message: Transfer) -> Decision:
    why = _why_moved(message, message.to)
    after, entry = enter(account, message, message.account, EntryKind.DEBIT, why, coins=-message.coins)
    if after.share is not None and message.reason in EARNED:
        after = replace(after, share=without(after.share, message.coins))
    return after, (entry, *credit_leg(entry))


def _why_moved(message: Credit | Transfer, counterparty: str) -> dict[str, str]:
    return {"counterparty": counterparty, "reason": message.reason, "ref": message.ref, "transfer": message.transfer}


def _hold(account: Account, message: Hold) -> Decision:
    hold = StandingHold(message.hold, message.to, message.coins, message.reason, in_calendar(message.expires_at), message.ref)
    after, entry = enter(
        account, message, message.account, EntryKind.HOLD, _why_held(hold), held_change_coins=message.coins,
        holds=(*account.holds, hold),
    )  # fmt: skip
    return after, (entry,)


def _post(account: Account, message: Post) -> Decision:
    hold = account.standing(message.hold)
    assert hold is not None  # guarded
    after, entry = enter(
        account, message, message.account, EntryKind.POST, _why_held(hold), coins=-message.coins,
        held_change_coins=-hold.coins, holds=account.without(hold),
    )  # fmt: skip
    return after, (entry, *credit_leg(entry))


def _void(account: Account, message: Void) -> Decision:
    hold = account.standing(message.hold)
    assert hold is not None  # guarded
    after, entry = _free(account, message, message.account, hold)
    return after, (entry,)


def _expire(account: Account | None, message: Wake) -> Decision:
    entries: list[Message] = []
    for hold in account.holds if account is not None else ():
        if account is not None and hold.expires_at <= message.at:
            account, entry = _free(account, message, AccountId(message.key), hold, ordinal=len(entries))
            entries.append(entry)
    return account, entries


def _wake(account: Account | None, message: Wake) -> Decision:
    """Holds whose time is over are freed, and the higher cap that was waited for counts."""
    after, entries = _expire(account, message)
    if after is None or after.cap is None or after.cap.next_at is None or after.cap.next_at > message.at:
        return after, entries
    turned, name = _with_cap(after, after.cap.turned(message.at)), AccountId(message.key)
    after, entry = enter(turned, message, name, EntryKind.CAP, {"reason": Reason.CAP}, ordinal="cap")
    return after, (*entries, entry)


def _cap(account: Account, message: SetCap) -> Decision:
    at = max(account.at, message.at)
    cap, coins = (account.cap or Cap()).turned(at), message.cap_coins
    cap = replace(cap, staff_coins=coins) if message.staff else cap.set_by_owner(coins, at)
    why = {"reason": message.reason, "ref": message.ref, "transfer": message.transfer}
    after, entry = enter(_with_cap(account, cap), message, message.account, EntryKind.CAP, why)
    return after, (entry,)


def _with_cap(account: Account, cap: Cap) -> Account:
    return replace(account, cap=None if account.closed or cap.is_none else cap)


def _free(
    account: Account, message: Void | Wake, name: AccountId, hold: StandingHold, ordinal: int = 0
) -> tuple[Account, EntryRecorded]:
    """The coins of a hold can be spent again: it was voided, or its time is over."""
    kind = EntryKind.VOID if isinstance(message, Void) else EntryKind.EXPIRE
    return enter(
        account, message, name, kind, _why_held(hold), held_change_coins=-hold.coins, holds=account.without(hold),
        ordinal=ordinal,
    )  # fmt: skip


def _why_held(hold: StandingHold) -> dict[str, str]:
    return {"counterparty": hold.to, "reason": hold.reason, "ref": hold.ref, "hold": hold.hold}


def _mark(account: Account, message: Freeze | Unfreeze | SetShare | SetCap) -> Decision:
    """What changes no coins: a freeze and its end, an agency's share of what is earned from here on, a cap of what is spent."""
    if isinstance(message, SetCap):
        return _cap(account, message)
    if not isinstance(message, SetShare):
        freezes = isinstance(message, Freeze)
        kind = EntryKind.FREEZE if freezes else EntryKind.UNFREEZE
        why = {"reason": message.reason, "ref": message.ref, "transfer": message.transfer}
        after, entry = enter(account, message, message.account, kind, why, frozen=freezes)
        return after, (entry,)
    agency, version = UserId(message.agency), message.version
    to = earnings_account(agency) if agency else ""
    marks = {"counterparty": to, "reason": message.reason, "ref": message.ref, "share_version": version}
    after, entry = enter(account, message, message.account, EntryKind.SHARE, marks)
    share = Share(agency, message.share_bps, version) if agency and not account.closed else None
    return replace(after, share=share), (entry,)


# --- debts and lots ---------------------------------------------------------------------------------------------------------


def _owe(account: Account, message: Clawback | WriteOff) -> Decision:
    """A debt grows by what cannot be taken back, or shrinks by what is forgiven."""
    return _claw_back(account, message) if isinstance(message, Clawback) else _write_off(account, message)


def _claw_back(account: Account, message: Clawback) -> Decision:
    """From a closed account nothing is taken: what is free in it is on its way out already."""
    there = 0 if account.closed else min(message.coins, account.available_coins)
    why = {"counterparty": message.counterparty, "reason": message.reason, "ref": message.ref}
    after, entry = enter(
        account, message, message.account, EntryKind.CLAWBACK, why, coins=-there, debt_change_coins=message.coins - there,
        lots=taken(account.lots, there, message.lots),
    )  # fmt: skip
    limit = message.freeze_above_coins
    if limit is None or after.debt_coins <= limit or after.frozen:
        return after, (entry,)
    why = {"reason": Reason.DEBT, "ref": message.ref}
    after, frozen = enter(after, message, message.account, EntryKind.FREEZE, why, frozen=True, ordinal="freeze")
    return after, (entry, frozen)


def _write_off(account: Account, message: WriteOff) -> Decision:
    why = {
        "counterparty": party_in(ledger_of(message.account), WRITTEN_OFF),
        "reason": message.reason,
        "ref": message.ref,
        "transfer": message.transfer,
    }
    after, entry = enter(account, message, message.account, EntryKind.WRITE_OFF, why, debt_change_coins=-message.coins)
    return after, (entry,)


def _settle(account: Account, message: AccountInbox, told: Sequence[Message]) -> Decision:
    """What is free and whose time is over lapses; what is free then pays the debt."""
    name = AccountId(message.key if isinstance(message, Wake) else message.account)
    entries, now = list[Message](), max(account.at, message.at)
    while account.lots and (free := account.available_coins):
        lot = account.lots[0]
        if lot.expires_at is None or lot.expires_at > now:
            break
        why = {"counterparty": party_in(ledger_of(name), EXPIRED), "reason": Reason.EXPIRY, "ref": lot.lot}
        account, entry = enter(
            account, message, name, EntryKind.LAPSE, why, coins=-min(free, lot.coins), ordinal=f"lapse/{len(entries)}"
        )
        entries.append(entry)
    pieces = 0
    while pays := min(account.debt_coins, account.available_coins, MAX_COINS):  # several holds may have come free at once
        account, entry = enter(
            account, message, name, EntryKind.REPAY, {"reason": Reason.DEBT}, coins=-pays, debt_change_coins=-pays,
            ordinal=f"repay/{pieces}" if pieces else "repay",
        )  # fmt: skip
        entries.append(entry)
        pieces += 1
    return (account, (*told, *entries)) if entries else (account, told)


def _refuse(account: Account | None, message: Refusable, refusal: Refusal) -> tuple[Message, ...]:
    """The refusal, which repeats what was asked; and the coins of a refused credit leg go back to where they came from."""
    asked: dict[str, Any] = {"counterparty": getattr(message, "to", "")}
    asked |= {name: getattr(message, name) for name in ("coins", "counterparty", "hold", "transfer") if hasattr(message, name)}
    if refusal is Refusal.INSUFFICIENT_COINS and account is not None:
        asked["shortfall_coins"] = asked["coins"] - account.available_coins
    if refusal is Refusal.DAILY_CAP and account is not None and account.cap is not None:
        asked["cap_room"] = account.cap.room_at(max(message.at, account.at), account.held_to_spend)
    refused = AccountRefused(
        id=f"{message.id}/0", at=message.at, cause=message.id, account=message.account, command=type(message).__name__,
        refusal=refusal, ref=message.ref, reason=message.reason, **asked,
    )  # fmt: skip
    if not isinstance(message, Credit) or is_outside(message.counterparty) or message.returned:
        return (refused,)
    back = Credit(
        id=f"{message.id}/return", at=message.at, account=message.counterparty, counterparty=message.account,
        coins=message.coins, reason=message.reason, ref=message.ref, transfer=message.transfer, returned=True,
    )  # fmt: skip
    return refused, back
