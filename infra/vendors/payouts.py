"""A provider of payouts is asked to pay, and what became of it, under one id for good: the effect's.

Contract: `GET {url}/payments/{id}` says how a payment stands, 404: the provider has never heard of it; `PUT
{url}/payments/{id}` with the amount in cents, the currency, the account and its holder has it paid, once, however often it
comes; both with a bearer. A body `{"status": ...}` is the provider's word: `paid`, `failed` (it never left, and never will),
anything else is not known yet. Whatever is no such word, an outage, a refused key, a body that nobody can read, is asked
again: only the provider says that money was not sent. It is asked before it is told, so that an answer that was lost is
found. `returned` (it was paid, and came back) is `paid` first: that it came back the provider tells by itself, or, for some
weeks behind the payment, when it is asked once more (`infra/payouts_asked.py`).

Contract in: `POST /v1/webhooks/payouts`, `{"payment": id, "status": "returned"}`, perhaps before the payment was asked about,
and any number of times; `X-Payout-Signature` is the hexadecimal HMAC-SHA256 of the body with OLO_PAYOUT_WEBHOOK_SECRET. Other
statuses are hints, and what became of the payment is asked anyway.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx

from infra.config import Config, missing_for_payouts
from infra.vendors.answers import DETAIL, Attempt
from infra.vendors.webhook import carries
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.payout_fields import pay_id

CALLS_PER_S: Final = 10.0
TIMEOUT_S: Final = 20.0
UNKNOWN: Final = 404
PAYMENT: Final = pay_id("")
RETURNED: Final = "returned"
STATUSES: Final = ("pending", "paid", "failed", RETURNED)
# What is answered here where there is nothing to tell the provider.
NOT_SENT: Final = 400


def pay(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Ask what became of a payment; where the provider does not know it, have it paid. Errors: httpx.HTTPError."""
    paying = due.paying
    if missing := missing_for_payouts(config):
        return Attempt(AttemptOutcome.FAILED, 0, f"not set: {', '.join(missing)}")
    url = f"{config.payout_url.rstrip('/')}/payments/{quote(due.effect, safe='')}"
    headers = {"authorization": f"Bearer {config.payout_key}"}
    asked = client.get(url, headers=headers, timeout=TIMEOUT_S)
    if asked.status_code != UNKNOWN:
        return _word(asked)
    if paying is None or not paying.iban:
        return Attempt(AttemptOutcome.REFUSED, NOT_SENT, "the payee is erased, and the provider has never heard of the payment")
    body = {
        "amount_cents": paying.amount_cents, "currency": paying.currency, "iban": paying.iban, "holder": paying.holder,
    }  # fmt: skip
    return _word(client.put(url, headers=headers, json=body, timeout=TIMEOUT_S))


class ProviderAwayError(Exception):
    """The provider could not be asked; ask again later."""


def stands(config: Config, client: httpx.Client, payout: str) -> str:
    """How a payment stands by the provider's word: one of STATUSES, or what it says instead, such as that it does not know it.
    Errors: ProviderAwayError."""
    url = f"{config.payout_url.rstrip('/')}/payments/{quote(pay_id(payout), safe='')}"
    try:
        answer = client.get(url, headers={"authorization": f"Bearer {config.payout_key}"}, timeout=TIMEOUT_S)
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ProviderAwayError(f"the provider cannot be asked: {type(error).__name__}") from error
    if answer.status_code == UNKNOWN:
        return "that it has never heard of it"
    said = found.get("status") if isinstance(found, dict) else None
    if not answer.is_success or said not in STATUSES:
        raise ProviderAwayError(f"the provider answers {answer.status_code}, and no status")
    return str(said)


class Told(NamedTuple):
    """What the provider tells by itself: of which payout, and how it stands."""

    payout: str
    status: str


def genuine(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a notice is signed with the secret."""
    due = hmac.new(secret.encode(), body, sha256).hexdigest()
    return bool(secret) and carries(due, headers.get("x-payout-signature", ""))


def read_notice(body: Any) -> Told:
    """What a notice tells. Errors: ValueError, for one that is none."""
    found = body if isinstance(body, dict) else {}
    payment, status = found.get("payment"), found.get("status")
    if not isinstance(payment, str) or not payment.startswith(PAYMENT) or not 1 <= len(payment) - len(PAYMENT) <= 64:
        raise ValueError("payment is none of ours")
    if status not in STATUSES:
        raise ValueError(f"status is none of {', '.join(STATUSES)}")
    return Told(payment.removeprefix(PAYMENT), str(status))


def _word(answer: httpx.Response) -> Attempt:
    """The provider's word; whatever is none is asked again."""
    try:
        found = answer.json()
        said = str(found.get("status", "")) if isinstance(found, dict) else ""
    except ValueError:
        said = ""
    if answer.status_code < 500 and said in ("paid", RETURNED):
        return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, said)
    if answer.status_code < 500 and said == "failed":
        return Attempt(AttemptOutcome.REFUSED, answer.status_code, answer.text[:DETAIL])
    return Attempt(AttemptOutcome.FAILED, answer.status_code, answer.text[:DETAIL], doubtful=True)
