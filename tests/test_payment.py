"""Payments: each refusal by name; one credit a transaction, to its intent's user, in any order of claims; and by HTTP, as a
phone, Apple and another user do it."""

import uuid
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import payment as domain
from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Reason, Refusal
from schemas.log.base import AccountId, Message, Wake
from schemas.payment import (
    MAX_ASKED,
    ClaimPurchase,
    IntentInbox,
    IntentOpened,
    IntentRead,
    IntentRefused,
    IntentRepeated,
    OpenIntent,
    PaymentRefusal,
    PinProduct,
    ProductInbox,
    ProductPinned,
    PurchaseCredited,
    PurchaseInbox,
    PurchaseRefused,
    PurchaseRepeated,
    PutProduct,
    ReadIntent,
    Store,
    of_purchase,
    store_account,
)
from tests.conftest import Api, NewUser, Phones, Stack, eventually
from tests.decisions import all_decisions, decisions_of, last_decision
from tests.lab.city.app_store import AppStore
from tests.people import BOB, EVE

decide_product = decisions_of(domain.decide_product)
decide_intent = decisions_of(domain.decide_intent)
decide_purchase = decisions_of(domain.decide_purchase)
T = datetime(2030, 1, 1, tzinfo=UTC)
PUT = PutProduct(id="p", at=T, product="c100", coins=100, bonus_coins=10, apple_id="coins.100")
OFF = PutProduct(id="q", at=T, product="c100", coins=100, active=False)
PIN = PinProduct(id="n", at=T, product="c100", intent="i")
PINNED = ProductPinned(
    id="a", at=T, cause="o/pin", product="c100", intent="i", version=2, coins=100, bonus_coins=10, apple_id="coins.100"
)
NOT_SOLD = ProductPinned(id="a", at=T, cause="o/pin", product="c100", intent="i", refusal=PaymentRefusal.PRODUCT_INACTIVE)
READ = IntentRead(
    id="r", at=T, cause="m/intent", intent="i", purchase="apple:7", user=BOB, product="c100", version=2, coins=100,
    bonus_coins=10, apple_id="coins.100",
)  # fmt: skip
NO_INTENT = IntentRead(id="r", at=T, cause="m/intent", intent="i", purchase="apple:7", refusal=PaymentRefusal.INTENT_UNKNOWN)
WAKE = Wake(id="w", at=T, key="apple:7")


def open_(user: str = "bob", product: str = "c100", id_: str = "o") -> OpenIntent:
    return OpenIntent(id=id_, at=T, intent="i", user=BOB if user == "bob" else EVE, product=product)


def claim(user: str = "bob", id_: str = "m", quantity: int = 1, product: str = "coins.100", intent: str = "i") -> ClaimPurchase:
    return ClaimPurchase(
        id=id_, at=T, purchase="apple:7", user=user, store=Store.APPLE, intent=intent, store_product=product, purchased_at=T,
        quantity=quantity, price_milliunits=4_990, currency="EUR",
    )  # fmt: skip


def entry(kind: EntryKind = EntryKind.CREDIT) -> EntryRecorded:
    return EntryRecorded(
        id="e", at=T, cause="r/credit", account=AccountId("bob/coins"), seq=9, kind=kind, balance_coins=110, held_coins=0,
        coins=110, counterparty="@apple", reason="purchase", ref="apple:7",
    )  # fmt: skip


FULL = AccountRefused(
    id="e", at=T, cause="r/credit", account=AccountId("bob/coins"), command="Credit", refusal=Refusal.BALANCE_LIMIT,
    counterparty="@apple", reason="purchase", ref="apple:7",
)  # fmt: skip
after = partial(last_decision, decide_purchase)


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
    ("messages", "refusal"),
    [
        ((claim(quantity=0),), PaymentRefusal.QUANTITY_IMPOSSIBLE),
        ((claim(quantity=11),), PaymentRefusal.QUANTITY_IMPOSSIBLE),
        ((claim(intent=""),), PaymentRefusal.INTENT_UNKNOWN),
        ((claim(), NO_INTENT), PaymentRefusal.INTENT_UNKNOWN),
        ((claim(product="coins.900"), READ), PaymentRefusal.PRODUCT_DIFFERS),
        ((claim(), READ, entry(), claim("eve", "m2")), PaymentRefusal.PURCHASE_OF_ANOTHER),
        ((claim(), READ, FULL), PaymentRefusal.ACCOUNT_REFUSES),
        ((*(claim(id_=f"m{n}") for n in range(MAX_ASKED + 1)),), PaymentRefusal.PURCHASE_IN_PROGRESS),
    ],
)
def test_purchases_refused(messages: tuple[PurchaseInbox, ...], refusal: PaymentRefusal) -> None:
    state, told = after(*messages)
    assert [(type(fact), fact.refusal) for fact in told] == [(PurchaseRefused, refusal)]
    kept = refusal in (PaymentRefusal.PURCHASE_OF_ANOTHER, PaymentRefusal.PURCHASE_IN_PROGRESS)
    assert (state is not None) == kept


def test_another_users_claim_credits_whose_it_is_and_is_refused() -> None:
    state, told = after(claim("eve"), claim("bob", "m2"), claim("", "m3"), READ, entry())
    assert [(type(one), one.cause) for one in told] == [
        (PurchaseCredited, "m2"), (PurchaseRefused, "m"), (PurchaseRepeated, "m3"),
    ]  # fmt: skip
    assert (state.user, state.coins, told[0].user, told[0].coins, told[0].version) == ("bob", 110, "bob", 110, 2)


def test_what_no_one_waits_for_changes_nothing() -> None:
    state, _ = after(claim(), READ)
    assert decide_purchase(state, READ) == (state, ())
    assert decide_purchase(state, WAKE) == (state, ())
    assert decide_purchase(state, entry(EntryKind.RETURN)) == (state, ())
    assert decide_purchase(None, READ) == (None, ())


def test_coins_of_others_are_none_of_a_purchases() -> None:
    assert of_purchase()(entry()) == "apple:7"
    granted = EntryRecorded(
        id="e", at=T, cause="c", account=AccountId("bob/coins"), seq=9, kind=EntryKind.CREDIT, balance_coins=1, held_coins=0,
        counterparty="@store", reason="purchase", ref="apple:7",
    )  # fmt: skip
    assert of_purchase()(granted) == ""


@given(
    st.lists(st.tuples(st.sampled_from(("bob", "eve", "")), st.integers(1, 30), st.integers(0, 4)), max_size=40),
    st.sampled_from((1, 3, 10)),
)
def test_one_credit_a_transaction_and_one_answer_a_claim(steps: list[tuple[str, int, int]], quantity: int) -> None:
    state, asked, told = None, set(), list[Message]()
    waiting: list[PurchaseInbox] = []
    for user, number, answered in steps:
        message: PurchaseInbox = claim(user, f"m{number}{user}", quantity)
        for turn in range(answered + 1):
            state, more = decide_purchase(state, message)
            told += more
            asked |= {message.id} if isinstance(message, ClaimPurchase) else set()
            waiting += [READ for one in more if isinstance(one, ReadIntent)]
            waiting += [entry() for one in more if isinstance(one, Credit)]
            if turn == answered or not waiting:
                break
            message = waiting.pop(0)
    while waiting:
        state, more = decide_purchase(state, waiting.pop(0))
        told += more
        waiting += [entry() for one in more if isinstance(one, Credit)]
    credited = [one for one in told if isinstance(one, Credit)]
    assert len(credited) == bool(steps)
    assert {(one.account, one.coins, one.counterparty, one.reason) for one in credited} <= {
        ("bob/coins", 110 * quantity, store_account(Store.APPLE), Reason.PURCHASE)
    }
    assert sum(isinstance(one, PurchaseCredited) for one in told) == len(credited)
    answers = {one.cause for one in told if isinstance(one, PurchaseCredited | PurchaseRepeated | PurchaseRefused)}
    assert asked <= answers


def test_bought_by_phone_told_by_apple_and_claimed_by_another(
    stack: Stack, admin: Api, phones: Phones, new_user: NewUser, app_store: AppStore
) -> None:
    bob, _ = phones(coins=5)
    eve = new_user()
    product = f"coins-{uuid.uuid4().hex[:8]}"
    sold_as = f"app.{product}"
    body = {"coins": 100, "bonus_coins": 10, "apple_id": sold_as}
    assert admin.put(f"/v1/admin/products/{product}", json=body).json()["version"] == 1
    assert product in [one["product"] for one in bob.api.get("/v1/products").json()]
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()
    assert intent == {"intent": intent["intent"], "product": product, "version": 1} | body
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

    later = app_store.sell(sold_as, intent["intent"])
    assert eve.post("/v1/webhooks/apple", json=app_store.notify("ONE_TIME_CHARGE", later)).json() == {"status": "noted"}
    assert bob.wait_for("PurchaseCredited", 2)["coins"] == 110
    assert bob.api.post("/v1/payments/apple", json={"signed_transaction": later}).json()["coins"] == 110
    assert eve.post("/v1/webhooks/apple", json=app_store.notify("REFUND", later)).json() == {"status": "kept"}
    eventually(lambda: "webhooks.apple" in stack.olo("dead-letters", "list").stdout)


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
