"""OneSignal: one notification for one subscription, `POST /notifications`.

Contract: `Authorization: Key ...`; the subscription's id; `idempotency_key`, a UUID by which a repeat is none for 30 days; data
of 2 KB, collapse id of 64 bytes. 200 without an `id` means that nobody was sent anything: the subscription is none any more.
"""

import json
from typing import Any, Final

import httpx

from infra.config import Config, PushProvider
from infra.vendors import push as pushes
from infra.vendors.answers import Attempt
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.push import Push, PushChannel, PushFailure, Urgency

CALLS_PER_S: Final = 100.0
# OneSignal's limit, and what Apple and Google take, less what OneSignal puts around it.
MAX_DATA: Final = 2_048
MAX_TEXTS: Final = 3_400
# So it calls phones that it does not know, or does not push to any more.
DEAD: Final = ("invalid_subscription_ids", "invalid_player_ids", "invalid_aliases")
NOT_SUBSCRIBED: Final = "not subscribed"


def body_of(push: Push, due: EffectDue, config: Config) -> dict[str, Any]:
    """The request's body. Errors: ValueError, if it is too large."""
    data = {"occurrence": push.occurrence, **push.data}
    if len(_packed(data)) > MAX_DATA:
        raise ValueError(f"data of {len(_packed(data))} bytes, of {MAX_DATA} at most")
    texts = json.loads(pushes.fit(lambda title, body: _packed([title, body, data]), push, MAX_TEXTS))
    high = push.urgency is Urgency.HIGH or push.channel is PushChannel.VOIP
    body: dict[str, Any] = {
        "app_id": config.onesignal_app_id, "target_channel": "push", "data": data,
        "include_subscription_ids": [push.address(PushProvider.ONESIGNAL)],
        "idempotency_key": pushes.request_id(due), "ttl": pushes.kept_s(due), "priority": 10 if high else 5,
        "collapse_id": pushes.collapse_id(push),
    }  # fmt: skip
    title, text, _ = texts
    # a notification without contents is silent; one with a title only says the title
    body |= {"contents": {"en": text or title}} if text or title else {"content_available": True}
    body |= {"headings": {"en": title}} if title and text else {}
    return body | ({"ios_badgeType": "SetTo", "ios_badgeCount": push.badge} if push.badge is not None else {})


def _packed(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def tell(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Push to one phone."""
    try:
        content = _packed(body_of(pushes.push_of(due), due, config))
    except ValueError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, str(error), failure=PushFailure.INVALID)
    headers = {"authorization": f"Key {config.onesignal_key}"}
    url = f"{config.onesignal_url}/notifications"
    return _read(pushes.post(client, pushes.Request(url, headers, content, pushes.timeout_s(due))))


def _read(answer: httpx.Response) -> Attempt:
    if not answer.is_success:
        failure = PushFailure.CREDENTIALS if answer.status_code in (401, 403) else None
        return pushes.refused(answer, failure) if failure else pushes.read(answer)
    found = pushes.said(answer)
    errors = found.get("errors")
    names = errors if isinstance(errors, dict) else {}
    words = errors if isinstance(errors, list) else []
    if any(names.get(name) for name in DEAD) or any(NOT_SUBSCRIBED in str(word) for word in words):
        return pushes.refused(answer, PushFailure.UNREGISTERED)
    if found.get("id"):
        return pushes.read(answer)
    return pushes.refused(answer, PushFailure.INVALID) if errors else pushes.strange(answer, "OneSignal")
