"""Snapchat's Conversions API v3: one event a request, `POST /v3/{SNAP_APP_ID}/events`.

Contract: developers.snap.com, Conversions API; event time in seconds; e-mail, phone, country and our own id as SHA-256,
advertising id, address and browser plain. `event_id` is the deduplication id, for 48 hours: a retry counts once. 200 with
`"status": "INVALID"` is a no for good.
"""

import json
from typing import Any, Final

import httpx

from infra.config import Config
from infra.vendors import answers
from schemas.ads_hashes import hashed_word
from schemas.outbox import AttemptOutcome, EffectDue
from schemas.postback import MICROS, Postback

CALLS_PER_S: Final = 100.0
TIMEOUT_S: Final = 10.0
EXTINFO: Final = 16
IOS: Final = frozenset({"ios", "iphone", "ipados"})


def is_ios(platform: str) -> bool:
    """Whether a phone is Apple's, by what its app calls the platform."""
    return platform.lower() in IOS


def app_of(told: Postback, config: Config) -> str:
    """The app's id in the store of the user's platform."""
    return config.app_id_ios if is_ios(told.platform) else config.app_id_android


def event_of(effect: str, told: Postback, config: Config) -> dict[str, Any]:
    """The request's event."""
    event: dict[str, Any] = {
        "event_name": told.event,
        "event_time": int(told.at.timestamp()),
        "event_id": effect,
        "action_source": "MOBILE_APP",
        "user_data": _user(told),
        "app_data": {
            "app_id": app_of(told, config),
            "advertiser_tracking_enabled": int(told.identity.tracking_allowed),
            "application_tracking_enabled": 1,
            "extinfo": _extinfo(told, config),
        },
    }
    if told.value_micros is not None:
        event["custom_data"] = {
            "currency": told.currency, "value": told.value_micros / MICROS, "order_id": told.ref, "num_items": 1,
        }  # fmt: skip
    return event


def _user(told: Postback) -> dict[str, Any]:
    known = told.identity
    found: dict[str, Any] = {
        "em": [known.email_sha256] if known.email_sha256 else [],
        "ph": [known.phone_sha256] if known.phone_sha256 else [],
        "madid": known.advertising_id.lower(),
        "idfv": known.vendor_id.lower(),
        "sc_click_id": known.click_id,
        "client_ip_address": known.ip if known.user_agent else "",
        "client_user_agent": known.user_agent if known.ip else "",
        "country": [hashed_word(told.country)] if told.country else [],
        "external_id": [hashed_word(told.user)],
    }
    return {name: value for name, value in found.items() if value}


def _extinfo(told: Postback, config: Config) -> list[str]:
    """Exactly sixteen strings: platform, package, versions, ..., model, locale; '' where it is not known."""
    kind, package = ("i2", config.bundle_ios) if is_ios(told.platform) else ("a2", config.app_id_android)
    known = [kind, package, told.app_version, told.app_version, "", "", told.locale]
    return known + [""] * (EXTINFO - len(known))


def tell(due: EffectDue, config: Config, client: httpx.Client) -> answers.Attempt:
    """Tell Snapchat of one conversion."""
    assert due.postback is not None
    answer = client.post(
        f"{config.snapchat_url}/v3/{config.snapchat_app_id}/events",
        params={"access_token": config.snapchat_token},
        json={"data": [event_of(due.effect, due.postback, config)]},
        timeout=TIMEOUT_S,
    )
    return _read(answer)


def _read(answer: httpx.Response) -> answers.Attempt:
    read = answers.read(answer)
    if read.outcome is not AttemptOutcome.ACCEPTED:
        return read
    try:
        valid = json.loads(answer.content)["status"] == "VALID"
    except (ValueError, KeyError, TypeError):
        return read._replace(outcome=AttemptOutcome.FAILED, detail=f"not Snapchat's answer: {read.detail}")
    return read if valid else read._replace(outcome=AttemptOutcome.REFUSED)
