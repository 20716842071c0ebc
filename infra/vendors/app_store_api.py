"""Apple's App Store Server API: what Apple has told us, and of a transaction what it says now.

Contract: a bearer that we sign (ES256; `iss`, `iat`, `exp`, `aud` "appstoreconnect-v1", `bid`, header `kid`) with a key of App
Store Connect. `POST /inApps/v1/notifications/history` takes `startDate` and `endDate` (ms; at most 180 days ago, in the
sandbox 30) and gives `notificationHistory[].signedPayload`, 20 at a time, then `hasMore` and `paginationToken`, which goes
into the query. `GET /inApps/v1/transactions/{id}` gives `signedTransactionInfo`; 404: Apple knows none. `PUT
/inApps/v2/transactions/consumption/{id}` takes what was used of it (`consumptionPercentage` in thousandths of a percent) where
the customer has consented. 429 and 5xx: ask again. Paths and fields are those of Apple's own library, whose client takes no
other host.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from infra.config import Config
from infra.vendors.answers import Attempt, read
from infra.vendors.app_store import missing_settings as missing_for_signatures
from infra.vendors.play_store import AwayError
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.purchase import Store

PRODUCTION: Final = "https://api.storekit.apple.com"
SANDBOX: Final = "https://api.storekit-sandbox.apple.com"
# Apple limits how often it is asked in an hour; production takes some 3,600 of these.
CALLS_PER_S: Final = 1.0
LIVES_S: Final = 300
TIMEOUT_S: Final = 20.0
# Far more than a span of days can have.
MOST_PAGES: Final = 100_000


def missing_settings(config: Config) -> list[str]:
    """The variables that are needed, and are not set."""
    needed = ("apple_key_file", "apple_key_id", "apple_issuer_id")
    return missing_for_signatures(config) + [f"OLO_{name.upper()}" for name in needed if not getattr(config, name)]


def history(config: Config, client: httpx.Client, since: datetime, until: datetime) -> Iterator[str]:
    """The signed notifications that Apple has sent us, or tried to, in a span. Errors: AwayError."""
    span = {"startDate": _ms(since), "endDate": _ms(until)}
    token = ""
    for _ in range(MOST_PAGES):
        query = {"paginationToken": token} if token else {}
        page = _json(ask(config, client, "POST", "/inApps/v1/notifications/history", json=span, params=query))
        for one in page.get("notificationHistory") or ():
            if isinstance(one, dict) and isinstance(one.get("signedPayload"), str):
                yield one["signedPayload"]
        token = str(page.get("paginationToken") or "")
        if not page.get("hasMore") or not token:
            return


def transaction(config: Config, client: httpx.Client, name: str) -> str | None:
    """A transaction as Apple signs it now; None: Apple knows none of this id. Errors: AwayError."""
    answer = ask(config, client, "GET", f"/inApps/v1/transactions/{name}")
    found = None if answer.status_code in (400, 404) else _json(answer).get("signedTransactionInfo")
    return found if isinstance(found, str) else None


def tell_usage(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Tell Apple what of a purchase was used, to the coin, as its buyer has agreed to. A repeat does no harm."""
    if due.store_act is None:
        return Attempt(AttemptOutcome.REFUSED, 0, "there is nothing to tell")
    if missing := missing_settings(config):
        return Attempt(AttemptOutcome.REFUSED, 0, f"not set: {', '.join(missing)}; set them, then redrive")
    told: dict[str, Any] = {"customerConsented": True, "sampleContentProvided": False, "deliveryStatus": "DELIVERED"}
    if due.store_act.used_parts is not None:
        told["consumptionPercentage"] = due.store_act.used_parts
    store, _, name = due.subject.partition(":")
    try:
        return read(ask(config, client, "PUT", f"/inApps/v2/transactions/consumption/{name}", store=store, json=told))
    except AwayError as error:
        return Attempt(AttemptOutcome.FAILED, 0, str(error))


def ask(
    config: Config, client: httpx.Client, method: str, path: str, *, store: str = Store.APPLE, **more: Any
) -> httpx.Response:
    """What Apple answers to a request of ours, of a purchase of `store`. Errors: AwayError, also where the key is none."""
    real = config.apple_environment == "production" and store != Store.APPLE_SANDBOX
    url = (config.apple_api_url or (PRODUCTION if real else SANDBOX)) + path
    try:
        headers = {"authorization": f"Bearer {_bearer(config)}"}
        answer = client.request(method, url, headers=headers, timeout=TIMEOUT_S, **more)
    except (httpx.HTTPError, jwt.PyJWTError, OSError, ValueError) as error:
        raise AwayError(f"the App Store cannot be asked: {type(error).__name__}") from error
    if answer.status_code in (401, 403, 429) or answer.status_code >= 500:
        raise AwayError(f"the App Store answers {answer.status_code}")
    return answer


def _bearer(config: Config) -> str:
    at = int(time.time())
    claims = {
        "iss": config.apple_issuer_id, "iat": at, "exp": at + LIVES_S, "aud": "appstoreconnect-v1", "bid": config.bundle_ios
    }  # fmt: skip
    key = Path(config.apple_key_file).read_text(encoding="utf-8")
    return jwt.encode(claims, key, "ES256", headers={"kid": config.apple_key_id})


def _json(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise AwayError(f"the App Store answers {answer.status_code}")
    try:
        found = answer.json()
    except ValueError as error:
        raise AwayError("the App Store answers no JSON") from error
    return found if isinstance(found, dict) else {}


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1_000)
