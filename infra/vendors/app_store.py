"""Apple's App Store: signed transactions and Server Notifications V2, verified by Apple's own library.

Contract: a JWS (ES256) whose header `x5c` has three certificates, the last of which is one of Apple's roots; the operator
brings the roots as files. A transaction names the bundle, the environment, and as `appAccountToken` the UUID that our app gave.
"""

import re
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pycountry
from msgspec.structs import replace

from infra.config import Config
from schemas.balance_ledger import Ledger
from schemas.log.base import EPOCH, later, moment_of, now
from schemas.purchase import WHOLE, AskUsage, ClaimPurchase, Store, purchase_name
from schemas.subscription import ClaimSubscription, SubscriptionStatus, subscription_name

if TYPE_CHECKING:
    from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

# A store front that is no country of ISO's.
KOSOVO: Final = {"XKS": "XK"}
# Clocks are off by minutes.
AHEAD: Final = timedelta(minutes=10)
PRODUCT_PATTERN: Final = re.compile(r"[\x21-\x7e]{1,128}")
TRANSACTION_PATTERN: Final = re.compile(r"[0-9A-Za-z]{1,64}")
MAX_MILLIUNITS: Final = 2**53
CONSUMABLE: Final = "Consumable"
SUBSCRIPTION: Final = "Auto-Renewable Subscription"
# Notifications of a subscription: what is so says the renewal that each carries.
OF_SUBSCRIPTIONS: Final = (
    "SUBSCRIBED", "DID_RENEW", "DID_FAIL_TO_RENEW", "DID_CHANGE_RENEWAL_STATUS", "GRACE_PERIOD_EXPIRED", "EXPIRED",
    "OFFER_REDEEMED", "RENEWAL_EXTENDED", "DID_CHANGE_RENEWAL_PREF",
)  # fmt: skip
# Notifications of a transaction that was bought, taken back, or given back.
TAKEN_BACK: Final = ("REFUND", "REVOKE")
# A refund is asked for, and Apple takes what we say within twelve hours.
ASKED: Final = "CONSUMPTION_REQUEST"
ANSWER_WITHIN: Final = timedelta(hours=12)
TRANSACTION_NAME: Final = re.compile("[0-9A-Za-z-]{1,64}")
OF_PURCHASES: Final = ("ONE_TIME_CHARGE", *TAKEN_BACK, "REFUND_REVERSED")
# What the developer's console sends to try the address, and what changes nothing.
NOTED: Final = ("TEST", "REFUND_DECLINED")
# By the names of Apple's library's statuses.
CODES: Final = {
    "INVALID_APP_IDENTIFIER": ("transaction_of_another_app", "it is signed for another bundle or app"),
    "INVALID_ENVIRONMENT": (
        "transaction_of_another_environment",
        "OLO_APPLE_ENVIRONMENT and OLO_SANDBOX_PURCHASES say what is taken",
    ),
}
OTHERWISE: Final = frozenset(code for code, _ in CODES.values())
FORGED: Final = ("signature_invalid", "it is not signed by Apple, or was changed behind it; see OLO_APPLE_ROOT_FILES")


class ForgedError(Exception):
    """Nothing to be credited: `code` is stable, `detail` says what is wrong."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def checked(text: Any, pattern: re.Pattern[str]) -> str:
    """A text that has to be there, in a form. Errors: ForgedError."""
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ForgedError("transaction_unreadable", "a field that is needed is not there, or has another form")
    return text


def bought_at(unix_ms: float) -> datetime:
    """When a store says that it has sold. Errors: ForgedError."""
    at = moment_of(unix_ms / 1_000)
    if not EPOCH < at <= now() + AHEAD:
        raise ForgedError("transaction_time_impossible", "it was bought in the future, or never; look at this machine's clock")
    return at


def ledger_for(config: Config, store: Store) -> Ledger:
    """In which ledger a purchase's coins are: a tester's in the sandbox's, unless this platform is one for Apple altogether."""
    own = store.is_sandbox and config.sandbox_purchases == "own_ledger"
    return Ledger.SANDBOX if own and (not store.is_apple or config.apple_environment == "production") else Ledger.ORDINARY


def missing_settings(config: Config) -> list[str]:
    """The variables that are needed, and are not set."""
    needed = ["apple_root_files", "bundle_ios", *(["app_id_ios"] if config.apple_environment == "production" else [])]
    return [f"OLO_{name.upper()}" for name in needed if not getattr(config, name)]


def read_transaction(config: Config, signed: str, user: str, claim: str) -> ClaimPurchase | ClaimSubscription:
    """The claim that a signed transaction makes for `user`. May ask Apple about its certificates. Errors: ForgedError."""
    return _claim(config, _verified(config, "verify_and_decode_signed_transaction", signed), user, claim)


def read_notification(config: Config, signed: str, claim: str) -> ClaimPurchase | ClaimSubscription | AskUsage | str:
    """The claim that a notification makes, or the question that it asks, or the kind of any other. Errors: ForgedError.

    What was taken back is told by the transaction itself; a notification whose transaction does not say so is unreadable."""
    found = _verified(config, "verify_and_decode_notification", signed)
    kind = found.rawNotificationType or ""
    if kind not in (*OF_PURCHASES, *OF_SUBSCRIPTIONS, ASKED) or found.data is None or not found.data.signedTransactionInfo:
        return str(kind)
    told = read_transaction(config, found.data.signedTransactionInfo, "", claim)
    if kind == ASKED:
        asked_at = moment_of(_number(found.signedDate, 0, MAX_MILLIUNITS) / 1_000)
        ask = checked(found.notificationUUID, TRANSACTION_NAME)
        name = told.purchase if isinstance(told, ClaimPurchase) else purchase_name(told.store, told.transaction)
        return AskUsage(id=claim, at=now(), purchase=name, ask=ask, until=later(asked_at, ANSWER_WITHIN))
    if kind in TAKEN_BACK and not told.revoked_parts:
        raise ForgedError("transaction_unreadable", "the notification says that it was taken back, the transaction does not")
    if isinstance(told, ClaimSubscription) and found.data.signedRenewalInfo:
        return _renewed(told, _verified(config, "verify_and_decode_renewal_info", found.data.signedRenewalInfo))
    return told


def _claim(config: Config, found: Any, user: str, claim: str) -> ClaimPurchase | ClaimSubscription:
    if found.rawType == SUBSCRIPTION:
        return _subscription(config, found, user, claim)
    if found.rawType != CONSUMABLE:
        raise ForgedError("transaction_unsuitable", "coins are consumables, or come with subscriptions; this is something else")
    fields = _fields(config, found, user, claim)
    transaction = checked(found.transactionId, TRANSACTION_PATTERN)
    return ClaimPurchase(**fields, purchase=purchase_name(fields["store"], transaction))


def _subscription(config: Config, found: Any, user: str, claim: str) -> ClaimSubscription:
    """A period of a subscription, as its transaction says; of its renewal that says nothing."""
    fields = _fields(config, found, user, claim)
    original = checked(found.originalTransactionId, TRANSACTION_PATTERN)
    return ClaimSubscription(
        **fields, name=subscription_name(fields["store"], original),
        transaction=checked(found.transactionId, TRANSACTION_PATTERN),
        paid_until=moment_of(_number(found.expiresDate, 0, MAX_MILLIUNITS) / 1_000),
    )  # fmt: skip


def _renewed(told: ClaimSubscription, renewal: Any) -> ClaimSubscription:
    """The same, with what Apple says of the renewal at that time: in grace, in retry, over, or going on, and to what it was
    changed."""
    told_at = moment_of(_number(renewal.signedDate, 0, MAX_MILLIUNITS) / 1_000)
    grace_until = moment_of(_number(renewal.gracePeriodExpiresDate, 0, MAX_MILLIUNITS) / 1_000)
    status, until = SubscriptionStatus.ACTIVE, told.paid_until
    if told.paid_until <= told_at:
        status = SubscriptionStatus.HOLD if renewal.isInBillingRetryPeriod else SubscriptionStatus.EXPIRED
        if grace_until > told_at:
            status, until = SubscriptionStatus.GRACE, grace_until
    chosen = told.store_product if renewal.autoRenewProductId is None else checked(renewal.autoRenewProductId, PRODUCT_PATTERN)
    return replace(
        told, told_at=told_at, status=status, until=until, renews=renewal.rawAutoRenewStatus != 0,
        next_store_product="" if chosen == told.store_product else chosen,
    )  # fmt: skip


def _fields(config: Config, found: Any, user: str, claim: str) -> dict[str, Any]:
    purchased_at = bought_at(found.purchaseDate or 0)
    store = Store.APPLE_SANDBOX if found.rawEnvironment == "Sandbox" else Store.APPLE
    return {
        "id": claim, "at": now(), "user": user, "store": store, "ledger": ledger_for(config, store),
        "intent": (found.appAccountToken or "").lower()[:64],
        "store_product": checked(found.productId, PRODUCT_PATTERN), "purchased_at": purchased_at,
        "quantity": _number(found.quantity, 1, MAX_MILLIUNITS), "price_milliunits": _number(found.price, 0, MAX_MILLIUNITS),
        "signed_at": moment_of(_number(found.signedDate, 0, MAX_MILLIUNITS) / 1_000), "revoked_parts": _revoked(found),
        "currency": checked(found.currency, re.compile("[A-Z]{3}")) if found.currency else "",
        "country": _country(found.storefront),
    }  # fmt: skip


def _country(storefront: Any) -> str:
    """The two letters of a store front's three; of one that nobody knows, none: then no price is held against it."""
    found = pycountry.countries.get(alpha_3=storefront) if isinstance(storefront, str) else None
    return KOSOVO.get(str(storefront), "") if found is None else str(found.alpha_2)


def _revoked(found: Any) -> int:
    """How much of it was taken back; where Apple does not say how much, all of it."""
    return 0 if found.revocationDate is None else _number(found.revocationPercentage, WHOLE, WHOLE)


def _number(value: Any, absent: int, most: int) -> int:
    """A whole number; the decider says whether it is a possible one."""
    value = absent if value is None else value
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ForgedError("transaction_unreadable", "a number is out of bounds")
    return value


def _verified(config: Config, method: str, signed: str) -> Any:
    """What is signed for this platform's environment, or, where its coins have a ledger of their own, for the sandbox."""
    try:
        return _verified_for(config, config.apple_environment, method, signed)
    except ForgedError as error:
        # A sandbox names no app's id, which the library misses before it looks at the environment.
        if config.sandbox_purchases != "own_ledger" or error.code not in OTHERWISE:
            raise
        with suppress(ForgedError):
            return _verified_for(config, "sandbox", method, signed)
        raise


def _verified_for(config: Config, environment: str, method: str, signed: str) -> Any:
    from appstoreserverlibrary.signed_data_verifier import VerificationException

    verifier = _verifier(config.apple_root_files, config.apple_online_checks, environment, config.bundle_ios, config.app_id_ios)
    try:
        return getattr(verifier, method)(signed)
    except VerificationException as error:
        raise ForgedError(*CODES.get(error.status.name, FORGED)) from error
    except (ArithmeticError, AttributeError, ExceptionGroup, LookupError, TypeError, ValueError) as error:
        raise ForgedError("transaction_unreadable", f"it is no signed data of Apple's: {type(error).__name__}") from error


@cache
def _verifier(files: str, online: bool, environment: str, bundle: str, app: str) -> "SignedDataVerifier":
    """Made at the first use: the library takes longer to load than the rest of serving's parts together."""
    from appstoreserverlibrary.models.Environment import Environment
    from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier

    roots = [Path(file).read_bytes() for file in files.split(",")]
    app_id = int(app.removeprefix("id")) if app else None
    return SignedDataVerifier(roots, online, Environment[environment.upper()], bundle, app_id)
