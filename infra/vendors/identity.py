"""Firebase Authentication's accounts, by the Identity Toolkit: `POST /v1/projects/{project}/accounts:delete {"localId": ...}`,
and `accounts:update` with `customAttributes` (the JSON of all custom claims, at most 1,000 bytes) and `validSince` (Unix
seconds: sign-ins from before get no more tokens), both texts.

Contract: OAuth bearer of a service account that may administer Firebase Authentication. 200 has a `kind`; 400 with
`USER_NOT_FOUND` means that the account is gone already, as it is when the app was faster. A repeat does no harm.
"""

import json
from typing import Final

import httpx
from google.auth import exceptions

from infra.config import DEMO_PROJECT, Config
from infra.vendors import push as pushes
from infra.vendors.answers import DETAIL, Attempt, read
from infra.vendors.google import Account, account_of, ask, is_taken
from schemas.outbox import AttemptOutcome, EffectDue, EffectKind

# The quota of a project's changes of accounts is 10 a second.
CALLS_PER_S: Final = 8.0
SCOPE: Final = "https://www.googleapis.com/auth/identitytoolkit"
TIMEOUT_S: Final = 20.0
NOT_SET: Final = "OLO_FIREBASE_KEY_FILE is not set: {0}, or set it, then redrive"
YOURSELF: Final = {
    EffectKind.DELETE_ACCOUNT: "delete the account at Firebase yourself",
    EffectKind.SET_CLAIMS: "the log's word counts all the same; set the claims at Firebase yourself",
}
OTHER_PROJECT: Final = "OLO_FIREBASE_KEY_FILE is of the project {0}, users sign in at {1}: give its key, then redrive"


def delete_account(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Delete an erased user's account, which leads from the id to an e-mail address or a phone number."""
    return _change(due, "accounts:delete", {"localId": due.subject}, config, client)


def set_claims(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Let the user's next tokens claim their roles; where a role was taken, let no sign-in from before get another token."""
    if due.claims is None:
        return Attempt(AttemptOutcome.REFUSED, 0, "there is nothing to claim")
    claims = {"role": due.claims.role, "roles": due.claims.roles}
    body = {"localId": due.subject, "customAttributes": json.dumps(claims, separators=(",", ":"))}
    if due.claims.since is not None:
        body["validSince"] = str(int(due.claims.since.timestamp()))
    return _change(due, "accounts:update", body, config, client)


def _change(due: EffectDue, method: str, body: dict[str, str], config: Config, client: httpx.Client) -> Attempt:
    if not config.firebase_key_file:
        if config.firebase_project == DEMO_PROJECT:
            return Attempt(AttemptOutcome.ACCEPTED, 0, "the demo project has no accounts")
        return Attempt(AttemptOutcome.REFUSED, 0, NOT_SET.format(YOURSELF[due.kind]))
    try:
        account = account_of(config.firebase_key_file, SCOPE)
    except ValueError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, f"OLO_FIREBASE_KEY_FILE: {error}"[:DETAIL])
    if account.project != config.firebase_project:
        return Attempt(AttemptOutcome.REFUSED, 0, OTHER_PROJECT.format(account.project, config.firebase_project))
    try:
        answer = _ask(account, method, json.dumps(body).encode(), config, client)
    except exceptions.GoogleAuthError as error:  # no token, so nobody was asked
        again = isinstance(error, exceptions.TransportError) or error.retryable
        outcome = AttemptOutcome.FAILED if again else AttemptOutcome.REFUSED
        return Attempt(outcome, 0, f"no token: {error}"[:DETAIL])
    return _read(answer)


def _ask(account: Account, method: str, content: bytes, config: Config, client: httpx.Client) -> httpx.Response:
    url = f"{config.firebase_url}/v1/projects/{account.project}/{method}"

    def send(bearer: str) -> httpx.Response:
        return pushes.post(client, pushes.Request(url, {"authorization": f"Bearer {bearer}"}, content, TIMEOUT_S))

    return ask(account, client, send, is_taken)


def _read(answer: httpx.Response) -> Attempt:
    found = pushes.said(answer)
    if answer.is_success and not found.get("kind"):
        return pushes.strange(answer, "the Identity Toolkit")
    error = found.get("error")
    said = str(error.get("message", "")) if isinstance(error, dict) else ""
    if answer.status_code == 400 and said.startswith("USER_NOT_FOUND"):
        return Attempt(AttemptOutcome.ACCEPTED, answer.status_code, "there was no such account any more")
    return read(answer)
