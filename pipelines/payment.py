"""Payments: a product, keyed by product id; an intent, keyed by its UUID; a purchase, keyed by store and transaction.

An intent asks its product once and pins the answer. A purchase asks the intent that the store has signed into the transaction,
and credits the intent's user from the store's outside party, whoever brought the transaction.
Laws: a transaction is credited at most once, in any order of claims, and to nobody but its intent's user; coins are those of
the pinned version times the quantity; every claim by a phone gets one answer.
Refusals: `schemas.payment.PaymentRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Reason, coins_account
from schemas.log.base import Message, MessageId, UserId, Wake, derive, later, reply, same_fields
from schemas.payment import (
    INTENT_KEPT_FOR,
    MAX_ASKED,
    MAX_QUANTITY,
    Asked,
    ClaimPurchase,
    Intent,
    IntentInbox,
    IntentOpened,
    IntentRead,
    IntentRefused,
    IntentRepeated,
    OpenIntent,
    PaymentRefusal,
    PinProduct,
    Product,
    ProductInbox,
    ProductPinned,
    ProductPut,
    Purchase,
    PurchaseCredited,
    PurchaseInbox,
    PurchaseRefused,
    PurchaseRepeated,
    PutProduct,
    ReadIntent,
    store_account,
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
        case ProductPinned():
            return (intent, ()) if intent is None or intent.version else _pinned(intent, message)


def _open(intent: Intent | None, message: OpenIntent) -> tuple[Intent | None, Sequence[Message]]:
    if intent is None:
        pin = PinProduct(**derive(message, "pin"), product=message.product, intent=message.intent)
        opened = Intent(
            user=message.user, product=message.product, asked=(MessageId(message.id),),
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
        told = same_fields(intent, IntentRead)
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


# --- purchases --------------------------------------------------------------------------------------------------------------

Decision = tuple[Purchase | None, Sequence[Message]]


def decide_purchase(purchase: Purchase | None, message: PurchaseInbox) -> Decision:
    """Decide one message of a purchase's inbox."""
    match message:
        case ClaimPurchase():
            return _begin(message) if purchase is None else _again(purchase, message)
        case _ if purchase is None or purchase.credited:
            return purchase, ()
        case Wake():
            return purchase, ()
        case IntentRead():
            return (purchase, ()) if purchase.user else _credit(purchase, message)
        case EntryRecorded():
            return _credited(purchase, message) if message.kind is EntryKind.CREDIT else (purchase, ())
        case AccountRefused():
            return _refuse_all(purchase, message, message.ref, PaymentRefusal.ACCOUNT_REFUSES)


def _begin(message: ClaimPurchase) -> Decision:
    asked = Asked(message.id, message.user)
    if not 1 <= message.quantity <= MAX_QUANTITY:
        return None, (_refused(message, message.purchase, asked, PaymentRefusal.QUANTITY_IMPOSSIBLE),)
    if not message.intent:
        return None, (_refused(message, message.purchase, asked, PaymentRefusal.INTENT_UNKNOWN),)
    fields = same_fields(message, Purchase) | {"user": ""}
    begun = Purchase(**fields, asked=(asked,))
    return begun, (ReadIntent(**derive(message, "intent"), intent=message.intent, purchase=message.purchase),)


def _again(purchase: Purchase, message: ClaimPurchase) -> Decision:
    asked = Asked(message.id, message.user)
    if purchase.credited:
        return purchase, (_answer(purchase, message.purchase, message, asked),)
    if any(one.id == message.id for one in purchase.asked):
        return purchase, ()
    if len(purchase.asked) >= MAX_ASKED:
        return purchase, (_refused(message, message.purchase, asked, PaymentRefusal.PURCHASE_IN_PROGRESS),)
    return replace(purchase, asked=(*purchase.asked, asked)), ()


def _credit(purchase: Purchase, read: IntentRead) -> Decision:
    if read.refusal is not None:
        return _refuse_all(purchase, read, read.purchase, read.refusal)
    if purchase.store_product != read.apple_id:
        return _refuse_all(purchase, read, read.purchase, PaymentRefusal.PRODUCT_DIFFERS)
    coins = (read.coins + read.bonus_coins) * purchase.quantity
    credit = Credit(
        **derive(read, "credit"), account=coins_account(read.user), counterparty=store_account(purchase.store), coins=coins,
        reason=Reason.PURCHASE, ref=read.purchase,
    )  # fmt: skip
    return replace(purchase, user=read.user, product=read.product, version=read.version, coins=coins), (credit,)


def _credited(purchase: Purchase, entry: EntryRecorded) -> Decision:
    """The coins are there. The first claim that may hear so is told that they were credited, later ones that they had been."""
    credited, name = replace(purchase, credited=True, asked=()), entry.ref
    first = next((one for one in purchase.asked if _may(purchase, one)), None)
    fact = PurchaseCredited(
        **reply(entry, "purchase", to=first.id if first else ""), purchase=name, **same_fields(credited, PurchaseCredited)
    )
    others = [one for one in purchase.asked if one is not first]
    return credited, (fact, *(_answer(credited, name, entry, one, f"purchase/{n}") for n, one in enumerate(others)))


def _may(purchase: Purchase, asked: Asked) -> bool:
    return asked.user in ("", purchase.user)


def _answer(purchase: Purchase, name: str, message: Message, asked: Asked, ordinal: str = "0") -> Message:
    """What is said of a credited purchase to one more claim."""
    if not _may(purchase, asked):
        return _refused(message, name, asked, PaymentRefusal.PURCHASE_OF_ANOTHER, ordinal)
    return PurchaseRepeated(
        **reply(message, ordinal, to=asked.id), purchase=name, user=UserId(purchase.user), product=purchase.product,
        coins=purchase.coins,
    )  # fmt: skip


def _refuse_all(purchase: Purchase, message: Message, name: str, refusal: PaymentRefusal) -> Decision:
    """Nothing is kept, so that the same transaction can be claimed again when what was amiss is mended."""
    asked = enumerate(purchase.asked)
    return None, [_refused(message, name, one, refusal, f"purchase/{number}") for number, one in asked]


def _refused(message: Message, name: str, asked: Asked, refusal: PaymentRefusal, ordinal: str = "0") -> PurchaseRefused:
    return PurchaseRefused(**reply(message, ordinal, to=asked.id), purchase=name, user=asked.user, refusal=refusal)
