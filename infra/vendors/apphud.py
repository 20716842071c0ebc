"""Apphud's webhook: a JSON POST an event, each once, with a static token in `X-Apphud-Token`; no signature, and no second try.

`event` has `id`, `name`, `created_at`, `store`, and a `receipt` with `transaction_id` (of Google's the order), `price` and
`currency`; `user` has `user_id`, which the app has set, and `subscriptions[].environment`. Fields that cannot be read count as
absent, but for those without which nobody knows of which transaction is told.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from infra.vendors.webhook import carries, found_in, moment
from schemas.apphud import ApphudKind, RecordApphudEvent
from schemas.log.base import MessageId
from schemas.payment import MAX_MILLIUNITS
from schemas.purchase import Store, purchase_name
from schemas.user import is_user_id

SOURCE: Final = "webhooks.apphud"
STORES: Final = {
    "app_store": (Store.APPLE, Store.APPLE_SANDBOX), "apple": (Store.APPLE, Store.APPLE_SANDBOX),
    "play_store": (Store.GOOGLE, Store.GOOGLE_SANDBOX), "google": (Store.GOOGLE, Store.GOOGLE_SANDBOX),
}  # fmt: skip
BOUGHT: Final = frozenset({
    "subscription_started", "subscription_renewed", "trial_converted", "intro_started", "intro_converted", "intro_renewed",
    "promo_converted", "non_renewing_purchase",
})  # fmt: skip
NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
PRODUCT: Final = re.compile(r"[\x21-\x7e]{1,128}")


class ApphudError(ValueError):
    """An event that is none; the text says what is wrong, `code` is stable."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def genuine(token: str, headers: Mapping[str, str]) -> bool:
    """Whether an event carries the token."""
    return carries(token, headers.get("x-apphud-token", ""))


def read_event(body: Any, id_: str, at: datetime) -> RecordApphudEvent:
    """What an event tells; `id_`, `at`: the command's own. Errors: ApphudError."""
    event = _name(body, "event", "id")
    name = _name(body, "event", "name")
    word = str(found_in(body, "event", "store") or "").lower()
    if word not in STORES:
        raise ApphudError("store_unknown", f"event.store is none of {', '.join(STORES)}")
    store = STORES[word][_is_sandbox(body)]
    receipt = found_in(body, "event", "receipt")
    kind = _kind(name)
    transaction = found_in(receipt, "transaction_id")
    if not isinstance(transaction, str) or not NAME.fullmatch(transaction):
        if kind is not ApphudKind.OTHER:
            raise ApphudError("event_invalid", "event.receipt.transaction_id is missing, or no name of a transaction")
        transaction = event
    product, user = found_in(body, "event", "properties", "product_id"), found_in(body, "user", "user_id")
    price, currency = _price(receipt)
    return RecordApphudEvent(
        id=MessageId(id_), at=at, purchase=purchase_name(store, transaction), event=event, event_name=name, kind=kind,
        store=store, happened_at=min(moment(found_in(body, "event", "created_at")) or at, at),
        store_product=product if isinstance(product, str) and PRODUCT.fullmatch(product) else "",
        user=user if isinstance(user, str) and is_user_id(user) else "", price_milliunits=price, currency=currency,
    )  # fmt: skip


def _name(body: Any, *path: str) -> str:
    found = found_in(body, *path)
    if not isinstance(found, str) or not NAME.fullmatch(found):
        raise ApphudError("event_invalid", f"{'.'.join(path)} is missing, or no name")
    return found


def _kind(name: str) -> ApphudKind:
    if name.endswith("_refunded"):
        return ApphudKind.REFUNDED
    return ApphudKind.BOUGHT if name in BOUGHT else ApphudKind.OTHER


def _is_sandbox(body: Any) -> bool:
    found = found_in(body, "user", "subscriptions")
    given = [found_in(one, "environment") for one in found] if isinstance(found, list) else []
    return "sandbox" in (*given, found_in(body, "event", "receipt", "environment"), found_in(body, "event", "environment"))


def _price(receipt: Any) -> tuple[int, str]:
    """Thousandths of the currency's unit, and the currency; (0, ""): the price is not known."""
    price, currency = found_in(receipt, "price"), found_in(receipt, "currency")
    if isinstance(price, bool) or not isinstance(price, int | float | str) or not isinstance(currency, str):
        return 0, ""
    try:
        milliunits = Decimal(str(price)) * 1_000
    except InvalidOperation:
        return 0, ""
    there = milliunits.is_finite() and 0 < milliunits <= MAX_MILLIUNITS and re.fullmatch("[A-Z]{3}", currency)
    return (int(milliunits), currency) if there else (0, "")
