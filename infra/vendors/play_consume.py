"""Google Play is told that a purchase was consumed, so that it can be bought again; that acknowledges it, too. A purchase that
nobody acknowledges within three days Google gives back.

Contract: `POST /androidpublisher/v3/applications/{package}/purchases/products/{product}/tokens/{token}:consume` with an OAuth
bearer; 2xx: done. Whatever else is answered, the purchase itself says what is so: `consumptionState` 1 is done, by an earlier
attempt or by the phone, and of what was cancelled there is nothing left to consume. So a repeat does no harm.

Where a buyer's bank wants the money back Google asks (`pendingRefundReviewNotification`: `orderId`, `pendingRefundToken`) and
takes one answer within 24 hours: `POST …/orders/{order}:reviewrefund` (`pendingRefundToken`, `refundPreference`,
`sampleContentProvided`, `consumptionPercentageMilliunits`); later ones it passes over.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import httpx
from google.auth import exceptions

from infra.config import Config
from infra.vendors import play_store
from infra.vendors.answers import DETAIL, Attempt, read
from infra.vendors.google import account_of, ask, is_taken
from schemas.outbox import AttemptOutcome, EffectDue

# Google's quota is 200,000 a day, and 3,000 a minute.
CALLS_PER_S: Final = 20.0
CONSUMED: Final = 1
Send = Callable[[str, str, dict[str, Any] | None], httpx.Response]


def consume(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Consume a purchase that was credited. Errors: httpx.HTTPError."""
    act = due.store_act
    if act is None:
        return Attempt(AttemptOutcome.REFUSED, 0, "there is nothing to consume")
    path = f"purchases/products/{quote(act.store_product, safe='')}/tokens/{quote(act.token, safe='')}"

    def act_on(send: Send) -> Attempt:
        answer = send("POST", f"{path}:consume", None)
        return read(answer) if answer.is_success else _otherwise(answer, send("GET", path, None))

    return _with_account(config, client, act_on)


def acknowledge(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Acknowledge a subscription; one that is acknowledged already, or is no more, is done."""
    act = due.store_act
    if act is None:
        return Attempt(AttemptOutcome.REFUSED, 0, "there is nothing to acknowledge")
    token = quote(act.token, safe="")

    def act_on(send: Send) -> Attempt:
        answer = send("POST", f"purchases/subscriptions/{quote(act.store_product, safe='')}/tokens/{token}:acknowledge", {})
        if answer.is_success:
            return read(answer)
        found = _said(send("GET", f"purchases/subscriptionsv2/tokens/{token}", None))
        over = found.get("subscriptionState") == "SUBSCRIPTION_STATE_EXPIRED"
        if over or found.get("acknowledgementState") == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED":
            return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, "it was acknowledged before, or is over")
        return _patient(read(answer))

    return _with_account(config, client, act_on)


def review(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Answer Google what of a purchase was used, to the coin; whether it is refunded is Google's business."""
    act = due.store_act
    if act is None:
        return Attempt(AttemptOutcome.REFUSED, 0, "there is nothing to tell")
    told = {"pendingRefundToken": act.token, "sampleContentProvided": False, "refundPreference": "NEUTRAL"}
    if act.used_parts is not None:
        told["consumptionPercentageMilliunits"] = act.used_parts
    path = f"orders/{quote(due.subject.partition(':')[2], safe='')}:reviewrefund"
    return _with_account(config, client, lambda send: _patient(read(send("POST", path, told))))


def _with_account(config: Config, client: httpx.Client, act: Callable[[Send], Attempt]) -> Attempt:
    if missing := play_store.missing_settings(config):
        return Attempt(AttemptOutcome.REFUSED, 0, f"not set: {', '.join(missing)}; set them, then redrive")
    app = f"{config.play_url}/androidpublisher/v3/applications/{config.app_id_android}"
    try:
        account = account_of(config.play_key_file, play_store.SCOPE)
    except ValueError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, f"OLO_PLAY_KEY_FILE: {error}"[:DETAIL])

    def send(method: str, path: str, told: dict[str, Any] | None) -> httpx.Response:
        def with_bearer(bearer: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {bearer}"}
            return client.request(method, f"{app}/{path}", headers=headers, json=told, timeout=play_store.TIMEOUT_S)

        return ask(account, client, with_bearer, is_taken)

    try:
        return act(send)
    except exceptions.GoogleAuthError as error:
        return Attempt(AttemptOutcome.FAILED, 0, f"no token: {error}"[:DETAIL])


def _otherwise(answer: httpx.Response, now: httpx.Response) -> Attempt:
    """What is so where Google did not simply consume it. A key that may not do it, or not yet, is tried again: a person has
    days to mend that before Google gives the purchase back."""
    found = _said(now)
    if found.get("consumptionState") == CONSUMED:
        return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, "it was consumed before")
    if found.get("purchaseState") == play_store.CANCELLED:
        return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, "Google has taken it back")
    return _patient(read(answer))


def _patient(told: Attempt) -> Attempt:
    return told._replace(outcome=AttemptOutcome.FAILED) if told.status in (401, 403, 409) else told


def _said(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json() if answer.is_success else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
