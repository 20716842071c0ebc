"""Payments: products (`PUT`, `GET /v1/admin/products/{product}`, `GET /v1/products`), `POST /v1/payments/intents`, and what the
App Store has sold: `POST /v1/payments/apple`, from the phone, and `POST /v1/webhooks/apple`, from Apple."""

import asyncio
import logging
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from infra.config import Config
from infra.vendors import app_store
from infra.vendors.app_store import ForgedError
from schemas.balance_ledger import Ledger
from schemas.log.base import MAX_BALANCE_COINS, UserId, new_id, now
from schemas.payment import (
    MAX_BONUS_DAYS,
    MAX_MILLIUNITS,
    MAX_PRICES,
    MAX_PRODUCT_COINS,
    PRODUCT,
    IntentOpened,
    IntentRepeated,
    OpenIntent,
    PaymentRefusal,
    Product,
    ProductPut,
    PutProduct,
    StorePrice,
)
from schemas.purchase import PurchaseCredited, PurchaseRepeated
from schemas.subscription import ClaimSubscription, SubscriptionChanged, SubscriptionRepeated, known_as
from serving.body import RequestBody
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, IdInPath, ItemId, Word
from serving.runtime.gate import Acting, Looking
from serving.runtime.kept import keep_notice
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.shape import read_json
from serving.runtime.staff import MoneyChange, MoneyLook

router = APIRouter(tags=["payments"])
log = logging.getLogger("olo.serving")
NOTIFICATIONS: Final = "webhooks.apple"

REFUSED: Final[Refusals] = {
    PaymentRefusal.PRODUCT_UNKNOWN: (404, "there is no such product; see GET /v1/products"),
    PaymentRefusal.PRODUCT_INACTIVE: (409, "this product is not sold at the moment"),
    PaymentRefusal.INTENT_DIFFERS: (409, "this Idempotency-Key was used for another intent; use a new one"),
    PaymentRefusal.QUANTITY_IMPOSSIBLE: (422, "the transaction's quantity cannot be; nothing was credited"),
    PaymentRefusal.INTENT_UNKNOWN: (
        409, "the transaction's appAccountToken is none, or no intent's id; nothing was credited: ask support",
    ),
    PaymentRefusal.COUNTRY_NOT_SOLD: (409, "the product is not sold in the store's country; nothing was credited: ask support"),
    PaymentRefusal.CURRENCY_DIFFERS: (
        409, "the store took another currency than the product's prices are in; nothing was credited: ask support",
    ),
    PaymentRefusal.PRODUCT_DIFFERS: (409, "the transaction is for another product than its intent; nothing was credited"),
    PaymentRefusal.PURCHASE_OF_ANOTHER: (409, "this transaction is another user's"),
    PaymentRefusal.TRANSACTION_REVOKED: (422, "the store has taken this transaction back; its coins are not credited"),
    PaymentRefusal.ACCOUNT_REFUSES: (409, "the account could not take the coins; send the transaction again later"),
    PaymentRefusal.PURCHASE_IN_PROGRESS: (409, "the same is being decided for others; send it again when it is", 1),
}  # fmt: skip

StoreProduct = Annotated[str, Field(max_length=128, pattern=r"^[\x21-\x7e]*$")]
Signed = Annotated[
    str, Field(min_length=1, max_length=32_768, pattern=r"^[A-Za-z0-9_.-]+$", examples=["eyJhbGciOiJFUzI1NiJ9.e30.c2ln"])
]


class PriceBody(RequestBody):
    """What one of it costs in a country (empty: in all that have no price of their own), in thousandths of the currency's unit:
    4,990 are 4.99. Stores whose prices differ have a line each."""

    country: Annotated[str, Field(pattern="^([A-Z]{2})?$", examples=["DE"])] = ""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
    price_milliunits: Annotated[int, Field(strict=True, ge=0, le=MAX_MILLIUNITS, examples=[4_990])]


class ProductBody(RequestBody):
    """What a product gives, its ids at the stores, and where it is sold for how much (no prices: everywhere, for whatever the
    store says). `bonus_days`: how long the bonus can be spent, 0 for good; a debt above
    `freeze_above_debt_coins` that a refund leaves freezes the buyer's account, and null freezes nobody."""

    coins: Annotated[int, Field(strict=True, gt=0, le=MAX_PRODUCT_COINS, examples=[100])]
    bonus_coins: Annotated[int, Field(strict=True, ge=0, le=MAX_PRODUCT_COINS)] = 0
    bonus_days: Annotated[int, Field(strict=True, ge=0, le=MAX_BONUS_DAYS)] = 0
    freeze_above_debt_coins: Annotated[int, Field(strict=True, ge=0, le=MAX_BALANCE_COINS)] | None = None
    apple_id: StoreProduct = ""
    google_id: StoreProduct = ""
    name: Word = ""
    active: bool = True
    renewing: Annotated[bool, Field(description="it is a subscription: its coins come each period")] = False
    tag: Annotated[
        str,
        Field(
            max_length=64,
            pattern="^[A-Za-z0-9_.:-]*$",
            description="what the user has while the subscription lasts, for tariffs and cohorts",
        ),
    ] = ""
    prices: Annotated[list[PriceBody], Field(max_length=MAX_PRICES)] = []


class ProductAnswer(ProductBody):
    """A product; `version` counts its changes."""

    product: str
    version: int


class IntentBody(RequestBody):
    """What the user is about to buy."""

    product: Annotated[ItemId, Field(examples=["coins-100"])]
    usage_consent: Annotated[bool, Field(description="the buyer agrees that the App Store is told what of it was used")] = False


class IntentAnswer(BaseModel):
    """What was pinned. `intent` is the UUID that the phone gives Apple as `appAccountToken`."""

    intent: str
    product: str
    version: int
    coins: int
    bonus_coins: int
    bonus_days: int
    apple_id: str
    google_id: str


class AppleBody(RequestBody):
    """What StoreKit gave the phone: `jwsRepresentation` of a verified transaction."""

    signed_transaction: Signed


class PurchaseAnswer(BaseModel):
    """The transaction is credited; the phone finishes it. Of a subscription: each period's coins, and until when it lasts."""

    purchase: str
    product: str
    coins: int
    ledger: Ledger = Field(Ledger.ORDINARY, description="`sandbox`: a test purchase, whose coins are worth no money")
    until: datetime | None = None


@router.put("/v1/admin/products/{product}", response_model=ProductAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_product(product: IdInPath, body: ProductBody, caller: MoneyChange, request: Request) -> Any:
    """Put a product on sale, or change it: who has an intent gets what it was. `active` false takes it out."""
    prices = tuple(StorePrice(**price.model_dump()) for price in body.prices)
    command = PutProduct(
        id=new_id(), at=now(), product=product, by=caller.user, prices=prices, **body.model_dump(exclude={"prices"})
    )  # fmt: skip
    fact = await commands_of(request).ask(command, ProductPut)
    return ProductAnswer(product=product, version=fact.version, **body.model_dump())


@router.get("/v1/admin/products/{product}", response_model=ProductAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_product(product: IdInPath, _: MoneyLook, request: Request) -> Any:
    """A product, sold or not."""
    found: Product | None = views_of(request).of(PRODUCT).get(product)
    if found is None:
        raise refusal_of(request, PaymentRefusal.PRODUCT_UNKNOWN)
    return _shown(product, found)


@router.get("/v1/products", response_model=list[ProductAnswer], responses=responses(401, 403, 503))
async def list_products(_: Looking, request: Request) -> Any:
    """What can be bought."""
    return [_shown(name, found) for name, found in views_of(request).of(PRODUCT).items() if found.active]


def _shown(name: str, found: Product) -> ProductAnswer:
    """As it stands: a job or an approval has put it, perhaps, and one that no body may say hides none of the others."""
    return ProductAnswer.model_construct(
        product=name, version=found.version, coins=found.coins, bonus_coins=found.bonus_coins, bonus_days=found.bonus_days,
        freeze_above_debt_coins=found.freeze_above_debt_coins, apple_id=found.apple_id, google_id=found.google_id,
        name=found.name, active=found.active, renewing=found.renewing, tag=found.tag,
        prices=[PriceBody.model_construct(**msgspec.structs.asdict(one)) for one in found.prices],
    )  # fmt: skip


@router.post(
    "/v1/payments/intents", status_code=201, response_model=IntentAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503)
)
async def open_intent(body: IntentBody, caller: Acting, key: IdempotencyKey, request: Request) -> Any:
    """Say what you are about to buy, before the store is asked: its coins are yours whatever the product becomes meanwhile."""
    intent = request_id(caller.user, f"intent {key}")
    command = OpenIntent(
        id=new_id(), at=now(), intent=intent, user=UserId(caller.user), product=body.product, usage_consent=body.usage_consent
    )  # fmt: skip
    fact = await commands_of(request).ask(command, IntentOpened, IntentRepeated)
    return IntentAnswer(
        intent=intent, product=fact.product, version=fact.version, coins=fact.coins, bonus_coins=fact.bonus_coins,
        bonus_days=fact.bonus_days, apple_id=fact.apple_id, google_id=fact.google_id,
    )  # fmt: skip


@router.post("/v1/payments/apple", response_model=PurchaseAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def send_apple_transaction(body: AppleBody, caller: Acting, request: Request) -> Any:
    """Bring a transaction of the App Store: its coins are credited once, whoever brings it first and however often."""
    config = _config(request)
    try:
        command = await asyncio.to_thread(
            app_store.read_transaction, config, body.signed_transaction, caller.user, new_id()
        )  # fmt: skip
    except ForgedError as error:
        log.warning("a transaction that %s brought was not taken: %s", caller.user, error.code)
        raise Problem(422, error.code, error.detail) from error
    if isinstance(command, ClaimSubscription):
        command = known_as(command, views_of(request).of(PRODUCT).items())
        stands = await commands_of(request).ask(command, SubscriptionChanged, SubscriptionRepeated)
        return PurchaseAnswer(
            purchase=stands.name, product=stands.product, coins=stands.coins, ledger=command.ledger, until=stands.until
        )
    fact = await commands_of(request).ask(command, PurchaseCredited, PurchaseRepeated)
    return PurchaseAnswer(purchase=fact.purchase, product=fact.product, coins=fact.coins, ledger=fact.ledger)


@router.post("/v1/webhooks/apple", responses=responses(400, 401, 409, 503), openapi_extra={"security": []})
async def receive_apple_notification(request: Request) -> dict[str, str]:
    """Apple's Server Notifications, version 2. Signed; a purchase is credited once, whether its phone or Apple comes first, and
    a refund, or its reversal, moves the coins. What nothing is decided of is kept as a dead letter: it is not told again."""
    config, body = _config(request), await request.body()
    try:
        found = read_json(body)
    except ValueError as error:
        raise Problem(400, "notice_unreadable", "the body is no JSON") from error
    signed = found.get("signedPayload") if isinstance(found, dict) else None
    if not isinstance(signed, str):
        raise Problem(400, "notice_unreadable", "the body has no signedPayload")
    try:
        command = await asyncio.to_thread(app_store.read_notification, config, signed, new_id())
    except ForgedError as error:
        log.warning("a notification of Apple's was not taken: %s", error.code)
        if error.code == "signature_invalid":
            raise Problem(401, error.code, error.detail) from error
        await keep_notice(request, NOTIFICATIONS, body, f"{error.code}: {error.detail}")
        raise Problem(400, error.code, error.detail) from error
    if isinstance(command, str):
        if command in app_store.NOTED:
            return {"status": "noted"}
        await keep_notice(
            request, NOTIFICATIONS, body, f"nothing is decided of a notification of the kind {command[:40]!r} yet"
        )
        return {"status": "kept"}
    if isinstance(command, ClaimSubscription):
        command = known_as(command, views_of(request).of(PRODUCT).items())
    await commands_of(request).tell(command)
    return {"status": "noted"}


def _config(request: Request) -> Config:
    config: Config = request.app.state.config
    if missing := app_store.missing_settings(config):
        raise Problem(409, "no_app_store", f"this platform sells nothing at the App Store: set {', '.join(missing)}")
    return config
