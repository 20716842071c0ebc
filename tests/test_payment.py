"""Payments: products and intents, each refusal by name; and by HTTP, as a phone, Apple and another user do it."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines import payment as domain
from schemas.log.base import Wake
from schemas.payment import (
    MAX_ASKED,
    IntentInbox,
    IntentOpened,
    IntentRefused,
    IntentRepeated,
    OpenIntent,
    PaymentRefusal,
    PinProduct,
    ProductInbox,
    ProductPinned,
    PutProduct,
    ReadIntent,
    StorePrice,
)
from tests.conftest import Api, NewUser, Phones, Stack, eventually
from tests.decisions import all_decisions, decisions_of, last_decision
from tests.lab.city.app_store import AppStore
from tests.lab.city.app_store_api import AppStoreApi
from tests.people import BOB, EVE

decide_product = decisions_of(domain.decide_product)
decide_intent = decisions_of(domain.decide_intent)
T = datetime(2030, 1, 1, tzinfo=UTC)
PUT = PutProduct(id="p", at=T, product="c100", coins=100, bonus_coins=10, apple_id="coins.100")
OFF = PutProduct(id="q", at=T, product="c100", coins=100, active=False)
PIN = PinProduct(id="n", at=T, product="c100", intent="i")
PINNED = ProductPinned(
    id="a", at=T, cause="o/pin", product="c100", intent="i", version=2, coins=100, bonus_coins=10, apple_id="coins.100"
)
NOT_SOLD = ProductPinned(id="a", at=T, cause="o/pin", product="c100", intent="i", refusal=PaymentRefusal.PRODUCT_INACTIVE)
GERMAN, DEARER = StorePrice("DE", "EUR", 4_990), StorePrice("DE", "EUR", 5_990)
ELSEWHERE = StorePrice("", "USD", 4_990)
WAKE = Wake(id="w", at=T, key="i")


def open_(user: str = "bob", product: str = "c100", id_: str = "o") -> OpenIntent:
    return OpenIntent(id=id_, at=T, intent="i", user=BOB if user == "bob" else EVE, product=product)


def test_a_product_is_pinned_as_it_is_and_its_version_counts_changes() -> None:
    messages: list[ProductInbox] = [PUT, OFF, PUT]
    product, (put,) = last_decision(decide_product, *messages)
    assert (product.version, put.version, put.coins) == (3, 3, 100)
    _, (pinned,) = decide_product(product, PIN)
    assert (pinned.version, pinned.coins, pinned.bonus_coins, pinned.refusal) == (3, 100, 10, None)
    assert decide_product(product, WAKE) == (product, ())


@pytest.mark.parametrize(
    ("before", "refusal"), [((), PaymentRefusal.PRODUCT_UNKNOWN), ((PUT, OFF), PaymentRefusal.PRODUCT_INACTIVE)], ids=str
)
def test_what_is_not_sold_is_not_pinned(before: tuple[PutProduct, ...], refusal: PaymentRefusal) -> None:
    messages: list[ProductInbox] = [*before, PIN]
    _, (pinned,) = last_decision(decide_product, *messages)
    assert pinned.refusal is refusal


def test_an_intent_pins_once_and_answers_all_who_asked() -> None:
    messages: list[IntentInbox] = [open_(), open_(id_="o2"), open_(id_="o2"), PINNED, PINNED, open_(id_="o3")]
    intent, told = all_decisions(decide_intent, *messages)
    assert [type(one) for one in told] == [PinProduct, IntentOpened, IntentRepeated, IntentRepeated]
    assert [one.cause for one in told[1:]] == ["o", "o2", "o3"]
    assert (intent.version, intent.coins, intent.apple_id) == (2, 100, "coins.100")
    _, (read,) = decide_intent(intent, ReadIntent(id="x", at=T, intent="i", purchase="apple:7"))
    assert (read.user, read.coins, read.refusal) == ("bob", 100, None)
    assert decide_intent(intent, Wake(id="w", at=T, key="i")) == (intent, ())
    assert decide_intent(intent, Wake(id="w", at=intent.wake_at, key="i")) == (None, ())


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((open_(), NOT_SOLD), PaymentRefusal.PRODUCT_INACTIVE),
        ((open_(), open_("eve")), PaymentRefusal.INTENT_DIFFERS),
        ((open_(), PINNED, open_(product="c500")), PaymentRefusal.INTENT_DIFFERS),
        ((*(open_(id_=f"o{n}") for n in range(MAX_ASKED + 1)),), PaymentRefusal.PURCHASE_IN_PROGRESS),
    ],
)
def test_intents_refused(messages: tuple[IntentInbox, ...], refusal: PaymentRefusal) -> None:
    _, (fact,) = last_decision(decide_intent, *messages)
    assert (type(fact), fact.refusal) == (IntentRefused, refusal)


def test_an_intent_that_is_not_there_or_not_pinned_is_unknown() -> None:
    for before in ((), (open_(),)):
        _, (read,) = last_decision(decide_intent, *before, ReadIntent(id="x", at=T, intent="i", purchase="apple:7"))
        assert (read.user, read.refusal) == ("", PaymentRefusal.INTENT_UNKNOWN)
    assert decide_intent(None, PINNED) == (None, ())


@pytest.mark.parametrize(
    ("prices", "country", "sold"),
    [
        ((), "DE", ()), ((), "", ()), ((GERMAN, ELSEWHERE), "DE", (GERMAN,)), ((GERMAN, ELSEWHERE), "FR", (ELSEWHERE,)),
        ((GERMAN,), "FR", None), ((GERMAN, ELSEWHERE), "", (GERMAN, ELSEWHERE)), ((GERMAN, DEARER), "DE", (GERMAN, DEARER)),
    ],
)  # fmt: skip
def test_a_product_is_sold_where_it_has_a_price(
    prices: tuple[StorePrice, ...], country: str, sold: tuple[StorePrice, ...] | None
) -> None:
    read = ReadIntent(id="x", at=T, intent="i", purchase="apple:7", country=country)
    messages: list[IntentInbox] = [open_(), replace(PINNED, prices=prices), read]
    _, (told,) = last_decision(decide_intent, *messages)
    refusal = PaymentRefusal.COUNTRY_NOT_SOLD if sold is None else None
    assert (told.refusal, told.prices, bool(told.user)) == (refusal, sold or (), sold is not None)


def test_bought_by_phone_told_by_apple_and_claimed_by_another(
    stack: Stack, admin: Api, phones: Phones, new_user: NewUser, app_store: AppStore
) -> None:
    bob, _ = phones(coins=5)
    eve = new_user()
    product = f"coins-{uuid.uuid4().hex[:8]}"
    sold_as = f"app.{product}"
    prices = [{"country": "DE", "currency": "EUR", "price_milliunits": 4_990}]
    body: dict[str, Any] = {"coins": 100, "bonus_coins": 10, "apple_id": sold_as, "prices": prices}
    assert admin.put(f"/v1/admin/products/{product}", json=body).json()["version"] == 1
    assert product in [one["product"] for one in bob.api.get("/v1/products").json()]
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()
    assert admin.get(f"/v1/admin/products/{product}").json()["prices"] == body.pop("prices")
    assert intent == {"intent": intent["intent"], "product": product, "version": 1, "bonus_days": 0, "google_id": ""} | body
    assert admin.put(f"/v1/admin/products/{product}", json=body | {"coins": 1}).json()["version"] == 2
    again = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (201, intent)

    signed = app_store.sell(sold_as, intent["intent"], quantity=2)
    sent = {"signed_transaction": signed}
    first = bob.api.post("/v1/payments/apple", json=sent)
    assert (first.status_code, first.json()["coins"]) == (200, 220), first.text
    assert bob.wait_for("PurchaseCredited")["coins"] == 220
    assert bob.api.post("/v1/payments/apple", json=sent).json() == first.json()
    notice = app_store.notify("ONE_TIME_CHARGE", signed)
    assert eve.post("/v1/webhooks/apple", json=notice).json() == {"status": "noted"}
    stolen = eve.post("/v1/payments/apple", json=sent)
    assert (stolen.status_code, stolen.json()["code"]) == (409, "purchase_of_another")
    assert bob.api.get("/v1/balance").json()["balance_coins"] == 225

    for changes, code in (({"storefront": "FRA"}, "country_not_sold"), ({"currency": "USD"}, "currency_differs")):
        sent = {"signed_transaction": app_store.sell(sold_as, intent["intent"], **changes)}
        refused = bob.api.post("/v1/payments/apple", json=sent)
        assert (refused.status_code, refused.json()["code"]) == (409, code)

    later = app_store.sell(sold_as, intent["intent"])
    assert eve.post("/v1/webhooks/apple", json=app_store.notify("ONE_TIME_CHARGE", later)).json() == {"status": "noted"}
    assert bob.wait_for("PurchaseCredited", 2)["coins"] == 110
    assert bob.api.post("/v1/payments/apple", json={"signed_transaction": later}).json()["coins"] == 110
    assert eve.post("/v1/webhooks/apple", json=app_store.notify("PRICE_INCREASE", later)).json() == {"status": "kept"}
    eventually(lambda: "webhooks.apple" in stack.olo("dead-letters", "list").stdout)


def test_a_refund_behind_spending_is_owed_and_the_next_purchase_pays_it_first(
    admin: Api, phones: Phones, new_user: NewUser, app_store: AppStore
) -> None:
    bob, _ = phones(coins=0)
    product = f"coins-{uuid.uuid4().hex[:8]}"
    body = {"coins": 100, "bonus_coins": 10, "bonus_days": 7, "apple_id": f"app.{product}", "freeze_above_debt_coins": 500}
    admin.put(f"/v1/admin/products/{product}", json=body)

    def bought(key: str, transaction: str) -> dict[str, Any]:
        intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": key}).json()
        sale = {"transactionId": transaction, "appAccountToken": intent["intent"], "productId": f"app.{product}"}
        answer = bob.api.post("/v1/payments/apple", json={"signed_transaction": app_store.sell(f"app.{product}", None, **sale)})
        assert (answer.status_code, answer.json()["coins"]) == (200, 110), answer.text
        return sale

    def notify(kind: str, sale: dict[str, Any], **changes: Any) -> None:
        signed = app_store.sell(f"app.{product}", None, **sale, **changes)
        assert bob.api.post("/v1/webhooks/apple", json=app_store.notify(kind, signed)).json() == {"status": "noted"}

    def balance() -> tuple[int, int]:
        told = bob.api.get("/v1/balance").json()
        return told["balance_coins"], told["debt_coins"]

    transaction = str(uuid.uuid4().int % 10**12)
    sale = bought("a", transaction)
    shown = bob.api.get("/v1/balance/lots")
    assert shown.status_code == 200, shown.text
    lots = shown.json()["lots"]
    assert [(lot["coins"], lot["lot"].endswith("/bonus")) for lot in lots] == [(10, True), (100, False)]
    spend = {"payer": f"{bob.user}/coins", "payee": "@shop", "coins": 80, "ref": "a test"}
    assert admin.post("/v1/admin/transfers", json=spend, headers={"Idempotency-Key": transaction}).status_code == 201

    at_ms = int(time.time() * 1_000)
    notify("REFUND", sale, revocationDate=at_ms, signedDate=at_ms + 1_000)
    assert (bob.wait_for("PurchaseRefunded")["owed_coins"], balance()) == (80, (0, 80))
    notify("ONE_TIME_CHARGE", sale, signedDate=at_ms)  # late, and told again
    again = bob.api.post("/v1/payments/apple", json={"signed_transaction": app_store.sell("", None, **sale, signedDate=at_ms)})
    assert (again.status_code, again.json()["code"], balance()) == (422, "transaction_revoked", (0, 80))
    bought("b", f"{transaction}1")
    assert balance() == (30, 0)
    notify("REFUND_REVERSED", sale, signedDate=at_ms + 2_000)
    assert (bob.wait_for("PurchaseRestored")["net_coins"], balance()) == (110, (140, 0))
    notify("REFUND", sale, revocationDate=at_ms, revocationPercentage=50_000, signedDate=at_ms + 3_000)
    assert (bob.wait_for("PurchaseRefunded", 2)["net_coins"], balance()) == (55, (85, 0))


def test_apple_is_told_to_the_coin_what_was_used_where_the_buyer_agreed(
    admin: Api, phones: Phones, app_store_api: AppStoreApi
) -> None:
    bob, _ = phones(coins=0)
    product, name = f"coins-{uuid.uuid4().hex[:8]}", str(uuid.uuid4().int % 10**15)
    admin.put(f"/v1/admin/products/{product}", json={"coins": 100, "apple_id": product})
    agreed = {"product": product, "usage_consent": True}
    intent = bob.api.post("/v1/payments/intents", json=agreed, headers={"Idempotency-Key": "k"}).json()["intent"]
    signed = app_store_api.store.sell(product, intent, transactionId=name)
    assert bob.api.post("/v1/payments/apple", json={"signed_transaction": signed}).status_code == 200
    paid = {"payer": f"{bob.user}/coins", "payee": "@shop", "coins": 40, "ref": "a test"}
    assert admin.post("/v1/admin/transfers", json=paid, headers={"Idempotency-Key": name}).status_code == 201
    app_store_api.trouble = [503]
    notice = app_store_api.tell("CONSUMPTION_REQUEST", signed)
    for _ in range(2):
        assert bob.api.post("/v1/webhooks/apple", json=notice).json() == {"status": "noted"}
    told = eventually(lambda: app_store_api.told.get(name))
    assert told == {
        "customerConsented": True, "sampleContentProvided": False, "deliveryStatus": "DELIVERED",
        "consumptionPercentage": 40_000,
    }  # fmt: skip


def test_what_apple_did_not_sign_for_us_credits_nothing(
    admin: Api, new_user: NewUser, app_store: AppStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bob, forger = new_user(), AppStore(tmp_path_factory.mktemp("forger"))
    product = f"coins-{uuid.uuid4().hex[:8]}"
    admin.put(f"/v1/admin/products/{product}", json={"coins": 100, "apple_id": "app.c"})
    intent = bob.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
    rows = [
        (forger.sell("app.c", intent), 422, "signature_invalid"),
        (app_store.sell("app.c", intent, environment="Production"), 422, "transaction_of_another_environment"),
        (app_store.sell("app.c", intent, quantity=0), 422, "quantity_impossible"),
        (app_store.sell("app.c", None), 409, "intent_unknown"),
        (app_store.sell("app.c", str(uuid.uuid4())), 409, "intent_unknown"),
        (app_store.sell("app.d", intent), 409, "product_differs"),
    ]
    for signed, status, code in rows:
        answer = bob.post("/v1/payments/apple", json={"signed_transaction": signed})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    answer = bob.post("/v1/webhooks/apple", json=forger.notify("ONE_TIME_CHARGE", app_store.sell("app.c", intent)))
    assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid")
    for broken in (b"", b"x", b"[]", b"{}", b'{"signedPayload": 5}', b"\xff", b"[" * 100):
        assert bob.post("/v1/webhooks/apple", content=broken).status_code == 400
    assert bob.get("/v1/balance").json()["balance_coins"] == 0
    unknown = bob.post("/v1/payments/intents", json={"product": "none"}, headers={"Idempotency-Key": "l"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "product_unknown")
