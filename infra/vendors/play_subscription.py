"""Google Play's subscriptions, asked by their token.

Contract: `GET /androidpublisher/v3/applications/{package}/purchases/subscriptionsv2/tokens/{token}` gives `subscriptionState`,
`lineItems[]` (`productId`, `expiryTime`, `autoRenewingPlan.autoRenewEnabled`, `latestSuccessfulOrderId`), `regionCode`,
`startTime`, `testPurchase` (a tester's) and `externalAccountIdentifiers.obfuscatedExternalAccountId`, the intent. Each period
has an order of its own, `<first order>..<number>`; the order (`orders/{order}`) says what was paid, and in `state` whether it
was given back. Who changes to another product gets a new token, and the old subscription is over; `linkedPurchaseToken` of the
new one names it. A change that waits for the renewal stands in the running item as `deferredItemReplacement.productId`, and
what it is changed to is an item that has no order yet. Who subscribes in Google's own app may come without an account.
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import httpx
from msgspec.structs import replace

from infra.config import Config
from infra.vendors import play_store
from infra.vendors.app_store import ForgedError, bought_at, checked, ledger_for
from schemas.log.base import in_calendar, now
from schemas.purchase import WHOLE
from schemas.subscription import ClaimSubscription, SubscriptionStatus, subscription_name

MAX_TOKEN: Final = 2_000
PENDING: Final = "SUBSCRIPTION_STATE_PENDING"
STATUSES: Final = {
    "SUBSCRIPTION_STATE_ACTIVE": SubscriptionStatus.ACTIVE, "SUBSCRIPTION_STATE_CANCELED": SubscriptionStatus.ACTIVE,
    "SUBSCRIPTION_STATE_IN_GRACE_PERIOD": SubscriptionStatus.GRACE, "SUBSCRIPTION_STATE_ON_HOLD": SubscriptionStatus.HOLD,
    "SUBSCRIPTION_STATE_PAUSED": SubscriptionStatus.PAUSED, "SUBSCRIPTION_STATE_EXPIRED": SubscriptionStatus.EXPIRED,
}  # fmt: skip
GIVEN_BACK: Final = ("REFUNDED", "CANCELED")


def read_subscription(config: Config, client: httpx.Client, token: str, user: str, claim: str) -> list[ClaimSubscription]:
    """What Google says of a subscription and its latest period now, behind what it says of the one whose place it has taken,
    which is nobody's claim. Errors: ForgedError, AwayError."""
    asked_at = now()
    found = _asked(config, client, token)
    linked = found.get("linkedPurchaseToken")
    before = _linked(config, client, linked) if isinstance(linked, str) and 0 < len(linked) <= MAX_TOKEN else {}
    old = {"linked_intent": account} if before and (account := _account(before)) else {}
    word = _read(config, client, found, {"id": claim, "at": asked_at, "user": user, "token": token} | old)
    if not word.intent:
        word = replace(word, intent=word.linked_intent)
    if not before or not before.get("lineItems"):
        return [word]
    try:
        told = _read(config, client, before, {"id": f"{claim}/replaced", "at": asked_at, "user": "", "token": linked})
    except ForgedError:
        return [word]
    if told.name == word.name:
        return [word]
    return [replace(told, status=SubscriptionStatus.EXPIRED, renews=False, replaced=True), word]


def _asked(config: Config, client: httpx.Client, token: str) -> dict[str, Any]:
    return play_store.get(config, client, f"purchases/subscriptionsv2/tokens/{quote(token, safe='')}")


def _linked(config: Config, client: httpx.Client, token: str) -> dict[str, Any]:
    """What Google says of the one before; sixty days behind its end it does not know it any more."""
    try:
        return _asked(config, client, token)
    except ForgedError:
        return {}


def _account(found: dict[str, Any]) -> str:
    """The intent that our app gave."""
    told = found.get("externalAccountIdentifiers")
    return str((told if isinstance(told, dict) else {}).get("obfuscatedExternalAccountId") or "").lower()[:64]


def _read(config: Config, client: httpx.Client, found: dict[str, Any], envelope: dict[str, Any]) -> ClaimSubscription:
    try:
        return _word(config, client, found, envelope)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ForgedError("transaction_unreadable", "the subscription has another form") from error


def _line(found: dict[str, Any]) -> dict[str, Any]:
    """The item that is paid for, longest; one to which it will be changed has no order yet."""
    lines: list[dict[str, Any]] = found["lineItems"]
    return max(
        [one for one in lines if one.get("latestSuccessfulOrderId")] or lines[:1], key=lambda one: _moment(one["expiryTime"])
    )


def _word(config: Config, client: httpx.Client, found: dict[str, Any], envelope: dict[str, Any]) -> ClaimSubscription:
    state, line, asked_at = found["subscriptionState"], _line(found), envelope["at"]
    if state == PENDING:
        raise ForgedError("purchase_pending", "it is not paid yet; Google tells us when it is")
    order = checked(line.get("latestSuccessfulOrderId") or found.get("latestOrderId"), play_store.ORDER_PATTERN)
    store = play_store.store_of(config, {"purchaseType": play_store.TESTERS} if "testPurchase" in found else {})
    paid_until, told = _moment(line["expiryTime"]), play_store.order_of(config, client, order)
    plan, waits = line.get("autoRenewingPlan") or {}, line.get("deferredItemReplacement") or {}
    later = checked(waits["productId"], play_store.PRODUCT_PATTERN) if waits else ""
    return ClaimSubscription(
        **envelope, name=subscription_name(store, order.partition("..")[0]), store=store, transaction=order,
        ledger=ledger_for(config, store), intent=_account(found), next_store_product=later,
        store_product=checked(line["productId"], play_store.PRODUCT_PATTERN), quantity=1, country=play_store.country_of(found),
        purchased_at=bought_at(_moment(found["startTime"]).timestamp() * 1_000), paid_until=paid_until, signed_at=asked_at,
        told_at=asked_at, status=STATUSES[state], until=paid_until, renews=bool(plan.get("autoRenewEnabled")),
        revoked_parts=WHOLE if told.get("state") in GIVEN_BACK else 0, **play_store.price_of(told),
    )  # fmt: skip


def _moment(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    return in_calendar(at if at.tzinfo else at.replace(tzinfo=UTC))
