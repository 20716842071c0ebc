"""The ledger's messages and states: `account` (one owner's coins) and `transfer` (one request to move coins).

An account id is "<owner>/coins" or "<owner>/earnings". A counterparty that starts with "@" ("@promotions") stands outside the
ledger: it has no entity, no balance and no limit, so nothing that everybody pays or is paid by becomes a hot entity.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import (
    MAX_COINS,
    AccountId,
    Coins,
    Fact,
    HoldId,
    Message,
    OptionalId,
    Ref,
    Refused,
    State,
    Time,
    TransferId,
    UserId,
    Wake,
)
from schemas.log.entity import Entity, Flow, Shown
from schemas.log.personal import PLAIN
from schemas.user import USER_ID

ACCOUNT_ID_PATTERN: Final = f"^{USER_ID}/(coins|earnings)$"
OUTSIDE_PATTERN: Final = r"^@[a-z][a-z0-9_.-]{0,63}$"
PARTY_PATTERN: Final = f"^({USER_ID}/(coins|earnings)|@[a-z][a-z0-9_.-]{{0,63}})$"

# Serving checks the patterns; on the log only the lengths are checked, since a pattern costs more than the rest of a decode.
Account_ = Annotated[AccountId, Meta(min_length=3, max_length=140, description="<owner>/coins or <owner>/earnings"), PLAIN]
Moved = Annotated[int, Meta(ge=-MAX_COINS, le=MAX_COINS)]
HoldName = Annotated[HoldId, Meta(min_length=1, max_length=160), PLAIN]
TransferName = Annotated[TransferId, Meta(min_length=1, max_length=128), PLAIN]
OptionalHold = Annotated[str, Meta(max_length=160), PLAIN]
ReasonWord = Annotated[str, Meta(max_length=32), PLAIN]
OptionalParty = Annotated[str, Meta(max_length=140), PLAIN]
# A call holds one checkpoint ahead and a gift holds nothing: a few would do.
MAX_HOLDS: Final = 64
FORFEITED: Final = AccountId("@forfeited")
Party = Annotated[AccountId, Meta(min_length=2, max_length=140, description="an account, or an outsider: @promotions"), PLAIN]


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


class EntryKind(StrEnum):
    """What an entry did to the account: `coins` is the change of the balance, `held_change_coins` of what is held."""

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
    INSUFFICIENT_COINS = "insufficient_coins"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


# --- the account's inbox ---------------------------------------------------------------------------------------------------


class _ToAccount(Message):
    account: Account_


class OpenAccount(_ToAccount):
    """Open the account; open already: nothing happens."""


class Credit(_ToAccount):
    """Put coins in: from outside, or as the second leg of a transfer. `returned`: coins that came back to their payer."""

    counterparty: Party
    coins: Coins
    reason: Reason
    ref: Ref = ""
    transfer: OptionalId = ""
    returned: bool = False


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


class Freeze(_Adjustment):
    """Let nothing new go out: transfers and holds are refused, credits and the holds that stand go on."""


class Unfreeze(_Adjustment):
    """End a freeze."""


class CloseAccount(_ToAccount):
    """Its owner was erased: what is free goes to FORFEITED, now and whenever anything becomes free. Closed: nothing happens."""


AccountInbox = OpenAccount | Credit | Transfer | Hold | Post | Void | Freeze | Unfreeze | CloseAccount | Wake


# --- what an account tells ---------------------------------------------------------------------------------------------------


class EntryRecorded(Fact):
    """One line of the account's book. `seq` counts from 1 without a gap; balance and held are those after the entry."""

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


class AccountRefused(Refused):
    """The account did not do what `command` asked. `shortfall_coins`: how many coins more it would have taken."""

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


class StandingHold(State):
    """A hold that is neither posted, voided nor expired."""

    hold: HoldName
    to: Party
    coins: int
    reason: Reason
    expires_at: Time
    ref: Ref = ""


class Account(State):
    """An account: `seq` of its last entry, `at` that entry's time. Available coins: balance less held. `closed`: for good."""

    seq: int
    at: Time
    balance_coins: int = 0
    held_coins: int = 0
    frozen: bool = False
    holds: Annotated[tuple[StandingHold, ...], Meta(max_length=MAX_HOLDS)] = ()
    closed: bool = False

    @property
    def available_coins(self) -> int:
        """What can be spent or held."""
        return self.balance_coins - self.held_coins

    @property
    def wake_at(self) -> datetime | None:
        """When the first hold expires."""
        return min(hold.expires_at for hold in self.holds) if self.holds else None


# --- the entities -----------------------------------------------------------------------------------------------------------


def paid_for(reason: Reason) -> Callable[[EntryRecorded | AccountRefused], str]:
    """The key of a ledger's fact that belongs to a call or a gift: the fact carries that id as `ref`."""
    return lambda fact: fact.ref if fact.reason == reason else ""


ACCOUNT: Final = Entity(
    "account",
    key="account",
    flow=Flow.MONEY,
    state=Account,
    commands=(OpenAccount, Credit, Transfer, Hold, Post, Void, Freeze, Unfreeze, CloseAccount),
    facts=(EntryRecorded, AccountRefused),
    shown=(Shown(EntryRecorded, (lambda entry: owner_of(entry.account),), "the phone shows the balance"),),
)
