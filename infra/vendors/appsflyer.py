"""AppsFlyer, both ways: pushes in (installs and what they are attributed to), server-to-server events out.

Contract in: Push API 2.0, JSON, a static token; times are UTC, `YYYY-MM-DD hh:mm:ss.sss`; keys without a value are left out
and new ones appear unannounced. A push has no id: who, what, when and its value are one. Only who, what and when must be there:
any other field that cannot be read counts as absent, and is named in `unread`. An agency's installs lack the media source.

Contract out: S2S v3, `POST /inappevent/{app_id}`, header `authentication`, at most 1 KB, one event a request; there is no
deduplication id, so the effect's id travels in the event's value, and only what was not taken is sent again.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx

from infra.config import Config
from infra.vendors import answers
from infra.vendors.snapchat import app_of, is_ios
from infra.vendors.webhook import carries, token_in
from schemas.ads import LOOKBACK, ORGANIC, UNKNOWN, Touch, TouchKind, Unattributed, network_of
from schemas.ads_details import PushDetails
from schemas.names import known, name_of
from schemas.outbox import EffectDue
from schemas.postback import MICROS, Postback
from schemas.user import is_contact, is_user_id

CALLS_PER_S: Final = 200.0
TIMEOUT_S: Final = 10.0
MAX_BODY: Final = 1_024
# A push comes seconds to minutes behind its event; phones' clocks are off by minutes. Attribution looks back 30 days.
AHEAD: Final = timedelta(minutes=10)
BEHIND: Final = timedelta(days=90)
# Versions, languages, models, amounts, names of goods.
CODE: Final = re.compile(r"[A-Za-z0-9_.,:+() -]{1,64}")
VALUE_FIELDS: Final = ("revenue", "currency", "quantity", "content_id", "content_type")
PUSH_FIELDS: Final = tuple(field for field in PushDetails.__struct_fields__ if field not in (*VALUE_FIELDS, "unattributed"))
# AppsFlyer's ids have some 21 characters; this one becomes a key.
MAX_INSTALL_BYTES: Final = 128
# What only a campaign has: an install that tells of one was paid for, even if nobody says to whom.
PAID_KINDS: Final = frozenset({TouchKind.RE_ENGAGEMENT, TouchKind.RE_ATTRIBUTION})
OF_A_CAMPAIGN: Final = ("campaign", "af_c_id", "af_adset", "af_adset_id", "af_ad", "af_ad_id", "attributed_touch_type")


class Push(NamedTuple):
    """What was pushed: `name` is the same for a repeat; `unread`: see `schemas.ads.RecordPush`."""

    install: str
    name: str
    event_name: str
    at: datetime
    user: str
    touch: Touch | None
    details: PushDetails
    unread: tuple[str, ...]


class PushError(ValueError):
    """A push that is none. `code` is stable; the text says what is wrong."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def genuine(token: str, headers: Mapping[str, str]) -> bool:
    """Whether a push carries the token: in `Authorization` (bare or Bearer) or `X-AppsFlyer-Token`."""
    return carries(token, token_in(headers, "x-appsflyer-token"))


def read_push(body: Any, now: datetime) -> Push:
    """What a push tells. Unknown fields do no harm. Errors: PushError."""
    if not isinstance(body, dict):
        raise PushError("push_invalid", "the body is no JSON object")
    fields = _Fields(body, now)
    install, event_name = fields.known("appsflyer_id"), fields.known("event_name")
    for name, given in (("appsflyer_id", install), ("event_name", event_name)):
        if not given:
            raise PushError("push_invalid", f"{name} is missing")
    if len(install.encode()) > MAX_INSTALL_BYTES or is_contact(install):
        raise PushError("push_invalid", f"appsflyer_id is no id of up to {MAX_INSTALL_BYTES} bytes")
    at = _event_time(fields.name("event_time"), now)
    value, customer = body.get("event_value", ""), fields.known("customer_user_id")
    named = "\n".join((install, event_name, at.isoformat(), value if isinstance(value, str) else json.dumps(value)))
    push = hashlib.sha256(named.encode()).hexdigest()[:32]
    at, details = min(at, now), _details(fields, _Fields(_value_of(value), now), customer)
    user, touch = "" if details.unattributed else customer, _touch(fields, event_name, at)
    return Push(install, push, event_name, at, user, touch, details, tuple(sorted(fields.unread)))


def _event_time(text: str, now: datetime) -> datetime:
    """When it happened. Errors: PushError."""
    if not text:
        raise PushError("push_invalid", "event_time is missing")
    at = _moment(text)
    if at is None:
        raise PushError("push_invalid", "event_time is no time; AppsFlyer's times are YYYY-MM-DD hh:mm:ss.sss, UTC")
    if not now - BEHIND <= at <= now + AHEAD:
        raise PushError(
            "event_time_implausible", f"event_time is {at:%Y-%m-%d %H:%M:%S} UTC, and it is {now:%Y-%m-%d %H:%M:%S}"
        )
    return at


def _moment(text: str) -> datetime | None:
    """A time of AppsFlyer's, UTC where it names no zone."""
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class _Fields:
    """A push's fields, and which of them could not be read (`unread`)."""

    def __init__(self, body: dict[str, Any], now: datetime) -> None:
        self.unread: set[str] = set()
        self._body = body
        self._now = now

    def name(self, field: str) -> str:
        """A field as a name; empty where it is none."""
        value = self._body.get(field)
        if isinstance(value, dict | list):
            self.unread.add(field)
            return ""
        return "" if value is None else name_of(str(value))

    def known(self, field: str) -> str:
        """Likewise; empty also where it says that there is none."""
        return known(self.name(field))

    def code(self, field: str) -> str:
        """A field that holds a code or a number; anything else, which may be of a person, counts as nothing."""
        word = "" if isinstance(self._body.get(field), dict | list) else self.name(field)
        return word if CODE.fullmatch(word) and not is_contact(word) else ""

    def past(self, field: str, reach: timedelta) -> datetime | None:
        """A time that lies within the reach before now."""
        text = self.name(field)
        if not text:
            return None
        at = _moment(text)
        if at is not None and self._now - reach <= at <= self._now + AHEAD:
            return min(at, self._now)
        self.unread.add(field)
        return None


def _value_of(value: Any) -> dict[str, Any]:
    """An event's value: AppsFlyer sends it as JSON inside of a text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _details(fields: _Fields, value: _Fields, customer: str) -> PushDetails:
    """What analysts are told: fields with names, and of these only codes. Nothing else of a push is kept anywhere."""
    codes = {field: fields.code(field) for field in PUSH_FIELDS}
    codes |= {field: value.code(f"af_{field}") for field in VALUE_FIELDS}
    if not customer or is_user_id(customer):
        return PushDetails(**codes)
    return PushDetails(**codes, unattributed=Unattributed.CONTACT if is_contact(customer) else Unattributed.FOREIGN)


def _touch(fields: _Fields, event_name: str, at: datetime) -> Touch | None:
    """What an install or a return is attributed to; None: an event inside the app."""
    kind = event_name.lower().replace("_", "-")
    if kind not in set(TouchKind):
        return None
    installed_at = fields.past("install_time", BEHIND)
    return Touch(
        kind=TouchKind(kind), at=(installed_at or at) if kind == TouchKind.INSTALL else at, network=_network(fields, kind),
        campaign=fields.name("campaign"), campaign_id=fields.name("af_c_id"), adset=fields.name("af_adset"),
        adset_id=fields.name("af_adset_id"), ad=fields.name("af_ad"), ad_id=fields.name("af_ad_id"),
        channel=fields.name("af_channel"), site=fields.name("af_siteid"), touch_type=fields.name("attributed_touch_type"),
        touched_at=fields.past("attributed_touch_time", BEHIND + LOOKBACK), platform=fields.name("platform"),
        country=fields.name("country_code"), app=fields.name("app_id"),
    )  # fmt: skip


def _network(fields: _Fields, kind: str) -> str:
    """Who was paid: the media source, or the agency that does not name it. Without both it is organic, unless something else
    tells of a campaign; only campaigns re-engage."""
    if name := fields.known("media_source") or fields.known("af_prt"):
        return network_of(name)
    paid = kind in PAID_KINDS or any(fields.known(field) for field in OF_A_CAMPAIGN)
    return UNKNOWN if paid else ORGANIC


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
