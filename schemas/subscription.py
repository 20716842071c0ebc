"""A subscription at a store: renewed, in grace, on hold, paused, cancelled, taken back; while it lasts its user has a tag, and
each period that is paid for is a purchase of its own, whose coins come once.

A store tells of it again and again, in any order. A word is of one period (a transaction), and some words tell of the renewal,
too. The period that is paid for longest counts, of it the word that was signed last.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta
from msgspec.structs import replace

from schemas.log.base import EPOCH, Fact, Fields, Id, Message, OptionalId, Refused, State, Time, Wake, derive, later
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.payment import MAX_ASKED, Claimant, IntentRead, OfferFields, PaymentRefusal, Product, SoldFields, StoreProduct
from schemas.purchase import Asked, ClaimPurchase, Store, TokenFields, TransactionFields, WordFields, purchase_name
from schemas.user import User_

# Behind the end of what is paid for a store's word of the next period is waited for so long.
SLACK: Final = timedelta(hours=1)
PREFIX: Final = "subscription:"


class SubscriptionStatus(StrEnum):
    """Where it stands, by the store's word; who is in grace is asked to pay, and keeps what the subscription gives."""

    ACTIVE = "active"
    GRACE = "grace"
    HOLD = "hold"
    PAUSED = "paused"
    EXPIRED = "expired"
    REVOKED = "revoked"


GIVING: Final = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.GRACE})
RANKS: Final = tuple(SubscriptionStatus)


def subscription_name(store: Store, original: str) -> str:
    """The key of a store's subscription; no purchase is called so."""
    return f"{PREFIX}{store}:{original}"


class RenewalFields(Fields):
    """What the store says of the renewal, at `told_at` (EPOCH: it says nothing of it): the status, until when it lasts, and
    whether it will be renewed; a subscription that will not has been cancelled, and lasts on. `next_store_product`: what it is
    changed to with the renewal, and `next_product` as which product of ours that is known."""

    told_at: Time = EPOCH
    status: SubscriptionStatus = SubscriptionStatus.ACTIVE
    until: Time = EPOCH
    renews: bool = True
    next_store_product: StoreProduct = ""
    next_product: OptionalId = ""


class ReplacedFields(Fields):
    """Whether another subscription has taken its place, as Google says: it is over for good."""

    replaced: bool = False


class PeriodFields(Fields):
    """The period that a word is of: the store's transaction, and until when it is paid for."""

    transaction: Id
    paid_until: Time


class ClaimSubscription(
    Message, PeriodFields, TransactionFields, WordFields, RenewalFields, ReplacedFields, TokenFields, SoldFields
):
    """A store's signed word, brought by a phone or by the store itself."""

    name: Id
    user: Claimant = ""


class SubscriptionFields(Fields):
    """A subscription as it stands; `product` and `coins`: of this period; `next_product`: of the next ones, where it will be
    another (at the store: `next_store_product`, which may be none of ours)."""

    name: Id
    user: User_
    product: Id
    version: int
    store: Store
    status: SubscriptionStatus
    until: Time
    transaction: Id
    renews: bool = True
    coins: int = 0
    next_product: OptionalId = ""
    next_store_product: StoreProduct = ""
    replaced: bool = False


class SubscriptionChanged(Fact, SubscriptionFields):
    """It stands otherwise than before: begun, renewed, cancelled, and so on."""


class SubscriptionRepeated(Fact, SubscriptionFields):
    """The same again, or a word that changes nothing."""


class SubscriptionRefused(Refused):
    """Nothing was changed for this claim."""

    name: Id
    user: Claimant
    refusal: PaymentRefusal
    changes_state: ClassVar[bool] = True


class Subscription(
    State, PeriodFields, TransactionFields, WordFields, RenewalFields, ReplacedFields, OfferFields, TokenFields, SoldFields
):
    """What the store's words say of the latest period, what its intent pinned (`pinned_intent`: where the period is of another
    product than the first one, the product's own), and what was told of it last (`seen`, `seen_until`, `seen_renews`,
    `seen_next`). `tagged`: the user was given the tag. `reading`: the intent is asked what the period gives; until then the
    user has what was before. Without a product nobody knows what it gives, and it gives nothing. It is kept for good."""

    user: Claimant = ""
    product: OptionalId = ""
    version: int = 0
    asked: Annotated[tuple[Asked, ...], Meta(max_length=MAX_ASKED)] = ()
    tagged: bool = False
    seen: SubscriptionStatus | None = None
    seen_until: Time = EPOCH
    seen_renews: bool = True
    seen_transaction: OptionalId = ""
    seen_next: StoreProduct = ""
    reading: bool = False
    pinned_intent: OptionalId = ""

    def status_at(self, at: datetime) -> SubscriptionStatus:
        """Where it stands, by the store's words and the clock."""
        if self.revoked_parts:
            return SubscriptionStatus.REVOKED
        over = self.replaced or (self.status in GIVING and later(self.until, SLACK) <= at)
        return SubscriptionStatus.EXPIRED if over else self.status

    @property
    def wake_at(self) -> datetime | None:
        """When it is over, unless the store tells otherwise until then."""
        waits = self.user and self.seen in GIVING and not self.reading
        return later(self.until, SLACK) if waits else None


def heard(state: Subscription, word: ClaimSubscription) -> dict[str, object]:
    """The fields that a word changes: of a later period all, of the same what was signed later, of an earlier one nothing.
    Whoever has replaced the subscription has done so for good."""
    fields: dict[str, object] = {"replaced": state.replaced or word.replaced}
    if word.transaction != state.transaction:
        if _order(word) <= _order(state):
            return fields
        fields |= {name: getattr(word, name) for name in (*_PERIOD, *_SIGNED, *_RENEWAL)}
        return fields | ({} if word.told_at > EPOCH else {"until": word.paid_until})
    if (word.signed_at, word.revoked_parts) > (state.signed_at, state.revoked_parts):
        fields |= {name: getattr(word, name) for name in _SIGNED}
    if word.told_at > EPOCH and _told(word) > _told(state):
        fields |= {name: getattr(word, name) for name in _RENEWAL}
    return fields | ({"sold_as": word.sold_as} if word.sold_as else {})


def _order(of: ClaimSubscription | Subscription) -> tuple[datetime, datetime, str]:
    """An upgrade begins before the period ends that it takes the place of, and may be paid for shorter than that."""
    return of.purchased_at, of.paid_until, of.transaction


def _told(of: ClaimSubscription | Subscription) -> tuple[datetime, int, datetime, bool, str]:
    return of.told_at, RANKS.index(of.status), of.until, not of.renews, of.next_store_product


_PERIOD: Final = (
    *("transaction", "paid_until", "purchased_at", "price_milliunits", "currency", "country"),
    *("store_product", "sold_as"),
)
_SIGNED: Final = ("signed_at", "revoked_parts", "parts", "intent", "linked_intent", "token")
_RENEWAL: Final = ("told_at", "status", "until", "renews", "next_store_product", "next_product")


def period_claim(word: ClaimSubscription) -> ClaimPurchase:
    """What a word says of its period, as of any other purchase."""
    return ClaimPurchase(
        **derive(word, "period"), purchase=purchase_name(word.store, word.transaction), store=word.store, intent=word.intent,
        store_product=word.store_product, purchased_at=word.purchased_at, quantity=word.quantity,
        price_milliunits=word.price_milliunits, currency=word.currency, country=word.country, signed_at=word.signed_at,
        revoked_parts=word.revoked_parts, parts=word.parts, subscription=word.name, sold_as=word.sold_as,
        linked_intent=word.linked_intent, ledger=word.ledger,
    )  # fmt: skip


def known_as(word: ClaimSubscription, products: Iterable[tuple[str, Product]]) -> ClaimSubscription:
    """The word, and as which of our products the store's are known; of several that which is on sale, the first by name."""
    by_id: dict[str, tuple[bool, str]] = {}
    for name, product in products:
        sold = product.apple_id if word.store.is_apple else product.google_id
        if product.renewing and sold:
            by_id[sold] = min(by_id.get(sold, (True, "~")), (not product.active, name))
    found = {sold: name for sold, (_, name) in by_id.items()}
    return replace(
        word, sold_as=found.get(word.store_product, ""), next_product=found.get(word.next_store_product, "")
    )  # fmt: skip


def _read(fact: IntentRead) -> str:
    return fact.purchase if fact.purchase.startswith(PREFIX) else ""


SubscriptionInbox = ClaimSubscription | IntentRead | Wake

SUBSCRIPTION: Final = Entity(
    "subscription",
    key="name",
    flow=Flow.LIVE,
    state=Subscription,
    commands=(ClaimSubscription,),
    facts=(SubscriptionChanged, SubscriptionRepeated, SubscriptionRefused),
    hears=(Hears(IntentRead, _read, "a subscription knows whose it is and what it gives"),),
    shown=(Shown(SubscriptionChanged, ("user",), "the phone shows what is subscribed to"),),
)
