"""Google Play's subscriptions, asked by their token.

Contract: `GET /androidpublisher/v3/applications/{package}/purchases/subscriptionsv2/tokens/{token}` gives `subscriptionState`,
`lineItems[]` (`productId`, `expiryTime`, `autoRenewingPlan.autoRenewEnabled`, `latestSuccessfulOrderId`), `regionCode`,
`startTime`, `testPurchase` (a tester's) and `externalAccountIdentifiers.obfuscatedExternalAccountId`, the intent. Each period
has an order of its own, `<first order>..<number>`; the order (`orders/{order}`) says what was paid, and in `state` whether it
was given back.
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import httpx

from infra.config import Config
from infra.vendors import play_store
from infra.vendors.app_store import ForgedError, bought_at, checked
from schemas.log.base import in_calendar, now
from schemas.purchase import WHOLE
from schemas.subscription import ClaimSubscription, SubscriptionStatus, subscription_name

PENDING: Final = "SUBSCRIPTION_STATE_PENDING"
STATUSES: Final = {
    "SUBSCRIPTION_STATE_ACTIVE": SubscriptionStatus.ACTIVE, "SUBSCRIPTION_STATE_CANCELED": SubscriptionStatus.ACTIVE,
    "SUBSCRIPTION_STATE_IN_GRACE_PERIOD": SubscriptionStatus.GRACE, "SUBSCRIPTION_STATE_ON_HOLD": SubscriptionStatus.HOLD,
    "SUBSCRIPTION_STATE_PAUSED": SubscriptionStatus.PAUSED, "SUBSCRIPTION_STATE_EXPIRED": SubscriptionStatus.EXPIRED,
}  # fmt: skip
GIVEN_BACK: Final = ("REFUNDED", "CANCELED")


def read_subscription(config: Config, client: httpx.Client, token: str, user: str, claim: str) -> ClaimSubscription:
    """What Google says of a subscription and its latest period now. Errors: ForgedError, AwayError."""
    asked_at = now()
    found = play_store.get(config, client, f"purchases/subscriptionsv2/tokens/{quote(token, safe='')}")
    try:
        return _word(config, client, found, {"id": claim, "at": asked_at, "user": user, "token": token})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ForgedError("transaction_unreadable", "the subscription has another form") from error


def _word(config: Config, client: httpx.Client, found: dict[str, Any], envelope: dict[str, Any]) -> ClaimSubscription:
    state, line, asked_at = found["subscriptionState"], found["lineItems"][0], envelope["at"]
    if state == PENDING:
        raise ForgedError("purchase_pending", "it is not paid yet; Google tells us when it is")
    order = checked(line.get("latestSuccessfulOrderId") or found.get("latestOrderId"), play_store.ORDER_PATTERN)
    store = play_store.store_of(config, {"purchaseType": play_store.TESTERS} if "testPurchase" in found else {})
    paid_until, told = _moment(line["expiryTime"]), play_store.order_of(config, client, order)
    account = found.get("externalAccountIdentifiers") or {}
    plan = line.get("autoRenewingPlan") or {}
    return ClaimSubscription(
        **envelope, name=subscription_name(store, order.partition("..")[0]), store=store, transaction=order,
        intent=str(account.get("obfuscatedExternalAccountId") or "").lower()[:64],
        store_product=checked(line["productId"], play_store.PRODUCT_PATTERN), quantity=1, country=play_store.country_of(found),
        purchased_at=bought_at(_moment(found["startTime"]).timestamp() * 1_000), paid_until=paid_until, signed_at=asked_at,
        told_at=asked_at, status=STATUSES[state], until=paid_until, renews=bool(plan.get("autoRenewEnabled")),
        revoked_parts=WHOLE if told.get("state") in GIVEN_BACK else 0, **play_store.price_of(told),
    )  # fmt: skip


def _moment(text: Any) -> datetime:
    at = datetime.fromisoformat(text)
    return in_calendar(at if at.tzinfo else at.replace(tzinfo=UTC))
