"""The ledger's messages and states: `account` (one owner's coins) and `transfer` (one request to move coins). How accounts and
parties are called: `schemas.balance_fields`."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance_cap import Cap, CapCoins, CapRoom
from schemas.balance_fields import (
    MAX_HOLDS,
    Account_,
    HoldName,
    Moved,
    OptionalHold,
    OptionalParty,
    Party,
    ReasonWord,
    TransferName,
)
from schemas.balance_lots import LotName, Lots
from schemas.balance_share import Share, ShareBps, ShareVersion
from schemas.log.base import (
    AccountId,
    Coins,
    Fact,
    Message,
    OptionalId,
    Ref,
    Refused,
    State,
    Time,
    UserId,
    Wake,
)
from schemas.log.entity import Entity, Flow, Shown
from schemas.log.personal import PLAIN
from schemas.user import OptionalUser


def coins_account(owner: str) -> AccountId:
    """The account that holds what `owner` bought or was granted."""
    return AccountId(f"{owner}/coins")


def earnings_account(owner: str) -> AccountId:
    """The account that holds what `owner` earned."""
    return AccountId(f"{owner}/earnings")


def owner_of(account: str) -> UserId:
    """The user whose account it is."""
    return UserId(account.rpartition("/")[0])


def is_outside(party: str) -> bool:
    """Whether `party` stands outside the ledger."""
    return party.startswith("@")


class Reason(StrEnum):
    """Why coins moved. Members are only ever added."""

    GRANT = "grant"
    TRANSFER = "transfer"
    PURCHASE = "purchase"
    CALL = "call"
    GIFT = "gift"
    REFUND = "refund"
    PAYOUT = "payout"
    ADJUSTMENT = "adjustment"
    PENALTY = "penalty"
    FORFEIT = "forfeit"
    DEBT = "debt"
    EXPIRY = "expiry"
    SHARE = "share"
    CAP = "cap"


class EntryKind(StrEnum):
    """What an entry did to the account: `coins` is the change of the balance, `held_change_coins` of what is held,
    `debt_change_coins` of what is owed. Only a lapse, a clawback, a repayment and a write-off have to do with lots or debts.
    `share`: the share of an agency changed; the coins that it gets are a debit for the reason `share`.
    `cap`: the daily cap did."""

    OPEN = "open"
    CREDIT = "credit"
    DEBIT = "debit"
    RETURN = "return"
    HOLD = "hold"
    POST = "post"
    VOID = "void"
    EXPIRE = "expire"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CLOSE = "close"
    CLAWBACK = "clawback"
    REPAY = "repay"
    WRITE_OFF = "write_off"
    LAPSE = "lapse"
    SHARE = "share"
    CAP = "cap"


class Refusal(StrEnum):
    """Why the ledger refused, in order of precedence."""

    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_FROZEN = "account_frozen"
    SAME_ACCOUNT = "same_account"
    BALANCE_LIMIT = "balance_limit"
    HOLD_UNKNOWN = "hold_unknown"
    HOLD_EXISTS = "hold_exists"
    HOLD_EXPIRES_IN_PAST = "hold_expires_in_past"
    HOLD_EXCEEDED = "hold_exceeded"
    TOO_MANY_HOLDS = "too_many_holds"
    OTHER_LEDGER = "other_ledger"
    DAILY_CAP = "daily_cap"
    INSUFFICIENT_COINS = "insufficient_coins"
    DEBT_CHANGED = "debt_changed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


# --- the account's inbox ---------------------------------------------------------------------------------------------------


class _ToAccount(Message):
    account: Account_


class OpenAccount(_ToAccount):
    """Open the account; open already: nothing happens."""


class Credit(_ToAccount):
    """Put coins in: from outside, or as the second leg of a transfer. `returned`: coins that came back to their payer.
    `lots`: those of the coins that come under a name of their own, at most all of them."""

    counterparty: Party
    coins: Coins
    reason: Reason
    ref: Ref = ""
    transfer: OptionalId = ""
    returned: bool = False
    lots: Lots = ()


class Transfer(_ToAccount):
    """Take coins out and, if `to` is an account, credit them there."""

    to: Party
    coins: Coins
    reason: Reason
    ref: Ref = ""
    transfer: OptionalId = ""


class Hold(_ToAccount):
    """Reserve coins for `to` until they are posted, voided or `expires_at` comes."""

    hold: HoldName
    to: Party
    coins: Coins
    reason: Reason
    expires_at: Time
    ref: Ref = ""


class Post(_ToAccount):
    """Pay `coins` of a hold (all of it or a part) to its payee; the rest is free again. `reason` and `ref`: for a refusal."""

    hold: HoldName
    coins: Coins
    reason: ReasonWord = ""
    ref: Ref = ""


class Void(_ToAccount):
    """Free a hold; nothing is paid. `reason` and `ref`: for a refusal."""

    hold: HoldName
    reason: ReasonWord = ""
    ref: Ref = ""


class _Adjustment(_ToAccount):
    reason: Reason = Reason.ADJUSTMENT
    ref: Ref = ""
    transfer: OptionalId = ""


class Clawback(_ToAccount):
    """Take back what `counterparty`, an outsider, once paid in: what is free, of the named lots first; the rest is owed.
    A debt above `freeze_above_coins` freezes the account. It is never refused to whom has an account."""

    counterparty: Party
    coins: Coins
    reason: Reason
    ref: Ref = ""
    lots: Annotated[tuple[LotName, ...], Meta(max_length=2)] = ()
    freeze_above_coins: Annotated[int, Meta(ge=0)] | None = None


class ReadLots(_ToAccount):
    """Somebody asks for the account's lots; `request`: for whom the answer is, or `purchase`, for which."""

    request: TransferName
    purchase: OptionalId = ""


class Freeze(_Adjustment):
    """Let nothing new go out: transfers and holds are refused, credits and the holds that stand go on."""


class Unfreeze(_Adjustment):
    """End a freeze."""


class SetCap(_Adjustment):
    """From here on so many coins may be spent in 24 hours, says the owner or `staff`; None: as many as there are."""

    reason: Reason = Reason.CAP
    cap_coins: CapCoins | None = None
    staff: bool = False


class WriteOff(_Adjustment):
    """Somebody of the staff forgives a part of a debt, or all of it. `debt_coins`: what was owed when they looked."""

    coins: Coins
    debt_coins: int


class SetShare(_ToAccount):
    """From here on an agency has this share of what is earned; without an agency: nobody has. `version`: of the membership."""

    agency: OptionalUser
    version: ShareVersion
    share_bps: ShareBps = 0
    reason: Reason = Reason.SHARE
    ref: Ref = ""


class CloseAccount(_ToAccount):
    """Its owner was erased: what is free goes to FORFEITED, now and whenever anything becomes free. Closed: nothing happens."""


AccountInbox = (
    OpenAccount | Credit | Transfer | Hold | Post | Void | Clawback | WriteOff | ReadLots | SetShare | SetCap | Freeze
    | Unfreeze | CloseAccount | Wake
)  # fmt: skip


# --- what an account tells ---------------------------------------------------------------------------------------------------


class EntryRecorded(Fact):
    """One line of the account's book. `seq` counts from 1 without a gap; balance, held, debt and `frozen` are those after the
    entry. `transfer`: the transfer or the adjustment that it is of. `share_version`, `shared_coins`: of an agency's share its
    version, and the earnings that it is of. `cap`: the daily cap behind the entry, where there is one."""

    account: Account_
    seq: int
    kind: EntryKind
    balance_coins: int
    held_coins: int
    coins: Moved = 0
    held_change_coins: int = 0
    counterparty: OptionalParty = ""
    reason: ReasonWord = ""
    ref: Ref = ""
    hold: OptionalHold = ""
    transfer: OptionalId = ""
    debt_coins: int = 0
    debt_change_coins: Moved = 0
    share_version: int = 0
    shared_coins: int = 0
    frozen: bool = False
    cap: Cap | None = None


class LotsRead(Fact):
    """The account's lots. One that is missing was spent or taken back, has expired, or is in the lot UNNAMED, if there is one.
    `closed`: its owner was erased, and the coins were forfeited."""

    account: Account_
    request: TransferName
    lots: Lots = ()
    purchase: OptionalId = ""
    closed: bool = False
    changes_state: ClassVar[bool] = False


class AccountRefused(Refused):
    """The account did not do what `command` asked. `shortfall_coins`: how many coins more it would have taken; `cap_room`: what
    the daily cap leaves."""

    account: Account_
    command: Annotated[str, Meta(max_length=64), PLAIN]
    refusal: Refusal
    shortfall_coins: int = 0
    coins: int = 0
    counterparty: OptionalParty = ""
    hold: OptionalHold = ""
    ref: Ref = ""
    transfer: OptionalId = ""
    reason: ReasonWord = ""
    cap_room: CapRoom | None = None


class StandingHold(State):
    """A hold that is neither posted, voided nor expired."""

    hold: HoldName
    to: Party
    coins: int
    reason: Reason
    expires_at: Time
    ref: Ref = ""


class Account(State):
    """An account: `seq` of its last entry, `at` that entry's time. Available coins: balance less held. `closed`: for good.
    Who owes something (`debt_coins`) has nothing available."""

    seq: int
    at: Time
    balance_coins: int = 0
    held_coins: int = 0
    frozen: bool = False
    holds: Annotated[tuple[StandingHold, ...], Meta(max_length=MAX_HOLDS)] = ()
    closed: bool = False
    debt_coins: int = 0
    lots: Lots = ()
    share: Share | None = None
    cap: Cap | None = None

    @property
    def available_coins(self) -> int:
        """What can be spent or held."""
        return self.balance_coins - self.held_coins

    def standing(self, hold: str) -> StandingHold | None:
        """The hold of this name; None: it does not stand."""
        return next((standing for standing in self.holds if standing.hold == hold), None)

    def without(self, hold: StandingHold) -> tuple[StandingHold, ...]:
        """The other holds."""
        return tuple(standing for standing in self.holds if standing is not hold)

    @property
    def wake_at(self) -> datetime | None:
        """When the first hold expires, or the first coins that are free; or when a higher cap has been waited for."""
        lots = self.lots
        first = lots[0].expires_at if lots and self.balance_coins != self.held_coins else None
        if not self.holds and self.cap is None:
            return first
        times = [first, self.cap.next_at if self.cap else None, *(hold.expires_at for hold in self.holds)]
        return min((time for time in times if time is not None), default=None)

    @property
    def held_to_spend(self) -> int:
        """What is held of the coins that the daily cap counts."""
        return sum(hold.coins for hold in self.holds if hold.reason in SPENT)


# For what coins are earned; an agency has its share of these, and of nothing else.
EARNED: Final = (Reason.CALL, Reason.GIFT)
# For what coins are spent; the daily cap counts these, and nothing else.
SPENT: Final = EARNED


# --- the entities -----------------------------------------------------------------------------------------------------------


ACCOUNT: Final = Entity(
    "account",
    key="account",
    flow=Flow.MONEY,
    state=Account,
    commands=(
        *(OpenAccount, Credit, Transfer, Hold, Post, Void, Freeze, Unfreeze, CloseAccount),
        *(Clawback, WriteOff, ReadLots, SetShare, SetCap),
    ),
    facts=(EntryRecorded, AccountRefused, LotsRead),
    shown=(Shown(EntryRecorded, (lambda entry: owner_of(entry.account),), "the phone shows the balance"),),
)
