"""Google Analytics 4, Measurement Protocol for apps: `POST /mp/collect?firebase_app_id=...&api_secret=...`.

Contract: at most 25 events and 25 parameters, names of 40 letters, values of 100; events of the last 72 hours. It answers 2xx
whatever it is told and deduplicates nothing for apps but purchases by `transaction_id`, so one event goes with one request, and
only what was not answered is sent again.
"""

from typing import Any, Final

import httpx

from infra.config import Config
from infra.vendors import answers
from schemas.outbox import EffectDue
from schemas.postback import MICROS, Postback

CALLS_PER_S: Final = 100.0
TIMEOUT_S: Final = 10.0
MAX_VALUE: Final = 100


def body_of(effect: str, told: Postback) -> dict[str, Any]:
    """The request's body."""
    parameters: dict[str, Any] = {
        "event_id": effect[-MAX_VALUE:], "transaction_id": told.ref[:MAX_VALUE], "campaign": told.campaign[:MAX_VALUE],
        "source": told.network[:MAX_VALUE], "engagement_time_msec": 1,
    }  # fmt: skip
    if told.value_micros is not None:
        parameters |= {"currency": told.currency, "value": told.value_micros / MICROS}
    return {
        "app_instance_id": told.identity.app_instance_id,
        "user_id": told.user,
        "timestamp_micros": int(told.at.timestamp() * 1_000_000),
        "events": [{"name": told.event, "params": {name: value for name, value in parameters.items() if value != ""}}],
    }


def tell(due: EffectDue, config: Config, client: httpx.Client) -> answers.Attempt:
    """Tell GA4 of one event."""
    assert due.postback is not None
    answer = client.post(
        f"{config.ga4_url}/mp/collect",
        params={"firebase_app_id": config.ga4_app_id, "api_secret": config.ga4_secret},
        json=body_of(due.effect, due.postback),
        timeout=TIMEOUT_S,
    )
    return answers.read(answer)
