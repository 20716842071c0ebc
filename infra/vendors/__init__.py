"""Clients of outside services: what a request looks like, what an answer means, how a webhook proves where it comes from.

Each module states its contract and where it is documented. Base URLs are config, so that tests run against local stubs.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import httpx

from infra import cron
from infra.config import Config, PushProvider, VideoProvider, missing_for
from infra.vendors import (
    agora,
    amplitude,
    apns,
    app_store_api,
    appsflyer,
    chores,
    fcm,
    ga4,
    identity,
    onesignal,
    payouts,
    play_consume,
    push,
    snapchat,
    twilio,
)
from infra.vendors.answers import DETAIL, Attempt, network_failure
from schemas.log.base import now
from schemas.outbox import APP_STORE, PLAY, SIGN_IN, AttemptOutcome, EffectDue, EffectKind
from schemas.payout_fields import PAYOUT_PROVIDER
from schemas.postback import Provider, name_error
from schemas.push import ANY_PROVIDER, VOIP_PROVIDER


class VendorCall(NamedTuple):
    """How an effect is done at a vendor, and how often a second the vendor wants to be asked at most."""

    act: Callable[[EffectDue, Config, httpx.Client], Attempt]
    per_s: float


def _plan(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """The next instants of a job; one that cannot be worked out needs a person."""
    del config, client
    if due.wanted is None:
        return Attempt(AttemptOutcome.REFUSED, 0, "nothing is wanted")
    try:
        return Attempt(AttemptOutcome.ACCEPTED, plan=cron.plan_of(due.wanted, now()))
    except cron.ScheduleError as error:
        return Attempt(AttemptOutcome.REFUSED, 0, str(error))


# Chores and plans are done here, not at a vendor, and so is the choice of who pushes: nobody has to be spared.
UNSPARING_PER_S: Final = 1_000.0

VENDOR_CALLS: Final[dict[tuple[str, str], VendorCall]] = {
    (EffectKind.CLOSE_ROOM, VideoProvider.AGORA): VendorCall(agora.close_room, agora.CALLS_PER_S),
    (EffectKind.CLOSE_ROOM, VideoProvider.TWILIO): VendorCall(twilio.close_room, twilio.CALLS_PER_S),
    (EffectKind.POSTBACK, Provider.SNAPCHAT): VendorCall(snapchat.tell, snapchat.CALLS_PER_S),
    (EffectKind.POSTBACK, Provider.APPSFLYER): VendorCall(appsflyer.tell, appsflyer.CALLS_PER_S),
    (EffectKind.POSTBACK, Provider.AMPLITUDE): VendorCall(amplitude.tell, amplitude.CALLS_PER_S),
    (EffectKind.POSTBACK, Provider.GA4): VendorCall(ga4.tell, ga4.CALLS_PER_S),
    (EffectKind.PUSH, ANY_PROVIDER): VendorCall(push.route, UNSPARING_PER_S),
    (EffectKind.PUSH, PushProvider.FCM): VendorCall(fcm.tell, fcm.CALLS_PER_S),
    (EffectKind.PUSH, PushProvider.ONESIGNAL): VendorCall(onesignal.tell, onesignal.CALLS_PER_S),
    (EffectKind.PUSH, VOIP_PROVIDER): VendorCall(apns.tell, apns.CALLS_PER_S),
    (EffectKind.DELETE_ACCOUNT, SIGN_IN): VendorCall(identity.delete_account, identity.CALLS_PER_S),
    (EffectKind.SET_CLAIMS, SIGN_IN): VendorCall(identity.set_claims, identity.CALLS_PER_S),
    (EffectKind.PAY, PAYOUT_PROVIDER): VendorCall(payouts.pay, payouts.CALLS_PER_S),
    (EffectKind.CONSUME, PLAY): VendorCall(play_consume.consume, play_consume.CALLS_PER_S),
    (EffectKind.ACKNOWLEDGE, PLAY): VendorCall(play_consume.acknowledge, play_consume.CALLS_PER_S),
    (EffectKind.TELL_USAGE, PLAY): VendorCall(play_consume.review, play_consume.CALLS_PER_S),
    (EffectKind.TELL_USAGE, APP_STORE): VendorCall(app_store_api.tell_usage, app_store_api.CALLS_PER_S),
    (EffectKind.PLAN, "timetable"): VendorCall(_plan, UNSPARING_PER_S),
    **{(EffectKind.CHORE, name): VendorCall(chores.run, UNSPARING_PER_S) for name in chores.CHORES},
}


def vendor_call_of(due: EffectDue) -> VendorCall | None:
    """How an effect is done; None: nobody here does it."""
    return VENDOR_CALLS.get((due.kind, due.provider))


def attempt(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    """Do an effect once. Never raises: whatever happens is an attempt's outcome."""
    if due.kind is EffectKind.PUSH and due.push is not None:
        return push.onward(due, config, push.refusal_of(due, config) or _attempt(due, config, client))
    return _attempt(due, config, client)


def _attempt(due: EffectDue, config: Config, client: httpx.Client) -> Attempt:
    way = vendor_call_of(due)
    missing = missing_for(due.provider, config) if due.kind is EffectKind.POSTBACK else []
    if missing:
        return Attempt(AttemptOutcome.REFUSED, 0, f"not set: {', '.join(missing)}; set them, then redrive")
    if way is None:
        return Attempt(AttemptOutcome.REFUSED, 0, f"nobody here does {due.kind} at {due.provider}")
    # Rules of an earlier version may hold a name that the vendor drops whatever it answers.
    if due.postback is not None and (error := name_error(Provider(due.provider), due.postback.event)):
        return Attempt(AttemptOutcome.REFUSED, 0, error[:DETAIL])
    try:
        found: Attempt = way.act(due, config, client)
    except httpx.HTTPError as failure:
        return network_failure(failure)
    except Exception as failure:  # a bug of ours, or of a vendor's client: no flow stops for it, and a person sees it
        return Attempt(AttemptOutcome.REFUSED, 0, f"{type(failure).__name__}: {failure}"[:DETAIL], doubtful=True)
    return found


def close() -> None:
    """End what clients of this process keep running."""
    amplitude.close()
    apns.close()
    chores.close()
