"""Payments: a product, keyed by product id; an intent, keyed by its UUID. An intent asks its product once and pins the answer.

Laws: an intent pins one version, whatever the product becomes; every request gets one answer. Where the version has prices, it
is sold in their countries only.
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
    ReadIntent,
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
        sold = product.active
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
            return intent, (_read(intent, message),)
        case KeepIntent():
            until = in_calendar(message.until)
            kept = intent is None or intent.forget_at is None or intent.forget_at >= until
            return (intent if kept or intent is None else replace(intent, forget_at=until)), ()
        case ProductPinned():
            return (intent, ()) if intent is None or intent.version else _pinned(intent, message)


def _open(intent: Intent | None, message: OpenIntent) -> tuple[Intent | None, Sequence[Message]]:
    if intent is None:
        pin = PinProduct(**derive(message, "pin"), product=message.product, intent=message.intent)
        opened = Intent(
            user=message.user, product=message.product, usage_consent=message.usage_consent, asked=(MessageId(message.id),),
            forget_at=later(message.at, INTENT_KEPT_FOR),
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


def _read(intent: Intent | None, message: ReadIntent) -> IntentRead:
    told: dict[str, Any] = {"refusal": PaymentRefusal.INTENT_UNKNOWN}
    if intent is not None and intent.version:
        prices = prices_in(intent.prices, message.country)
        sold = prices or not intent.prices
        refused = {"refusal": PaymentRefusal.COUNTRY_NOT_SOLD}
        told = same_fields(intent, IntentRead) | {"prices": prices} if sold else refused
    return IntentRead(**reply(message), intent=message.intent, purchase=message.purchase, **told)


def _pinned(intent: Intent, message: ProductPinned) -> tuple[Intent | None, Sequence[Message]]:
    name, asked = message.intent, intent.asked
    if message.refusal is not None:
        refused = [
            IntentRefused(**reply(message, number, to=to), intent=name, refusal=message.refusal)
            for number, to in enumerate(asked)
        ]
        return None, refused
    pinned = replace(intent, **same_fields(message, Intent), asked=())
    told: list[Message] = []
    for number, to in enumerate(asked):
        kind = IntentRepeated if number else IntentOpened
        told.append(kind(**reply(message, number, to=to), intent=name, **same_fields(pinned, kind)))
    return pinned, told
