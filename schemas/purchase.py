"""A purchase: one transaction of a store, which is credited once, and taken back as far as the store takes it back.

A store tells the same transaction again and again, signed anew each time: bought, taken back in part or in full, given back.
Each word carries the time at which it was signed, and the latest word counts, in whatever order words are heard. The purchase
drives the buyer's account to what that word says, a credit or a clawback at a time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import AccountRefused, EntryRecorded, LotsRead, Reason
from schemas.balance_ledger import Ledger
from schemas.balance_lots import UNNAMED, Lot
from schemas.log.base import (
    EPOCH,
    AccountId,
    Fact,
    Fields,
    Id,
    Message,
    MessageName,
    OptionalId,
    Refused,
    State,
    Time,
    Wake,
)
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.outbox import EffectKind, StoreActTaken
from schemas.payment import (
    MAX_ASKED,
    MAX_PRODUCT_COINS,
    Claimant,
    ConsentFields,
    Country,
    Currency,
    IntentRead,
    OfferFields,
    PaymentRefusal,
    PurchaseName,
    PurchaseToken,
    SoldFields,
    StorePrice,
    StoreProduct,
)
from schemas.user import User_

# Apple sells at most ten at once.
MAX_QUANTITY: Final = 10
# All of a transaction, in the parts in which Apple tells how much of it was taken back.
WHOLE: Final = 100_000
# A purchase that was credited so long ago, and is not consumed, is looked at by a person: Google gives it back a day later.
ALARM_AFTER: Final = timedelta(hours=48)
# Questions of a store's that wait for the account's lots.
MAX_ASKS: Final = 4
# Behind a purchase's name: the lot of its bonus.
BONUS: Final = "/bonus"

Revoked = Annotated[int, Meta(ge=0, le=WHOLE, description="how much the store has taken back, in parts of 100,000")]


class Store(StrEnum):
    """Who sold it. A sandbox's money is no money: its coins come from a party of their own."""

    APPLE = "apple"
    APPLE_SANDBOX = "apple_sandbox"
    GOOGLE = "google"
    GOOGLE_SANDBOX = "google_sandbox"

    @property
    def is_apple(self) -> bool:
        """Whether the App Store sold it, and not Google Play."""
        return self in (Store.APPLE, Store.APPLE_SANDBOX)

    @property
    def is_sandbox(self) -> bool:
        """Whether nothing was paid for it."""
        return self in (Store.APPLE_SANDBOX, Store.GOOGLE_SANDBOX)


class PriceCheck(StrEnum):
    """How the price that the store told stands to those that the intent pinned. Another currency than theirs is a refusal."""

    UNKNOWN = "unknown"
    AS_PINNED = "as_pinned"
    DIFFERS = "differs"


def store_account(store: Store) -> AccountId:
    """The outside party from which a store's coins come; no route lets anybody else pay from it."""
    return AccountId(f"@{store}")


STORE_ACCOUNTS: Final = frozenset(map(store_account, Store))


def purchase_name(store: Store, transaction: str) -> str:
    """The key of a store's transaction."""
    return f"{store}:{transaction}"


class TransactionFields(Fields):
    """What the store has signed. `price_milliunits`: thousandths of the currency's unit, as the store tells it; without a
    currency the price is not known. `country`: the store front's; `subscription`: of which it is a period;
    `ledger`: in which its coins are."""

    store: Store
    intent: OptionalId
    store_product: StoreProduct
    purchased_at: Time
    quantity: int
    price_milliunits: int = 0
    currency: Currency = ""
    country: Country = ""
    subscription: OptionalId = ""
    ledger: Ledger = Ledger.ORDINARY


class WordFields(Fields):
    """The store's latest word, by the time at which it was signed: it has taken back `revoked_parts` of so many `parts`."""

    signed_at: Time = EPOCH
    revoked_parts: Revoked = 0
    parts: Annotated[int, Meta(ge=1, le=WHOLE)] = WHOLE


class TokenFields(Fields):
    """By what Google Play is asked about it, and told that it is consumed."""

    token: PurchaseToken = ""


class ClaimPurchase(Message, TransactionFields, WordFields, TokenFields, SoldFields):
    """A store's signed transaction, brought by a phone or by the store itself; whoever comes first, coins once."""

    purchase: PurchaseName
    user: Claimant = ""


class UsageAsk(State):
    """A store's question: its id, Google's token of the review, until when an answer is of use."""

    ask: Id
    until: Time
    token: PurchaseToken = ""


class AskUsage(Message):
    """The store thinks about a refund, and asks what of the purchase was used."""

    purchase: PurchaseName
    ask: Id
    until: Time
    token: PurchaseToken = ""


class UsageWithheld(StrEnum):
    """Why a store is not told what was used."""

    PURCHASE_UNKNOWN = "purchase_unknown"
    NO_CONSENT = "no_consent"
    TAKEN_BACK = "taken_back"
    ERASED = "erased"
    TOO_MANY = "too_many"


class PurchaseCredited(Fact, TransactionFields):
    """Paid for, and credited: this is said once. `coins`: fewer than were bought where a refund was heard of first."""

    purchase: PurchaseName
    user: User_
    product: Id
    version: int
    coins: int
    price_check: PriceCheck = PriceCheck.UNKNOWN


class PurchaseRepeated(Fact):
    """The same transaction again, or a newer word that moves nothing: `coins` of it are credited."""

    purchase: PurchaseName
    user: User_
    product: Id
    coins: int
    ledger: Ledger = Ledger.ORDINARY


class ChangeFields(Fields):
    """Whose purchase changed, by how many `coins`, and how many of its coins are credited now, in which ledger."""

    purchase: PurchaseName
    store: Store
    user: User_
    product: Id
    coins: int
    net_coins: int
    revoked_parts: Revoked = 0
    ledger: Ledger = Ledger.ORDINARY


class PurchaseRefunded(Fact, ChangeFields):
    """The store has taken it back, in part or in full, and so have we; `owed_coins` were spent before, and are owed now."""

    owed_coins: int = 0


class PurchaseRestored(Fact, ChangeFields):
    """The store has reversed a refund, and the coins are back."""


class PurchaseConsumed(Fact):
    """Google has been told that it was consumed, or says that there is nothing left to consume."""

    purchase: PurchaseName
    store: Store
    user: User_
    product: Id


class PurchaseUnconsumed(Fact):
    """It was credited ALARM_AFTER ago, and Google has not taken yet that it was consumed: somebody has to look (`olo
    outbox`)."""

    purchase: PurchaseName
    store: Store
    user: User_
    product: Id
    alarm: ClassVar[bool] = True


class UsageStated(Fact):
    """What the store is told: of `coins` (those that are not taken back) `used_coins` were used; without `exact` nobody knows,
    since the account has too many lots, and the store is told that they were delivered. `withheld`: why it is told nothing."""

    purchase: PurchaseName
    ask: Id
    user: Claimant = ""
    coins: int = 0
    used_coins: int = 0
    exact: bool = False
    withheld: UsageWithheld | None = None


class PurchaseRefused(Refused):
    """Nothing was credited to this claim. The same transaction may be claimed again."""

    purchase: PurchaseName
    user: Claimant
    refusal: PaymentRefusal
    changes_state: ClassVar[bool] = True


class Asked(State):
    """A claim that waits: its message's id, and whose it is."""

    id: MessageName
    user: Claimant


class Purchase(State, TransactionFields, WordFields, OfferFields, TokenFields, ConsentFields):
    """A transaction under way or credited; it is kept for good, since a store may tell of it again at any time.

    `coins`: all that was bought, with the bonus; `returned_coins`: those of them that are not credited, once anything was;
    `moving_coins`: what the ledger was asked to credit, or, below zero, to take back; `lapsed_coins`: of its bonus, which was
    not spent in its time, so that no refund asks for them. `retry_at`: the account refused. `consume_by`: when somebody has to
    look whether the store has taken that it was consumed. `asks`: of the store's, which wait for the account's lots."""

    # As often as the product was bought at once.
    bonus_coins: Annotated[int, Meta(ge=0, le=MAX_PRODUCT_COINS * MAX_QUANTITY)] = 0
    asked: Annotated[tuple[Asked, ...], Meta(max_length=MAX_ASKED)] = ()
    user: Claimant = ""
    product: OptionalId = ""
    version: int = 0
    price_check: PriceCheck = PriceCheck.UNKNOWN
    credited: bool = False
    returned_coins: int = 0
    moving_coins: int = 0
    lapsed_coins: int = 0
    retry_at: Time | None = None
    consume_by: Time | None = None
    consumed: bool = False
    asks: Annotated[tuple[UsageAsk, ...], Meta(max_length=MAX_ASKS)] = ()

    @property
    def net_coins(self) -> int:
        """What is credited of it."""
        return self.coins - self.returned_coins if self.credited else 0

    @property
    def kept_coins(self) -> int:
        """What is credited of it and has not lapsed; none: the store has taken it back."""
        return self.net_coins - self.lapsed_coins

    @property
    def due_coins(self) -> int:
        """What should be credited of it, by the store's latest word, which takes back a part of what has not lapsed."""
        there = self.coins - self.lapsed_coins
        return self.coins - min(there, there * self.revoked_parts // self.parts)

    @property
    def wake_at(self) -> datetime | None:
        """When the account is asked again, or somebody has to look."""
        return min((at for at in (self.retry_at, self.consume_by) if at is not None), default=None)


PurchaseInbox = ClaimPurchase | AskUsage | IntentRead | EntryRecorded | AccountRefused | LotsRead | StoreActTaken | Wake


def price_check(prices: tuple[StorePrice, ...], currency: str, milliunits: int, quantity: int) -> PriceCheck | None:
    """How a store's price stands to those of its country; None: it is in a currency of none of them. Stores tell the price of
    one, or of all that were bought at once: either will do."""
    if not prices or not currency:
        return PriceCheck.UNKNOWN
    ours = [one.price_milliunits for one in prices if one.currency == currency]
    if not ours:
        return None
    fits = any(milliunits in (one, one * quantity) for one in ours)
    return PriceCheck.AS_PINNED if fits else PriceCheck.DIFFERS


def used_coins(purchase: Purchase, name: str, lots: tuple[Lot, ...]) -> int | None:
    """How many of the coins that are not taken back were used; what lapsed was not. None: coins of this purchase may be in the
    lot that has no name."""
    own = [lot.coins for lot in lots if lot.lot in (name, bonus_lot(name))]
    expected = 2 if purchase.bonus_coins and purchase.bonus_days else 1
    if len(own) < expected and any(lot.lot == UNNAMED for lot in lots):
        return None
    return max(0, purchase.net_coins - purchase.lapsed_coins - sum(own))


def bonus_lot(purchase: str) -> str:
    """The lot of a purchase's bonus."""
    return f"{purchase}{BONUS}"


def of_purchase() -> Callable[[EntryRecorded | AccountRefused], str]:
    """The key of a ledger's fact that belongs to a purchase: coins from a store, or back to it, carry its key as `ref`, and a
    bonus that lapses the name of its lot."""
    reasons = (Reason.PURCHASE, Reason.REFUND)

    def key(fact: EntryRecorded | AccountRefused) -> str:
        if fact.reason == Reason.EXPIRY and fact.ref.endswith(BONUS):
            return fact.ref.removesuffix(BONUS)
        return fact.ref if fact.reason in reasons and fact.counterparty in STORE_ACCOUNTS else ""

    return key


def _read_for(fact: IntentRead) -> str:
    return "" if fact.purchase.startswith("subscription:") else fact.purchase


def _consumed(fact: StoreActTaken) -> str:
    return fact.purchase if fact.kind is EffectKind.CONSUME else ""


PURCHASE: Final = Entity(
    "purchase",
    key="purchase",
    flow=Flow.LIVE,
    state=Purchase,
    commands=(ClaimPurchase, AskUsage),
    facts=(
        *(PurchaseCredited, PurchaseRepeated, PurchaseRefunded, PurchaseRestored, PurchaseRefused),
        *(PurchaseConsumed, PurchaseUnconsumed, UsageStated),
    ),
    hears=(
        Hears(IntentRead, _read_for, "a purchase knows whose it is and what it gives"),
        Hears(EntryRecorded, of_purchase(), "a purchase follows its coins"),
        Hears(AccountRefused, of_purchase(), "a purchase hears why not"),
        Hears(LotsRead, "purchase", "a purchase says what of it was used"),
        Hears(StoreActTaken, _consumed, "a purchase knows that its store has taken that it was consumed"),
    ),
    shown=(
        Shown(PurchaseCredited, ("user",), "the phone finishes the transaction"),
        Shown(PurchaseRefunded, ("user",), "the phone says where the coins went"),
        Shown(PurchaseRestored, ("user",), "the phone says where the coins came from"),
    ),
)
