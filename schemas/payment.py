"""Payments: `product` (what stores sell for us, by version), `intent` (a user is about to buy one), `purchase` (one transaction
of a store, credited once).

An intent pins the product's version: what a user saw is what a user gets, however late the store is heard. Its id is a UUID,
which the phone hands to the store: Apple signs it as `appAccountToken`, so that each transaction names whose it is.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import AccountRefused, EntryRecorded, Reason
from schemas.log.base import (
    AccountId,
    By,
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
from schemas.log.personal import PLAIN
from schemas.user import Code, User_

MAX_PRODUCT_COINS: Final = 1_000_000_000
# Apple sells at most ten at once.
MAX_QUANTITY: Final = 10
# A store may be heard of months later, since a phone keeps what it has not finished.
INTENT_KEPT_FOR: Final = timedelta(days=180)
# Phones and the store's notice that wait while the first of them is decided.
MAX_ASKED: Final = 16

StoreProduct = Annotated[str, Meta(max_length=128, description="the product's id at a store, or empty"), PLAIN]
ProductCoins = Annotated[int, Meta(gt=0, le=MAX_PRODUCT_COINS)]
BonusCoins = Annotated[int, Meta(ge=0, le=MAX_PRODUCT_COINS)]
Claimant = Annotated[str, Meta(max_length=128, description="whose phone claims it; empty: the store told by itself"), PLAIN]
PurchaseName = Annotated[str, Meta(min_length=1, max_length=128, description="<store>:<transaction>"), PLAIN]
Currency = Annotated[str, Meta(max_length=3), PLAIN]


class Store(StrEnum):
    """Who sold it. A sandbox's money is no money: its coins come from a party of their own."""

    APPLE = "apple"
    APPLE_SANDBOX = "apple_sandbox"


class PaymentRefusal(StrEnum):
    """Why nothing was opened or credited, in order of precedence."""

    PRODUCT_UNKNOWN = "product_unknown"
    PRODUCT_INACTIVE = "product_inactive"
    INTENT_DIFFERS = "intent_differs"
    QUANTITY_IMPOSSIBLE = "quantity_impossible"
    INTENT_UNKNOWN = "intent_unknown"
    PRODUCT_DIFFERS = "product_differs"
    PURCHASE_OF_ANOTHER = "purchase_of_another"
    ACCOUNT_REFUSES = "account_refuses"
    PURCHASE_IN_PROGRESS = "purchase_in_progress"


def store_account(store: Store) -> AccountId:
    """The outside party from which a store's coins come; no route lets anybody else pay from it."""
    return AccountId(f"@{store}")


STORE_ACCOUNTS: Final = frozenset(map(store_account, Store))


def purchase_name(store: Store, transaction: str) -> str:
    """The key of a store's transaction."""
    return f"{store}:{transaction}"


# --- products ---------------------------------------------------------------------------------------------------------------


class ProductFields(Fields):
    """What a product gives, and under which name Apple sells it."""

    coins: ProductCoins
    bonus_coins: BonusCoins = 0
    apple_id: StoreProduct = ""
    name: Code = ""
    active: bool = True


class PutProduct(Message, ProductFields):
    """The product is like this from now on; who is about to buy it gets what it was."""

    product: Id
    by: By = ""


class PinProduct(Message):
    """An intent asks what the product gives now."""

    product: Id
    intent: Id


class ProductPut(Fact, ProductFields):
    """The product is like this; `version` counts from 1."""

    product: Id
    version: int
    by: By = ""


class ProductPinned(Fact):
    """What an intent's product gives, or why it cannot be bought."""

    product: Id
    intent: Id
    version: int = 0
    coins: int = 0
    bonus_coins: int = 0
    apple_id: StoreProduct = ""
    refusal: PaymentRefusal | None = None
    changes_state: ClassVar[bool] = False


class Product(State, ProductFields):
    """The product in force."""

    version: int = 1


# --- intents ----------------------------------------------------------------------------------------------------------------


class OpenIntent(Message):
    """`user` is about to buy the product."""

    intent: Id
    user: User_
    product: Id


class ReadIntent(Message):
    """A purchase asks whose it is and what it gives."""

    intent: Id
    purchase: PurchaseName


class PinnedFields(Fields):
    """What an intent has pinned."""

    user: User_
    product: Id
    version: int = 0
    coins: int = 0
    bonus_coins: int = 0
    apple_id: StoreProduct = ""


class IntentOpened(Fact, PinnedFields):
    """The product's version is pinned."""

    intent: Id


class IntentRepeated(Fact, PinnedFields):
    """The same request again: what was pinned."""

    intent: Id
    changes_state: ClassVar[bool] = False


class IntentRefused(Refused):
    """Nothing was opened."""

    changes_state: ClassVar[bool] = True

    intent: Id
    refusal: PaymentRefusal


class IntentRead(Fact):
    """What a purchase's intent has pinned; a refusal: there is no such intent, and the rest is empty."""

    intent: Id
    purchase: PurchaseName
    user: Claimant = ""
    product: OptionalId = ""
    version: int = 0
    coins: int = 0
    bonus_coins: int = 0
    apple_id: StoreProduct = ""
    refusal: PaymentRefusal | None = None
    changes_state: ClassVar[bool] = False


class Intent(State, PinnedFields):
    """An intent; without a version its product has not answered yet. Forgotten at `forget_at`."""

    asked: Annotated[tuple[MessageName, ...], Meta(max_length=MAX_ASKED)] = ()
    forget_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it is forgotten."""
        return self.forget_at


# --- purchases --------------------------------------------------------------------------------------------------------------


class TransactionFields(Fields):
    """What the store has signed. `price_milliunits`: thousandths of the currency's unit, as the store tells it."""

    store: Store
    intent: OptionalId
    store_product: StoreProduct
    purchased_at: Time
    quantity: int
    price_milliunits: int = 0
    currency: Currency = ""


class ClaimPurchase(Message, TransactionFields):
    """A store's signed transaction, brought by a phone or by the store itself; whoever comes first, coins once."""

    purchase: PurchaseName
    user: Claimant = ""


class PurchaseCredited(Fact, TransactionFields):
    """Paid for, and credited: this is said once."""

    purchase: PurchaseName
    user: User_
    product: Id
    version: int
    coins: int


class PurchaseRepeated(Fact):
    """The same transaction again: it was credited before."""

    purchase: PurchaseName
    user: User_
    product: Id
    coins: int
    changes_state: ClassVar[bool] = False


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


class Purchase(State, TransactionFields):
    """A transaction under way or credited; it is kept for good, since a store may tell of it again at any time."""

    asked: Annotated[tuple[Asked, ...], Meta(max_length=MAX_ASKED)] = ()
    user: Claimant = ""
    product: OptionalId = ""
    version: int = 0
    coins: int = 0
    credited: bool = False


ProductInbox = PutProduct | PinProduct | Wake
IntentInbox = OpenIntent | ReadIntent | ProductPinned | Wake
PurchaseInbox = ClaimPurchase | IntentRead | EntryRecorded | AccountRefused | Wake


def of_purchase() -> Callable[[EntryRecorded | AccountRefused], str]:
    """The key of a ledger's fact that belongs to a purchase: coins from a store carry its key as `ref`."""
    return lambda fact: fact.ref if fact.reason == Reason.PURCHASE and fact.counterparty in STORE_ACCOUNTS else ""


PRODUCT: Final = Entity(
    "product",
    key="product",
    flow=Flow.LIVE,
    state=Product,
    commands=(PutProduct, PinProduct),
    facts=(ProductPut, ProductPinned),
    raw="a purchase's fact carries its product, version and coins",
)
INTENT: Final = Entity(
    "intent",
    key="intent",
    flow=Flow.LIVE,
    state=Intent,
    commands=(OpenIntent, ReadIntent),
    facts=(IntentOpened, IntentRepeated, IntentRefused, IntentRead),
    hears=(Hears(ProductPinned, "intent", "an intent knows what it pins"),),
    raw="what came of an intent stands in the table purchases",
)
PURCHASE: Final = Entity(
    "purchase",
    key="purchase",
    flow=Flow.LIVE,
    state=Purchase,
    commands=(ClaimPurchase,),
    facts=(PurchaseCredited, PurchaseRepeated, PurchaseRefused),
    hears=(
        Hears(IntentRead, "purchase", "a purchase knows whose it is and what it gives"),
        Hears(EntryRecorded, of_purchase(), "a purchase follows its coins"),
        Hears(AccountRefused, of_purchase(), "a purchase hears why not"),
    ),
    shown=(Shown(PurchaseCredited, ("user",), "the phone finishes the transaction"),),
)
