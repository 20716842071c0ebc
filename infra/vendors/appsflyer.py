"""AppsFlyer, both ways: pushes in (installs and what they are attributed to), server-to-server events out.

Contract in: Push API 2.0, JSON, a static token; times are UTC, `YYYY-MM-DD hh:mm:ss.sss`; keys without a value are left out
and new ones appear unannounced. A push has no id: who, what, when and its value are one. Contract out: S2S v3,
`POST /inappevent/{app_id}`, header `authentication`, at most 1 KB, one event a request; there is no deduplication id, so the
effect's id travels in the event's value, and only what was not taken is sent again.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx

from infra.config import Config
from infra.vendors import answers
from infra.vendors.snapchat import app_of, is_ios
from schemas.ads import PushDetails, Touch, TouchKind, Unattributed, network_of
from schemas.outbox import EffectDue
from schemas.postback import MICROS, Postback
from schemas.user import is_contact, is_user_id

CALLS_PER_S: Final = 200.0
TIMEOUT_S: Final = 10.0
MAX_BODY: Final = 1_024
# A push comes seconds to minutes behind its event; phones' clocks are off by minutes. Attribution looks back 30 days.
AHEAD: Final = timedelta(minutes=10)
BEHIND: Final = timedelta(days=90)
MAX_WORD: Final = 256
# Versions, languages, models, amounts, names of goods.
CODE: Final = re.compile(r"[A-Za-z0-9_.,:+() -]{1,64}")
VALUE_FIELDS: Final = ("revenue", "currency", "quantity", "content_id", "content_type")
PUSH_FIELDS: Final = tuple(field for field in PushDetails.__struct_fields__ if field not in (*VALUE_FIELDS, "unattributed"))
# AppsFlyer's ids have some 21 characters; this one becomes a key.
MAX_INSTALL_BYTES: Final = 128
EARLIEST: Final = datetime(2007, 1, 1, tzinfo=UTC)


class Push(NamedTuple):
    """What was pushed: `name` is the same for a repeat."""

    install: str
    name: str
    event_name: str
    at: datetime
    user: str
    touch: Touch | None
    details: PushDetails


class PushError(ValueError):
    """A push that is none. `code` is stable; the text says what is wrong."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def genuine(token: str, headers: Mapping[str, str]) -> bool:
    """Whether a push carries the token: in `Authorization` (bare or Bearer) or `X-AppsFlyer-Token`."""
    given = headers.get("x-appsflyer-token") or headers.get("authorization", "").removeprefix("Bearer ")
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def read_push(body: Any, now: datetime) -> Push:
    """What a push tells. Unknown fields do no harm. Errors: PushError."""
    if not isinstance(body, dict):
        raise PushError("push_invalid", "the body is no JSON object")
    install, event_name = _word(body, "appsflyer_id"), _word(body, "event_name")
    for name, value in (("appsflyer_id", install), ("event_name", event_name)):
        if not value:
            raise PushError("push_invalid", f"{name} is missing")
    if len(install.encode()) > MAX_INSTALL_BYTES or is_contact(install):
        raise PushError("push_invalid", f"appsflyer_id is no id of up to {MAX_INSTALL_BYTES} bytes")
    at = _time(body, "event_time")
    if at is None:
        raise PushError("push_invalid", "event_time is missing")
    if not now - BEHIND <= at <= now + AHEAD:
        raise PushError(
            "event_time_implausible", f"event_time is {at:%Y-%m-%d %H:%M:%S} UTC, and it is {now:%Y-%m-%d %H:%M:%S}"
        )
    value = body.get("event_value", "")
    event_value = value if isinstance(value, str) else json.dumps(value)
    named = "\n".join((install, event_name, at.isoformat(), event_value))
    push = hashlib.sha256(named.encode()).hexdigest()[:32]
    customer = _word(body, "customer_user_id")
    details = _details(body, _value_of(value), customer)
    user = "" if details.unattributed else customer
    return Push(install, push, event_name, at, user, _touch(body, event_name, at, now), details)


def _word(body: dict[str, Any], name: str) -> str:
    """A field as text; null and what is too long for a name count as nothing."""
    value = body.get(name)
    if value is None or isinstance(value, dict | list):
        return ""
    text = str(value).strip()
    return "".join(letter for letter in text if letter.isprintable()) if len(text) <= MAX_WORD else ""


def _time(body: dict[str, Any], name: str) -> datetime | None:
    text = _word(body, name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise PushError("push_invalid", f"{name} is no time; AppsFlyer's times are YYYY-MM-DD hh:mm:ss.sss, UTC") from None
    return at


def _past(body: dict[str, Any], name: str, now: datetime) -> datetime | None:
    """A time before the push's own. One before there were such phones, or in the future, counts as not told."""
    at = _time(body, name)
    return at if at is not None and EARLIEST <= at <= now + AHEAD else None


def _code(body: dict[str, Any], name: str) -> str:
    """A field that holds a code or a number; anything else, which may be of a person, counts as nothing."""
    word = _word(body, name)
    return word if CODE.fullmatch(word) and not is_contact(word) else ""


def _value_of(value: Any) -> dict[str, Any]:
    """An event's value: AppsFlyer sends it as JSON inside of a text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _details(body: dict[str, Any], value: dict[str, Any], customer: str) -> PushDetails:
    """What analysts are told: fields with names, and of these only codes. Nothing else of a push is kept anywhere."""
    known = {field: _code(body, field) for field in PUSH_FIELDS}
    known |= {field: _code(value, f"af_{field}") for field in VALUE_FIELDS}
    if not customer or is_user_id(customer):
        return PushDetails(**known)
    return PushDetails(**known, unattributed=Unattributed.CONTACT if is_contact(customer) else Unattributed.FOREIGN)


def _touch(body: dict[str, Any], event_name: str, at: datetime, now: datetime) -> Touch | None:
    """What an install or a return is attributed to; None: an event inside the app."""
    kind = event_name.lower().replace("_", "-")
    if kind not in set(TouchKind):
        return None
    return Touch(
        kind=TouchKind(kind), at=_past(body, "install_time", now) or at if kind == TouchKind.INSTALL else at,
        network=network_of(_word(body, "media_source")), campaign=_word(body, "campaign"), campaign_id=_word(body, "af_c_id"),
        adset=_word(body, "af_adset"), adset_id=_word(body, "af_adset_id"), ad=_word(body, "af_ad"),
        ad_id=_word(body, "af_ad_id"), channel=_word(body, "af_channel"), site=_word(body, "af_siteid"),
        touch_type=_word(body, "attributed_touch_type"),
        touched_at=_past(body, "attributed_touch_time", now), platform=_word(body, "platform"),
        country=_word(body, "country_code"), app=_word(body, "app_id"),
    )  # fmt: skip


# --- out --------------------------------------------------------------------------------------------------------------------


def body_of(effect: str, told: Postback) -> bytes:
    """The request's body, at most 1 KB: what is only nice to have is left out first."""
    value: dict[str, Any] = {"olo_event_id": effect}
    if told.value_micros is not None:
        value |= {"af_revenue": f"{told.value_micros / MICROS:.6f}".rstrip("0").rstrip("."), "af_currency": told.currency}
        value |= {"af_quantity": 1, "af_content_id": told.ref}
    known, ios = told.identity, is_ios(told.platform)
    body: dict[str, Any] = {
        "appsflyer_id": told.appsflyer_id, "eventName": told.event, "eventValue": json.dumps(value, separators=(",", ":")),
        "eventTime": f"{told.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{told.at.microsecond // 1000:03}",
        "customer_user_id": told.user, "eventCurrency": told.currency,
        ("idfa" if ios else "advertising_id"): known.advertising_id.upper() if ios else known.advertising_id.lower(),
        "ip": known.ip, "app_version_name": told.app_version, "email_hashed": known.email_sha256,
        "phone_number_hashed": known.phone_sha256,
    }  # fmt: skip
    body = {name: content for name, content in body.items() if content}
    for spare in ("", "phone_number_hashed", "email_hashed", "app_version_name", "ip"):
        body.pop(spare, None)
        packed = json.dumps(body, separators=(",", ":")).encode()
        if len(packed) <= MAX_BODY:
            break
    return packed


def tell(due: EffectDue, config: Config, client: httpx.Client) -> answers.Attempt:
    """Tell AppsFlyer of one event."""
    assert due.postback is not None
    answer = client.post(
        f"{config.appsflyer_url}/inappevent/{app_of(due.postback, config)}",
        content=body_of(due.effect, due.postback),
        headers={"authentication": config.appsflyer_key, "content-type": "application/json"},
        timeout=TIMEOUT_S,
    )
    return answers.read(answer)
