"""Firebase Cloud Messaging, HTTP v1: one message for one token, `POST /v1/projects/{project}/messages:send`.

Contract: OAuth bearer of a service account (its key file says where it is had), 4 KB a message. 404 with `UNREGISTERED` and
400 that names the token mean that it is none any more; 403 `SENDER_ID_MISMATCH`: it is another app's. There is no id by which a
repeat is known: what a retry doubles has the same tag, and takes its own place on the phone.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx
from google.auth import exceptions

from infra.config import Config
from infra.vendors import push as pushes
from infra.vendors.answers import DETAIL, Attempt
from infra.vendors.google import Account, account_of, ask, is_taken
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.push import Push, PushChannel, PushFailure, Urgency

# The quota of a project is 600,000 a minute.
CALLS_PER_S: Final = 500.0
MAX_MESSAGE: Final = 4_096
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
FAILURES: Final[Mapping[tuple[int, str], PushFailure]] = {
    (404, "UNREGISTERED"): PushFailure.UNREGISTERED,
    (403, "SENDER_ID_MISMATCH"): PushFailure.WRONG_APP,
    (401, "THIRD_PARTY_AUTH_ERROR"): PushFailure.CREDENTIALS,
}
# Not our token is wrong, but the key that Firebase has of Apple.
OF_APPLE: Final = b"THIRD_PARTY_AUTH_ERROR"


def _packed(push: Push, due: EffectDue, title: str, body: str) -> bytes:
    message = {"token": push.token, **content_of(push, due, title, body)}
    return json.dumps({"message": message}, ensure_ascii=False, separators=(",", ":")).encode()


def content_of(push: Push, due: EffectDue, title: str, body: str) -> dict[str, Any]:
    """The message, without its token. What is silent has no notification, and a call none either: the app shows it itself."""
    high = push.urgency is Urgency.HIGH or push.channel is PushChannel.VOIP
    is_shown = bool(title or body) and push.channel is PushChannel.ALERT
    tag, kept_s = pushes.collapse_id(push), pushes.kept_s(due)
    android: dict[str, Any] = {"priority": "HIGH" if high else "NORMAL", "ttl": f"{kept_s}s"}
    aps: dict[str, Any] = {"sound": "default"} if is_shown else {"content-available": 1}
    if push.collapse_key:
        android["collapse_key"] = tag
    if is_shown:
        android["notification"] = {"tag": tag}
    if push.badge is not None:
        aps["badge"] = push.badge
        android.setdefault("notification", {})["notification_count"] = push.badge
    apns = {
        "apns-push-type": "alert" if is_shown else "background", "apns-priority": "10" if high and is_shown else "5",
        "apns-expiration": str(int(due.expires_at.timestamp())), "apns-collapse-id": tag,
    }  # fmt: skip
    data = {"occurrence": push.occurrence, **push.data}
    if not is_shown:
        data |= {"title": title, "body": body} if title or body else {}
        android.pop("notification", None)
    shown = {"notification": {"title": title, "body": body}} if is_shown else {}
    return {**shown, "data": data, "android": android, "apns": {"headers": apns, "payload": {"aps": aps}}}


def tell(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Push to one phone."""
    push = pushes.push_of(due)
    try:
        content = pushes.fit(
            lambda title, body: _packed(push, due, title, body), push, MAX_MESSAGE + len(push.token)
        )  # fmt: skip
    except ValueError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, str(error), failure=PushFailure.INVALID)
    try:
        account = account_of(config.fcm_key_file, SCOPE)
    except ValueError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, f"OLO_FCM_KEY_FILE: {error}"[:DETAIL], failure=PushFailure.CREDENTIALS)
    try:
        url = f"{config.fcm_url}/v1/projects/{account.project}/messages:send"
        answer = _ask(account, pushes.Request(url, {}, content, pushes.timeout_s(due)), client)
    except exceptions.GoogleAuthError as error:  # no token, so nobody was asked to push
        again = isinstance(error, exceptions.TransportError) or error.retryable
        outcome = AttemptOutcome.FAILED if again else AttemptOutcome.REFUSED
        return Attempt(outcome, 0, f"no token: {error}"[:DETAIL], failure=None if again else PushFailure.CREDENTIALS)
    return _read(answer)


def _ask(account: Account, request: pushes.Request, client: httpx.Client) -> httpx.Response:
    """The answer; nobody has taken the push with a token that is not taken. A 401 of Apple's is about the push."""

    def send(bearer: str) -> httpx.Response:
        return pushes.post(client, request._replace(headers={"authorization": f"Bearer {bearer}"}))

    return ask(account, client, send, lambda answer: is_taken(answer) or OF_APPLE in answer.content)


def _read(answer: httpx.Response) -> Attempt:
    status, found = answer.status_code, pushes.said(answer)
    if answer.is_success:
        return pushes.read(answer) if found.get("name") else pushes.strange(answer, "FCM")
    error = found.get("error")
    details = error.get("details") if isinstance(error, dict) else None
    told = [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    codes = [str(one.get("errorCode", "")) for one in told]
    if failure := next((FAILURES[status, code] for code in codes if (status, code) in FAILURES), None):
        return pushes.refused(answer, failure)
    if status == 400 and any(_names_the_token(one) for one in told):
        return pushes.refused(answer, PushFailure.UNREGISTERED)
    return pushes.refused(answer, PushFailure.CREDENTIALS) if status in (401, 403) else pushes.read(answer)


def _names_the_token(detail: dict[str, Any]) -> bool:
    violations = detail.get("fieldViolations")
    found = violations if isinstance(violations, list) else []
    return any(isinstance(one, dict) and one.get("field") == "message.token" for one in found)
