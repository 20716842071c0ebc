"""Payments: `product` (what stores sell for us, by version) and `intent` (a user is about to buy one). What came of it is a
purchase (`schemas.purchase`).

An intent pins the product's version: what a user saw is what a user gets, however late the store is heard. Its id is a UUID,
which the phone hands to the store: Apple signs it as `appAccountToken`, so that each transaction names whose it is.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Protocol
from uuid import NAMESPACE_OID, uuid5

from msgspec import Meta

from schemas.log.base import (
    MAX_BALANCE_COINS,
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
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import PLAIN
from schemas.user import Code, User_

MAX_PRODUCT_COINS: Final = 1_000_000_000
MAX_BONUS_DAYS: Final = 3_650
# A store may be heard of months later, since a phone keeps what it has not finished.
INTENT_KEPT_FOR: Final = timedelta(days=180)
# Phones and the store's notice that wait while the first of them is decided.
MAX_ASKED: Final = 16
# The world has 249 countries; two stores may have prices of their own.
MAX_PRICES: Final = 500
MAX_MILLIUNITS: Final = 2**53

StoreProduct = Annotated[str, Meta(max_length=128, description="the product's id at a store, or empty"), PLAIN]
ProductCoins = Annotated[int, Meta(gt=0, le=MAX_PRODUCT_COINS)]
BonusCoins = Annotated[int, Meta(ge=0, le=MAX_PRODUCT_COINS)]
TagOrNone = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$", description="a tag, or empty"), PLAIN]
BonusDays = Annotated[int, Meta(ge=0, le=MAX_BONUS_DAYS, description="how long the bonus can be spent; 0: for good")]
DebtLimit = Annotated[int, Meta(ge=0, le=MAX_BALANCE_COINS, description="a debt above it freezes the buyer's account")]
Claimant = Annotated[str, Meta(max_length=128, description="whose phone claims it; empty: the store told by itself"), PLAIN]
Currency = Annotated[str, Meta(max_length=3, description="ISO 4217, or empty"), PLAIN]
Country = Annotated[str, Meta(max_length=2, description="ISO 3166-1 alpha-2, or empty"), PLAIN]
PurchaseToken = Annotated[
    str, Meta(max_length=2_000, description="by which Google knows a purchase; only our own account can use it"), PLAIN
]
PurchaseName = Annotated[str, Meta(min_length=1, max_length=128, description="<store>:<transaction>"), PLAIN]


class PaymentRefusal(StrEnum):
    """Why nothing was opened or credited, in order of precedence."""

    PRODUCT_UNKNOWN = "product_unknown"
    PRODUCT_INACTIVE = "product_inactive"
    INTENT_DIFFERS = "intent_differs"
    QUANTITY_IMPOSSIBLE = "quantity_impossible"
    INTENT_UNKNOWN = "intent_unknown"
    COUNTRY_NOT_SOLD = "country_not_sold"
    PRODUCT_DIFFERS = "product_differs"
    CURRENCY_DIFFERS = "currency_differs"
    PURCHASE_OF_ANOTHER = "purchase_of_another"
    TRANSACTION_REVOKED = "transaction_revoked"
    ACCOUNT_REFUSES = "account_refuses"
    PURCHASE_IN_PROGRESS = "purchase_in_progress"


class StoreAct(State):
    """What a store is told about a purchase: Google by product and token, that it was consumed; and who thinks about a refund,
    how much of it was used, in parts of 100,000 (None: nobody knows to the coin), under Google's `token` of the review."""

    store_product: StoreProduct
    token: PurchaseToken = ""
    used_parts: Annotated[int, Meta(ge=0, le=100_000)] | None = None


# --- products ---------------------------------------------------------------------------------------------------------------


class StorePrice(State):
    """What one of it costs in a country (empty: in all that have no price of their own), in thousandths of the currency's unit.
    A country may have several prices, one a store."""

    country: Country
    currency: Currency
    price_milliunits: Annotated[int, Meta(ge=0, le=MAX_MILLIUNITS)]


Prices = Annotated[tuple[StorePrice, ...], Meta(max_length=MAX_PRICES)]


class PriceFields(Fields):
    """Where it is sold, for how much; empty: everywhere, for what the store says."""

    prices: Prices = ()


class OfferFields(Fields):
    """What a purchase gives, under which names stores sell it, and what a refund may lead to. `renewing`: it is a
    subscription, its coins come each period, and while it lasts its user has the `tag`, by which tariffs and cohorts know
    them."""

    coins: int = 0
    bonus_coins: BonusCoins = 0
    bonus_days: BonusDays = 0
    apple_id: StoreProduct = ""
    google_id: StoreProduct = ""
    freeze_above_debt_coins: DebtLimit | None = None
    renewing: bool = False
    tag: TagOrNone = ""


class ProductFields(OfferFields, PriceFields):
    """What a product gives, how it is called, and whether it is sold."""

    name: Code = ""
    active: bool = True


class PutProduct(Message, ProductFields):
    """The product is like this from now on; who is about to buy it gets what it was."""

    product: Id
    coins: ProductCoins
    by: By = ""


class PinProduct(Message):
    """An intent asks what the product gives now; one that is `paid` asks of a product that is not sold any more, too."""

    product: Id
    intent: Id
    paid: bool = False


class ProductPut(Fact, ProductFields):
    """The product is like this; `version` counts from 1."""

    product: Id
    version: int
    by: By = ""


class ProductPinned(Fact, OfferFields, PriceFields):
    """What an intent's product gives, or why it cannot be bought."""

    product: Id
    intent: Id
    version: int = 0
    refusal: PaymentRefusal | None = None
    changes_state: ClassVar[bool] = False


class Product(State, ProductFields):
    """The product in force."""

    version: int = 1


# --- intents ----------------------------------------------------------------------------------------------------------------


class ConsentFields(Fields):
    """Whether the buyer agrees that the store is told what of the coins was used, where a refund is asked for."""

    usage_consent: bool = False


class OpenIntent(Message, ConsentFields):
    """`user` is about to buy the product; `paid`: has changed a subscription to it, at the store."""

    intent: Id
    user: User_
    product: Id
    paid: bool = False


class SoldFields(Fields):
    """Of a subscription: as which product of ours the store's is known now (`sold_as`), and the intent of the subscription
    which this one has replaced at Google (`linked_intent`): both are one user's."""

    sold_as: OptionalId = ""
    linked_intent: OptionalId = ""


class Signed(Protocol):
    """What the store has signed, as far as an intent is asked for it."""

    @property
    def intent(self) -> str: ...
    @property
    def country(self) -> str: ...
    @property
    def sold_as(self) -> str: ...
    @property
    def linked_intent(self) -> str: ...


class SignedFields(Fields):
    """Of a subscription: which product the store has sold, under which intent (empty: the one that is asked)."""

    store_product: StoreProduct = ""
    signed: OptionalId = ""


class ReadIntent(Message, SignedFields):
    """A purchase asks whose it is and what it gives. `meant`: the intent that is asked is the one of the subscription that was
    replaced; it says whose the one that is meant has to be (`owner`). An intent that has pinned another product than the store
    has sold asks an intent of its own, which pins what that is `sold_as`."""

    intent: Id
    purchase: PurchaseName
    country: Country = ""
    sold_as: OptionalId = ""
    meant: OptionalId = ""
    owner: Claimant = ""


class Reader(State):
    """Who asks an intent that has not heard from its product yet, as `ReadIntent`."""

    id: MessageName
    purchase: PurchaseName
    country: Country = ""
    store_product: StoreProduct = ""
    signed: OptionalId = ""


class KeepIntent(Message):
    """A subscription is paid for: keep the intent, which its next periods name, until then at least."""

    intent: Id
    until: Time


class PinnedFields(Fields):
    """What an intent has pinned."""

    user: User_
    product: Id
    version: int = 0


class IntentOpened(Fact, PinnedFields, OfferFields):
    """The product's version is pinned."""

    intent: Id


class IntentRepeated(Fact, PinnedFields, OfferFields):
    """The same request again: what was pinned."""

    intent: Id
    changes_state: ClassVar[bool] = False


class IntentRefused(Refused):
    """Nothing was opened."""

    changes_state: ClassVar[bool] = True

    intent: Id
    refusal: PaymentRefusal


class IntentRead(Fact, OfferFields, PriceFields, ConsentFields, SignedFields):
    """What a purchase's intent has pinned, of its prices those of the purchase's country; a refusal: there is no such intent,
    or it is not sold there, and the rest is empty."""

    intent: Id
    purchase: PurchaseName
    user: Claimant = ""
    product: OptionalId = ""
    version: int = 0
    refusal: PaymentRefusal | None = None
    changes_state: ClassVar[bool] = False


class Intent(State, PinnedFields, OfferFields, PriceFields, ConsentFields):
    """An intent; without a version its product has not answered yet. Forgotten at `forget_at`. `paid`: a subscription was
    changed to the product, and whoever asks (`readers`) waits until it is pinned."""

    asked: Annotated[tuple[MessageName, ...], Meta(max_length=MAX_ASKED)] = ()
    readers: Annotated[tuple[Reader, ...], Meta(max_length=MAX_ASKED)] = ()
    paid: bool = False
    forget_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it is forgotten."""
        return self.forget_at


def changed_intent(intent: str, product: str) -> str:
    """The intent that pins a product to which a subscription was changed at the store, under the intent with which it began."""
    return str(uuid5(NAMESPACE_OID, f"olo:intent:{intent}:{product}"))


def questions(signed: Signed, store_product: str) -> dict[str, str]:
    """What an intent is asked: by a purchase, or by a subscription (`store_product`: of which one, where it may have been
    changed)."""
    asked = {"intent": signed.intent, "country": signed.country}
    if store_product:
        asked |= {"store_product": store_product, "sold_as": signed.sold_as}
    if signed.linked_intent not in ("", signed.intent):
        asked |= {"intent": signed.linked_intent, "meant": signed.intent}
    return asked


def prices_in(prices: tuple[StorePrice, ...], country: str) -> tuple[StorePrice, ...]:
    """The prices that a purchase in a country may have; of an unknown country all of them; empty: not sold there, unless there
    are no prices at all."""
    if not country:
        return prices
    return tuple(one for one in prices if one.country == country) or tuple(one for one in prices if not one.country)


ProductInbox = PutProduct | PinProduct | Wake
IntentInbox = OpenIntent | ReadIntent | KeepIntent | ProductPinned | Wake


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
    commands=(OpenIntent, ReadIntent, KeepIntent),
    facts=(IntentOpened, IntentRepeated, IntentRefused, IntentRead),
    hears=(Hears(ProductPinned, "intent", "an intent knows what it pins"),),
    raw="what came of an intent stands in the table purchases",
)
