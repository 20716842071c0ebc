"""A provider of payouts is asked to pay, and what became of it, under one id for good: the effect's.

Contract: `GET {url}/payments/{id}` says how a payment stands, 404: the provider has never heard of it; `PUT
{url}/payments/{id}` with the amount in cents, the currency, the account and its holder has it paid, once, however often it
comes; both with a bearer. A body `{"status": ...}` is the provider's word: `paid`, `failed` (it never left, and never will),
anything else is not known yet. Whatever is no such word, an outage, a refused key, a body that nobody can read, is asked
again: only the provider says that money was not sent. It is asked before it is told, so that an answer that was lost is
found.
"""

from typing import Final
from urllib.parse import quote

import httpx

from infra.config import Config, missing_for_payouts
from infra.vendors.answers import DETAIL, Attempt
from schemas.outbox import AttemptOutcome, EffectDue

CALLS_PER_S: Final = 10.0
TIMEOUT_S: Final = 20.0
UNKNOWN: Final = 404
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


def _word(answer: httpx.Response) -> Attempt:
    """The provider's word; whatever is none is asked again."""
    try:
        found = answer.json()
        said = str(found.get("status", "")) if isinstance(found, dict) else ""
    except ValueError:
        said = ""
    if answer.status_code < 500 and said == "paid":
        return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, said)
    if answer.status_code < 500 and said == "failed":
        return Attempt(AttemptOutcome.REFUSED, answer.status_code, answer.text[:DETAIL])
    return Attempt(AttemptOutcome.FAILED, answer.status_code, answer.text[:DETAIL], doubtful=True)
