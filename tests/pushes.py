"""Pushes for tests: an attempt that is due, and a handler for a client in memory that answers as the stand-ins do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import httpx

from schemas.log.base import now
from schemas.outbox import EffectDue, EffectKind
from schemas.push import Push, PushChannel, PushPlatform, Urgency
from tests.lab.city.push_vendors import PushVendors, content_of

SUBSCRIPTION: Final = "0f5bb1a5-7bd4-4f5e-8a3e-4f6f3b8a9c11"
VOIP_TOKEN: Final = "a" * 64
PUSHERS: Final = ("fcm", "onesignal", "apns")
Handler = Callable[[httpx.Request], httpx.Response]


def due(provider: str = "fcm", seconds: float = 60, /, **more: Any) -> EffectDue:
    """An attempt at a push that is of use for so many seconds."""
    fields: dict[str, Any] = {
        "occurrence": "ann/m1", "device": "d1", "channel": PushChannel.ALERT, "token": "fcm-token", "title": "Sue",
        "body": "hello",
        "platform": PushPlatform.ANDROID, "badge": 3, "collapse_key": "chat/sue", "data": {"chat": "sue"},
        "urgency": Urgency.HIGH,
    }  # fmt: skip
    if provider == "apns":
        fields |= {"channel": PushChannel.VOIP, "platform": PushPlatform.IOS, "token": VOIP_TOKEN}
    if provider == "onesignal":
        fields |= {"subscription": SUBSCRIPTION}
    until = now() + timedelta(seconds=seconds)
    return EffectDue(
        id="d", at=now(), cause="c", effect="push/d1/ann/m1", kind=EffectKind.PUSH, provider=provider, subject="ann", attempt=1,
        expires_at=until, push=Push(**(fields | {"expires_at": until} | more)),
    )  # fmt: skip


def handler_of(vendors: PushVendors) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        answer = vendors.answer(request.url.path, dict(request.headers), request.content)
        if answer is None:
            raise httpx.ReadError("the line was cut", request=request)
        return httpx.Response(answer.status, content=content_of(answer), headers=dict(answer.headers))

    return handle


def with_token(handler: Handler) -> Handler:
    """The handler behind a Google that gives a token to everybody."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3_599})
        return handler(request)

    return handle
