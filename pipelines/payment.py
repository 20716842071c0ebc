"""Payments: a product, keyed by product id; an intent, keyed by its UUID. An intent asks its product once and pins the answer.

Laws: an intent pins one version, whatever the product becomes; every request gets one answer. Where the version has prices, it
is sold in their countries only. A subscription that was changed to another product at the store has an intent of its own for
it, which follows from the first one and the product, and is the same user's.
Refusals: `schemas.payment.PaymentRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from schemas.log.base import Message, MessageId, Wake, derive, in_calendar, later, reply, same_fields
from schemas.payment import (
    INTENT_KEPT_FOR,
    MAX_ASKED,
    Intent,
    IntentInbox,
    IntentOpened,
    IntentRead,
    IntentRefused,
    IntentRepeated,
    KeepIntent,
    OpenIntent,
    PaymentRefusal,
    PinProduct,
    Product,
    ProductInbox,
    ProductPinned,
    ProductPut,
    PutProduct,
    Reader,
    ReadIntent,
    changed_intent,
    prices_in,
)

# --- products ---------------------------------------------------------------------------------------------------------------


def decide_product(product: Product | None, message: ProductInbox) -> tuple[Product | None, Sequence[Message]]:
    """Decide one message of a product's inbox."""
    match message:
        case Wake():
            return product, ()
        case PutProduct():
            after = Product(**same_fields(message, Product), version=product.version + 1 if product else 1)
            put = ProductPut(**reply(message), product=message.product, by=message.by, **same_fields(after, ProductPut))
            return after, (put,)
        case PinProduct():
            return product, (_pin(product, message),)


def _pin(product: Product | None, message: PinProduct) -> ProductPinned:
    told: dict[str, Any] = {"refusal": PaymentRefusal.PRODUCT_UNKNOWN}
    if product is not None:
        sold = product.active or message.paid
        told = same_fields(product, ProductPinned) if sold else {"refusal": PaymentRefusal.PRODUCT_INACTIVE}
    return ProductPinned(**reply(message), product=message.product, intent=message.intent, **told)


# --- intents ----------------------------------------------------------------------------------------------------------------


def decide_intent(intent: Intent | None, message: IntentInbox) -> tuple[Intent | None, Sequence[Message]]:
    """Decide one message of an intent's inbox."""
    match message:
        case Wake():
            return (None if intent and intent.is_due(message.at) else intent), ()
        case OpenIntent():
            return _open(intent, message)
        case ReadIntent():
            return _read(intent, message)
        case KeepIntent():
            until = in_calendar(message.until)
            kept = intent is None or intent.forget_at is None or intent.forget_at >= until
            return (intent if kept or intent is None else replace(intent, forget_at=until)), ()
        case ProductPinned():
            return (intent, ()) if intent is None or intent.version else _pinned(intent, message)


def _open(intent: Intent | None, message: OpenIntent) -> tuple[Intent | None, Sequence[Message]]:
    if intent is None:
        pin = PinProduct(**derive(message, "pin"), product=message.product, intent=message.intent, paid=message.paid)
        opened = Intent(
            user=message.user, product=message.product, usage_consent=message.usage_consent, asked=(MessageId(message.id),),
            forget_at=later(message.at, INTENT_KEPT_FOR), paid=message.paid,
        )  # fmt: skip
        return opened, (pin,)
    if (message.user, message.product) != (intent.user, intent.product):
        return intent, (IntentRefused(**reply(message), intent=message.intent, refusal=PaymentRefusal.INTENT_DIFFERS),)
    if intent.version:
        return intent, (IntentRepeated(**reply(message), intent=message.intent, **same_fields(intent, IntentRepeated)),)
    if message.id in intent.asked:
        return intent, ()
    if len(intent.asked) >= MAX_ASKED:
        return intent, (IntentRefused(**reply(message), intent=message.intent, refusal=PaymentRefusal.PURCHASE_IN_PROGRESS),)
    return replace(intent, asked=(*intent.asked, MessageId(message.id))), ()


def _read(intent: Intent | None, message: ReadIntent) -> tuple[Intent | None, Sequence[Message]]:
    """Answer what is pinned; ask the intent that is meant, or that of the product to which a subscription was changed; or wait
    until the product has answered."""
    if message.meant:
        owner = "" if intent is None else intent.user
        return intent, (replace(message, **derive(message, "meant"), intent=message.meant, meant="", owner=owner),)
    if intent is None:
        return None, (_told(None, message, message.intent, PaymentRefusal.INTENT_UNKNOWN),)
    if message.owner not in ("", intent.user):
        return intent, (_told(None, message, message.intent, PaymentRefusal.PURCHASE_OF_ANOTHER),)
    if intent.version:
        other = message.store_product not in ("", intent.apple_id, intent.google_id)
        return intent, _changed(intent, message) if other and message.sold_as else (_told(intent, message, message.intent),)
    if not intent.paid:
        return intent, (_told(None, message, message.intent, PaymentRefusal.INTENT_UNKNOWN),)
    if len(intent.readers) >= MAX_ASKED:
        return intent, (_told(None, message, message.intent, PaymentRefusal.PURCHASE_IN_PROGRESS),)
    return replace(intent, readers=(*intent.readers, Reader(**same_fields(message, Reader), id=message.id))), ()


def _changed(intent: Intent, message: ReadIntent) -> tuple[Message, ...]:
    """The subscription began with this intent's product, and was changed to another one at the store."""
    name = changed_intent(message.intent, message.sold_as)
    opened = OpenIntent(
        **derive(message, "open"), intent=name, user=intent.user, product=message.sold_as, paid=True,
        usage_consent=intent.usage_consent,
    )  # fmt: skip
    return opened, replace(message, **derive(message, "read"), intent=name, sold_as="", signed=message.intent)


def _told(intent: Intent | None, asks: ReadIntent, name: str, refusal: PaymentRefusal | None = None) -> IntentRead:
    return IntentRead(**reply(asks), intent=name, **_answer(intent, asks, refusal))


def _told_later(intent: Intent | None, readers: tuple[Reader, ...], pinned: ProductPinned) -> list[IntentRead]:
    """The answers to those who have waited for the product's."""
    return [
        IntentRead(**reply(pinned, f"read/{number}", to=one.id), intent=pinned.intent, **_answer(intent, one, pinned.refusal))
        for number, one in enumerate(readers)
    ]


def _answer(intent: Intent | None, asks: ReadIntent | Reader, refusal: PaymentRefusal | None) -> dict[str, Any]:
    told: dict[str, Any] = {"refusal": refusal}
    if intent is not None:
        prices = prices_in(intent.prices, asks.country)
        sold = prices or not intent.prices
        told = same_fields(intent, IntentRead) | {"prices": prices} if sold else {"refusal": PaymentRefusal.COUNTRY_NOT_SOLD}
    return told | {"purchase": asks.purchase, "store_product": asks.store_product, "signed": asks.signed}


def _pinned(intent: Intent, message: ProductPinned) -> tuple[Intent | None, Sequence[Message]]:
    name, asked, readers = message.intent, intent.asked, intent.readers
    if message.refusal is not None:
        refused = [
            IntentRefused(**reply(message, number, to=to), intent=name, refusal=message.refusal)
            for number, to in enumerate(asked)
        ]
        return None, [*refused, *_told_later(None, readers, message)]
    pinned = replace(intent, **same_fields(message, Intent), asked=(), readers=())
    told: list[Message] = []
    for number, to in enumerate(asked):
        kind = IntentRepeated if number else IntentOpened
        told.append(kind(**reply(message, number, to=to), intent=name, **same_fields(pinned, kind)))
    return pinned, [*told, *_told_later(pinned, readers, message)]
