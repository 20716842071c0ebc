"""What Google Play has sold: `POST /v1/payments/google`, from the phone, and `POST /v1/webhooks/google`, from Google."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Annotated, Any, Final

import httpx
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from infra.config import Config
from infra.vendors import play_store, play_subscription
from infra.vendors.app_store import ForgedError
from infra.vendors.play_store import ANSWER_WITHIN, REVIEW, SUBSCRIBED, AwayError, Hint
from schemas.balance_ledger import Ledger
from schemas.log.base import later, new_id, now
from schemas.payment import PRODUCT
from schemas.purchase import (
    PURCHASE,
    AskUsage,
    ClaimPurchase,
    Purchase,
    PurchaseCredited,
    PurchaseRepeated,
    Store,
    purchase_name,
)
from schemas.subscription import ClaimSubscription, SubscriptionChanged, SubscriptionRepeated, known_as
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.gate import Acting
from serving.runtime.kept import keep_notice
from serving.runtime.problems import Problem, responses, unavailable
from serving.runtime.shape import read_json

router = APIRouter(tags=["payments"])
log = logging.getLogger("olo.serving")
NOTIFICATIONS: Final = "webhooks.google"
TEST: Final = "testNotification"
STORES: Final = (Store.GOOGLE, Store.GOOGLE_SANDBOX)

PlayProduct = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-z0-9._]+$", examples=["coins100"])]
PlayToken = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^[\x21-\x7e]+$", examples=["opaque-token"])]


class GoogleBody(RequestBody):
    """What Google Play gave the phone: the product and `purchaseToken`."""

    product: PlayProduct
    purchase_token: PlayToken
    subscription: Annotated[bool, Field(description="it is a subscription, and no product that is bought once")] = False


class GooglePurchaseAnswer(BaseModel):
    """The purchase is credited; Google is told that it is consumed."""

    purchase: str
    product: str
    coins: int
    ledger: Ledger = Field(Ledger.ORDINARY, description="`sandbox`: a test purchase, whose coins are worth no money")
    until: datetime | None = None


@router.post("/v1/payments/google", response_model=GooglePurchaseAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def send_google_purchase(body: GoogleBody, caller: Acting, request: Request) -> Any:
    """Bring a purchase of Google Play, which the phone need not consume: Google is asked, and its coins are credited once."""
    _config(request)
    try:
        kind = SUBSCRIBED if body.subscription else "phone"
        *before, command = await _claim(request, Hint(kind, body.purchase_token, body.product), caller.user)
    except ForgedError as error:
        log.warning("a purchase that %s brought was not taken: %s", caller.user, error.code)
        raise Problem(409 if error.code == "purchase_pending" else 422, error.code, error.detail) from error
    for one in before:
        await commands_of(request).tell(one)
    if isinstance(command, ClaimSubscription):
        stands = await commands_of(request).ask(command, SubscriptionChanged, SubscriptionRepeated)
        return GooglePurchaseAnswer(
            purchase=stands.name, product=stands.product, coins=stands.coins, ledger=command.ledger, until=stands.until
        )
    fact = await commands_of(request).ask(command, PurchaseCredited, PurchaseRepeated)
    return GooglePurchaseAnswer(purchase=fact.purchase, product=fact.product, coins=fact.coins, ledger=fact.ledger)


@cache
def _outside() -> httpx.Client:
    """Made at the first use: most processes sell nothing at Google Play."""
    return httpx.Client(trust_env=False)


async def _claim(request: Request, hint: Hint, user: str) -> Sequence[ClaimPurchase | ClaimSubscription]:
    """What Google says now; the last one is what was asked for, before it stands what that has replaced."""
    config: Config = request.app.state.config
    try:
        if hint.kind == SUBSCRIBED:
            words = await asyncio.to_thread(
                play_subscription.read_subscription, config, _outside(), hint.token, user, new_id()
            )  # fmt: skip
            products = list(views_of(request).of(PRODUCT).items())
            return [known_as(word, products) for word in words]
        return [await asyncio.to_thread(play_store.read_purchase, config, _outside(), hint, user, new_id())]
    except AwayError as error:
        raise unavailable("play_unreachable", f"{error}; send it again soon") from error


@router.post("/v1/webhooks/google", responses=responses(400, 401, 409, 503), openapi_extra={"security": []})
async def receive_google_notification(request: Request) -> dict[str, str]:
    """Google Play's real-time notifications: each only hints, and Google is asked what is so. What nothing is decided of is
    kept as a dead letter."""
    config, body = _config(request, notices=True), await request.body()
    try:
        found = read_json(body)
        hint = await asyncio.to_thread(play_store.read_notice, config, request.headers.get("authorization", ""), found)
        if hint.kind == REVIEW:
            await commands_of(request).tell(_asked(request, hint))
            return {"status": "noted"}
        told = _whole(request, hint)
        if told.product or told.kind == SUBSCRIBED:
            for word in await _claim(request, told, ""):
                await commands_of(request).tell(word)
            return {"status": "noted"}
    except ForgedError as error:
        log.warning("a notification of Google's was not taken: %s", error.code)
        if error.code == "signature_invalid":
            raise Problem(401, error.code, error.detail) from error
        if error.code == "purchase_pending":
            return {"status": "noted"}
        await keep_notice(request, NOTIFICATIONS, body, f"{error.code}: {error.detail}")
        return {"status": "kept"}
    except AwayError as error:
        raise unavailable("play_unreachable", f"{error}; send it again soon") from error
    except ValueError as error:
        raise Problem(400, "notice_unreadable", "the body is no JSON") from error
    if hint.kind == TEST or hint.order:
        return {"status": "noted"}
    await keep_notice(request, NOTIFICATIONS, body, f"nothing is decided of a {hint.kind[:60]} yet")
    return {"status": "kept"}


def _asked(request: Request, hint: Hint) -> AskUsage:
    """Google's question what was used of an order, under the name under which it was credited."""
    known = [name for store in STORES if (name := purchase_name(store, hint.order)) in views_of(request).of(PURCHASE)]
    return AskUsage(
        id=new_id(), at=now(), purchase=known[0] if known else purchase_name(Store.GOOGLE, hint.order), token=hint.token,
        ask=sha256(hint.token.encode()).hexdigest()[:32], until=later(now(), ANSWER_WITHIN),
    )  # fmt: skip


def _whole(request: Request, hint: Hint) -> Hint:
    """A voided purchase names its order only: its product is known from when it was credited. Of one that was never credited
    there is nothing to take back."""
    for store in STORES:
        known: Purchase | None = views_of(request).of(PURCHASE).get(purchase_name(store, hint.order)) if hint.order else None
        if known is not None:
            return hint._replace(product=known.store_product)
    return hint


def _config(request: Request, *, notices: bool = False) -> Config:
    config: Config = request.app.state.config
    if missing := play_store.missing_settings(config, notices=notices):
        raise Problem(409, "no_play_store", f"this platform sells nothing at Google Play: set {', '.join(missing)}")
    return config
