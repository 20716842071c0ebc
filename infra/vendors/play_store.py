"""Google Play: what it has sold, asked at the Play Developer API; and its real-time developer notifications, which only hint.

Contract: `GET /androidpublisher/v3/applications/{package}/purchases/products/{product}/tokens/{token}` with an OAuth bearer
gives `purchaseState` (0 bought, 1 cancelled, 2 pending), `orderId` (absent where a promotional code paid), the time as
`purchaseTimeMillis`, `quantity` (absent: 1), `refundableQuantity` (fewer: some were refunded), `purchaseType` (0 a tester's, 1
by a promotional code, 2 rewarded; absent: paid) and, as `obfuscatedExternalAccountId`, the intent that our app gave. No price.
400, 404 and 410: no such purchase. `GET …/purchases/voidedpurchases` lists what was taken back within a span of at most 30
days: `voidedPurchases[]` (`orderId`, `purchaseToken`, `voidedQuantity`, absent: all), then `tokenPagination.nextPageToken`. A
notification comes as a push of Cloud Pub/Sub: base64 JSON, with an OpenID token of the account that pushes; it is sent again
until it is answered 200. What was paid stands in `GET …/orders/{order}`: `lineItems[].listingPrice`, or `total`
(`currencyCode`, `units`, `nanos`), for an account that may see orders; without it the price is not known.
"""

import base64
import binascii
import json
import re
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx
from cachecontrol import CacheControl
from google.auth import exceptions
from google.auth.transport import requests
from google.oauth2 import id_token
from requests import Session

from infra.config import Config
from infra.vendors.app_store import ForgedError, bought_at, checked, ledger_for
from infra.vendors.google import account_of, ask, is_taken
from schemas.log.base import now
from schemas.purchase import WHOLE, ClaimPurchase, Store, purchase_name

SCOPE: Final = "https://www.googleapis.com/auth/androidpublisher"
ISSUERS: Final = ("accounts.google.com", "https://accounts.google.com")
ORDER_PATTERN: Final = re.compile(r"[0-9A-Za-z.-]{1,100}")
CURRENCY_PATTERN: Final = re.compile("[A-Z]{3}")
PRODUCT_PATTERN: Final = re.compile(r"[a-z0-9._]{1,128}")
TIMEOUT_S: Final = 20.0
# Far more than a span of days can have.
MOST_PAGES: Final = 10_000
# Google asks what was used of a purchase, and takes the first answer within a day.
SUBSCRIBED: Final = "subscriptionNotification"
REVIEW: Final = "pendingRefundReviewNotification"
ANSWER_WITHIN: Final = timedelta(hours=24)
BOUGHT, CANCELLED, PENDING = 0, 1, 2
TESTERS: Final = 0
# Of a voided purchase: one of in-app products.
ONE_TIME: Final = 2


class AwayError(Exception):
    """Google could not be asked; ask again later."""


class Hint(NamedTuple):
    """What a notification of some `kind` is about: a product and a token; of a voided purchase its order and the token; of a
    review its order and the token of the review."""

    kind: str
    token: str = ""
    product: str = ""
    order: str = ""


class Voided(NamedTuple):
    """What Google has taken back of an order; `quantity` 0: all of it."""

    order: str
    token: str
    quantity: int = 0


def missing_settings(config: Config, *, notices: bool = False) -> list[str]:
    """The variables that are needed, and are not set."""
    needed = ["play_key_file", "app_id_android", *(["play_push_audience", "play_push_account"] if notices else [])]
    return [f"OLO_{name.upper()}" for name in needed if not getattr(config, name)]


def read_purchase(config: Config, client: httpx.Client, hint: Hint, user: str, claim: str) -> ClaimPurchase:
    """The claim that a purchase makes for `user`, as Google tells it now. Errors: ForgedError, AwayError."""
    asked_at = now()
    if not PRODUCT_PATTERN.fullmatch(hint.product):
        raise ForgedError("transaction_unreadable", "this is no product id of Google Play")
    found = _asked(config, client, hint)
    state = _number(found, "purchaseState", BOUGHT)
    if state == PENDING:
        raise ForgedError("purchase_pending", "it is not paid yet; Google tells us when it is")
    purchased_at = bought_at(_number(found, "purchaseTimeMillis", 0))
    store, quantity = store_of(config, found), _number(found, "quantity", 1)
    taken: dict[str, Any] = _revoked(found, state, quantity)
    return ClaimPurchase(
        id=claim, at=asked_at, purchase=purchase_name(store, _order(found, hint)), user=user, store=store,
        ledger=ledger_for(config, store), intent=str(found.get("obfuscatedExternalAccountId") or "").lower()[:64],
        store_product=hint.product, purchased_at=purchased_at, quantity=quantity,
        signed_at=asked_at, token=hint.token, country=country_of(found),
        **_price(config, client, found), **taken,
    )  # fmt: skip


def _order(found: dict[str, Any], hint: Hint) -> str:
    """The order's id; a purchase by a promotional code has none, and is known by its token."""
    if found.get("orderId") is None:
        return f"token-{sha256(hint.token.encode()).hexdigest()[:40]}"
    return checked(found["orderId"], ORDER_PATTERN)


def store_of(config: Config, found: dict[str, Any]) -> Store:
    """Whether money was paid, or a tester has bought. Errors: ForgedError."""
    if found.get("purchaseType") != TESTERS:
        return Store.GOOGLE
    if not config.play_test_purchases and config.sandbox_purchases != "own_ledger":
        raise ForgedError(
            "transaction_of_another_environment",
            "a tester has bought it; OLO_SANDBOX_PURCHASES and OLO_PLAY_TEST_PURCHASES say whether it counts",
        )
    return Store.GOOGLE_SANDBOX


def country_of(found: dict[str, Any]) -> str:
    """The country of the store front."""
    told = found.get("regionCode")
    return told if isinstance(told, str) and re.fullmatch("[A-Z]{2}", told) else ""


def _price(config: Config, client: httpx.Client, found: dict[str, Any]) -> dict[str, Any]:
    return {} if found.get("orderId") is None else price_of(order_of(config, client, _order(found, Hint(""))))


def order_of(config: Config, client: httpx.Client, order: str) -> dict[str, Any]:
    """What Google tells of an order; nothing where it does not: nobody waits for coins because of a price."""
    try:
        return get(config, client, f"orders/{order}")
    except (AwayError, ForgedError):
        return {}


def price_of(order: dict[str, Any]) -> dict[str, Any]:
    """What was paid, as far as Google tells."""
    try:
        lines = order.get("lineItems")
        money = (lines[0].get("listingPrice") if isinstance(lines, list) and lines else None) or order["total"]
        milliunits = int(money.get("units", 0)) * 1_000 + int(money.get("nanos", 0)) // 1_000_000
        return {
            "currency": checked(money["currencyCode"], CURRENCY_PATTERN),
            "price_milliunits": max(0, min(milliunits, 2**53)),
        }
    except (ForgedError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _revoked(found: dict[str, Any], state: int, quantity: int) -> dict[str, int]:
    """How many of how many were taken back."""
    if state == CANCELLED or not quantity:
        return {"revoked_parts": WHOLE if state == CANCELLED else 0}
    parts = min(quantity, WHOLE)
    return {"revoked_parts": max(0, parts - _number(found, "refundableQuantity", parts)), "parts": parts}


def _number(found: dict[str, Any], name: str, absent: int) -> int:
    value = found.get(name, absent)
    try:
        number = int(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise ForgedError("transaction_unreadable", f"{name} is no number") from error
    if not 0 <= number <= 2**53:
        raise ForgedError("transaction_unreadable", f"{name} is out of bounds")
    return number


def _asked(config: Config, client: httpx.Client, hint: Hint) -> dict[str, Any]:
    """What Google says of a product's purchase by its token."""
    return get(config, client, f"purchases/products/{hint.product}/tokens/{quote(hint.token, safe='')}")


def get(config: Config, client: httpx.Client, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
    """What Google answers of our app. Errors: ForgedError, AwayError."""
    url = f"{config.play_url}/androidpublisher/v3/applications/{config.app_id_android}/{path}"

    def send(bearer: str) -> httpx.Response:
        return client.get(url, params=query, headers={"authorization": f"Bearer {bearer}"}, timeout=TIMEOUT_S)

    try:
        answer = ask(account_of(config.play_key_file, SCOPE), client, send, is_taken)
    except (httpx.HTTPError, exceptions.GoogleAuthError, ValueError) as error:
        raise AwayError(f"Google Play cannot be asked: {type(error).__name__}") from error
    if answer.status_code in (400, 404, 410):
        raise ForgedError("transaction_unknown", "Google Play knows no such purchase of this app")
    if not answer.is_success:
        raise AwayError(f"Google Play answers {answer.status_code}")
    try:
        found = answer.json()
    except ValueError as error:
        raise AwayError("Google Play answers no JSON") from error
    return found if isinstance(found, dict) else {}


def voided(config: Config, client: httpx.Client, since: datetime, until: datetime) -> list[Voided]:
    """What was taken back in a span, of in-app products. Errors: AwayError."""
    span = {"startTime": int(since.timestamp() * 1_000), "endTime": int(until.timestamp() * 1_000), "type": 0}
    found, token = list[Voided](), ""
    for _ in range(MOST_PAGES):
        query = span | {"includeQuantityBasedPartialRefund": "true"} | ({"token": token} if token else {})
        try:
            page = get(config, client, "purchases/voidedpurchases", query)
        except ForgedError as error:
            raise AwayError("Google Play does not tell what was voided: it knows no such app, or span") from error
        for one in page.get("voidedPurchases") or ():
            if isinstance(one, dict) and ORDER_PATTERN.fullmatch(str(one.get("orderId", ""))):
                found.append(Voided(one["orderId"], str(one.get("purchaseToken", "")), _voided_quantity(one)))
        token = str((page.get("tokenPagination") or {}).get("nextPageToken") or "")
        if not token:
            break
    return found


def _voided_quantity(one: dict[str, Any]) -> int:
    quantity = one.get("voidedQuantity", 0)
    return quantity if isinstance(quantity, int) and quantity > 0 else 0


def read_notice(config: Config, header: str, body: Any) -> Hint:
    """What a notification is about, once it is known whose it is. Errors: ForgedError, AwayError."""
    _verify(config, header)
    try:
        data = json.loads(base64.b64decode(body["message"]["data"], validate=True))
        if data["packageName"] != config.app_id_android:
            raise ForgedError("transaction_of_another_app", "the notification is of another app")
        for kind in ("oneTimeProductNotification", "voidedPurchaseNotification"):
            if told := data.get(kind):
                if kind.startswith("voided") and told.get("productType", ONE_TIME) != ONE_TIME:
                    return Hint(SUBSCRIBED, _token(told["purchaseToken"]))
                return Hint(kind, _token(told["purchaseToken"]), str(told.get("sku", "")), str(told.get("orderId", "")))
        if told := data.get(SUBSCRIBED):
            return Hint(SUBSCRIBED, _token(told["purchaseToken"]))
        if told := data.get(REVIEW):
            return Hint(REVIEW, _token(told["pendingRefundToken"]), "", checked(told["orderId"], ORDER_PATTERN))
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ForgedError("transaction_unreadable", "the notification has another form") from error
    return Hint(next((name for name in data if name.endswith("Notification")), "none"))


def _token(text: Any) -> str:
    return checked(text, re.compile(r"[\x21-\x7e]{1,2000}"))


@cache
def _certificates() -> requests.Request:
    """How google-auth asks what Google signs with: once in a while, and not once a notification that anybody may send."""
    session = Session()
    session.trust_env = False
    return requests.Request(session=CacheControl(session))


def _verify(config: Config, header: str) -> None:
    try:
        claims = id_token.verify_token(
            header.removeprefix("Bearer ").strip(), _certificates(), config.play_push_audience, config.google_certs_url, 10
        )
    except exceptions.TransportError as error:
        raise AwayError("Google's certificates cannot be fetched") from error
    except (exceptions.GoogleAuthError, ValueError, KeyError, TypeError) as error:
        raise ForgedError("signature_invalid", "it is not signed by Google for us") from error
    known = claims.get("iss") in ISSUERS and claims.get("email") == config.play_push_account and claims.get("email_verified")
    if not known:
        raise ForgedError("signature_invalid", "it is signed for another account than OLO_PLAY_PUSH_ACCOUNT")
