"""Apple's push service, for calls only: a VoIP push wakes the app, which must show a call at once. `POST /3/device/{token}`.

Contract: HTTP/2; a provider token (ES256, at most an hour old, and not renewed within 20 minutes); topic `<bundle>.voip`; it
expires at once, so that a phone that is off is not rung later; 5 KB. 410 `Unregistered` tells since when a token is none; 400
`BadDeviceToken` that it never was one, 400 `DeviceTokenNotForTopic` that it is another app's. All attempts have one `apns-id`.
"""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from infra.config import Config
from infra.vendors import push as pushes
from infra.vendors.answers import DETAIL, Attempt
from schemas.log.base import moment_of
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.push import Push, PushFailure

CALLS_PER_S: Final = 100.0
MAX_PAYLOAD: Final = 5_120
# Within Apple's 20 to 60 minutes. All processes issue at the same steps, so a restart renews nothing.
ISSUED_EVERY_S: Final = 1_800
# Apple's tokens are hexadecimal, of a length that Apple does not promise.
TOKEN: Final = re.compile(r"[0-9A-Fa-f]{16,400}")
FAILURES: Final[Mapping[tuple[int, str], PushFailure]] = {
    (410, "Unregistered"): PushFailure.UNREGISTERED,
    (410, "ExpiredToken"): PushFailure.UNREGISTERED,
    (400, "BadDeviceToken"): PushFailure.UNREGISTERED,
    (400, "DeviceTokenNotForTopic"): PushFailure.WRONG_APP,
    (400, "BadTopic"): PushFailure.CREDENTIALS,
    (400, "TopicDisallowed"): PushFailure.CREDENTIALS,
}


@cache
def _key(key_file: str, changed_at_ns: int) -> str:
    del changed_at_ns  # a key that was changed is read again
    return Path(key_file).read_text()


@cache
def _signed(key: str, key_id: str, team: str, issued_at_s: int) -> str:
    return jwt.encode({"iss": team, "iat": issued_at_s}, key, algorithm="ES256", headers={"kid": key_id})


def provider_token(config: Config, at_s: float) -> str:
    """What shows Apple who asks. Errors: OSError, ValueError, PyJWTError: the key file is none."""
    key = _key(config.apns_key_file, Path(config.apns_key_file).stat().st_mtime_ns)
    return _signed(key, config.apns_key_id, config.apns_team_id, int(at_s) - int(at_s) % ISSUED_EVERY_S)


class Lines:
    """HTTP/2 clients of one process, each with one request at a time: httpx's are not made for many threads on one line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[httpx.Client] = []

    @contextmanager
    def line(self) -> Iterator[httpx.Client]:
        """A client for one request; the one used last goes first, so that few stay open."""
        with self._lock:
            client = self._idle.pop() if self._idle else httpx.Client(http1=False, http2=True, trust_env=False)
        try:
            yield client
        finally:
            with self._lock:
                self._idle.append(client)

    def close(self) -> None:
        """End all that are idle."""
        with self._lock:
            for client in self._idle:
                client.close()
            self._idle.clear()


_lines: Final = Lines()
close = _lines.close


def payload_of(push: Push) -> bytes:
    """The push's body. Errors: ValueError, if it is too large."""

    def pack(title: str, body: str) -> bytes:
        texts = {name: text for name, text in (("title", title), ("body", body)) if text}
        payload: dict[str, Any] = {"aps": {}, "occurrence": push.occurrence, **texts, "data": push.data}
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()

    return pushes.fit(pack, push, MAX_PAYLOAD)


def tell(due: EffectDue, config: Config, _: httpx.Client) -> Attempt:
    """Ring one phone."""
    push = pushes.push_of(due)
    if not TOKEN.fullmatch(push.token):
        return Attempt(AttemptOutcome.REFUSED, 0, "the token is not hexadecimal", failure=PushFailure.UNREGISTERED)
    try:
        content = payload_of(push)
    except ValueError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, str(error), failure=PushFailure.INVALID)
    try:
        token = provider_token(config, time.time())
    except (OSError, ValueError, jwt.PyJWTError) as error:
        return Attempt(AttemptOutcome.REFUSED, 0, f"OLO_APNS_KEY_FILE: {error}"[:DETAIL], failure=PushFailure.CREDENTIALS)
    headers = {
        "authorization": f"bearer {token}", "apns-id": pushes.request_id(due), "apns-push-type": "voip",
        "apns-topic": f"{config.bundle_ios}.voip", "apns-priority": "10", "apns-expiration": "0",
    }  # fmt: skip
    if push.collapse_key:
        headers["apns-collapse-id"] = pushes.collapse_id(push)
    url = f"{config.apns_url}/3/device/{push.token}"
    with _lines.line() as client:
        return _read(pushes.post(client, pushes.Request(url, headers, content, pushes.timeout_s(due))))


def _read(answer: httpx.Response) -> Attempt:
    status, found = answer.status_code, pushes.said(answer)
    if answer.is_success:
        return pushes.strange(answer, "Apple") if status != 200 or answer.content else pushes.read(answer)
    if failure := FAILURES.get((status, str(found.get("reason", "")))):
        since_ms = found.get("timestamp")
        dead_at = moment_of(since_ms / 1_000) if isinstance(since_ms, int | float) else None
        return pushes.refused(answer, failure, dead_at=dead_at)
    return pushes.refused(answer, PushFailure.CREDENTIALS) if status == 403 else pushes.read(answer)
