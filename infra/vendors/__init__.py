"""Clients of outside services: what a request looks like, what an answer means, how a webhook proves where it comes from.

Each module states its contract and where it is documented. Base URLs are settings, so that tests run against local stubs.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import httpx

from infra.settings import Settings, VideoProvider
from infra.vendors import agora, twilio
from infra.vendors.answers import Attempt, network_failure
from schemas.outbox import AttemptOutcome, EffectDue, EffectKind


class Way(NamedTuple):
    """How an effect is done at a vendor, and how often a second the vendor wants to be asked at most."""

    act: Callable[[EffectDue, Settings, httpx.Client], Attempt]
    per_s: float


WAYS: Final[dict[tuple[str, str], Way]] = {
    (EffectKind.CLOSE_ROOM, VideoProvider.AGORA): Way(agora.close_room, agora.CALLS_PER_S),
    (EffectKind.CLOSE_ROOM, VideoProvider.TWILIO): Way(twilio.close_room, twilio.CALLS_PER_S),
}


def way_of(due: EffectDue) -> Way | None:
    """How an effect is done; None: nobody here does it."""
    return WAYS.get((due.kind, due.provider))


def attempt(due: EffectDue, settings: Settings, client: httpx.Client) -> Attempt:
    """Do an effect once. Never raises: whatever happens is an attempt's outcome."""
    way = way_of(due)
    if way is None:
        return Attempt(AttemptOutcome.REFUSED, 0, f"nobody here does {due.kind} at {due.provider}")
    try:
        found: Attempt = way.act(due, settings, client)
    except httpx.HTTPError as error:
        return network_failure(error)
    return found
