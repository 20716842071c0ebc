"""Pushes: what a phone is told through Apple or Google while the app does not listen. Each is an effect of the outbox.

Whoever wants one owes it to the outbox: `OweEffect(effect=push_id(occurrence, device), kind=EffectKind.PUSH,
provider=provider_of(push), subject=user, expires_at=push.expires_at, push=push)`. The id has the occurrence and the device, so
that a device is told of an occurrence once, whoever owes it and however often. What came of it is one of three facts, which the
user's entity hears by their `user`: `PushAccepted`, `PushRefused`, `PushTokenDead`.

Who is asked is decided on the log before anybody is asked; a retry has the same id at the same provider; another provider is
asked only where the first one has said no for good and no earlier attempt is in doubt. Behind `expires_at` nothing is sent.
"""

import re
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import Fact, Fields, Key, Message, State, Time
from schemas.log.entity import MAX_KEY_BYTES
from schemas.log.personal import PLAIN, WORDS
from schemas.user import Code, PushToken, User_

# Whoever the settings name, or Apple, who alone wakes an app for a call.
ANY_PROVIDER: Final = "push"
VOIP_PROVIDER: Final = "apns"
ONESIGNAL: Final = "onesignal"
UUID_FORM: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
MAX_DATA: Final = 16

Occurrence = Annotated[str, Meta(min_length=1, max_length=400, description="of a person: one cause"), PLAIN]
# The phone, as `schemas.user.mark_of` names it: its own name is personal.
DeviceMark = Annotated[str, Meta(min_length=1, max_length=64), PLAIN]
Title = Annotated[str, Meta(max_length=200), WORDS]
Body = Annotated[str, Meta(max_length=2_000), WORDS]
# What the app opens: ids and codes, nothing that somebody wrote.
PushData = Annotated[dict[Code, Annotated[str, Meta(max_length=256), PLAIN]], Meta(max_length=MAX_DATA)]


class PushPlatform(StrEnum):
    """Whose phone it is."""

    ANDROID = "android"
    IOS = "ios"


class PushChannel(StrEnum):
    """How the phone is woken: with a notice that it shows, or for a call that rings now and never later."""

    ALERT = "alert"
    VOIP = "voip"


class Urgency(StrEnum):
    """Whether the phone is to wake for it."""

    HIGH = "high"
    NORMAL = "normal"


class PushFailure(StrEnum):
    """Why nobody took a push."""

    # Nobody is set who could take it: development drops it so.
    NOT_CONFIGURED = "not_configured"
    # The owner took it back before anybody had it.
    WITHDRAWN = "withdrawn"
    # Its time was over, and nobody has it.
    TOO_LATE = "too_late"
    # Its time was over, and an attempt had no answer: the phone may have it.
    UNKNOWN = "unknown"
    # The user is erased.
    ERASED = "erased"
    # The vendor does not know the app, or who asks.
    CREDENTIALS = "credentials"
    # The vendor does not take such a message.
    INVALID = "invalid"
    # The vendor has forgotten the phone, or the token was never one.
    UNREGISTERED = "unregistered"
    # The token is another app's.
    WRONG_APP = "wrong_app"


# The phone's token is of no use any more.
TOKEN_FAILURES: Final = frozenset({PushFailure.UNREGISTERED, PushFailure.WRONG_APP})


class PushFields(Fields):
    """Which push: `occurrence` is one cause of one person's, `device` the phone."""

    occurrence: Occurrence
    device: DeviceMark
    channel: PushChannel


class Push(State, PushFields):
    """What is pushed. Without title and body it wakes the app silently, such as to take back what it shows.

    `token`: of the phone's app at Firebase, or its subscription id at OneSignal (a UUID, which no token is); for VoIP, Apple's
    token of PushKit. `subscription`: its id at OneSignal where it has both. A later push of the same `collapse_key` takes the
    place of this one on the phone. `badge`: the app icon's number; None: as it is."""

    token: PushToken
    platform: PushPlatform
    expires_at: Time
    title: Title = ""
    body: Body = ""
    badge: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    collapse_key: Annotated[str, Meta(max_length=256), PLAIN] = ""
    data: PushData = {}
    urgency: Urgency = Urgency.NORMAL
    subscription: PushToken = ""

    def address(self, provider: str) -> str:
        """By what this provider finds the phone; empty: by nothing. A token that is a UUID is a subscription at OneSignal."""
        is_subscription = bool(UUID_FORM.fullmatch(self.token))
        if provider == ONESIGNAL:
            return self.subscription or (self.token if is_subscription else "")
        return "" if is_subscription and provider != VOIP_PROVIDER else self.token


def push_id(occurrence: str, device: str) -> str:
    """The effect that tells one device of one occurrence. An occurrence whose name is longer than a key has room for is named
    by its digest."""
    if len(f"push/{device}/{occurrence}".encode()) > MAX_KEY_BYTES:
        occurrence = sha256(occurrence.encode()).hexdigest()
    return f"push/{device}/{occurrence}"


def provider_of(push: Push) -> str:
    """Whom the outbox is to ask: Apple for calls on its phones, else whoever is set."""
    return VOIP_PROVIDER if push.channel is PushChannel.VOIP and push.platform is PushPlatform.IOS else ANY_PROVIDER


def token_mark(token: str) -> str:
    """What facts say of a token: its SHA-256's beginning."""
    return sha256(token.encode()).hexdigest()[:16]


class WithdrawPush(Message):
    """The push (`effect`) is not wanted any more: it was read elsewhere, or what it tells of was deleted. An attempt that is
    under way is not stopped, and none follows it."""

    effect: Key


class _OfPush(Fact, PushFields):
    """`effect`: the push's id; `provider`: who was asked last; `attempt`: how often somebody was asked, or was to be."""

    effect: Key
    user: User_
    provider: Code = ""
    attempt: int = 1
    status: int = 0


class PushAccepted(_OfPush):
    """A provider has taken it. That the phone has shown it nobody says."""


class PushRefused(_OfPush):
    """Nobody has taken it, and nobody will be asked any more. Behind `unknown` the phone may have it all the same."""

    reason: PushFailure


class PushTokenDead(_OfPush):
    """The provider says that this phone's token is none, or no more: `token` is its `token_mark`. What was registered behind
    `dead_at` (None: nobody says when it died) is another registration, and stays."""

    reason: PushFailure
    token: Code
    dead_at: Time | None = None
